// What a Mercure hub costs beside askrd's own Server-Sent Events: CPU per delivery by exact topics, by 1,000 patterns and
// for private updates; and mercure_publish() beside askr_broadcast() and a POST to the hub, from PHP in one run.
//
// All kinds in one turn, another first in each, on fresh servers, askrd on core 0, the load and its publisher on core 1.
// What is judged is the ratio within a turn. SHORT=1: small numbers, to try it. TURNS: 5 unless told. ONLY=fanout or publish.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { PHP, TESTS } from '../lib/built.mjs';
import { hub, P } from '../lib/hub.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';
import { BURST, perDelivery, settle } from './fanout-measure.mjs';
import { compile, startAskrd } from './fanout-servers.mjs';

const SHORT = process.env.SHORT === '1';
const TURNS = Number(process.env.TURNS ?? (SHORT ? 2 : 5));
const ONLY = process.env.ONLY ?? '';
const SIZES = SHORT ? { many: 1000, patterns: 100, events: 10, bursts: 1, calls: 5000 }
  : { many: 10_000, patterns: 1000, events: 20, bursts: 2, calls: 50_000 };

const TOPIC = 'https://example.com/books/1';

/** A token for each stream, by which the same topics are granted. */
function tokens(scope, name, token, topics) {
  const file = scope.path(name);
  writeFileSync(file, Array.from({ length: SIZES.many }, (_, n) => `${token(['subscribe'], topics, n)}\n`).join(''));
  return file;
}

const shown = (values, digits = 3) => `${median(values).toPrecision(digits)} (${Math.min(...values).toPrecision(digits)} .. ${Math.max(...values).toPrecision(digits)})`;
const ratios = (values, beside) => values.map((value, turn) => value / beside[turn]);

const scope = new Scope();
try {
  const { app, token } = hub(scope);
  const settings = { app: { ...app, mercure_anonymous: true, mercure_patterns_per_address: 10_000 } };
  const start = (name) => startAskrd(scope, { name, settings });
  if (ONLY !== 'publish') await fanout(start, token);
  if (ONLY !== 'fanout') await publish(start, token);
} finally {
  await scope.close();
}

async function fanout(start, token) {
  const load = compile(scope, 'fanout-load');
  const exact = [{ match: TOPIC }];
  const pattern = [{ match: 'https://example.com/books/:id', match_type: 'urlpattern' }];
  const to = (query, more = {}) => ({ path: `${P}?${query}`, channel: TOPIC, by: ['mercure', 'public'], ...more });
  const distinct = SIZES.patterns;
  const KINDS = {
    sse: ['own SSE, one channel', {}],
    exact: ['one exact topic', to(`match=${TOPIC}`)],
    private: ['one exact topic, private, a token each', to(`match=${TOPIC}`, { by: ['mercure', 'private'], tokens: tokens(scope, 'exact', token, exact) })],
    patterns: [`${distinct} URL patterns`, to('match_urlpattern=/books/:v%d', { distinct })],
    expressions: [`${distinct} URL patterns with expressions`, to('match_urlpattern=/books/:v%d([0-9]%%2B)', { distinct })],
    templates: [`${distinct} URI templates (0.x)`, to('topic=https://example.com/books/{v%d}', { distinct })],
    granted: [`${distinct} URL patterns, private, a token each`,
      to('match_urlpattern=/books/:v%d', { distinct, by: ['mercure', 'private'], tokens: tokens(scope, 'pattern', token, pattern) })],
  };
  const names = Object.keys(KINDS);
  const figures = Object.fromEntries(names.map((name) => [name, { one: [], burst: [] }]));
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (let n = 0; n < names.length; n += 1) {
      const name = names[(turn + n) % names.length];
      process.stderr.write(`turn ${turn + 1} of ${TURNS}: ${name}\n`);
      const server = await start(`${name}-${turn}`);
      const streams = server.load(load, KINDS[name][1]);
      await streams.command(`open ${SIZES.many}`);
      await settle(server);
      await streams.command('events 2 1');
      figures[name].one.push(await perDelivery(server, streams, `events ${SIZES.events} 1`));
      figures[name].burst.push(await perDelivery(server, streams, `events ${SIZES.bursts * BURST} ${BURST}`));
      await streams.end();
      await server.end();
    }
  }
  const row = (name) => {
    const { one, burst } = figures[name];
    return [KINDS[name][0], shown(one), shown(ratios(one, figures.sse.one)), shown(ratios(one, figures.exact.one)), shown(burst), shown(ratios(burst, figures.sse.burst))];
  };
  console.log(`\nCPU per delivery, ${SIZES.many} subscribers, 200 B, µs: median of ${TURNS} turns (smallest .. largest)\n`);
  console.log(table(['', 'one at a time', 'to own SSE', 'to one topic', `bursts of ${BURST}`, 'to own SSE'], names.map(row)));
}

async function publish(start, token) {
  const server = await start('publish');
  const all = [];
  for (let turn = 0; turn < TURNS; turn += 1) {
    const { code, out, err } = await run('taskset', ['-c', '1', PHP, '-d', `askr.ring=${server.askrd.ring}`, path.join(TESTS, 'bench/mercure.php'),
      String(server.port), token(['publish'], [{ match: TOPIC }]), String(SIZES.calls)], { env: phpEnvironment(scope, server.askrd) });
    if (code !== 0) throw new Error(out + err);
    all.push(JSON.parse(out));
  }
  await server.end();
  const of = (what) => all.map((one) => one[what]);
  const row = (name, what) => [name, shown(of(what)), shown(ratios(of(what), of('broadcast'))), shown(ratios(of('post'), of(what)))];
  console.log(`\nOne call from PHP, 200 B, ns: median of ${TURNS} runs (smallest .. largest)\n`);
  console.log(table(['', 'ns a call', 'to askr_broadcast()', 'cheaper than a POST'], [
    row('askr_broadcast()', 'broadcast'),
    row('mercure_publish(), one topic', 'publish'),
    row('mercure_publish(), private', 'private'),
    row('mercure_publish(), two topics', 'two'),
    row('POST to the hub, connection kept', 'post'),
  ]));
}
