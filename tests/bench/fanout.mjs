// The fan-out engine beside the least a server can do (fanout-floor.c) and Debian's nginx with nchan:
// in one run, in turns, each on core 0 with the load on core 1; then WebSockets and private channels
// (fanout-kinds.mjs); then what connections cost (fanout-connect.mjs). SHORT=1: small numbers, to try it. ONLY=kinds,
// ONLY=connect: a part alone. WRITE=1: the tables and the chart go to docs/ too.

import { Scope } from '../lib/scope.mjs';
import { measureConnections } from './fanout-connect.mjs';
import { measureKinds } from './fanout-kinds.mjs';
import { BURST, cost, measure, perDelivery, settle } from './fanout-measure.mjs';
import { report } from './fanout-report.mjs';
import { compile, startAskrd, startFloor, startNchan } from './fanout-servers.mjs';

const SHORT = process.env.SHORT === '1';
const ONLY = process.env.ONLY ?? 'all';
if (!['all', 'kinds', 'connect'].includes(ONLY)) throw new Error(`ONLY=${ONLY}: "kinds" and "connect" are parts by themselves`);
const SIZES = SHORT
  ? { rounds: 1, turns: 1, many: 3000, few: 500, each: 300_000, bursts: 2, seconds: 1, idle: 6, growth: 300_000, processes: 1, channels: 5000, spread: 500 }
  : { rounds: Number(process.env.ROUNDS ?? 3), turns: Number(process.env.TURNS ?? 5), many: 10_000, few: 1000, each: 400_000, bursts: 4, seconds: 1, idle: 32,
    growth: 10_000_000, processes: 6, channels: 17_000, spread: 1500 };
const START = { floor: startFloor, nchan: startNchan, askrd: startAskrd };

/** Every value measured: figures.askrd.one_1000 is a list, one value a round. */
const figures = { floor: {}, nchan: {}, askrd: {} };
const note = (name, key, value) => (figures[name][key] ??= []).push(value);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** CPU of servers that hold many streams and deliver nothing but heartbeats; then a long run of one. */
async function idleAndGrowth(scope, program) {
  // An index that is full before the run: what it grows to is bounded, and not what is looked for.
  const [index, first] = [1024, 2048];
  const servers = [await startAskrd(scope, { name: 'askrd-idle', settings: { broadcast: { index_entries: index } } }),
    await startNchan(scope, { name: 'nchan-idle' })];
  const loads = [];
  for (const server of servers) {
    loads.push(server.load(program));
    await loads.at(-1).command('open 1');
    await loads.at(-1).command(`events ${first} ${BURST}`);
    await loads.at(-1).command(`open ${SIZES.many}`);
    await settle(server);
  }
  const before = servers.map((server) => server.cpu());
  const began = process.hrtime.bigint();
  await pause(SIZES.idle * 1000);
  const elapsed = Number(process.hrtime.bigint() - began);
  servers.forEach((server, i) => note(server.name, 'idle', 100 * (server.cpu() - before[i]) / elapsed));
  await loads[1].end();
  await servers[1].end();

  const [askrd] = servers;
  const [load] = loads;
  const deliver = async (count) => {
    // A tenth one at a time, the rest in bursts.
    const events = Math.ceil(count / SIZES.many);
    await load.command(`events ${Math.ceil(events / 10)} 1`);
    await load.command(`events ${Math.floor(events * 0.9)} ${BURST}`);
    await settle(askrd);
    return askrd.memory();
  };
  // The first traffic fills what is kept for traffic; from then on nothing may grow.
  const warm = await deliver(SIZES.growth / 10);
  const after = await deliver(SIZES.growth);
  note('askrd', 'growth_before', warm.own);
  note('askrd', 'growth_after', after.own);
  await load.end();
  await askrd.end();
}

/** The same streams on one worker and on two, both on both cores. */
async function workers(scope, program) {
  for (let number = 0; number < SIZES.rounds; number += 1) {
    const per = {};
    for (const count of number % 2 ? [2, 1] : [1, 2]) {
      const server = await startAskrd(scope, { name: `askrd-${count}w-${number}`, workers: count, cores: '0,1' });
      const load = server.load(program);
      await load.command(`open ${2 * SIZES.few}`);
      await load.command('events 5 1');
      per[count] = await perDelivery(server, load, `events ${Math.ceil(SIZES.each / SIZES.few / 2)} 1`);
      await load.end();
      await server.end();
    }
    note('askrd', 'workers_1', per[1]);
    note('askrd', 'workers_2', per[2]);
    note('askrd', 'workers_ratio', per[2] / per[1]);
  }
}

/** Many channels with one stream each, over as many processes as descriptors need; then one channel. */
async function channels(scope, program) {
  const all = [];
  for (let n = 0; n < SIZES.processes; n += 1) {
    const server = await startAskrd(scope, { name: `askrd-channels-${n}` });
    const before = server.memory();
    const load = server.load(program, { path: '/askr/events?channel=c%d' });
    await load.command(`open ${SIZES.channels}`);
    await settle(server);
    all.push({ server, load });
    note('askrd', 'channel_memory', (server.memory().pss - before.pss) / SIZES.channels);
  }
  for (const { server, load } of all) {
    await load.command('spread 100 1');
    note('askrd', 'channels_one', await perDelivery(server, load, `spread ${SIZES.spread} 1`));
    note('askrd', 'channels_burst', await perDelivery(server, load, `spread ${SIZES.channels} 1000`));
  }
  // As many connections, all on one channel: what a write costs the kernel depends on how many sockets there are.
  for (const one of all) {
    await one.load.command('close');
    await settle(one.server);
    one.together = one.server.load(program);
    await one.together.command(`open ${SIZES.channels}`);
  }
  for (const { server, together } of all) {
    await together.command('events 2 1');
    note('askrd', 'channels_together', await perDelivery(server, together, `events ${Math.ceil(SIZES.each / SIZES.channels)} 1`));
  }
  for (const { server, load, together } of all) {
    await together.end();
    await settle(server);
    await load.command('open 1');
    await load.command('spread 100 1');
    note('askrd', 'channel_one', await perDelivery(server, load, `spread ${SIZES.spread} 1`));
    await load.end();
    await server.end();
  }
}

/** What askrd, the floor and nchan do for subscribers over SSE. */
async function overSse(scope, program, say) {
  const kinds = Object.keys(START);
  for (let number = 0; number < SIZES.rounds; number += 1) {
    for (let n = 0; n < kinds.length; n += 1) {
      // Another first in each round.
      const kind = kinds[(number + n) % kinds.length];
      say(`round ${number + 1} of ${SIZES.rounds}: ${kind}`);
      const server = await START[kind](scope, { name: `${kind}-${number}` });
      await measure(server, program, SIZES, (key, value) => note(kind, key, value), { replays: kind !== 'floor' });
      await server.end();
    }
  }
  say('idle streams and a long run');
  await idleAndGrowth(scope, program);
  say('two workers');
  await workers(scope, program);
  say('many channels');
  await channels(scope, program);
}

const scope = new Scope();
try {
  const began = Date.now();
  const say = (text) => process.stderr.write(`${text} (${Math.round((Date.now() - began) / 1000)} s)\n`);
  const program = compile(scope, 'fanout-load');
  compile(scope, 'fanout-floor');
  if (ONLY === 'all') await overSse(scope, program, say);
  const kinds = ONLY === 'connect' ? null : await measureKinds(scope, program, SIZES, { settle, cost, perDelivery, say });
  const connections = ONLY === 'kinds' ? null : await measureConnections(scope, program, SIZES, say);
  report({ figures: ONLY === 'all' ? figures : null, kinds, connections }, SIZES,
    { short: SHORT || ONLY !== 'all', write: process.env.WRITE === '1', seconds: (Date.now() - began) / 1000 });
} finally {
  await scope.close();
}
