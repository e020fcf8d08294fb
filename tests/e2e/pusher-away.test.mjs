// pusher-js 8 and Laravel Echo 2 as npm has them, when askrd goes away, and when their connection does.

import test from 'node:test';
import assert from 'node:assert/strict';
import { startHeld } from '../lib/askrd.mjs';
import { freePort } from '../lib/http.mjs';
import { APP, first, join, rawPusher, rawSocket, recorded, serverLibrary, start, startApplication, startEcho, subscribed } from '../lib/pusher.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped, until } from '../lib/scope.mjs';

// pusher-js waits 15 s when its first try finds nobody: two such tests run side by side.
test('askrd goes away', { concurrency: 2 }, (t) => Promise.all([
  t.test('after a SIGKILL all come back with their subscriptions, and nobody is told to have left', scoped(killed)),
  t.test('on SIGTERM every socket is closed with 4200, and pusher-js comes back', scoped(stopped)),
]));

async function killed(scope) {
  const { askrd, server, echo } = await start(scope);
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const rooms = [await join(ada, 'team'), await join(bob, 'team')];
  const [open, closed] = [ada.channel('orders'), ada.private('room.1')];
  const seen = [recorded(open), recorded(closed)];
  await Promise.all([open, closed].map(subscribed));
  await Promise.all([ada, bob].map(({ connector: { pusher } }) => { pusher.signin(); return pusher.user.signinDonePromise; }));
  const notes = [];
  ada.connector.pusher.user.bind('note', (data) => notes.push(data));

  await askrd.kill();
  await until('the clients notice', () => [ada, bob].every(({ states }) => states.includes('connecting') || states.includes('unavailable')));
  await askrd.start();
  await until('both are members again', () => rooms.every(({ snapshots }) => snapshots > 1));
  await until('both see both', () => rooms.every(({ here, joined }) => new Set([...here, ...joined]).size === 2));
  await until('all channels are back', async () => {
    const { channels } = await (await server.get({ path: '/channels' })).json();
    return ['orders', 'private-room.1', 'presence-team', '#server-to-user-ada'].every((name) => name in channels);
  });
  await server.trigger(['orders', 'private-room.1'], 'after', { n: 1 });
  await server.sendToUser('ada', 'note', { n: 2 });
  for (const list of seen) assert.deepEqual(await first(list, 1), [{ event: '.after', data: { n: 1 } }]);
  assert.deepEqual(await first(notes, 1), [{ n: 2 }]);
  assert.deepEqual(rooms.map(({ left }) => left), [[], []]);
}

test('a member whose connection breaks and who comes back was never away for the others', scoped(async (scope) => {
  const { askrd, application, echo } = await start(scope, { app: { presence_grace: 20.0 } });
  const ada = await echo('ada');
  const room = await join(ada, 'team');
  const cut = await relay(scope, askrd.tcp, (length) => length);
  const bob = await startEcho(scope, cut.port, application, 'bob');
  const atBob = await join(bob, 'team');
  await until('ada sees bob', () => room.joined.length === 1);
  cut.break();
  await until('bob is back', () => atBob.snapshots > 1);
  // Carol's coming is behind whatever bob's return has told.
  await join(await echo('carol'), 'team');
  await until('ada sees carol', () => room.joined.includes('CAROL'));
  assert.deepEqual([room.joined, room.left], [['BOB', 'CAROL'], []]);
  assert.deepEqual(atBob.here.slice(0, 2), ['ADA', 'BOB']);
}));

async function stopped(scope) {
  const { askrd, server, echo, port } = await start(scope);
  const ada = await echo('ada');
  const channel = ada.channel('orders');
  const seen = recorded(channel);
  await subscribed(channel);
  const raw = await rawPusher(scope, port);
  const plain = await rawSocket(scope, port, '/askr/ws?channel=orders');
  await until('the plain socket is open', () => plain.messages.length > 0);
  assert.deepEqual(await askrd.stop(), { code: 0, signal: null });
  assert.equal((await raw.end()).code, 4200);
  assert.ok([1001, 1012, 4200].includes((await plain.end()).code), `the plain socket: ${plain.closed.code}`);
  await askrd.start();
  await until('ada is subscribed again', async () => (await (await server.get({ path: '/channels/orders' })).json()).occupied);
  await server.trigger('orders', 'after', { n: 1 });
  assert.deepEqual(await first(seen, 1), [{ event: '.after', data: { n: 1 } }]);
}

test('with its socket held, askrd restarts and pusher-js is back at once', scoped(async (scope) => {
  const port = await freePort();
  const { pids, restart } = await startHeld(scope, { app: APP, server: { listen: [`127.0.0.1:${port}`] } }, [port]);
  const ada = await startEcho(scope, port, await startApplication(scope), 'ada');
  const channel = ada.channel('orders');
  const seen = recorded(channel);
  await subscribed(channel);
  const before = ada.socketId();
  ada.states.length = 0;

  await restart();
  await until('ada is connected again', () => ada.connector.pusher.connection.state === 'connected' && ada.socketId() !== before);
  // The first try waited for the new askrd: a second one would be told as "unavailable" or begin again.
  assert.deepEqual(ada.states, ['connecting', 'connected']);
  assert.equal(pids().length, 2);
  const server = serverLibrary(port);
  await until('ada is subscribed again', async () => (await (await server.get({ path: '/channels/orders' })).json()).occupied);
  await server.trigger('orders', 'after', { n: 1 });
  assert.deepEqual(await first(seen, 1), [{ event: '.after', data: { n: 1 } }]);
}));
