// What the fan-out benchmark runs side by side, each with one process or thread that delivers, and the load
// that drives them (sockudo: fanout-sockudo.mjs). Servers are pinned to core 0, the load and its publisher to core 1.

import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { PHP, TESTS } from '../lib/built.mjs';
import { Askrd } from '../lib/askrd.mjs';
import { freePort } from '../lib/http.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { until, within } from '../lib/scope.mjs';
import { startNginx } from './nginx.mjs';

/** The application that Pusher's protocol names, here and at sockudo. */
export const APP = { id: 'bench', key: 'bench-key', secret: 'the-secret-of-the-benchmark' };
/** `/app/KEY` as Pusher's clients ask for it. */
export const PUSHER = { protocol: 'pusher', path: `/app/${APP.key}?protocol=7&client=bench&version=1` };

/** How events come in by Pusher's HTTP API, `batch` at a time. */
export const byApi = (port, batch) => ['pusher', String(port), APP.id, APP.key, APP.secret, String(batch)];

const PUBLISHER = path.join(TESTS, 'bench/fanout-publish.php');
/** Commands come over a socket: by default PHP takes it for ended after a minute without any. */
const PUBLISHES = ['-d', 'display_errors=stderr', '-d', 'default_socket_timeout=-1'];
/** As askrd's default, so that heartbeats cost both the same number of writes. */
const PING_SECONDS = 15;

/** Compiles a program of this directory into the scope. */
export function compile(scope, name) {
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', scope.path(name), path.join(TESTS, 'bench', `${name}.c`)]);
  return scope.path(name);
}

export class Server {
  constructor(scope, name, pids, port, target, environment = {}) {
    Object.assign(this, { scope, name, port, target, environment });
    this.pids = pids;
  }

  /** Nanoseconds of CPU so far, of all its processes and threads, those that have ended included. */
  cpu() {
    return this.pids().reduce((sum, pid) => sum + cpuOf(pid), 0);
  }

  /** Bytes: its share of all pages, and of those that are not shared memory. */
  memory() {
    const sum = { pss: 0, own: 0 };
    for (const pid of this.pids()) {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      const kib = (key) => Number(rollup.match(new RegExp(`^${key}: +([0-9]+) kB`, 'm'))?.[1] ?? 0);
      sum.pss += kib('Pss') * 1024;
      sum.own += (kib('Pss') - kib('Pss_Shmem')) * 1024;
    }
    return sum;
  }

  /**
   * A load on it, ready for commands. `protocol` and what goes with it (`path`, `tokens`) are those of
   * fanout-load.c; `channel` is published to, `by` the publisher's kind; `bytes` are the sizes of events; `port` is
   * another way in; `distinct`: how many different paths there are.
   */
  load(program, options = {}) {
    const events = this.name === 'nchan' ? '/sub' : '/askr/events';
    const { protocol = 'sse', channel = 'bench', path: asked = `${events}?channel=${channel}`, tokens, bytes = '200', port = this.port, by = this.target, distinct } = options;
    const more = protocol === 'pusher' ? [channel] : tokens ? [tokens] : [];
    return new Load(this, program, [protocol, String(port), asked, ...more], [channel, bytes], by, distinct && { DISTINCT: String(distinct) });
  }

  async end() {
    await this.process.end();
  }
}

function cpuOf(pid) {
  let sum = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
    }
  }
  // Threads that ended are in the process's own count only, which is exact to a hundredth of a second.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  const whole = (Number(stat[11]) + Number(stat[12])) * 1e7;
  return whole - sum > 2e8 ? whole : sum;
}

const pinned = (cores, pid) => execFileSync('taskset', ['-acp', cores, String(pid)], { stdio: 'ignore' });

/** `pusher`: a channel. Then it speaks WebSocket, and everybody is on that channel. */
export async function startFloor(scope, { name = 'floor', pusher } = {}) {
  const socket = scope.path(`${name}.sock`);
  const started = scope.start(name, 'taskset', ['-c', '0', scope.path('fanout-floor'), socket, ...(pusher ? [pusher] : [])]);
  const port = Number(await until('the floor listens', () => started.output().trim()));
  const made = new Server(scope, 'floor', () => [started.pid], port, ['floor', socket]);
  made.process = started;
  return made;
}

/** Debian's nginx with nchan: one worker, messages kept for replay as askrd keeps them. */
export async function startNchan(scope, { name = 'nchan' } = {}) {
  const port = await freePort();
  const socket = scope.path(`${name}.sock`);
  const modules = 'load_module /usr/lib/nginx/modules/ngx_nchan_module.so;';
  const http = `
tcp_nodelay on;
keepalive_requests 1000000000;
keepalive_timeout 1h;
nchan_shared_memory_size 256M;
server {
  listen 127.0.0.1:${port} backlog=4096;
  listen unix:${socket};
  location = /sub {
    nchan_subscriber eventsource;
    nchan_channel_id $arg_channel;
    nchan_subscriber_first_message newest;
    nchan_eventsource_ping_interval ${PING_SECONDS};
  }
  location = /pub {
    nchan_publisher http;
    nchan_channel_id $arg_channel;
    nchan_message_buffer_length 200;
    nchan_message_timeout 1h;
  }
}`;
  const started = await startNginx(scope, name, { http, modules, core: 0 }, ({ pid }) => {
    try {
      return statSync(socket).isSocket() && children(pid).length > 0;
    } catch {
      return false;
    }
  });
  const made = new Server(scope, 'nchan', () => [started.pid, ...children(started.pid)], port, ['nchan', socket]);
  made.process = started;
  return made;
}

const children = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

/** `env`: more of the environment. */
export async function startAskrd(scope, { name = 'askrd', workers = 1, cores = '0', settings = {}, program, env = {} } = {}) {
  const askrd = new Askrd(scope, {
    ...settings,
    ring: { name: `${scope.shm}/${name}`, ...settings.ring },
    server: { workers, ping: PING_SECONDS, ...settings.server },
  }, name, program);
  askrd.env = env;
  await askrd.start();
  pinned(cores, askrd.process.pid);
  // The directory of PHP's settings is made once per scope: the ring's name comes by a file of its own.
  const made = new Server(scope, 'askrd', () => [askrd.process.pid], askrd.port, ['askr'],
    { ...phpEnvironment(scope, askrd), ASKR_BENCH_RING: askrd.ring });
  made.process = askrd.process;
  made.askrd = askrd;
  return made;
}

/** A load program on a server: commands in, answers out. */
export class Load {
  #answers = [];

  /** `by`: what events are published by, and where to. */
  constructor(on, program, asked, published, by, env = {}) {
    const ring = on.environment.ASKR_BENCH_RING ? ['-d', `askr.ring=${on.environment.ASKR_BENCH_RING}`] : [];
    const [kind, ...target] = by;
    this.child = spawn('taskset', ['-c', '1', program, ...asked, '--', PHP, ...PUBLISHES, ...ring, PUBLISHER, kind, ...published, ...target],
      { env: { ...process.env, ...on.environment, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    this.child.stderr.on('data', (bytes) => { said += bytes; });
    this.child.stdin.on('error', () => {});
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('exit', (code, signal) => {
        if (this.closing) resolve();
        else reject(new Error(`the load on ${on.name} ended (${code ?? signal}): ${said.trim()}`));
      });
    });
    this.ended.catch(() => {});
    createInterface({ input: this.child.stdout }).on('line', (line) => this.#answers.shift()?.(JSON.parse(line)));
    on.scope.defer(() => this.end());
  }

  /** One command; its answer, which must not tell of a lost stream or of an event that came twice. */
  async command(line, patience = 300_000) {
    const answered = new Promise((resolve) => this.#answers.push(resolve));
    this.child.stdin.write(`${line}\n`);
    const answer = await within(`the load's "${line}"`, Promise.race([answered, this.ended]), patience);
    if (answer.lost > 0) throw new Error(`"${line}": ${answer.lost} streams were lost`);
    if (answer.disorder > 0) throw new Error(`"${line}": ${answer.disorder} events came twice or out of order`);
    return answer;
  }

  async end() {
    this.closing = true;
    this.child.stdin.end();
    this.child.kill('SIGTERM');
    await this.ended.catch(() => {});
  }
}
