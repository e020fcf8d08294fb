// The siege: attacks of every kind at once, with a healthy reader on each transport.
//   SECONDS=60 node siege/siege.mjs
// What it promises: anonymous memory stays under the ceiling that `askrd check` prints; no healthy reader is
// disconnected or misses anything, and newcomers are let in; /healthz answers; nobody stays who takes nothing;
// and when it is over, memory comes back.

import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { Askrd } from '../lib/askrd.mjs';
import { TESTS } from '../lib/built.mjs';
import { metrics } from '../lib/faults.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { services } from '../lib/people.mjs';
import { startPhp } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';
import { startApplication } from './application.mjs';
import { PIPELINERS } from './attacks/requests.mjs';
import { ceiling } from './ceiling.mjs';
import { MiB, anonymous, connected, kernel } from './memory.mjs';
import { settings } from './settings.mjs';

/** What may stay when all have left: an index that has filled, tables that have grown, pages between them. */
const BACK = 24 << 20;

const SECONDS = Number(process.env.SECONDS ?? 60);
const ATTACKS = (process.env.ATTACKS ?? 'events idle pools requests cursors').split(' ').filter(Boolean);
const HERE = path.dirname(fileURLToPath(import.meta.url));
/** More than any ceiling, so that a daemon without bounds ends before the machine does. */
const ADDRESS_SPACE = 8 << 30;
/** Seconds after which whoever watches over a service takes it for dead. */
const PROBE = 10;

/** Asks /healthz again and again. */
class Health {
  answers = 0;
  slowest = 0;
  faults = [];
  #stopped = false;

  constructor(askrd) {
    this.done = this.#watch(askrd);
  }

  async #watch(askrd) {
    while (!this.#stopped) {
      const began = Date.now();
      const answer = ask({ socketPath: askrd.control }, '/healthz', { headers: { Host: 'localhost' } });
      const late = pause(PROBE * 1000, { status: `none within ${PROBE} s` }, { ref: false });
      const { status } = await Promise.race([answer, late]).catch((why) => ({ status: why.code }));
      if (status === 200) this.answers += 1;
      else this.faults.push(status);
      this.slowest = Math.max(this.slowest, Date.now() - began);
      await pause(250);
    }
  }

  stop() {
    this.#stopped = true;
    return this.done;
  }
}

/** The highest of what is sampled. */
class Peak {
  anonymous = 0;
  kernel = 0;
  #timers;

  constructor(askrd) {
    const memory = () => { this.anonymous = Math.max(this.anonymous, anonymous(askrd.process.pid)); };
    const sockets = async () => { this.kernel = Math.max(this.kernel, await kernel(askrd.port).catch(() => 0)); };
    this.#timers = [setInterval(memory, 20), setInterval(sockets, 1000)];
  }

  stop() {
    this.#timers.forEach(clearInterval);
  }
}

async function siege(scope) {
  const application = await startApplication(scope);
  const port = await freePort();
  const askrd = new Askrd(scope, settings(application, port, scope.path('askrd.sock')));
  const allowed = await ceiling(askrd);
  await askrd.start();
  const pid = askrd.process.pid;
  await run('prlimit', ['--pid', String(pid), `--as=${ADDRESS_SPACE}`]);

  const node = (name, args, options) => scope.start(name, process.execPath, args, { cwd: TESTS, ...options });
  const readers = await startReaders(scope, { port, socket: askrd.socket });
  const first = await subscribe(scope, { port }, 'news');
  await until('there is a cursor', () => first.lastEventId);
  const epoch = first.lastEventId.split('-')[0];
  first.close();

  const start = anonymous(pid);
  const peak = new Peak(askrd);
  const health = new Health(askrd);
  const publisher = startPhp(scope, askrd, 'publisher', path.join(TESTS, 'php/siege.php'), [SECONDS]);
  // Another user's: the daemon's own, and root, may have places of their own.
  const { web } = services();
  const place = JSON.stringify({ port, epoch, control: web.uid === undefined ? null : askrd.control });
  const attackers = ATTACKS.map((name) => node(`attack-${name}`, ['siege/attacker.mjs', name, place], { uid: web.uid, gid: web.gid }));

  // Newcomers wait for an event that is published after they came.
  await pause(Math.max(SECONDS - 5, SECONDS / 2) * 1000);
  readers.tell({});
  await publisher.exited;
  const staying = ATTACKS.includes('requests') ? await connected(port, PIPELINERS) : 0;
  const failures = attackers.filter((one) => one.ended).map((one) => `the ${one.name} itself ended: ${one.output().slice(-500)}`);
  const published = JSON.parse(publisher.output());
  readers.tell(published);
  const report = await readers.report((late) => tellLate(late, askrd));
  await health.stop();
  peak.stop();
  await Promise.all(attackers.map((one) => one.kill()));

  if (askrd.process.ended) failures.push(`askrd ${askrd.process.state()}: ${askrd.process.output().slice(-500)}`);
  let [kept, counters] = [0, {}];
  if (!askrd.process.ended) {
    await until('the attackers are gone', async () => (await metrics(askrd)).askr_connections === 0);
    // What is given back is given back in a moment.
    allowed.kept = Math.min(allowed.kept, start + BACK);
    await until('memory comes back', () => anonymous(pid) <= allowed.kept, 10_000).catch(() => {});
    [kept, counters] = [anonymous(pid), await metrics(askrd)];
  }
  return { allowed, start, peak, kept, health, published, report, staying, counters, failures };
}

/** What says why somebody who reads has to wait: memory, turns, the worker, shares, attackers. */
const WAITS = /^process_cpu_seconds|^askr_(held|outbox)_bytes|^askr_(memory_relief|worker_(overruns|wakes)|replay|large_events|slow_clients|positions_scanned|events_replayed|streams|accepted|connections|ring_lag)/;
let before = {};

/** Somebody is late: how far they are, and how askrd is; of counters, what they have grown by. */
async function tellLate(late, askrd) {
  const all = await metrics(askrd).catch((why) => ({ [`no metrics: ${why.message}`]: 1 }));
  const grown = ([name, value]) => [name, /_total($|{)/.test(name) ? value - (before[name] ?? 0) : value];
  const rows = Object.entries(all).filter(([name]) => WAITS.test(name) || name.startsWith('no ')).map(grown);
  before = all;
  console.log(`siege: late: ${late}`);
  console.log(`siege:   ${rows.filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join(', ')}`);
}

/** The readers' process: what it is told, and its report. */
async function startReaders(scope, place) {
  const { spawn } = await import('node:child_process');
  const child = spawn(process.execPath, ['siege/readers.mjs', JSON.stringify(place)], { cwd: TESTS, stdio: ['pipe', 'pipe', 'inherit'] });
  scope.defer(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (text) => { said += text; });
  const line = (pattern) => until(`the readers say ${pattern}`, () => {
    if (child.exitCode) throw new Error('the readers ended');
    return said.split('\n').slice(0, -1).find((one) => pattern.test(one));
  }, 180_000);
  await line(/^ready$/);
  return {
    tell: (what) => child.stdin.write(`${JSON.stringify(what)}\n`),
    /** `onLate` is told how far those are who are late, every few seconds. */
    report: async (onLate) => {
      let told = 0;
      child.stdout.on('data', () => {
        const late = said.split('\n').slice(0, -1).filter((one) => one.startsWith('late '));
        late.slice(told).forEach((one) => onLate(one.slice('late '.length)));
        told = late.length;
      });
      return JSON.parse(await line(/^\{/));
    },
  };
}

/** What does not hold, in words. */
function judge({ allowed, peak, kept, health, report, staying, failures }) {
  const wrong = [...failures];
  if (peak.anonymous > allowed.ceiling) wrong.push(`anonymous memory came to ${MiB(peak.anonymous)}; the ceiling is ${MiB(allowed.ceiling)}`);
  if (kept > allowed.kept) wrong.push(`${MiB(kept)} stayed when all had left; the ceiling is ${MiB(allowed.kept)} then`);
  for (const reader of report.readers) {
    if (reader.disconnections) wrong.push(`${reader.name}: disconnected ${reader.disconnections} times: ${reader.why.slice(0, 3).join('; ')}`);
    if (reader.faults) wrong.push(`${reader.name}: ${reader.faults} faults, the first: ${reader.first}`);
  }
  if (report.late) wrong.push(`readers: ${report.late}`);
  const { never, came, said } = report.newcomers;
  if (never) wrong.push(`${never} of ${came} newcomers were never let in: ${said.join('; ')}`);
  if (came === 0) wrong.push('no newcomers came');
  if (health.faults.length) wrong.push(`/healthz: ${health.faults.length} of ${health.faults.length + health.answers} without an answer of 200: ${[...new Set(health.faults)]}`);
  if (staying) wrong.push(`${staying} connections whose client takes no answer are still there after ${SECONDS} s`);
  return wrong;
}

function tell({ allowed, start, peak, kept, health, published, report, counters }) {
  const rows = [
    ['anonymous memory at the start', MiB(start)],
    ['at most', MiB(peak.anonymous), `ceiling ${MiB(allowed.ceiling)}`],
    ['when all had left', MiB(kept), `ceiling ${MiB(allowed.kept)}`],
    ['kernel memory of connections, at most', MiB(peak.kernel)],
    ['/healthz', `${health.answers} answers`, `the slowest after ${health.slowest} ms`],
    ['published', `${published.news} small, ${published.big} large`],
    ...report.readers.map((reader) => [reader.name, `${reader.next.news} small, ${reader.next.big} large`,
      `disconnected ${reader.disconnections} times, ${reader.gaps} gaps, ${reader.faults} faults`]),
    ['newcomers', `${report.newcomers.inside} of ${report.newcomers.came} let in`, `turned away ${report.newcomers.turnedAway} times`],
    ...Object.entries(counters).filter(([name, value]) => value && /refused|ended_total|full/.test(name)).map(([name, value]) => [name, String(value)]),
  ];
  for (const [what, ...figures] of rows) console.log(`siege: ${what.padEnd(48)} ${figures.join(', ')}`);
}

const scope = new Scope();
let wrong;
try {
  const outcome = await siege(scope);
  tell(outcome);
  wrong = judge(outcome);
} catch (error) {
  wrong = [error.stack];
  for (const one of scope.processes) wrong.push(`${one.name} (${one.state()}): ${one.output().slice(-500)}`);
} finally {
  await scope.close();
}
for (const one of wrong) console.log(`siege: FAILED: ${one}`);
process.exit(wrong.length ? 1 : 0);
