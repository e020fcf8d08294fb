// Symfony's Mercure component as Debian has it (RELEASE), with askr.so for that Debian's PHP (SO): its hubs publish in process
// and by POST, and a subscriber has the cookie that it made. Root, in mounts of its own (make test-symfony).

import test from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { Hub, P } from '../lib/mercure.mjs';
import { services } from '../lib/people.mjs';
import { run } from '../lib/process.mjs';
import { scoped } from '../lib/scope.mjs';
import { Subscriber } from '../lib/sse.mjs';
import { chroot, mount, overlay } from '../packages/system.mjs';

const { RELEASE, SO } = process.env;
/** What the component has in each release. */
const HUBS = { trixie: ['posted', 'posted, 1.0'], sid: ['posted', 'posted, 1.0', 'in process'] };

test(`Symfony's Mercure component of Debian ${RELEASE}`, scoped(async (scope) => {
  const hub = await Hub.alone(scope, 'https://example.com');
  const root = overlay(scope, chroot(RELEASE, 'symfony'));
  for (const shared of ['proc', 'dev']) mount('--rbind', `/${shared}`, path.join(root, shared));
  copyFileSync(SO, path.join(root, 'askr.so'));
  copyFileSync(path.join(TESTS, 'symfony/application.php'), path.join(root, 'application.php'));
  const { web, daemon } = services();
  const settings = { extension: '/askr.so', 'askr.ring': hub.askrd.ring, 'askr.ring_owner': daemon.name };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-d', `${key}=${value}`]);
  const topics = ['https://example.com/books/1'];
  const application = async (asked) => {
    const input = JSON.stringify({
      ...asked, topics, url: `http://127.0.0.1:${hub.askrd.port}${P}`, public_url: hub.url, page: 'https://example.com/',
      secret: hub.legacyKey, token: hub.token(['publish'], topics.concat('urn:other')),
    });
    const { code, out, err } = await run('chroot', [`--userspec=${web.uid}:${web.gid}`, root, 'php', ...options, '/application.php'], { input });
    assert.equal(code, 0, out + err);
    return JSON.parse(out);
  };

  const authorized = await application({ do: 'authorize' });
  assert.equal(authorized.mercure_publish, true, 'where Symfony looks for it, the command line');
  assert.equal(authorized.link, `<${hub.url}>; rel="mercure"`);
  const [pair, ...attributes] = authorized.cookie.split('; ');
  assert.match(pair, /^mercureAuthorization=/);
  for (const attribute of [`path=${P}`, 'secure', 'httponly', 'samesite=strict']) {
    assert.ok(attributes.some((one) => one.toLowerCase() === attribute), `${attribute}: ${authorized.cookie}`);
  }
  const path0 = `${P}?${new URLSearchParams({ topic: 'https://example.com/books/{id}' })}`;
  const subscriber = new Subscriber(hub.askrd.tcp, path0, { headers: { Cookie: pair } });
  scope.defer(() => subscriber.close());
  await subscriber.open();

  const { ids, hubs, refused } = await application({ do: 'publish' });
  assert.deepEqual(hubs, HUBS[RELEASE]);
  assert.deepEqual(refused, [...hubs, 'without a key']);
  await subscriber.take(2 * hubs.length);
  const expected = hubs.flatMap((name, n) => [
    { type: 'event', event: 'message', data: `${name}\nprivate`, id: ids[2 * n] },
    { type: 'event', event: 'updated', data: name, id: `urn:${name}` },
  ]);
  assert.deepEqual(subscriber.events, expected);
  assert.deepEqual(subscriber.retries.slice(-1), [5000]);
}));
