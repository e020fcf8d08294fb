// From the call in PHP to the bytes in a subscriber's hands, one subscriber, an event a millisecond;
// beside the least a server can do, in turns.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { PHP, TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { quantile, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const COUNT = 3000;
const PAUSE_US = 1000;

const scope = new Scope();
const compile = (name) => {
  execFileSync('cc', ['-O2', '-o', scope.path(name), path.join(TESTS, 'bench', `${name}.c`)]);
  return scope.path(name);
};

let runs = 0;

/** One round: a receiver on `port`, a publisher with these arguments. Latencies in ns. */
async function round(receiver, port, askrd, target) {
  runs += 1;
  const subscriber = scope.start(`receiver-${runs}`, receiver, [String(port), '/askr/events?channel=bench', String(COUNT)]);
  await until('the receiver is subscribed', () => {
    if (subscriber.ended) throw new Error(subscriber.output());
    return subscriber.output().includes('open');
  });
  const { code, out, err } = await run(PHP, [path.join(TESTS, 'bench/latency.php'), String(COUNT), String(PAUSE_US), ...target],
    { env: phpEnvironment(scope, askrd) });
  if (code !== 0) throw new Error(out + err);
  await subscriber.exited;
  return subscriber.output().split('\n').slice(1).filter(Boolean).map(Number);
}

try {
  const receiver = compile('receiver');
  const floor = compile('floor');
  const askrd = await startAskrd(scope);
  const all = { floor: [], askr: [] };
  for (let i = 0; i < ROUNDS; i += 1) {
    const socket = scope.path(`floor-${i}.sock`);
    const server = scope.start(`floor-${i}`, floor, [socket]);
    const port = Number(await until('the floor listens', () => server.output().trim()));
    all.floor.push(...await round(receiver, port, askrd, [socket]));
    await server.end();
    all.askr.push(...await round(receiver, askrd.port, askrd, []));
  }
  const us = (ns) => (ns / 1000).toFixed(1);
  const row = (name, values) => [name, us(quantile(values, 0.5)), us(quantile(values, 0.99)),
    `${(quantile(values, 0.5) / quantile(all.floor, 0.5)).toFixed(2)} ×`, values.length];
  console.log('\nPublish in PHP to received over TCP, µs, one subscriber, an event a millisecond\n');
  console.log(table(['', 'p50', 'p99', 'p50 to floor', 'events'], [
    row('floor: Unix datagram, one write() (C)', all.floor),
    row('askr_broadcast(), askrd, SSE', all.askr),
  ]));
} finally {
  await scope.close();
}
