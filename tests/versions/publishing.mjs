// PHP of either version that publishes, and what a subscriber has of it.

import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ASKRD, ASKR_SO, PHP, TESTS } from '../lib/built.mjs';
import { services } from '../lib/people.mjs';
import { until } from '../lib/scope.mjs';

export const VERSIONS = {
  old: { askrd: process.env.OLD_ASKRD, so: process.env.OLD_ASKR_SO },
  new: { askrd: ASKRD, so: ASKR_SO },
};

/** A PHP process of this askr.so that publishes until `end()`, which resolves to what it published. */
export function publisher(scope, askrd, version, name, { keyed = false, rate = 200 } = {}) {
  const { web } = services();
  const so = scope.path(`askr-${version}.so`);
  if (!existsSync(so)) copyFileSync(VERSIONS[version].so, so);
  const dir = scope.path(`publisher-${name}`);
  mkdirSync(dir);
  chmodSync(dir, 0o777);
  const settings = { extension: so, 'askr.ring': askrd.ring, 'askr.ring_owner': services().daemon.name ?? '' };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-d', `${key}=${value}`]);
  const child = scope.start(name, PHP, ['-n', ...options, path.join(TESTS, 'versions/publisher.php'), name, keyed ? '1' : '', String(rate), dir],
    { uid: web.uid, gid: web.gid });
  return {
    begun: () => until(`${name} has published`, () => existsSync(path.join(dir, 'begun'))),
    async end() {
      writeFileSync(path.join(dir, 'stop'), '');
      const { code } = await child.exited;
      assert.equal(code, 0, child.output());
      return JSON.parse(child.output().trim().split('\n').at(-1));
    },
  };
}

/** How often each event of each publisher arrived. */
export function counted(subscriber) {
  const found = new Map();
  for (const { event, data } of subscriber.events) {
    if (event !== 'message') continue;
    const { by, n } = JSON.parse(data);
    const counts = found.get(by) ?? [];
    counts[n] = (counts[n] ?? 0) + 1;
    found.set(by, counts);
  }
  return found;
}

export const gaps = (subscriber) => subscriber.events.filter(({ event }) => event === 'askr:gap');

export async function arrived(subscriber, name, { count }) {
  await subscriber.until(`${count} events of ${name} arrived`, () => {
    const counts = counted(subscriber).get(name) ?? [];
    return counts.length === count && counts.filter(Boolean).length === count;
  });
  return counted(subscriber).get(name);
}
