// Pusher's server library for Node, as npm has it: its calls, and the webhooks that it verifies.

import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { APP, first, join, recorded, serverLibrary, start, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

test('subscription counts reach pusher-js, webhooks the application with a signature that its library accepts', scoped(async (scope) => {
  const hooks = [];
  const receiver = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    hooks.push({ headers: request.headers, rawBody: body });
    response.end();
  });
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => { receiver.closeAllConnections(); receiver.close(resolve); }));
  const { server, echo } = await start(scope, {
    app: { subscription_counts: true, webhook_url: `http://127.0.0.1:${receiver.address().port}/hooks` },
  });
  const events = () => hooks.flatMap((hook) => {
    const webhook = server.webhook(hook);
    assert.ok(webhook.isValid(), 'it is signed');
    return webhook.getEvents();
  });
  const happened = (name, channel) => until(`${name} of ${channel}`, () => events().find((event) => event.name === name && event.channel === channel));

  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const counts = [];
  const channel = ada.connector.pusher.subscribe('cache-orders');
  channel.bind('pusher:subscription_count', ({ subscription_count: count }) => counts.push(count));
  await until('ada is counted', () => counts.at(-1) === 1);
  bob.connector.pusher.subscribe('cache-orders');
  await until('bob, too', () => counts.at(-1) === 2);
  assert.equal(channel.subscriptionCount, 2);
  await happened('channel_occupied', 'cache-orders');
  await happened('cache_miss', 'cache-orders');
  const room = await join(ada, 'team');
  assert.equal((await happened('member_added', 'presence-team')).user_id, 'ada');
  room.channel.whisper('typing', { n: 1 });
  const { event, data, user_id: by, socket_id: from } = await happened('client_event', 'presence-team');
  assert.deepEqual([event, JSON.parse(data), by, from], ['client-typing', { n: 1 }, 'ada', ada.socketId()]);
  ada.disconnect();
  bob.disconnect();
  await happened('channel_vacated', 'cache-orders');
  assert.equal((await happened('member_removed', 'presence-team')).user_id, 'ada');
}));

test('the server library for Node: trigger, batch, channels, users, and what it is refused', scoped(async (scope) => {
  const { server, echo, port } = await start(scope);
  const json = async (path, params) => (await server.get({ path, params })).json();
  assert.deepEqual(await json('/channels'), { channels: {} });
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  const orders = recorded(await subscribed(ada.channel('orders')));
  for (const one of [ada, bob]) await join(one, 'team');
  await server.triggerBatch([
    { channel: 'orders', name: 'one', data: { n: 1 } },
    { channel: 'orders', name: 'two', data: { n: 2 } },
  ]);
  assert.deepEqual((await first(orders, 2)).map(({ event }) => event), ['.one', '.two']);
  assert.deepEqual(await json('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: { 'presence-team': { user_count: 2 } } });
  assert.deepEqual(await json('/channels/presence-team', { info: 'user_count' }), { occupied: true, user_count: 2 });
  assert.deepEqual(await json('/channels/nobody'), { occupied: false });
  const info = await (await server.trigger('orders', 'three', {}, { info: 'subscription_count' })).json();
  assert.deepEqual(info, { channels: { orders: { subscription_count: 1 } } });

  await assert.rejects(serverLibrary(port, { ...APP, secret: 'x'.repeat(32) }).trigger('orders', 'no', {}), ({ status }) => status === 401);
  await assert.rejects(serverLibrary(port, { ...APP, id: '8' }).trigger('orders', 'no', {}), ({ status }) => status === 404);
  await assert.rejects(server.get({ path: '/channels/orders/users' }), ({ status }) => status === 400);
  await assert.rejects(server.trigger('orders', 'large', 'x'.repeat(3 << 20)), ({ status }) => status === 413);
  await server.trigger('orders', 'four', {});
  assert.deepEqual((await first(orders, 4)).map(({ event }) => event), ['.one', '.two', '.three', '.four']);
}));
