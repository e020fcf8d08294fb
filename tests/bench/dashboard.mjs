// What the dashboard costs: processor time of askrd under 10,000 viewers and 1,000 events a second, without a dashboard, with
// one that nobody looks at, and with one that is looked at, in turns, another first in each round; what it holds then; and
// /metrics with 100,000 channels. SHORT=1: small numbers, to try it. ONLY=metrics: the last alone.
// ROUNDS, SECONDS of a turn.

import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { streams } from '../lib/dashboard.mjs';
import { TESTS } from '../lib/built.mjs';
import { metrics } from '../lib/faults.mjs';
import { freePort } from '../lib/http.mjs';
import { startPhp } from '../lib/php.mjs';
import { main, until } from '../lib/scope.mjs';
import { anonymous } from '../siege/memory.mjs';
import { median, table } from './figures.mjs';
import { settle } from './fanout-measure.mjs';
import { compile, startAskrd } from './fanout-servers.mjs';

const SHORT = process.env.SHORT === '1';
const ROUNDS = Number(process.env.ROUNDS ?? (SHORT ? 2 : 9));
const SECONDS = Number(process.env.SECONDS ?? (SHORT ? 3 : 10));
const VIEWERS = SHORT ? 1000 : 10_000;
const CHANNELS = SHORT ? 10_000 : 100_000;
const RATE = 1000;
const PAGES = 48;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ranged = (values, digits) => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} .. ${Math.max(...values).toFixed(digits)})`;

/** An askrd with all viewers, each on a channel of its own and on one of all. */
async function withViewers(scope, program, name, settings = {}) {
  const made = await startAskrd(scope, { name, settings });
  const load = made.load(program, { path: '/askr/events?channel=c%d&channel=all' });
  await load.command(`open ${VIEWERS}`);
  await settle(made);
  return Object.assign(made, { viewers: load });
}

/** Opens the page's stream, as often, and reads it or not. Resolves to what closes it. */
async function look(socketPath, times, reads) {
  const all = await Promise.all(Array.from({ length: times }, () => new Promise((resolve, reject) => {
    http.get({ socketPath, path: '/live', headers: { Host: 'localhost' }, agent: false }, (answer) => {
      answer.on('error', () => {});
      answer.once('data', () => resolve(answer));
      if (!reads) answer.once('data', () => answer.pause());
    }).on('error', reject);
  })));
  return () => all.forEach((one) => one.destroy());
}

/** Nanoseconds of processor time of the thread that answers operators; 0 where there is none. */
function operators(pid) {
  const tasks = readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`);
  const own = tasks.find((task) => readFileSync(`${task}/comm`, 'utf8').trim() === 'operators');
  return own ? Number(readFileSync(`${own}/schedstat`, 'utf8').split(' ')[0]) : 0;
}

/** Per cent of a core during a turn of events: of askrd, and of its thread for operators. */
async function turn(scope, server, name) {
  const events = async () => (await metrics(server.askrd)).askr_events_read_total;
  const publisher = startPhp(scope, { ring: server.askrd.ring }, name, path.join(TESTS, 'bench/dashboard.php'), [SECONDS + 2, RATE, VIEWERS]);
  execFileSync('taskset', ['-acp', '1', String(publisher.pid)], { stdio: 'ignore' });
  await pause(1000);
  const [from, cpu, own, read] = [process.hrtime.bigint(), server.cpu(), operators(server.process.pid), await events()];
  await pause(SECONDS * 1000);
  const elapsed = Number(process.hrtime.bigint() - from);
  const used = (100 * (server.cpu() - cpu)) / elapsed;
  const thread = (100 * (operators(server.process.pid) - own)) / elapsed;
  const rate = ((await events()) - read) / (elapsed / 1e9);
  const { code } = await publisher.exited;
  if (code !== 0) throw new Error(publisher.output());
  await settle(server);
  // Fails if one was lost.
  await server.viewers.command('cursor');
  return { used, thread, rate };
}

async function processor(scope, program) {
  const socket = scope.path('dashboard.sock');
  const without = await withViewers(scope, program, 'without');
  const server = await withViewers(scope, program, 'with', { server: { dashboard: `unix:${socket}` } });
  const figures = { without: [], closed: [], open: [] };
  const threads = { without: [], closed: [], open: [] };
  const rates = [];
  const memory = { closed: [], open: [] };
  const kinds = Object.keys(figures);
  for (let round = -1; round < ROUNDS; round += 1) {
    for (let n = 0; n < kinds.length; n += 1) {
      const kind = kinds[(round + 1 + n) % kinds.length];
      const leave = kind === 'open' ? await look(socket, 1, true) : () => {};
      const { used, thread, rate } = await turn(scope, kind === 'without' ? without : server, `publisher-${round}-${kind}`);
      // The first round only warms up.
      if (round >= 0) {
        figures[kind].push(used);
        threads[kind].push(thread);
        rates.push(rate);
        memory[kind]?.push(anonymous(server.process.pid) / 1024);
      }
      leave();
    }
    process.stderr.write(`round ${round + 1} of ${ROUNDS}\n`);
  }
  // As many pages as there are places, which read nothing.
  const before = anonymous(server.process.pid);
  const leave = await look(socket, PAGES, false);
  const publisher = startPhp(scope, { ring: server.askrd.ring }, 'publisher-pages', path.join(TESTS, 'bench/dashboard.php'), [SECONDS, RATE, VIEWERS]);
  await publisher.exited;
  const pages = (anonymous(server.process.pid) - before) / 1024;
  leave();
  const more = (a, b) => figures[a].map((value, n) => value - figures[b][n]);
  console.log(`\n${VIEWERS} viewers, events a second: ${ranged(rates, 0)}; ${ROUNDS} rounds of ${SECONDS} s each\n`);
  console.log(table(['askrd, per cent of a core', 'median (smallest .. largest)'], [
    ['without a dashboard', ranged(figures.without, 2)], ['with one, closed', ranged(figures.closed, 2)], ['with one, open', ranged(figures.open, 2)],
    ['closed, more than without', ranged(more('closed', 'without'), 2)], ['open, more than closed', ranged(more('open', 'closed'), 2)],
    ['the thread for operators alone, closed', ranged(threads.closed, 2)], ['the same, open', ranged(threads.open, 2)],
  ]));
  console.log(`\n${table(['anonymous memory, KiB', 'median (smallest .. largest)'], [
    ['closed', ranged(memory.closed, 0)], ['open', ranged(memory.open, 0)], [`${PAGES} pages that read nothing, more than before`, pages.toFixed(0)],
  ])}`);
}

async function scrape(scope) {
  const port = await freePort();
  const server = await startAskrd(scope, {
    name: 'channels', settings: { server: { metrics: `127.0.0.1:${port}`, max_channels: 2 * CHANNELS, channels_per_address: 0 }, app: { max_channels: 2 * CHANNELS } },
  });
  const once = () => new Promise((resolve, reject) => {
    const from = process.hrtime.bigint();
    http.get({ host: '127.0.0.1', port, path: '/metrics', agent: false }, (answer) => {
      let bytes = 0;
      answer.on('data', (data) => { bytes += data.length; });
      answer.on('end', () => resolve({ ms: Number(process.hrtime.bigint() - from) / 1e6, bytes }));
    }).on('error', reject);
  });
  const measure = async () => {
    const all = { ms: [], cpu: [], bytes: 0 };
    for (let n = 0; n < 220; n += 1) {
      const before = server.cpu();
      const { ms, bytes } = await once();
      if (n < 20) continue;
      all.ms.push(ms);
      all.cpu.push((server.cpu() - before) / 1e6);
      all.bytes = bytes;
    }
    return all;
  };
  const few = await measure();
  await streams(scope, server.askrd, Array.from({ length: CHANNELS / 100 }, (_, n) => Array.from({ length: 100 }, (_, m) => `many-${n}-${m}`)));
  await until('all channels are there', async () => (await metrics(server.askrd)).askr_channels === CHANNELS);
  await settle(server);
  const many = await measure();
  console.log(`\n${table(['/metrics, 200 times, ms', 'request to end of answer', "askrd's processor time", 'bytes'], [
    ['no channel', ranged(few.ms, 2), ranged(few.cpu, 2), few.bytes], [`${CHANNELS} channels`, ranged(many.ms, 2), ranged(many.cpu, 2), many.bytes],
  ])}`);
}

await main(async (scope) => {
  const program = compile(scope, 'fanout-load');
  if (process.env.ONLY !== 'metrics') await processor(scope, program);
  await scrape(scope);
});
