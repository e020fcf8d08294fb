// What a connection costs: the storm after a restart or a cut network. askrd beside the floor and nchan over TCP and over
// the Unix socket, behind nginx as packaging/ ships it, and what the storm does to those who are connected. With BEFORE,
// another build's askrd, that one as well.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { packagedNginx } from '../lib/php.mjs';
import { cost, settle } from './fanout-measure.mjs';
import { median, quantile } from './figures.mjs';
import { startAskrd, startFloor, startNchan } from './fanout-servers.mjs';
import { startNginx } from './nginx.mjs';

/** Events a second to those who are connected, while others come. */
const RATE = 100;

/**
 * Measures every server `sizes.turns` times, another first in each. Resolves to figures: `floor.tcp` is a list, one value
 * a turn.
 */
export async function measureConnections(scope, program, sizes, say) {
  const before = process.env.BEFORE;
  const start = {
    floor: (name) => startFloor(scope, { name }),
    nchan: (name) => startNchan(scope, { name }),
    ...(before && { before: (name) => startAskrd(scope, { name, program: before }) }),
    askrd: (name) => startAskrd(scope, { name }),
  };
  const names = Object.keys(start);
  const figures = Object.fromEntries(names.map((name) => [name, {}]));
  for (let number = 0; number < sizes.turns; number += 1) {
    for (let n = 0; n < names.length; n += 1) {
      const name = names[(number + n) % names.length];
      say(`connections, turn ${number + 1} of ${sizes.turns}: ${name}`);
      const note = (key, value) => (figures[name][key] ??= []).push(value);
      await turn(scope, await start[name](`connect-${name}-${number}`), program, sizes, note);
    }
  }
  for (const name of names.filter((one) => one === 'askrd' || one === 'before')) {
    figures[name].heap = [await heap(scope, `heap-${name}`, name === 'before' ? before : undefined, sizes.few)];
  }
  return figures;
}

async function turn(scope, server, program, { many, few }, note) {
  await fresh(server, server.load(program), many, (us) => note('tcp', us));
  await fresh(server, server.load(program, { port: unixSocket(server) }), many, (us) => note('unix', us));
  if (server.askrd) {
    const nginx = await packaged(scope, server);
    // nginx has 19,000 descriptors, two for each stream.
    await fresh(server, server.load(program, { port: nginx.port }), Math.min(many, 8000), (us) => note('nginx', us));
    await nginx.process.end();
  }
  await live(server, program, few, many, note);
  await server.end();
}

const unixSocket = (server) => (server.askrd ? server.askrd.socket : server.name === 'floor' ? `${server.target[1]}.stream` : server.target[1]);

/** CPU of a subscriber, `count` at once; the second time, when what is kept for a crowd is there. */
async function fresh(server, load, count, note) {
  await load.command(`open ${count}`);
  await load.command('close');
  const opened = await cost(server, () => load.command(`open ${count}`));
  note(opened.us / count);
  await load.end();
  await settle(server);
}

/** p99 of what `few` viewers are sent, without and with a storm of `many`. */
async function live(server, program, few, many, note) {
  const viewers = server.load(program);
  await viewers.command(`open ${few}`);
  await viewers.command('events 5 1');
  const quiet = await viewers.command(`rate ${RATE} ${RATE}`);
  const crowd = server.load(program);
  await crowd.command('cursor');
  const [storm] = await Promise.all([viewers.command(`rate ${RATE} ${RATE}`), crowd.command(`open ${many}`)]);
  note('quiet', quiet.p99 / 1000);
  note('storm', storm.p99 / 1000);
  note('storm_ratio', storm.p99 / quiet.p99);
  await crowd.end();
  await viewers.end();
}

/** nginx as packaging/ ships it, before this askrd. */
async function packaged(scope, { askrd }) {
  const name = `${askrd.name}-nginx`;
  const port = await freePort();
  const http = `
${packagedNginx(scope, askrd.socket, 'nginx-http.conf', name)}
server {
  listen 127.0.0.1:${port} backlog=4096;
${packagedNginx(scope, askrd.socket, 'nginx.conf', name)}
}`;
  return { port, process: await startNginx(scope, name, { http, core: 1 }, () => ask({ port }, '/elsewhere').catch(() => null)) };
}

/** Allocations on the heap for each of `count` streams: connect, one event, end. */
async function heap(scope, name, program, count) {
  const library = scope.path('heap-count.so');
  execFileSync('cc', ['-O2', '-Wall', '-shared', '-fPIC', '-o', library, path.join(TESTS, 'bench/heap-count.c')]);
  const file = scope.path(`${name}.count`);
  writeFileSync(file, Buffer.alloc(8), { mode: 0o666 });
  execFileSync('chmod', ['666', file]);
  const server = await startAskrd(scope, { name, program, env: { LD_PRELOAD: library, HEAP_COUNT: file } });
  const counted = () => Number(readFileSync(file).readBigUInt64LE());
  const load = server.load(scope.path('fanout-load'));
  const round = async () => {
    const before = counted();
    await load.command(`open ${count}`);
    await load.command('events 1 1');
    await load.command('close');
    await settle(server);
    return (counted() - before) / count;
  };
  await round();
  const each = await round();
  await load.end();
  await server.end();
  return each;
}

/** `{ head, rows }` of tables; `show` writes a number. */
export function connectionsReport(figures, sizes, show) {
  const names = Object.keys(figures);
  const n = (count) => count.toLocaleString('en');
  const what = {
    tcp: [`CPU of a fresh subscriber, ${n(sizes.many)} at once, TCP`, 'µs', { to: 'floor', must: 1.5, aim: 1.2 }],
    unix: ['the same on the Unix socket, one request a connection', 'µs', { to: 'floor', must: 1.5, aim: 1.2 }],
    nginx: ["through nginx as shipped, askrd's CPU alone", 'µs', {}],
    quiet: [`p99 of live delivery, ${RATE} events/s, ${n(sizes.few)} viewers, quiet`, 'µs', {}],
    storm: [`the same while ${n(sizes.many)} connect`, 'µs', { to: 'quiet', aim: 2 }],
    heap: ['heap allocations of a public stream: connect, one event, end', '', { aim: 8 }],
  };
  const shown = (values) => (values ? `${show(median(values))}${values.length > 1 ? ` (${show(quantile(values, 0))} .. ${show(Math.max(...values))})` : ''}` : '');
  const rows = Object.entries(what).map(([key, [words, unit, { to, must, aim }]]) => {
    const mine = figures.askrd[key];
    const judged = to === 'floor' ? median(mine.map((value, turn) => value / figures.floor[key][turn]))
      : to === 'quiet' ? median(figures.askrd.storm_ratio) : aim && median(mine);
    const verdict = must && judged > must ? 'MISSED' : aim && judged <= aim ? 'met, aim too' : must ? 'met' : aim ? 'aim missed' : '';
    return [words, unit, ...names.map((name) => shown(figures[name][key])), judged ? `${show(judged)}${to ? ` × ${to}` : ''}` : '',
      must ? `≤ ${must}` : '', aim ? `≤ ${aim}` : '', verdict];
  });
  return { head: ['connections: median (smallest .. largest of the turns)', 'unit', ...names, 'judged', 'must', 'aim', ''], rows };
}
