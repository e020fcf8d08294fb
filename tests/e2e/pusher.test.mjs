// pusher-js 8 and Laravel Echo 2 as npm has them, against askrd: every kind of channel, whispers, signing
// in, and refusals. Events are published with Pusher's server library.

import test from 'node:test';
import assert from 'node:assert/strict';
import PusherClient from 'pusher-js';
import WebSocket from 'ws';
import { publish } from '../lib/php.mjs';
import { APP, echoOptions, first, join, rawPusher, rawSocket, recorded, start, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

test('a public channel: events of the HTTP API and of PHP arrive as they were published', scoped(async (scope) => {
  const { askrd, server, echo } = await start(scope);
  const ada = await echo('ada');
  const orders = ada.channel('orders');
  const seen = recorded(orders);
  await subscribed(orders);
  await server.trigger('orders', 'order.paid', { order: 17, note: 'тест "quoted" \u2028 ✓' });
  await server.trigger('other', 'order.paid', { order: 18 });
  await publish(scope, askrd, 'orders', '{"order":19}', { event: 'order.shipped' });
  // What PHP publishes need not be JSON: Pusher's clients then give the text itself.
  await publish(scope, askrd, 'orders', 'plain text', { event: 'order.noted' });
  assert.deepEqual(await first(seen, 3), [
    { event: '.order.paid', data: { order: 17, note: 'тест "quoted" \u2028 ✓' } },
    { event: '.order.shipped', data: { order: 19 } },
    { event: '.order.noted', data: 'plain text' },
  ]);
  ada.leave('orders');
  await until('nobody is subscribed', async () => !(await (await server.get({ path: '/channels/orders' })).json()).occupied);
  await server.trigger('orders', 'order.paid', {});
  assert.equal(seen.length, 3);
}));

test('a private channel, and toOthers: the one who sent does not get it', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  assert.match(ada.socketId(), /^\d+\.\d+$/);
  const [atAda, atBob] = await Promise.all([ada, bob].map(async (one) => {
    const channel = one.private('room.1');
    const seen = recorded(channel);
    await subscribed(channel);
    return seen;
  }));
  await server.trigger('private-room.1', 'said', { n: 1 }, { socket_id: ada.socketId() });
  await server.trigger(['private-room.1', 'elsewhere'], 'said', { n: 2 });
  assert.deepEqual(await first(atBob, 2), [{ event: '.said', data: { n: 1 } }, { event: '.said', data: { n: 2 } }]);
  assert.deepEqual(await first(atAda, 1), [{ event: '.said', data: { n: 2 } }]);
  assert.equal(atAda.length, 1);
}));

test('presence: two users on three connections come and go once each', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const [one, two, bob] = [await echo('ada'), await echo('ada'), await echo('bob')];
  const atOne = await join(one, 'team');
  assert.deepEqual(atOne.here, ['ADA']);
  const atBob = await join(bob, 'team');
  assert.deepEqual(atBob.here, ['ADA', 'BOB']);
  const atTwo = await join(two, 'team');
  assert.deepEqual(atTwo.here, ['ADA', 'BOB'], 'two connections of a user are one member');
  const users = async () => (await (await server.get({ path: '/channels/presence-team/users' })).json()).users.map(({ id }) => id).sort();
  assert.deepEqual(await users(), ['ada', 'bob']);

  // The first of ada's connections ends: she is still there. Then the last.
  one.disconnect();
  const carol = await echo('carol');
  const atCarol = await join(carol, 'team');
  assert.deepEqual(atCarol.here, ['ADA', 'BOB', 'CAROL']);
  two.leave('team');
  await until('ada has left', () => atBob.left.length > 0);
  await until('carol is told, too', () => atCarol.left.length > 0);
  carol.disconnect();
  await until('carol has left', () => atBob.left.length > 1);
  assert.deepEqual([atBob.joined, atBob.left], [['CAROL'], ['ADA', 'CAROL']]);
  assert.deepEqual([atCarol.joined, atCarol.left], [[], ['ADA']]);
  assert.deepEqual([atOne.joined, atOne.left], [['BOB'], []]);
  assert.deepEqual(await users(), ['bob']);
}));

test('an encrypted channel: its members read it, the wire does not show it', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const ada = await echo('ada');
  const channel = ada.encryptedPrivate('vault');
  const seen = recorded(channel);
  await subscribed(channel);
  const wire = await rawPusher(scope, server.config.port);
  const { auth } = server.authorizeChannel(wire.socketId, 'private-encrypted-vault');
  await wire.subscribe('private-encrypted-vault', { auth });
  await server.trigger('private-encrypted-vault', 'opened', { combination: '12-34-56' });
  assert.deepEqual(await first(seen, 1), [{ event: '.opened', data: { combination: '12-34-56' } }]);
  const data = JSON.parse((await wire.next('opened')).data);
  assert.deepEqual(Object.keys(data).sort(), ['ciphertext', 'nonce']);
  assert.ok(!wire.texts.some((text) => text.includes('12-34-56')));
}));

test('cache channels: the last event for who comes later, a miss where there is none', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const ada = await echo('ada');
  for (const name of ['cache-price', 'private-cache-price', 'presence-cache-price', 'private-encrypted-cache-price']) {
    const pusher = ada.connector.pusher;
    const seen = [];
    const channel = pusher.subscribe(name);
    channel.bind('pusher:cache_miss', () => seen.push('miss'));
    channel.bind('changed', (data) => seen.push(data));
    assert.deepEqual(await first(seen, 1), ['miss'], name);
    await server.trigger(name, 'changed', { price: 1 });
    await server.trigger(name, 'changed', { price: 2 });
    assert.deepEqual(await first(seen, 3), ['miss', { price: 1 }, { price: 2 }], name);
    const later = [];
    const bob = (await echo('bob')).connector.pusher.subscribe(name);
    bob.bind('pusher:cache_miss', () => later.push('miss'));
    bob.bind('changed', (data) => later.push(data));
    await first(later, 1);
    await server.trigger(name, 'changed', { price: 3 });
    assert.deepEqual(await first(later, 2), [{ price: 2 }, { price: 3 }], name);
  }
}));

test('whispers reach the others, never the one who whispers, and not more than ten a second', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const [atAda, atBob] = await Promise.all([ada, bob].map(async (one) => {
    const channel = one.join('team');
    await subscribed(channel);
    const seen = [];
    channel.listenForWhisper('typing', (data, meta) => seen.push({ data, user: meta?.user_id }));
    return { channel, seen };
  }));
  atAda.channel.whisper('typing', { key: 'a' });
  assert.deepEqual(await first(atBob.seen, 1), [{ data: { key: 'a' }, user: 'ada' }]);
  atBob.channel.whisper('typing', { key: 'b' });
  // Her own came before his, had it come back to her.
  assert.deepEqual(await first(atAda.seen, 1), [{ data: { key: 'b' }, user: 'bob' }]);

  for (let n = 0; n < 30; n += 1) atAda.channel.whisper('typing', { n });
  await until('ada is told that it is too much', () => ada.errors.length > 0);
  assert.deepEqual(ada.errors[0].type, 'PusherError');
  assert.equal(ada.errors[0].data.code, 4301);
  const refused = await until('bob has the rest', () => ada.errors.length + atBob.seen.length === 31 && ada.errors.length);
  assert.ok(refused >= 15, `${refused} of 30 at once are refused`);
  // Told, and the connection goes on.
  assert.equal(ada.connector.pusher.connection.state, 'connected');
  const names = atBob.seen.slice(1).map(({ data }) => data.n);
  assert.deepEqual(names, names.map((_, i) => i), 'what is let through is in order');

  // A public channel has none, nor a channel that one is not on.
  const raw = await rawPusher(scope, server.config.port);
  await raw.subscribe('public');
  for (const channel of ['public', 'private-elsewhere']) {
    raw.socket.send(JSON.stringify({ event: 'client-typing', channel, data: {} }));
    const { data } = await until('an error', () => raw.messages.findLast(({ event }) => event === 'pusher:error'));
    assert.equal(typeof data.message, 'string');
  }
  await until('both are told', () => raw.messages.filter(({ event }) => event === 'pusher:error').length === 2);
}));

test('signing in: events to a user reach all connections of that user, and only these', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const clients = await Promise.all(['ada', 'ada', 'bob'].map((user) => echo(user)));
  const seen = clients.map(() => []);
  await Promise.all(clients.map(async ({ connector: { pusher } }, n) => {
    pusher.user.bind('note', (data) => seen[n].push(data));
    pusher.signin();
    await pusher.user.signinDonePromise;
    assert.equal(pusher.user.user_data.id, ['ada', 'ada', 'bob'][n]);
  }));
  await server.sendToUser('ada', 'note', { n: 1 });
  await server.sendToUser('bob', 'note', { n: 2 });
  assert.deepEqual(await Promise.all(seen.map((list) => first(list, 1))), [[{ n: 1 }], [{ n: 1 }], [{ n: 2 }]]);

  // The server ends her connections; the client knows from the code that it may not come back.
  assert.equal((await server.terminateUserConnections('ada')).status, 200);
  await until('ada is away', () => clients.slice(0, 2).every(({ connector: { pusher } }) => pusher.connection.state === 'disconnected'));
  assert.ok(clients[0].errors.some(({ data }) => data?.code === 4009), JSON.stringify(clients[0].errors));
  assert.equal(clients[2].connector.pusher.connection.state, 'connected');
  assert.deepEqual(seen.map((list) => list.length), [1, 1, 1]);
}));

test('a watchlist tells who of it comes online and goes offline, once for a user', scoped(async (scope) => {
  const { echo } = await start(scope);
  const signedIn = async (user, headers) => {
    const { connector: { pusher } } = await echo(user, { headers });
    pusher.signin();
    await pusher.user.signinDonePromise;
    return pusher;
  };
  const early = await signedIn('bob');
  const { connector: { pusher: ada } } = await echo('ada', { headers: { 'X-Watch': 'bob,carol' } });
  const told = [];
  for (const what of ['online', 'offline']) ada.user.watchlist.bind(what, ({ user_ids: ids }) => told.push(...ids.map((id) => `${id} ${what}`)));
  ada.signin();
  await until('what is so now', () => told.length >= 2);
  assert.deepEqual(told.sort(), ['bob online', 'carol offline']);
  told.length = 0;
  const late = await signedIn('bob');
  await signedIn('dave');
  const carol = await signedIn('carol');
  await until('carol is there', () => told.length > 0);
  late.disconnect();
  carol.disconnect();
  await until('carol is away', () => told.length > 1);
  early.disconnect();
  await until('bob is away', () => told.length > 2);
  assert.deepEqual(told, ['carol online', 'carol offline', 'bob offline']);
}));

test('a wrong signature, and a refusal by the application, reach .error() and the channel stays closed', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const forger = await echo('eve', { headers: { 'X-Forged': '1' } });
  for (const open of [() => forger.private('room.1'), () => forger.join('team'), () => forger.encryptedPrivate('vault')]) {
    const error = await new Promise((resolve, reject) => { open().error(resolve).subscribed(() => reject(new Error('subscribed'))); });
    assert.equal(error.type, 'AuthError');
    assert.equal(error.status, 401);
    assert.equal(typeof error.error, 'string');
  }
  // This one never reaches askrd: the application says 403 to Echo.
  const ada = await echo('ada');
  await assert.rejects(subscribed(ada.private('room-closed')), ({ status }) => status === 403);
  // A signature for one socket or channel is none for another.
  const [raw, other] = [await rawPusher(scope, server.config.port), await rawPusher(scope, server.config.port)];
  const foreign = [
    ['private-a', server.authorizeChannel(other.socketId, 'private-a')],
    ['private-b', server.authorizeChannel(raw.socketId, 'private-a')],
    ['presence-a', { ...server.authorizeChannel(raw.socketId, 'presence-a', { user_id: 'ada' }), channel_data: '{"user_id":"bob"}' }],
    ['private-c', {}],
  ];
  for (const [channel, data] of foreign) {
    raw.send('pusher:subscribe', { channel, ...data });
    const error = JSON.parse((await raw.next('pusher:subscription_error', channel)).data);
    assert.deepEqual([error.type, error.status], ['AuthError', 401], channel);
  }
  await server.trigger(['private-room.1', 'private-a', 'private-b', 'private-c', 'presence-a'], 'secret', {});
  await raw.subscribe('last');
  await server.trigger('last', 'end', {});
  await raw.next('end');
  assert.ok(!raw.messages.some(({ event }) => event === 'secret'));
}));

test('an unknown key is told 4001 and the client stays away; a forged sign-in is closed with 4009', scoped(async (scope) => {
  const { port, application, server } = await start(scope);
  const stranger = new PusherClient('no-such-key', { ...echoOptions(port, application, 'eve'), cluster: '' });
  scope.defer(() => stranger.disconnect());
  const errors = [];
  stranger.connection.bind('error', (error) => errors.push(error));
  await until('it is refused', () => stranger.connection.state === 'disconnected');
  assert.equal(errors[0].data?.code ?? errors[0].error?.data?.code, 4001, JSON.stringify(errors));
  assert.ok(!stranger.connection.retryTimer, 'it will not try again');
  const raw = await rawSocket(scope, port, '/app/no-such-key?protocol=7');
  assert.equal((await raw.end()).code, 4001);
  const forged = await rawPusher(scope, port);
  const { user_data } = server.authenticateUser(forged.socketId, { id: 'ada' });
  forged.send('pusher:signin', { auth: `${APP.key}:${'0'.repeat(64)}`, user_data });
  assert.equal((await forged.end()).code, 4009);
}));

test('a foreign origin is told 4009, a listed one is served', scoped(async (scope) => {
  const { port } = await start(scope, { app: { allowed_origins: ['https://shop.example'] } });
  const opened = (origin) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/app/${APP.key}?protocol=7`, { origin });
    socket.on('message', (text) => { resolve(JSON.parse(text)); socket.terminate(); });
    socket.on('error', () => {});
  });
  assert.equal((await opened('https://shop.example')).event, 'pusher:connection_established');
  assert.equal((await opened('https://evil.example')).data.code, 4009);
}));
