// Where Reverb is laxer than Pusher, and its users rely on it: the unchanged pusher-js and Laravel Echo, a
// hand-written client, and Pusher's server library, against askrd.

import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { APP, first, join, rawPusher, recorded, start, startPusher, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

const json = async (server, path, params) => (await server.get({ path, params })).json();

/** An application that signs for everybody, with this info. Resolves to its address for Echo. */
async function signing(scope, server, info) {
  const application = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const form = new URLSearchParams(body);
    const user = { user_id: request.headers['x-user'], user_info: info };
    const answer = server.authorizeChannel(form.get('socket_id'), form.get('channel_name'), user);
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise((resolve) => application.listen(0, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => { application.closeAllConnections(); application.close(resolve); }));
  return `http://127.0.0.1:${application.address().port}/broadcasting/auth`;
}

test('a hand-written client that names no protocol is served beside Echo', scoped(async (scope) => {
  const { server, port, echo } = await start(scope);
  const orders = recorded(await subscribed((await echo('ada')).channel('orders')));
  const raw = await rawPusher(scope, port, '');
  await raw.subscribe('orders');
  await server.trigger('orders', 'paid', { n: 1 });
  assert.deepEqual(await first(orders, 1), [{ event: '.paid', data: { n: 1 } }]);
  assert.deepEqual(JSON.parse((await raw.next('paid')).data), { n: 1 });
}));

test('an info that is too large is no wrong signature: Echo\'s error() names limit and setting', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  const authEndpoint = await signing(scope, server, { bio: 'x'.repeat(2000) });
  const ada = await echo('ada', { authEndpoint });
  const error = await subscribed(ada.join('team')).then(() => assert.fail('subscribed'), (refused) => refused);
  assert.deepEqual([error.type, error.status], ['LimitError', 403]);
  assert.match(error.error, /1024 bytes.*app\.user_info_bytes/);
}));

test('with the setting, Echo sees the whole of a large info', scoped(async (scope) => {
  const info = { bio: '"'.repeat(2000) };
  const { server, echo } = await start(scope, { app: { user_info_bytes: 10_000 } });
  const authEndpoint = await signing(scope, server, info);
  const here = new Promise((resolve, reject) => {
    echo('ada', { authEndpoint }).then((ada) => ada.join('team').here(resolve).error(reject), reject);
  });
  assert.deepEqual(await here, [info]);
}));

test('more members than Pusher allows, whispers without a rate, a batch of any size: settings of 0', scoped(async (scope) => {
  const { server, echo, port } = await start(scope, { app: { channel_members: 0, client_event_rate: 0, api_batch: 0 } });
  const ada = await join(await echo('ada'), 'team');
  for (let n = 0; n < 100; n += 1) {
    const raw = await rawPusher(scope, port);
    const member = { user_id: `u${n}`, user_info: { name: `u${n}` } };
    await raw.subscribe('presence-team', server.authorizeChannel(raw.socketId, 'presence-team', member));
  }
  await until('all of them have joined', () => ada.joined.length === 100);
  const bob = await join(await echo('bob'), 'team');
  assert.equal(bob.here.length, 102);
  const heard = [];
  bob.channel.listenForWhisper('typing', ({ n }) => heard.push(n));
  for (let n = 0; n < 200; n += 1) ada.channel.whisper('typing', { n });
  await until('every whisper is heard', () => heard.length === 200);

  const orders = recorded(await subscribed((await echo('carol')).channel('orders')));
  await server.triggerBatch(Array.from({ length: 50 }, (_, n) => ({ channel: 'orders', name: 'paid', data: { n } })));
  assert.deepEqual((await first(orders, 50)).map(({ data }) => data.n), Array.from({ length: 50 }, (_, n) => n));
}));

test('the limits that are set are named to Echo and to the server library', scoped(async (scope) => {
  const { server, echo } = await start(scope, { app: { channel_members: 1, client_event_rate: 2 } });
  const ada = await echo('ada');
  const team = await join(ada, 'team');
  const full = await subscribed((await echo('bob')).join('team')).then(() => assert.fail('subscribed'), (error) => error);
  assert.deepEqual([full.type, full.status], ['LimitError', 403]);
  assert.match(full.error, /1 \(app\.channel_members\)/);
  for (let n = 0; n < 9; n += 1) team.channel.whisper('typing', { n });
  await until('ada is told', () => ada.errors.length > 0);
  assert.match(ada.errors[0].data.message, /2 client events.*app\.client_event_rate/);
  const batch = Array.from({ length: 11 }, (_, n) => ({ channel: 'orders', name: 'paid', data: { n } }));
  await assert.rejects(server.triggerBatch(batch), ({ status, body }) => status === 400 && /10 events \(app\.api_batch\)/.test(body));
}));

test('info is answered as far as it applies; users, channels and connections as by Reverb', scoped(async (scope) => {
  const { server, echo } = await start(scope);
  await assert.rejects(server.get({ path: '/channels/presence-team/users' }), ({ status }) => status === 404);
  const [one, two, bob] = [await echo('ada'), await echo('ada'), await echo('bob')];
  for (const client of [one, two, bob]) {
    await join(client, 'team');
    await subscribed(client.channel('orders'));
  }
  const info = 'user_count,subscription_count,cache,everything';
  const team = { user_count: 2, subscription_count: 3 };
  assert.deepEqual(await json(server, '/channels/presence-team', { info }), { occupied: true, ...team });
  assert.deepEqual(await json(server, '/channels/orders', { info }), { occupied: true, subscription_count: 3 });
  assert.deepEqual(await json(server, '/channels', { info }), { channels: { 'presence-team': team, orders: { subscription_count: 3 } } });
  const told = await (await server.trigger(['orders', 'presence-team'], 'paid', {}, { info })).json();
  assert.deepEqual(told, { channels: { 'presence-team': team, orders: { subscription_count: 3 } } });
  assert.deepEqual(await json(server, '/channels/presence-team/users'), { users: [{ id: 'ada' }, { id: 'bob' }] });
  assert.deepEqual(await json(server, '/connections'), { connections: 3 });

  // The page of bob is closed by its own decision: he is gone at once, not after the grace time.
  bob.disconnect();
  await until('bob is gone', async () => (await json(server, '/channels/presence-team', { info })).user_count === 1);
}));

test('a cache miss has no data, and Echo is told of it', scoped(async (scope) => {
  const { echo, port } = await start(scope);
  const misses = [];
  (await echo('ada')).connector.pusher.subscribe('cache-price').bind('pusher:cache_miss', (data) => misses.push(data));
  assert.equal((await first(misses, 1)).length, 1);
  const raw = await rawPusher(scope, port);
  await raw.subscribe('cache-price');
  assert.deepEqual(await raw.next('pusher:cache_miss'), { event: 'pusher:cache_miss', channel: 'cache-price' });
}));

test('webhooks have the header names that Pusher writes, as the wire has them', scoped(async (scope) => {
  const heads = [];
  const receiver = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (part) => {
      heads.push(part.toString());
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
  });
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => receiver.close(resolve)));
  const { port } = await startPusher(scope, { app: { webhook_url: `http://127.0.0.1:${receiver.address().port}/hooks` } });
  const raw = await rawPusher(scope, port);
  await raw.subscribe('orders');
  const head = (await until('a webhook comes', () => heads.find((text) => text.includes('\r\n\r\n')))).split('\r\n\r\n')[0];
  const names = head.split('\r\n').slice(1).map((line) => line.split(':')[0]);
  for (const name of ['X-Pusher-Key', 'X-Pusher-Signature', 'Content-Type']) assert.ok(names.includes(name), `${name}: ${names}`);
  assert.ok(head.includes(`X-Pusher-Key: ${APP.key}`));
}));

test('presence goes on within the time that a planned restart takes, whatever the grace time is', scoped(async (scope) => {
  const { askrd, echo, server } = await start(scope, { app: { presence_grace: 3600 } });
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const [atAda, atBob] = [await join(ada, 'team'), await join(bob, 'team')];
  await askrd.stop();
  await askrd.start();
  // Both are back by themselves, each is shown both once more, and nobody came or left.
  await until('both see both', () => [atAda, atBob].every(({ here, snapshots }) => snapshots === 2 && here.length === 2));
  assert.deepEqual([atAda.joined, atAda.left, atBob.joined, atBob.left], [['BOB'], [], [], []]);
  const carol = await join(await echo('carol'), 'team');
  assert.deepEqual(carol.here, ['ADA', 'BOB', 'CAROL']);
  assert.equal((await json(server, '/channels/presence-team', { info: 'user_count' })).user_count, 3);
}));
