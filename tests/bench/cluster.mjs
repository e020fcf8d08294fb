// Several hosts: from PHP on one host to a viewer of another, beside a bare XADD and XREAD BLOCK by the same client; what carrying an
// event costs each askrd; local delivery with and without; a return to another host. In turns, medians with ranges.
//
// Local delivery is measured on a host that is in a cluster by itself: with the other host's askrd on the same cores it would be the
// other host's work, too, that the event waits for. That is shown besides.

import net from 'node:net';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Askrd } from '../lib/askrd.mjs';
import { PHP, ROOT, TESTS } from '../lib/built.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { metric, untilMetric } from '../lib/faults.mjs';
import { Redis } from '../lib/redis.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { Parser, eventsPath } from '../lib/sse.mjs';
import { median, quantile, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const EVENTS = Number(process.env.EVENTS ?? 1000);      // of a round of latencies
const CARRIED = Number(process.env.CARRIED ?? 20_000);  // of a round of CPU time
const VIEWERS = Number(process.env.VIEWERS ?? 10_000);
const MISSED = 100;
const PAUSE_US = 2000;
const FLOOR = process.env.LOG_FLOOR ?? path.join(ROOT, 'target/release/examples/log_floor');

const scope = new Scope();
const us = (ns) => (ns / 1000).toFixed(1);
const spread = (values, show) => `${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`;

const receiver = scope.path('receiver');
execFileSync('cc', ['-O2', '-o', receiver, path.join(TESTS, 'bench/receiver.c')]);

let runs = 0;
async function output(command, args, options) {
  const { code, out, err } = await run(command, args, { limit: 300_000, ...options });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${out}${err}`);
  return out;
}

async function listener(name, command, args) {
  const started = scope.start(`${name}-${runs += 1}`, command, args);
  await until(`${name} is there`, () => {
    if (started.ended) throw new Error(started.output());
    return started.output().includes('open');
  });
  return started;
}

const numbers = async (started) => {
  await started.exited;
  return started.output().split('\n').slice(1).filter(Boolean).map(Number).filter((ns) => ns < 60e9);
};

/** From PHP on `from` to a viewer of `to`: ns. */
async function askrLatency(from, to) {
  const viewer = await listener('viewer', receiver, [String(to.port), '/askr/events?channel=bench', String(EVENTS)]);
  await output(PHP, [path.join(TESTS, 'bench/latency.php'), String(EVENTS), String(PAUSE_US)], { env: phpEnvironment(scope, from) });
  return numbers(viewer);
}

async function floorLatency(url) {
  const reader = await listener('reader', FLOOR, ['read', url, String(EVENTS)]);
  await output(FLOOR, ['write', url, String(EVENTS), String(PAUSE_US)]);
  return numbers(reader);
}

/** CPU time of a process, ns: of the threads that it has, all of which stay. (The sum for the process has no more than ticks of 10 ms.) */
const cpu = (pid) => {
  const spent = (thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + spent(thread), 0);
};
/** Publishes on `from`, waits until each of `nodes` has read all of it, and gives each one's CPU time per event. */
async function carried(from, nodes) {
  const read = async (node) => metric(node, 'askr_events_read_total');
  const before = await Promise.all(nodes.map(async (node) => ({ node, cpu: cpu(node.process.pid), events: await read(node) })));
  await output(PHP, [path.join(TESTS, 'bench/carried.php'), String(CARRIED)], { env: phpEnvironment(scope, from) });
  for (const { node, events } of before) await until('all is read', async () => (await read(node)) >= events + CARRIED);
  await new Promise((resolve) => setTimeout(resolve, 500));
  return before.map((one) => (cpu(one.node.process.pid) - one.cpu) / CARRIED);
}

/** Viewers that come with a cursor and stay until they have what they missed: askrd's CPU time for each, ns. */
async function returns(node, channel, cursor) {
  const before = cpu(node.process.pid);
  let done = 0;
  let next = 0;
  const sockets = [];
  await new Promise((resolve, reject) => {
    const connect = () => {
      if (next === VIEWERS) return;
      next += 1;
      const socket = net.connect(node.port, '127.0.0.1');
      sockets.push(socket);
      let events = 0;
      let rest = '';
      socket.on('connect', () => socket.write(`GET ${eventsPath(channel)} HTTP/1.1\r\nHost: 127.0.0.1:${node.port}\r\nLast-Event-ID: ${cursor}\r\n\r\n`));
      socket.on('data', (bytes) => {
        const text = rest + bytes.toString('latin1');
        if (text.includes('askr:gap')) reject(new Error('a gap'));
        events += text.split('\ndata: e').length - 1;
        // What begins a line of data may be cut in two.
        rest = text.slice(-7).replace(/\ndata: e/, '');
        if (events >= MISSED && !socket.done) {
          socket.done = true;
          done += 1;
          if (done === VIEWERS) resolve();
          connect();
        }
      });
      socket.on('error', reject);
    };
    for (let n = 0; n < 200; n += 1) connect();
  });
  const used = (cpu(node.process.pid) - before) / VIEWERS;
  for (const socket of sockets) socket.destroy();
  await untilMetric(node, 'askr_connections', (open) => open === 0);
  return used;
}

/** A cursor of `node`, as a page has it. */
function cursorOf(node, channel) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(node.port, '127.0.0.1');
    const parser = new Parser(() => {});
    socket.on('connect', () => socket.write(`GET ${eventsPath(channel)} HTTP/1.0\r\nHost: 127.0.0.1:${node.port}\r\n\r\n`));
    socket.on('data', (bytes) => {
      const text = bytes.toString();
      parser.push(Buffer.from(text.includes('\r\n\r\n') ? text.slice(text.indexOf('\r\n\r\n') + 4) : text));
      if (!parser.lastEventId) return;
      socket.destroy();
      resolve(parser.lastEventId);
    });
    socket.on('error', reject);
  });
}

async function publishMissed(from, channel) {
  await output(PHP, [path.join(TESTS, 'bench/carried.php'), String(MISSED), channel, 'e'], { env: phpEnvironment(scope, from) });
}

try {
  const redis = await new Redis(scope, 'redis', { socketPath: scope.path('redis.sock') }).start();
  const url = `unix://${redis.where.socketPath}`;
  const settings = (name, more) => ({ ring: { name: `${scope.shm}/${name}` }, app: { id: 'bench', key: 'bench', secret: 'only-for-this-benchmark-of-askr' }, ...more });
  const [a, b, single, alone] = [
    new Askrd(scope, settings('a', { cluster: { url } }), 'a'),
    new Askrd(scope, settings('b', { cluster: { url } }), 'b'),
    new Askrd(scope, settings('single', { cluster: { url, name: 'single' } }), 'single'),
    new Askrd(scope, settings('alone', {}), 'alone'),
  ];
  for (const node of [a, b, single, alone]) await node.start();
  const latency = { floor: [], across: [], on: [], beside: [], off: [] };
  const work = { fill: [], drain: [], relay: [], import: [], off: [] };
  const back = { same: [], other: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    const measured = [
      ['floor', () => floorLatency(url)],
      ['across', () => askrLatency(a, b)],
      ['off', () => askrLatency(alone, alone)],
      ['on', () => askrLatency(single, single)],
      ['beside', () => askrLatency(a, a)],
    ];
    // Neither of two that are compared is always the first one.
    if (round % 2 === 1) measured.reverse();
    for (const [name, measure] of measured) latency[name].push(quantile(await measure(), 0.5));
    await redis.ask('DEL', 'askr:{floor}:log');
    work.fill.push(Number(await output(FLOOR, ['fill', url, String(CARRIED), '64'])));
    work.drain.push(Number(await output(FLOOR, ['drain', url, String(CARRIED - (CARRIED % 64))])));
    await redis.ask('DEL', 'askr:{floor}:log');
    work.off.push((await carried(alone, [alone]))[0]);
    const [relayed, imported] = await carried(a, [a, b]);
    work.relay.push(relayed);
    work.import.push(imported);
    const channel = `missed-${round}`;
    const cursors = { other: await cursorOf(a, channel), same: await cursorOf(b, channel) };
    await publishMissed(a, channel);
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const kind of ['same', 'other']) back[kind].push(await returns(b, channel, cursors[kind]));
  }
  // Of what was measured in one turn, since others use the machine, too.
  const ratio = (one, other) => spread(one.map((value, round) => value / other[round]), (times) => `${times.toFixed(2)} ×`);
  const minus = work.relay.map((ns, n) => ns - work.off[n]);
  const minusImport = work.import.map((ns, n) => ns - work.off[n]);
  console.log(`\n${ROUNDS} turns; median (range)\n`);
  console.log(table(['', 'µs', 'to its floor'], [
    ['publish on A to received on B, p50: XADD → XREAD BLOCK', spread(latency.floor, us), ''],
    ['  askr_broadcast() on A → SSE on B', spread(latency.across, us), ratio(latency.across, latency.floor)],
    ['local delivery, p50: without a cluster', spread(latency.off, us), ''],
    ['  in a cluster', spread(latency.on, us), ratio(latency.on, latency.off)],
    ['  in a cluster, another host on the same cores', spread(latency.beside, us), ratio(latency.beside, latency.off)],
    ['CPU an event: bare XADD, pipelined', spread(work.fill, us), ''],
    ['  bare XREAD', spread(work.drain, us), ''],
    ['  askrd alone, without subscribers', spread(work.off, us), ''],
    ['  askrd that relays, more than alone (it reads its entries again, too)', spread(minus, us), ratio(minus, work.fill.map((ns, n) => ns + work.drain[n]))],
    ['  askrd that imports, more than alone', spread(minusImport, us), ratio(minusImport, work.drain)],
    [`CPU a return with ${MISSED} events, ${VIEWERS} viewers: to the same host`, spread(back.same, us), ''],
    ['  to another host', spread(back.other, us), ratio(back.other, back.same)],
  ]));
} finally {
  await scope.close();
}
