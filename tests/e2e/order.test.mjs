// One channel, every way of listening to it: Server-Sent Events raw and as JSON, Pusher's protocol (bare, by
// pusher-js, and with recovery) and the plain WebSocket. All see the same events in the same order, also
// those who read slowly, and those who go away and come back with their cursor.

import test from 'node:test';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { assertRising } from '../lib/cursor.mjs';
import { metrics, parsed, unread } from '../lib/faults.mjs';
import { php } from '../lib/php.mjs';
import { rawPusher, rawSocket, serverLibrary, startApplication, startEcho, startPusher, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const PUBLISHERS = 3;
const EACH = 700;
const BY_API = 40;
const TOTAL = PUBLISHERS * EACH + BY_API;
/** Enough that sockets and outboxes cannot hold it all: who does not read has to be replayed to. */
const SIZE = 1900;

const name = (data) => { const { by, n } = JSON.parse(data); return `${by}.${n}`; };

/** Frames of a WebSocket that bear an event of the channel. */
const events = (raw) => raw.messages.filter(({ channel, event }) => channel === 'orders' && event === 'counted');

/** The same of an event stream, which begins with what askrd itself says. */
const counted = (seen) => seen.events.filter(({ event }) => event === 'counted');

/** A WebSocket over askrd's Unix socket that is not read before `resume()`: the kernel keeps little for it. */
async function slowPlain(scope, askrd) {
  const socket = new WebSocket(`ws+unix:${askrd.socket}:/askr/ws?channel=orders`);
  scope.defer(() => socket.terminate());
  const raw = { socket, messages: [] };
  socket.on('message', (text) => raw.messages.push(JSON.parse(text)));
  await until('it is subscribed', () => raw.messages.some((message) => message.subscribed));
  socket.pause();
  return raw;
}

test('all subscribers of a channel see the same events in the same order', scoped(async (scope) => {
  const askrd = await startPusher(scope);
  const { port } = askrd;
  const server = serverLibrary(port);

  const raw = await subscribe(scope, { port }, 'orders');
  const json = await subscribe(scope, { port }, 'orders', { query: { format: 'json' } });
  const leaves = await subscribe(scope, { port }, 'orders', { reconnect: 1 });
  const slow = await unread(scope, askrd.unix, 'orders');
  const pusher = await rawPusher(scope, port);
  await pusher.subscribe('orders');
  const recovery = await rawPusher(scope, port, 'protocol=7&askr=1');
  await recovery.subscribe('orders');
  const plain = await rawSocket(scope, port, '/askr/ws?channel=orders');
  await until('it is subscribed', () => plain.messages.some((message) => message.subscribed));
  const plainSlow = await slowPlain(scope, askrd);
  const ada = await startEcho(scope, port, await startApplication(scope), 'ada');
  const byEcho = [];
  await subscribed(ada.channel('orders').listen('.counted', (data) => byEcho.push(JSON.stringify(data))));

  const publishers = Array.from({ length: PUBLISHERS }, (_, by) => php(scope, askrd, 'counted.php', ['orders', by, EACH, SIZE, 600]));
  // The HTTP API publishes into the same ring. One after the other, so that its order is known.
  const api = (async () => { for (let n = 0; n < BY_API; n += 1) await server.trigger('orders', 'counted', { by: 'api', n }); })();

  // Two leave in the middle. One comes back by itself, the other over a WebSocket.
  await until('some events have arrived', () => counted(leaves).length > 100 && events(plain).length > 100);
  leaves.request.destroy();
  const comesBack = await rawSocket(scope, port, `/askr/ws?channel=orders&last_event_id=${events(plain)[99].id}`);
  for (const { code, err, out } of await Promise.all(publishers)) assert.equal(code, 0, out + err);
  await api;
  slow.socket.resume();
  plainSlow.socket.resume();

  // As JSON the name is inside.
  const asJson = () => json.events.map(({ data }) => JSON.parse(data)).filter(({ event }) => event === 'counted');
  const all = {
    'SSE, raw': () => counted(raw).map(({ data }) => data),
    'SSE, JSON': () => asJson().map(({ data }) => data),
    'SSE, slow': () => counted(parsed(slow)).map(({ data }) => data),
    'SSE, away for a moment': () => counted(leaves).map(({ data }) => data),
    Pusher: () => events(pusher).map(({ data }) => data),
    'Pusher, with recovery': () => events(recovery).map(({ data }) => data),
    'Laravel Echo': () => byEcho,
    plain: () => events(plain).map(({ data }) => data),
    'plain, slow': () => events(plainSlow).map(({ data }) => data),
    'plain, from the 100th': () => [...events(plain).slice(0, 100), ...events(comesBack)].map(({ data }) => data),
  };
  const order = {};
  for (const [who, seen] of Object.entries(all)) {
    await until(`${who} has ${TOTAL} events`, () => seen().length >= TOTAL);
    order[who] = seen().map(name);
  }
  const [first, ...others] = Object.keys(order);
  assert.equal(order[first].length, TOTAL);
  for (const who of others) assert.deepEqual(order[who], order[first], `${who} as ${first}`);
  // What each publisher published, it published in this order.
  for (const [by, count] of [[0, EACH], [1, EACH], [2, EACH], ['api', BY_API]]) {
    const own = order[first].filter((event) => event.startsWith(`${by}.`));
    assert.deepEqual(own, Array.from({ length: count }, (_, n) => `${by}.${n}`));
  }
  // The publishers were at work at the same time, or this would show nothing.
  const turns = order[first].filter((event, i) => i > 0 && event.split('.')[0] !== order[first][i - 1].split('.')[0]).length;
  assert.ok(turns > 20, `the publishers took ${turns} turns`);

  // The same positions, too, where a protocol tells them.
  const cursors = counted(raw).map(({ id }) => id);
  assertRising(cursors);
  assert.deepEqual(asJson().map(({ id }) => id), cursors);
  assert.deepEqual(events(plain).map(({ id }) => id), cursors);
  assert.deepEqual(events(recovery).map(({ id }) => id), cursors);
  assert.ok(events(pusher).every((event) => !('id' in event)));

  const told = await metrics(askrd);
  assert.ok(told['askr_slow_clients_total{action="replay"}'] >= 2, 'both slow ones went over to replay');
  assert.equal(told.askr_gaps_told_total, 0);
}));
