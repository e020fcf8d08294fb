// Three nodes, a Redis with a replica and three sentinels, PHP publishers on each node, and viewers that come back to another node each
// time, while everything dies in turns: SECONDS=600 node cluster/torture.mjs. Ends with 0 if nothing was torn, sent twice, out of order, or missing
// without a gap that accounts for it, if every viewer has everything in the end, and if members were seen as they were: `presence.mjs`.

import { appendFileSync } from 'node:fs';
import { Askrd } from '../lib/askrd.mjs';
import { PHP } from '../lib/built.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { services } from '../lib/people.mjs';
import { freePort } from '../lib/http.mjs';
import { Redis, Sentinel } from '../lib/redis.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { Person } from './person.mjs';
import { Presence } from './presence.mjs';
import { RecoveringViewer } from './recovering.mjs';
import { KINDS, Viewer } from './viewer.mjs';
import { Network, OneSide } from './network.mjs';

const SECONDS = Number(process.env.SECONDS ?? 60);
const RATE = Number(process.env.RATE ?? 60);          // events a second of one publisher
const VIEWERS = Number(process.env.VIEWERS ?? 12);
// How long Redis is away and the network is cut.
const LONG = Number(process.env.LONG ?? Math.max(6, Math.min(60, SECONDS / 10)));
// Only faults whose names have one of these in them: FAULTS='Redis away,FLUSHALL'.
const ONLY = (process.env.FAULTS ?? '').split(',').filter(Boolean);
const CHANNELS = ['orders', 'news'];
const KEY = 'torture';
const SECRET = 'only-for-this-torture-of-askr';
// Seconds, as the nodes are set: after which a host is away, and dead; and a user who lost the connection.
const [LEASE, GRACE, PRESENCE_GRACE] = [2, 4, 5];
// Milliseconds after which nobody may see a user who is gone: all of these, and what a busy machine takes.
const BOUND = (LEASE + GRACE + PRESENCE_GRACE + 4) * 1000;
// Milliseconds after which a host that took another one for dead has its members again, once both reach Redis: what hosts say of themselves is
// read that often (daemon/src/cluster/beating.rs), the other one says each second how far it is (facts.rs), and is waited for that long
// (app/peers.rs). What a busy machine takes is in how long hosts count as apart.
const AGAIN = Math.min(1000, LEASE * 1000 / 4) + 1000 + 1000;

// How long the sentinels may take to agree after everything was away.
const RETURN = 240_000;

let seed = Number(process.env.SEED ?? Date.now() % 1e9);
console.log(`torture-cluster: ${SECONDS} s, seed ${seed}`);
const random = () => {
  // Mulberry32.
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const among = (list) => list[Math.floor(random() * list.length)];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const began = Date.now();
const say = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);

const scope = new Scope();

/** A node's askrd, on one side of the network. */
class Node extends Askrd {
  constructor(name, side, url, network) {
    super(scope, {
      ring: { name: `${scope.shm}/ring-${name}`, slots: Number(process.env.SLOTS ?? 16_384) },
      server: { listen: [`unix:${scope.path(`${name}.sock`)}`], ping: 1 },
      app: { id: 'torture', key: KEY, secret: SECRET, presence_grace: PRESENCE_GRACE },
      cluster: { url, stream_length: 20_000, lease: LEASE, grace: GRACE },
    }, name);
    Object.assign(this, { side, wrap: network.on(side) });
  }

  async start() {
    const { uid, gid } = this.user;
    const before = this.process?.output().length ?? 0;
    // Entering a namespace needs root, which is given up behind it.
    const as = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'];
    const command = [...this.wrap, ...as, this.binary, 'serve', '--config', this.config];
    this.process = scope.start(this.name, command[0], command.slice(1), { env: { RUST_BACKTRACE: '1', RUST_LOG: 'info' } });
    await until(`${this.name} is ready`, async () => {
      if (this.process.ended) throw new Error(`askrd ${this.process.state()}: ${this.process.output().slice(before)}`);
      return (await this.readiness().catch(() => null))?.status === 200;
    });
    return this;
  }
}

/** PHP that publishes on one node, in lives: each is a publisher of its own. */
class Publisher {
  lives = [];

  constructor(node, channel) {
    Object.assign(this, { node, channel });
    this.begin();
  }

  begin() {
    const { uid, gid } = services().web;
    const name = `${this.node.name}-${this.channel}-${this.lives.length}`;
    const script = new URL('publisher.php', import.meta.url).pathname;
    const env = phpEnvironment(scope, this.node);
    const process = scope.start(name, PHP, [script, name, this.channel, String(RATE)], { uid, gid, env });
    this.lives.push({ name, process });
  }

  async kill() {
    await this.lives.at(-1).process.kill();
  }

  /** Of each life, the last number that it said was accepted; a killed one may have published one more. */
  ends() {
    return this.lives.map(({ name, process }) => [name, Number(process.output().trimEnd().split('\n').filter((line) => /^\d+$/.test(line)).at(-1) ?? 0)]);
  }
}

// Faults that part hosts from one another.
const CUTS = ['master', 'failover', 'Redis away', 'partition'];

/**
 * Whether nodes are parted, or were a moment ago, and whether one is down: as they say themselves, as Redis says who is the master, and as
 * the fault that is under way does it. `watch` runs a fault.
 */
function watched(nodes, redis) {
  const state = { apart: true, down: true };
  let cutting = false;
  let lastApart = 0;
  const role = async (server) => !server.process.ended && (await server.ask('ROLE').catch(() => '')).startsWith('master');
  (async () => {
    for (;;) {
      const bodies = await Promise.all(nodes.map((node) => node.readiness().then(({ status, body }) => (status === 200 ? String(body) : null), () => null)));
      const masters = (await Promise.all(redis.map(role))).filter(Boolean).length;
      if (cutting || masters !== 1 || bodies.some((body) => body?.includes('cluster.'))) lastApart = Date.now();
      state.apart = Date.now() - lastApart < 2000;
      state.down = bodies.includes(null);
      await new Promise((resolve) => setTimeout(resolve, 200).unref());
    }
  })();
  const watch = async (cuts, run) => {
    cutting = cuts;
    if (cuts) state.apart = true;
    await run().finally(() => { cutting = false; });
  };
  return { state, watch };
}

const counts = new Map();
async function fault(name, action) {
  counts.set(name, (counts.get(name) ?? 0) + 1);
  say(name);
  await action();
}

async function main() {
  const network = process.getuid() === 0 ? new Network(scope) : new OneSide();
  const { left, right } = network.addresses;
  const ports = [];
  for (let n = 0; n < 5; n += 1) ports.push(await freePort());
  const redis = [
    await new Redis(scope, 'redis-1', { host: left, port: ports[0] }, { wrap: network.on('left') }).start(),
    await new Redis(scope, 'redis-2', { host: right, port: ports[1] }, { wrap: network.on('right') }).start('--replicaof', left, ports[0]),
  ];
  const sentinels = [];
  for (const [n, side] of ['left', 'right', 'right'].entries()) {
    const sentinel = new Sentinel(scope, `sentinel-${n}`, { host: network.addresses[side], port: ports[2 + n] }, { wrap: network.on(side) });
    sentinels.push(await sentinel.start(redis[0]));
  }
  const url = `redis+sentinel://${sentinels.map(({ where }) => `${where.host}:${where.port}`).join(',')}/askr`;

  const nodes = [new Node('a', 'left', url, network), new Node('b', 'right', url, network), new Node('c', 'right', url, network)];
  await Promise.all(nodes.map((node) => node.start()));
  say('three nodes are ready');

  const places = nodes.map((node) => ({ socketPath: node.socket }));
  const stays = { pick: among, stay: () => 1000 + random() * 6000 };
  const viewers = Array.from({ length: VIEWERS }, (_, n) => {
    const kind = KINDS[n % (KINDS.length + 1)];
    return kind ? new Viewer(kind, String(n), places, CHANNELS, stays) : new RecoveringViewer(String(n), places, CHANNELS, { key: KEY, ...stays });
  });
  const users = ['ada', 'bob', 'cyd', 'dan', 'eve', 'fay'];
  // Now and then they stay away for longer than anything that keeps them.
  const rest = () => (random() < 0.8 ? 30 + random() * 100 : BOUND + random() * 5000);
  const people = users.map((user) => new Person(user, users, places, { secret: SECRET, pick: among, stay: () => 2000 + random() * 6000, rest }));
  await until('all viewers have begun', () => viewers.every((viewer) => viewer.begun));

  const publishers = nodes.flatMap((node) => CHANNELS.map((channel) => new Publisher(node, channel)));
  await sleep(2000);

  const master = async () => {
    for (const server of redis) {
      if (server.process.ended) continue;
      const role = await server.ask('ROLE').catch(() => '');
      if (role.startsWith('master')) return server;
    }
    return null;
  };
  const { state, watch } = watched(nodes, redis);
  const presence = new Presence(people, { bound: BOUND, settle: 3000, recovery: AGAIN, apart: () => state.apart, down: () => state.down });
  const looking = setInterval(() => presence.look(), 200);
  // It comes back as a replica; the sentinels would make it one, too.
  const restart = (server) => {
    const other = redis.find((one) => one !== server);
    return server.start(...(other.process.ended ? [] : ['--replicaof', other.where.host, other.where.port]));
  };
  const trim = async () => {
    const server = await master();
    if (!server) return;
    for (const key of (await server.ask('--scan', '--pattern', 'askr:*:log')).split('\n').filter(Boolean)) await server.ask('XTRIM', key, 'MAXLEN', '5');
  };

  const faults = {
    'SIGKILL of a node': async () => {
      const node = among(nodes);
      await node.kill();
      await sleep(random() * 3000);
      await node.start();
    },
    'SIGTERM of a node': async () => {
      const node = among(nodes);
      await node.stop();
      await node.start();
    },
    'SIGKILL of a publisher': async () => {
      const publisher = among(publishers);
      await publisher.kill();
      publisher.begin();
    },
    'SIGKILL of the master': async () => {
      const server = await master();
      if (!server) return;
      await server.kill();
      await sleep(4000);
      await restart(server);
      await sleep(2000);
    },
    'failover': async () => {
      // One that is already under way refuses another.
      await sentinels[1].ask('SENTINEL', 'FAILOVER', 'askr').catch(() => {});
      await sleep(3000);
    },
    FLUSHALL: async () => {
      await (await master())?.ask('FLUSHALL');
    },
    'a trimmed log': trim,
    'a node away longer than the log': async () => {
      const node = among(nodes);
      await node.kill();
      await sleep(2500);
      await trim();
      await node.start();
    },
    'SIGSTOP of the master': async () => {
      const server = await master();
      if (!server) return;
      server.process.signal('SIGSTOP');
      await sleep(1500);
      server.process.signal('SIGCONT');
    },
    [`Redis away for ${LONG} s`]: async () => {
      await Promise.all(redis.map((server) => server.kill()));
      await sleep(LONG * 1000);
      await redis[0].start();
      await redis[1].start('--replicaof', left, ports[0]);
    },
    [`a partition of ${LONG} s`]: async () => {
      network.part();
      await sleep(LONG * 1000);
      network.join();
      await sleep(3000);
    },
  };
  if (!network.part) delete faults[`a partition of ${LONG} s`];
  const names = Object.keys(faults).filter((name) => ONLY.length === 0 || ONLY.some((word) => name.includes(word)));
  // Each once, in a random order, and again while there is time.
  const isLong = (name) => name.includes(`${LONG} s`);
  let queue = [];
  const end = Date.now() + SECONDS * 1000;
  while (Date.now() < end) {
    if (queue.length === 0) queue = [...names].sort(() => random() - 0.5);
    const name = queue.pop();
    await watch(CUTS.some((word) => name.includes(word)), () => fault(name, faults[name]));
    // Whoever is still seen then is seen for too long. What is short has no time for that.
    if (isLong(name) && SECONDS >= 120) await until('it was calm for long enough', () => presence.calm > BOUND + 1000, RETURN);
    for (const node of nodes) {
      if (node.process.ended) throw new Error(`${node.name} ended by itself: ${node.process.output().split('\n').slice(-20).join('\n')}`);
    }
    await sleep(500 + random() * 2500);
  }

  say('quiet: publishers end, everything is to arrive');
  for (const publisher of publishers) await publisher.kill();
  await until('the hosts reach one another', () => !state.apart, RETURN);
  const ends = new Map(publishers.flatMap((publisher) => publisher.ends()));
  const published = [...ends.values()].reduce((sum, n) => sum + n, 0);
  for (const viewer of viewers) viewer.settle();
  const lacks = (viewer) => [...ends].filter(([name, n]) => (viewer.ledger.last.get(name) ?? 0) < n);
  const late = () => viewers.filter((viewer) => lacks(viewer).length > 0);
  await until('every viewer has the last event of each publisher', () => late().length === 0, 60_000).catch((error) => {
    const told = late().map((viewer) => `${viewer.ledger.name} on ${viewer.at} has ${lacks(viewer).map(([name, n]) => `${viewer.ledger.last.get(name) ?? 0} of ${n} of ${name}`).join(', ')}`);
    say(`${error.message}:\n  ${told.join('\n  ')}`);
  });
  const stuck = late().length;
  // Members: everybody sees everybody, and two who leave for good are gone after all of these times, with a look each second.
  for (const person of people) person.settle();
  const patience = BOUND + 6000;
  let wrong = 0;
  await until('each member sees all', () => people.every((person) => person.sees(users)), patience).catch((error) => {
    wrong += 1;
    say(`${error.message}: ${people.map((person) => `${person.user} sees ${person.present && [...person.present].join('+')}`).join(', ')}`);
  });
  const [staying, leaving] = [people.slice(2), people.slice(0, 2)];
  for (const person of leaving) person.stop();
  await until('who left is seen to have left', () => staying.every((person) => person.sees(users.slice(2))), patience).catch((error) => {
    wrong += 1;
    say(`${error.message}: ${staying.map((person) => `${person.user} sees ${person.present && [...person.present].join('+')}`).join(', ')}`);
  });
  clearInterval(looking);
  for (const person of staying) person.stop();
  const contradictions = people.flatMap((person) => person.contradictions);
  // What comes twice comes late.
  await sleep(3000);
  for (const viewer of viewers) viewer.stop();
  for (const viewer of viewers) viewer.ledger.close(ends);

  const sum = (what) => viewers.reduce((all, viewer) => all + viewer.ledger[what], 0);
  console.log(`\nfaults: ${[...counts].map(([name, n]) => `${name} ${n}`).join(', ')}`);
  console.log(`published ${published} events by ${ends.size} publishers; ${VIEWERS} viewers were sent ${sum('events')} over ${viewers.reduce((all, v) => all + v.connections, 0)} connections`);
  console.log(`torn ${sum('torn')}, twice ${sum('twice')}, out of order ${sum('disorder')}, unexplained ${sum('unexplained')}; ${stuck} viewers never had the last event; missing and reported ${sum('missing') - sum('unexplained')}, gaps ${sum('gaps')} (${sum('unbounded')} of unknown size)`);
  console.log(`members: ${people.reduce((all, person) => all + person.changes, 0)} joins and leaves seen, ${contradictions.length} contradictions, ${presence.flickers} seen to leave who were there, ${presence.ghosts} seen for too long (the longest for ${(presence.longest / 1000).toFixed(1)} s), lists lacked somebody for ${(presence.lacked / 1000).toFixed(1)} s after hosts were apart, ${wrong} times not everybody was seen as they were in the end`);
  for (const complaint of [...contradictions.slice(0, 10), ...presence.complaints.slice(0, 10)]) console.log(`  ${complaint}`);
  const complaints = viewers.flatMap((viewer) => viewer.ledger.complaints);
  for (const complaint of complaints.slice(0, 20)) console.log(`  ${complaint}`);
  return sum('torn') + sum('twice') + sum('disorder') + sum('unexplained') + stuck + contradictions.length + presence.flickers + presence.ghosts + wrong === 0;
}

let good = false;
try {
  good = await main();
} catch (error) {
  console.error(error);
  for (const one of scope.processes) console.error(`${one.name} (${one.state()}): ${one.output().trimEnd().split('\n').slice(-4).join('\n  ')}`);
} finally {
  if (process.env.LOGS) for (const one of scope.processes) appendFileSync(process.env.LOGS, `==== ${one.name}\n${one.output()}\n`);
  await scope.close();
}
process.exit(good ? 0 : 1);
