// clients/pusher-recovery without a server: which of two cursors is before the other, and what is asked for after a channel
// was left. The whole is in e2e/recovery.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import PusherClient from 'pusher-js';
import { until } from '../lib/scope.mjs';
import { isBefore } from '../../clients/pusher-recovery/cursor.js';
import { withRecovery } from '../../clients/pusher-recovery/index.js';

/** A cursor across hosts: the position of each ring. */
function vector(positions) {
  const bytes = Object.entries(positions).sort().flatMap(([ring, position]) => {
    const leb = [];
    for (let rest = BigInt(position); ; rest >>= 7n) {
      leb.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
      if (rest <= 0x7fn) break;
    }
    return [...Buffer.from(ring, 'hex'), ...leb];
  });
  return `~${Buffer.from(bytes).toString('base64url')}`;
}

const [A, B] = ['0a0b0c0d0e', 'fffefdfcfb'];

test('of one ring the lower position is before the higher', () => {
  const at = (position, epoch = `${A}0f`) => `${epoch}-${position}`;
  assert.ok(isBefore(at(9), at(10)));
  assert.ok(isBefore(at('9007199254740993'), at('9007199254740994')));
  for (const [one, other] of [[at(10), at(9)], [at(7), at(7)], [at(1), at(2, `${B}0f`)]]) assert.ok(!isBefore(one, other), `${one} ${other}`);
});

test('of several rings the one that the other has all of is before it', () => {
  const one = { [A]: 300, [B]: 2n ** 40n };
  for (const [other, before] of [
    [{ [A]: 301, [B]: 2n ** 40n }, true],
    [{ [A]: 300, [B]: 2n ** 40n + 1n }, true],
    [{ [A]: 300, [B]: 2n ** 40n, '0102030405': 1 }, true],
    [one, false],
    [{ [A]: 301, [B]: 1 }, false],
    [{ [A]: 301 }, false],
  ]) assert.equal(isBefore(vector(one), vector(other)), before, JSON.stringify(other, (_, value) => String(value)));
  // From one host to several, and back.
  assert.ok(isBefore(`${A}0f-5`, vector({ [A]: 5, [B]: 1 })));
  assert.ok(!isBefore(vector({ [A]: 5, [B]: 1 }), `${A}0f-9`));
});

test('what is no cursor is before nothing', () => {
  const good = vector({ [A]: 1 });
  for (const bad of ['', '~', '~!', '~AAAA', 'order-1', 'x', `${A}0f-`]) {
    assert.equal(isBefore(bad, bad), false);
    assert.equal(isBefore(good, bad), false, bad);
  }
});

/** Those that pusher-js made. It is tapped once, above this. */
const sockets = [];
PusherClient.Runtime.createWebSocket = () => {
  const socket = { sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close() {} };
  sockets.push(socket);
  return socket;
};

/** A connection of pusher-js whose server is the test. */
function played(t) {
  sockets.length = 0;
  const pusher = new (withRecovery(PusherClient, { cursor: null }))('key', { cluster: '', wsHost: '127.0.0.1', forceTLS: false, enabledTransports: ['ws'] });
  t.after(() => pusher.disconnect());
  const connected = () => new Promise((resolve) => {
    pusher.connection.bind('connected', function once() { pusher.connection.unbind('connected', once); resolve(); });
  });
  const say = (message) => sockets.at(-1).onmessage({ data: JSON.stringify(message) });
  /** The next socket is open. */
  const open = async () => {
    await until('there is a socket', () => sockets.at(-1)?.onopen && !sockets.at(-1).opened);
    const socket = sockets.at(-1);
    socket.opened = true;
    socket.onopen();
    const is = connected();
    say({ event: 'pusher:connection_established', data: JSON.stringify({ socket_id: '1.2', activity_timeout: 120 }) });
    await is;
  };
  /** With which cursor the present socket asks for a channel. */
  const asked = async (name) => {
    const request = () => sockets.at(-1).sent.find(({ event, data }) => event === 'pusher:subscribe' && data.channel === name);
    await until(`${name} is asked for`, request);
    return request().data.askr?.cursor;
  };
  const lose = () => sockets.at(-1).onclose({ code: 1006, reason: '', wasClean: false });
  return { pusher, open, say, lose, asked };
}

test('a channel that is left while there is no connection, and entered again, begins anew', async (t) => {
  const { pusher, open, say, lose, asked } = played(t);
  for (const name of ['stays', 'left']) pusher.subscribe(name);
  await open();
  for (const [n, channel] of ['stays', 'left'].entries()) {
    say({ event: 'pusher_internal:subscription_succeeded', channel, data: '{}' });
    say({ event: 'order', channel, data: '1', id: `${A}0f-${n + 5}` });
  }
  lose();
  await until('pusher-js has noticed', () => pusher.connection.state === 'connecting');
  pusher.unsubscribe('left');
  await open();
  assert.equal(await asked('stays'), `${A}0f-5`);
  pusher.subscribe('left');
  assert.equal(await asked('left'), undefined);
});

test('a listener that throws costs its channel nothing', async (t) => {
  const { pusher, open, say, lose, asked } = played(t);
  const fails = () => { throw new Error('of the page'); };
  pusher.subscribe('a').bind('pusher:subscription_succeeded', fails).bind('order', fails);
  await open();
  assert.throws(() => say({ event: 'pusher_internal:subscription_succeeded', channel: 'a', data: '{}' }), /of the page/);
  assert.throws(() => say({ event: 'order', channel: 'a', data: '1', id: `${A}0f-5` }), /of the page/);
  lose();
  await open();
  assert.equal(await asked('a'), `${A}0f-5`);
});
