// The benchmark's own load as a test of what it measures: every stream has every event once and in
// order, one at a time, in bursts and after a return, by io_uring and by plain writes, over SSE, on private
// channels and over WebSockets. And the load itself: it reads frames however they are cut, and notices what
// a server must not do.

import test from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { PRIVATE, secretFile, tokenFile } from '../bench/fanout-kinds.mjs';
import { APP, Load, PUSHER, byApi, compile, startAskrd, startFloor } from '../bench/fanout-servers.mjs';
import { untilMetric } from '../lib/faults.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped } from '../lib/scope.mjs';

const STREAMS = 600;
const PLAIN = { protocol: 'plain', path: '/askr/ws?channel=bench' };
const pusherApp = { app: { id: APP.id, key: APP.key } };

/** Events one at a time and in bursts: all streams have as many as the others. */
async function deliver(load, ...commands) {
  for (const command of commands) {
    const { least, most } = await load.command(command);
    assert.equal(least, most, `${command}: every stream has had as many as the others`);
  }
}

/** askrd counts as many deliveries as there were. It counts when the kernel has said so, which may be after they arrived. */
const counted = (server, count) => untilMetric(server.askrd, 'askr_events_delivered_total', (value) => value === count);

for (const io of ['uring', 'write']) {
  for (const workers of [1, 2]) {
    test(`${STREAMS} streams have every event once, with io = "${io}" and ${workers} worker(s)`, scoped(async (scope) => {
      const server = await startAskrd(scope, { name: `askrd-${io}-${workers}`, workers, cores: '0,1', settings: { server: { io } } });
      const load = server.load(compile(scope, 'fanout-load'));
      await load.command(`open ${STREAMS}`);
      await deliver(load, 'events 20 1', 'events 300 100');
      await counted(server, STREAMS * 320);

      const { cursor } = await load.command('cursor');
      await load.command('events 100 100');
      await load.command('close');
      await load.command(`open ${STREAMS} ${cursor}`);
      const { least, most } = await load.command('replay 100');
      assert.deepEqual([least, most], [100, 100], 'who comes back has what was missed');
    }));
  }

  test(`${STREAMS} WebSockets and as many users of a private channel have every event once, with io = "${io}"`, scoped(async (scope) => {
    const { file, secret } = secretFile(scope);
    const server = await startAskrd(scope, { workers: 2, cores: '0,1', settings: { server: { io }, auth: { secret_file: file }, ...pusherApp } });
    const program = compile(scope, 'fanout-load');
    let delivered = 0;
    for (const kind of [PUSHER, PLAIN, { channel: PRIVATE, tokens: tokenFile(scope, secret, STREAMS) }]) {
      const load = server.load(program, kind);
      await load.command(`open ${STREAMS}`);
      await deliver(load, 'events 20 1', 'events 300 100');
      delivered += STREAMS * 320;
      await counted(server, delivered);
      await load.end();
    }
  }));
}

// The way in that the benchmark's rival with WebSockets has.
test("what comes by Pusher's HTTP API, one by one and in batches, arrives once", scoped(async (scope) => {
  const server = await startAskrd(scope, { settings: { app: APP } });
  server.target = byApi(server.port, 10);
  const load = server.load(compile(scope, 'fanout-load'), PUSHER);
  await load.command('open 50');
  await deliver(load, 'events 5 1', 'events 60 30');
  assert.equal((await load.command('cursor')).deliveries, 50 * 65);
}));

test('without a token of its secret nobody is on the private channel', scoped(async (scope) => {
  const server = await startAskrd(scope, { settings: { auth: { secret_file: secretFile(scope).file } } });
  const program = compile(scope, 'fanout-load');
  for (const tokens of [undefined, tokenFile(scope, randomBytes(32).toString('hex'), 1)]) {
    await assert.rejects(server.load(program, { channel: PRIVATE, tokens }).command('open 1'), /refused: HTTP\/1\.1 401 /);
  }
}));

// Lengths of a frame in 7, 16 and 64 bits, from askrd and from the floor.
for (const who of ['askrd', 'floor']) {
  test(`frames of every size from ${who} arrive whole, wherever the network cuts them`, scoped(async (scope) => {
    const program = compile(scope, 'fanout-load');
    compile(scope, 'fanout-floor');
    const server = who === 'askrd' ? await startAskrd(scope, { settings: pusherApp }) : await startFloor(scope, { pusher: 'bench' });
    const cuts = [1, 1, 2, 1, 3, 1, 4000, 1, 1, 150, 30_000];
    let next = 0;
    const { port } = await relay(scope, { port: server.port }, () => cuts[next++ % cuts.length]);
    const load = server.load(program, { ...PUSHER, port, bytes: '20,60,200,70000' });
    await load.command('open 7');
    await deliver(load, 'events 8 1', 'events 16 8');
    assert.equal((await load.command('cursor')).deliveries, 7 * 24);
  }));
}

/** A server of one WebSocket's life: the handshake, the hello, and after the subscription `told`. */
async function crooked(scope, told) {
  const hello = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    + 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';
  const server = net.createServer((socket) => {
    scope.defer(() => socket.destroy());
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(Buffer.concat([Buffer.from(hello), frame('{"event":"pusher:connection_established"}')]));
      socket.once('data', () => socket.write(Buffer.concat([frame('{"event":"pusher_internal:subscription_succeeded"}'), ...told])));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.defer(() => server.close());
  return server.address().port;
}

/** A short frame; `first` and `second` are laid over its first two bytes. */
const frame = (text, { first = 0x81, second = 0 } = {}) => Buffer.concat([Buffer.from([first, second | text.length]), Buffer.from(text)]);
const event = (clock) => `{"data":"@${String(clock).padStart(19, '0')}"}`;

test('the load takes a message in parts with a ping between, and refuses what no server may send', scoped(async (scope) => {
  const program = compile(scope, 'fanout-load');
  const open = async (...told) => {
    const port = await crooked(scope, told);
    const load = new Load({ name: 'crooked', scope, environment: {} },
      program, ['pusher', String(port), PUSHER.path, 'bench'], ['bench', '200'], ['floor', scope.path('nobody')]);
    await load.command('open 1');
    return load.command('replay 2');
  };
  const [begin, end] = [event(2).slice(0, 15), event(2).slice(15)];
  const parts = [frame(begin, { first: 0x01 }), frame('are you there', { first: 0x89 }), frame(end, { first: 0x80 })];
  assert.equal((await open(frame(event(1)), ...parts)).most, 2);

  const twice = frame(event(1));
  const bad = [
    [/came twice or out of order/, twice, twice],
    [/masked/, frame(event(1), { second: 0x80 })],
    [/reserved bit/, frame(event(1), { first: 0xc1 })],
    [/neither text/, frame(event(1), { first: 0x82 })],
    [/nothing to continue/, frame(event(1), { first: 0x80 })],
    [/message within a message/, frame(begin, { first: 0x01 }), frame(event(2))],
    [/not in its shortest form/, Buffer.concat([Buffer.from([0x81, 126, 0, 5]), Buffer.from('short')])],
    [/more than one event, or a part of one/, frame(event(1) + event(2))],
    [/more than one event, or a part of one/, frame(begin), frame(end)],
    [/server says: .*pusher:error/, frame('{"event":"pusher:error"}')],
    [/closed a WebSocket/, frame('\x10\x68bye', { first: 0x88 })],
  ];
  for (const [why, ...told] of bad) await assert.rejects(open(...told), why);
}));
