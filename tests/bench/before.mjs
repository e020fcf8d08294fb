// Another build of askrd beside this one, the floor between them: in one run, in turns, another first in each
// round, each on core 0 with the load on core 1. PHP publishes with this build's askr.so to both.
// BEFORE: the other build's askrd. SHORT=1: small numbers, to try it. ROUNDS: 5 unless told.

import { Scope } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';
import { measure } from './fanout-measure.mjs';
import { compile, startAskrd, startFloor } from './fanout-servers.mjs';

const program = process.env.BEFORE;
if (!program) throw new Error('BEFORE is missing: the askrd of another build');
const SHORT = process.env.SHORT === '1';
const ROUNDS = Number(process.env.ROUNDS ?? (SHORT ? 2 : 5));
const SIZES = SHORT ? { many: 2000, few: 500, each: 100_000, bursts: 2, seconds: 1 }
  : { many: 10_000, few: 1000, each: 200_000, bursts: 4, seconds: 1 };
const START = { before: (scope, name) => startAskrd(scope, { name, program }), floor: (scope, name) => startFloor(scope, { name }),
  now: (scope, name) => startAskrd(scope, { name }) };
const ROWS = {
  one_few: `CPU per delivery, one at a time, ${SIZES.few} subscribers, µs`,
  one_many: `CPU per delivery, one at a time, ${SIZES.many} subscribers, µs`,
  burst_few: `CPU per delivery, bursts of 100, ${SIZES.few} subscribers, µs`,
  burst_many: `CPU per delivery, bursts of 100, ${SIZES.many} subscribers, µs`,
  accept: 'CPU of a fresh subscriber, µs',
  replay: 'CPU of a return with 100 events of replay, µs',
  memory: 'memory per idle subscriber, B',
  memory_after: 'the same after traffic, B',
  latency_p50: 'publish in PHP to received, 1 subscriber, p50, µs',
  latency_p99: 'the same, p99, µs',
  p50_1000: `1,000 events/s to ${SIZES.few} subscribers, p50, µs`,
};

const figures = { before: {}, floor: {}, now: {} };
const kinds = Object.keys(START);
const scope = new Scope();
try {
  const load = compile(scope, 'fanout-load');
  compile(scope, 'fanout-floor');
  for (let number = 0; number < ROUNDS; number += 1) {
    for (let n = 0; n < kinds.length; n += 1) {
      const kind = kinds[(number + n) % kinds.length];
      process.stderr.write(`round ${number + 1} of ${ROUNDS}: ${kind}\n`);
      const server = await START[kind](scope, `${kind}-${number}`);
      await measure(server, load, SIZES, (key, value) => (figures[kind][key] ??= []).push(value), { replays: kind !== 'floor' });
      await server.end();
    }
  }
} finally {
  await scope.close();
}

const shown = (values) => (values ? `${median(values).toPrecision(3)} (${Math.min(...values).toPrecision(3)} .. ${Math.max(...values).toPrecision(3)})` : '');
/** Whether each figure of this build is above each of the other: then it is worse beyond noise. */
const verdict = (before, now) => (Math.min(...now) > Math.max(...before) ? 'WORSE' : Math.max(...now) < Math.min(...before) ? 'better' : 'ranges overlap');
console.log(table(['median (smallest .. largest)', ...kinds, 'now / before', ''], Object.entries(ROWS).map(([key, what]) => {
  const [before, now] = [figures.before[key], figures.now[key]];
  return [what, ...kinds.map((kind) => shown(figures[kind][key])), (median(now) / median(before)).toFixed(2), verdict(before, now)];
})));
