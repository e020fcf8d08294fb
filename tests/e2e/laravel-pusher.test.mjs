// Laravel 8.83's own driver `pusher`, its broadcast()->toOthers() and its /broadcasting/auth, with Echo.
//
// Debian has Laravel but not the package pusher/pusher-php-server that the driver calls: unless PUSHER_PHP names
// its autoload.php, a stand-in of the tests does (tests/laravel-app/pusher). Pusher's own libraries, as they
// are, are in pusher.test.mjs (Node) and pusher-python.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { ask } from '../lib/http.mjs';
import { services } from '../lib/people.mjs';
import { startSite } from '../lib/php.mjs';
import { APP, first, recorded, startEcho, startPusher, subscribed } from '../lib/pusher.mjs';
import { scoped } from '../lib/scope.mjs';

async function start(scope, more = {}) {
  const { web } = services();
  const storage = scope.path('storage');
  mkdirSync(storage);
  if (web.uid !== undefined) chownSync(storage, web.uid, web.gid);
  const askrd = await startPusher(scope);
  const site = await startSite(scope, askrd, {
    front: path.join(TESTS, 'laravel-app/public/index.php'),
    env: {
      APP_STORAGE: storage,
      BROADCAST_DRIVER: 'pusher',
      PUSHER_APP_ID: APP.id,
      PUSHER_APP_KEY: APP.key,
      PUSHER_APP_SECRET: APP.secret,
      PUSHER_HOST: '127.0.0.1',
      PUSHER_PORT: String(askrd.port),
      PUSHER_SCHEME: 'http',
      ...more,
    },
  });
  // Pages go through nginx, as does Echo's question at /broadcasting/auth.
  return { site, echo: (user) => startEcho(scope, site.port, site, user) };
}

test('an event of a Laravel controller reaches the others, on channels that /broadcasting/auth has opened', scoped(async (scope) => {
  const { site, echo } = await start(scope);
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const seen = await Promise.all([ada, bob].map(async (one) => {
    const [open, closed] = [one.channel('orders'), one.private('orders.17')];
    const lists = [recorded(open), recorded(closed)];
    await Promise.all([open, closed].map(subscribed));
    return lists;
  }));
  await assert.rejects(subscribed(ada.private('orders.18')), ({ status }) => status === 403);
  const here = await new Promise((resolve) => { ada.join('team').here(resolve); });
  assert.deepEqual(here, [{ name: 'ADA' }]);

  const paid = (headers = {}) => ask(site, '/orders/17/paid', { method: 'POST', headers: { 'X-User': 'ada', ...headers } });
  const answer = await paid({ 'X-Socket-ID': ada.socketId() });
  assert.equal(answer.status, 200, answer.body);
  assert.deepEqual(JSON.parse(answer.body), { socket: ada.socketId() });
  assert.equal((await paid()).status, 200);
  const event = { event: 'OrderPaid', data: { order: 17 } };
  for (const list of seen[1]) assert.deepEqual(await first(list, 2), [event, event]);
  // Hers is the second, which left nobody out.
  for (const list of seen[0]) {
    assert.deepEqual(await first(list, 1), [event]);
    assert.equal(list.length, 1);
  }
}));

test('Laravel is told when askrd refuses what it signs, and its channels stay closed', scoped(async (scope) => {
  const { site, echo } = await start(scope, { PUSHER_APP_SECRET: 'a secret that askrd does not have' });
  assert.equal((await ask(site, '/orders/17/paid', { method: 'POST' })).status, 500);
  assert.match(readFileSync(scope.path('storage', 'logs/laravel.log'), 'utf8'), /BroadcastException.*Pusher error: .*signature/);
  const ada = await echo('ada');
  await assert.rejects(subscribed(ada.private('orders.17')), ({ status }) => status === 401);
}));
