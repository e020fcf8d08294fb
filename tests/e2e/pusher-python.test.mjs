// PyPI's `pusher` as the server's library and `pysher` as a subscriber, both as they are, beside pusher-js.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { PYTHON, TESTS } from '../lib/built.mjs';
import { run } from '../lib/process.mjs';
import { APP, MASTER_KEY, first, recorded, startApplication, startEcho, startPusher, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

const script = (name) => path.join(TESTS, 'python', name);

/** One result for each of the calls, in order. */
async function call(port, calls, app = APP) {
  const input = JSON.stringify({
    app: { app_id: app.id, key: app.key, secret: app.secret, host: '127.0.0.1', port, encryption_master_key_base64: MASTER_KEY },
    calls,
  });
  const { code, out, err } = await run(PYTHON, [script('server.py')], { input });
  assert.equal(code, 0, err);
  return JSON.parse(out);
}

test('the server library for Python: trigger, batch, channels, users, encrypted and to a user; what it is refused', scoped(async (scope) => {
  const { port } = await startPusher(scope);
  const application = await startApplication(scope);
  const ada = await startEcho(scope, port, application, 'ada');
  const seen = recorded(await subscribed(ada.channel('orders')));
  const vault = recorded(await subscribed(ada.encryptedPrivate('vault')));
  await subscribed(ada.join('team'));
  const { pusher } = ada.connector;
  pusher.signin();
  await pusher.user.signinDonePromise;
  const notes = [];
  pusher.user.bind('note', (data) => notes.push(data));

  const results = await call(port, [
    ['trigger', { channels: ['orders', 'elsewhere'], event_name: 'paid', data: { n: 1, text: 'naïve ✓' } }],
    ['trigger', { channels: 'orders', event_name: 'paid', data: { n: 2 }, socket_id: ada.socketId() }],
    ['trigger_batch', { batch: [{ channel: 'orders', name: 'paid', data: { n: 3 } }, { channel: 'orders', name: 'paid', data: { n: 4 } }] }],
    ['trigger', { channels: 'private-encrypted-vault', event_name: 'opened', data: { n: 5 } }],
    ['send_to_user', { user_id: 'ada', event_name: 'note', data: { n: 6 } }],
    ['channels_info', { prefix_filter: 'presence-', attributes: ['user_count'] }],
    ['channels_info', { prefix_filter: 'none-' }],
    ['channel_info', { channel: 'presence-team', attributes: ['user_count'] }],
    ['channel_info', { channel: 'orders', attributes: ['subscription_count'] }],
    ['channel_info', { channel: 'nobody' }],
    ['users_info', { channel: 'presence-team' }],
    ['users_info', { channel: 'orders' }],
  ]);
  assert.deepEqual(results, [
    {}, {}, {}, {}, {},
    { channels: { 'presence-team': { user_count: 1 } } },
    { channels: {} },
    { occupied: true, user_count: 1 },
    { occupied: true, subscription_count: 1 },
    { occupied: false },
    { users: [{ id: 'ada' }] },
    { error: 'PusherBadRequest' },
  ]);
  assert.deepEqual((await first(seen, 3)).map(({ data }) => data), [{ n: 1, text: 'naïve ✓' }, { n: 3 }, { n: 4 }]);
  assert.deepEqual((await first(vault, 1)).map(({ data }) => data), [{ n: 5 }]);
  assert.deepEqual(await first(notes, 1), [{ n: 6 }]);

  // Another secret, another application, and the wrong key for both.
  for (const [app, error] of [
    [{ ...APP, secret: 'x'.repeat(40) }, 'PusherBadAuth'], [{ ...APP, key: 'other' }, 'PusherBadAuth'], [{ ...APP, id: '8' }, 'PusherBadStatus'],
  ]) {
    assert.deepEqual(await call(port, [['trigger', { channels: 'orders', event_name: 'paid', data: {} }]], app), [{ error }]);
  }
  // 3.3.4 leaves /apps/{id} out of this one path, so there is no such page here, or anywhere. The library for
  // Node ends connections (pusher.test.mjs).
  assert.deepEqual(await call(port, [['terminate_user_connections', { user_id: 'ada' }]]), [{ error: 'PusherBadStatus' }]);
  assert.equal(pusher.connection.state, 'connected');
  assert.equal(seen.length, 3);
}));

test('pysher receives events, is a member, whispers and is whispered to', scoped(async (scope) => {
  const { port } = await startPusher(scope);
  const application = await startApplication(scope);
  const ada = await startEcho(scope, port, application, 'ada');
  const whispers = [];
  const room = ada.private('room').listenForWhisper('typing', (data) => whispers.push(data));
  const joined = [];
  const team = ada.join('team').joining(({ name }) => joined.push(name));
  await Promise.all([room, team].map(subscribed));

  const python = scope.start('pysher', PYTHON, [script('subscriber.py'), port, APP.key, APP.secret, 'orders', 'private-room', 'presence-team'].map(String));
  const seen = () => python.output().split('\n').filter((line) => line.startsWith('[')).map((line) => JSON.parse(line));
  const arrived = (event, count = 1) => until(`${count} of ${event}`, () => {
    const found = seen().filter(([name]) => name === event);
    return found.length >= count && found;
  });
  const subscriptions = await arrived('pusher_internal:subscription_succeeded', 3);
  assert.deepEqual(JSON.parse(subscriptions.find(([, channel]) => channel === 'presence-team')[2]).presence.ids.sort(), ['ada', 'py']);
  await until('ada sees it', () => joined.length > 0);
  assert.deepEqual(joined, ['PY']);

  await call(port, [
    ['trigger', { channels: ['orders', 'private-room'], event_name: 'paid', data: { n: 1 } }],
    ['trigger', { channels: 'private-room', event_name: 'whisper', data: {} }],
  ]);
  const paid = await arrived('paid', 2);
  assert.deepEqual(paid.map(([, channel, data]) => [channel, JSON.parse(data)]), [['orders', { n: 1 }], ['private-room', { n: 1 }]]);
  assert.deepEqual(await first(whispers, 1), [{ by: 'py' }]);
  room.whisper('typing', { by: 'ada' });
  assert.deepEqual((await arrived('client-typing')).map(([, channel, data]) => [channel, data]), [['private-room', { by: 'ada' }]]);
  const carol = await startEcho(scope, port, application, 'carol');
  carol.join('team');
  assert.deepEqual((await arrived('pusher_internal:member_added')).map(([, , data]) => JSON.parse(data).user_id), ['carol']);
}));
