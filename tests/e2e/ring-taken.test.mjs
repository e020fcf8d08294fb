// The ring's name in other hands while askrd serves: it says so once, on /readyz and in its figures, goes on
// with what it has, and takes the name back when it can. And positions that were handed out name the same
// events after every start.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Askrd, startAskrd } from '../lib/askrd.mjs';
import { metric, untilMetric } from '../lib/faults.mjs';
import { services } from '../lib/people.mjs';
import { publish } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const FAILED = 'askr_ring_replacements_failed_total';
const lines = (askrd, pattern) => askrd.process.output().split('\n').filter((line) => pattern.test(line));

/** What is in the way of the name, and how it goes. `remove` takes away the ring itself. */
const OBSTACLES = {
  'a directory': (ring) => {
    const { daemon } = services();
    mkdirSync(ring);
    if (daemon.uid !== undefined) chownSync(ring, daemon.uid, daemon.gid);
    return /directory/i;
  },
  // As /dev/shm is: what another user made there, only that user or root can remove.
  "another user's file in a sticky directory": (ring) => {
    const { web } = services();
    writeFileSync(ring, 'not a ring');
    chownSync(ring, web.uid, web.gid);
    return new RegExp(`not permitted.*uid ${web.uid}`, 'i');
  },
};

for (const [what, obstruct] of Object.entries(OBSTACLES)) {
  const skip = what.includes('user') && services().daemon.uid === undefined ? 'needs root: it is about another user' : false;
  test(`${what} at the ring's name: told once, and taken back when it has gone`, { skip }, scoped(async (scope) => {
    const shared = path.join(scope.shm, 'sticky');
    mkdirSync(shared);
    chmodSync(shared, 0o1777);
    const ring = path.join(shared, 'ring');
    const askrd = await startAskrd(scope, { ring: { name: ring } });
    const subscriber = await subscribe(scope, askrd.unix, 'news', { reconnect: false });
    await publish(scope, askrd, 'news', 'before');
    await subscriber.take(1);

    rmSync(ring);
    const reason = obstruct(ring);
    const said = await until('askrd is not ready', async () => {
      const { status, body } = await askrd.readiness();
      return status === 503 && body;
    });
    assert.match(said, reason);
    assert.ok(said.includes(ring), said);
    assert.equal((await askrd.health()).status, 200, 'it lives');
    await untilMetric(askrd, FAILED, (n) => n >= 3);
    assert.equal(await metric(askrd, 'askr_rings_in_trouble'), 1);
    const stats = await askrd.cli(['stats', '--config', askrd.config]);
    assert.match(stats.out, reason, 'stats say it too');
    assert.equal(lines(askrd, / ERROR /).length, 1, 'logged once, not for each try');
    assert.deepEqual(readdirSync(shared).sort(), ['ring', 'ring.in-flight', 'ring.lock', 'ring.present'], 'nothing is left behind');

    rmSync(ring, { recursive: true });
    await until('askrd is ready', async () => (await askrd.readiness()).status === 200);
    assert.equal(lines(askrd, /can reach the ring/).length, 1);
    assert.equal(await metric(askrd, 'askr_rings_in_trouble'), 0);
    await publish(scope, askrd, 'news', 'after');
    const events = await subscriber.take(2);
    assert.deepEqual(events.map(({ data }) => data), ['before', 'after'], 'nothing lost, nothing told as lost');
    assert.equal(subscriber.ended, 0);
  }));
}

test('sizes changed, then the ring removed beside the retired one: a client that comes back is told a gap', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { ring: { slots: 256 } });
  const send = async (from, to) => {
    for (let n = from; n <= to; n += 1) await publish(scope, askrd, 'news', String(n));
  };
  await send(1, 2);
  await askrd.stop();
  const grown = new Askrd(scope, { ring: { name: askrd.ring, slots: 512 } });
  await grown.start();
  await send(3, 7);
  const subscriber = await subscribe(scope, grown.unix, 'news', { lastEventId: 'unknown', reconnect: false });
  await subscriber.until('the last event', ({ events }) => events.some(({ data }) => data === '7'));
  const last = subscriber.events.findLast(({ data }) => data === '7').id;
  await grown.kill();
  rmSync(grown.ring);
  assert.ok(readdirSync(path.dirname(grown.ring)).some((file) => file.includes('.old-')), 'the retired one stays');

  await grown.start();
  await send(8, 19);
  const back = await subscribe(scope, grown.unix, 'news', { lastEventId: last, reconnect: false });
  await back.until('the last event', ({ events }) => events.some(({ data }) => data === '19'));
  assert.ok(back.events.some(({ event }) => event === 'askr:gap'), 'told that the past is gone');
  const got = back.events.filter(({ event }) => event !== 'askr:gap').map(({ data }) => Number(data));
  assert.deepEqual(got, Array.from({ length: 12 }, (_, n) => n + 8), 'and all that is new');
  assert.equal(lines(grown, /begins a new epoch/).length, 1);
}));
