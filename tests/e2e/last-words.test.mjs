// What askrd says last reaches clients as they are: pusher-js reads why it was closed and stays away, and
// nginx passes a refusal on although the request's body is still on its way.

import test from 'node:test';
import assert from 'node:assert/strict';
import PusherClient from 'pusher-js';
import { metric, upTo } from '../lib/faults.mjs';
import { ask } from '../lib/http.mjs';
import { startSite } from '../lib/php.mjs';
import { APP, startPusher } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

test('pusher-js that floods reads 4301, and does not come back to flood again', scoped(async (scope) => {
  const askrd = await startPusher(scope);
  const client = new PusherClient(APP.key, {
    cluster: 'x', wsHost: '127.0.0.1', wsPort: askrd.port, forceTLS: false, enabledTransports: ['ws'], disableStats: true,
  });
  const sockets = [];
  scope.defer(() => {
    client.disconnect();
    // Its WebSocket forgets a timer of 30 s where the server has closed it.
    for (const socket of sockets) clearTimeout(socket._closeTimer);
  });
  const [errors, states] = [[], []];
  client.connection.bind('error', (error) => errors.push(error));
  client.connection.bind('state_change', ({ current }) => states.push(current));
  client.connection.bind('connected', () => {
    sockets.push(client.connection.connection.transport.socket);
    for (const n of upTo(3000)) client.send_event('pusher:ping', { n });
  });
  await until('it gives up', () => client.connection.state === 'disconnected');
  assert.deepEqual(states.filter((state) => state === 'connected').length, 1, states.join());
  assert.ok(errors.some(({ error, data }) => (error?.data ?? data)?.code === 4301), JSON.stringify(errors));
  assert.equal(await metric(askrd, 'askr_streams'), 0);
  assert.equal(await metric(askrd, 'askr_accepted_total'), 1);
}));

test('bodies that are too long are refused with 413 through nginx, each of them', scoped(async (scope) => {
  const askrd = await startPusher(scope, { app: { api_payload: '10KiB' } });
  const site = await startSite(scope, askrd, { front: '/dev/null', workers: 1 });
  const body = Buffer.alloc(900_000, 'x');
  const answers = [];
  for (const path of ['/askr/subscribe', '/apps/7/events']) {
    const one = async () => {
      const { status } = await ask({ port: site.port }, path, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
      answers.push(`${path} ${status}`);
    };
    // Eight at a time.
    for (const _ of upTo(15)) await Promise.all(upTo(8).map(one));
  }
  const expected = ['/askr/subscribe', '/apps/7/events'].flatMap((path) => Array(120).fill(`${path} 413`));
  assert.deepEqual(answers, expected);
  await until('nothing is left', async () => await metric(askrd, 'askr_connections_ending') === 0);
}));
