// One askrd on a ring of its own: settings written, process started, killed and started again, its
// local socket asked.

import { chmodSync, chownSync, copyFileSync, existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ASKRD, TESTS } from './built.mjs';
import { ask } from './http.mjs';
import { run } from './process.mjs';
import { services } from './people.mjs';
import { until } from './scope.mjs';

/** TOML of tables, and lists of tables: `{ ring: { slots: 8 }, app: [{ id: 'shop' }] }`. */
export function toml(tables) {
  const lines = (keys) => Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('');
  return Object.entries(tables).flatMap(([table, keys]) =>
    (Array.isArray(keys) ? keys.map((one) => `[[${table}]]\n${lines(one)}`) : [`[${table}]\n${lines(keys)}`])).join('\n');
}

export class Askrd {
  /** `settings` is laid over the defaults of the tests, table by table; `program` may be another build's askrd. */
  constructor(scope, settings = {}, name = 'askrd', program = ASKRD) {
    const { daemon, group } = services();
    Object.assign(this, { scope, name, user: daemon, env: {} });
    this.ring = settings.ring?.name ?? `${scope.shm}/ring`;
    this.socket = scope.path(`${name}.sock`);
    this.control = settings.server?.control ?? scope.path(`${name}-control.sock`);
    this.config = scope.path(`${name}.toml`);
    // A copy that the service's user can reach, wherever the checkout is.
    this.binary = scope.path(program === ASKRD ? 'askrd-bin' : `${name}-bin`);
    if (!existsSync(this.binary)) {
      copyFileSync(program, this.binary);
      chmodSync(this.binary, 0o755);
    }
    this.settings = {
      ...settings,
      ring: { name: this.ring, ...(group ? { group } : {}), ...settings.ring },
      server: { listen: [`unix:${this.socket}`, '127.0.0.1:0'], control: this.control, ...settings.server },
    };
    // A file with a secret in it is closed to others.
    writeFileSync(this.config, toml(this.settings), { mode: [].concat(this.settings.app ?? []).some(({ secret }) => secret) ? 0o600 : 0o644 });
    if (daemon.uid !== undefined) chownSync(this.config, daemon.uid, daemon.gid);
  }

  /** Starts it and waits until it says that it is ready. */
  async start() {
    const before = this.process?.output().length ?? 0;
    this.process = this.scope.start(this.name, this.binary, ['serve', '--config', this.config],
      { uid: this.user.uid, gid: this.user.gid, env: { RUST_BACKTRACE: '1', RUST_LOG: 'info', ...this.env } });
    const output = () => this.process.output().slice(before);
    // Port 0 is another one each time. What askrd writes may arrive after it is ready.
    const port = () => Number(output().match(/listening on http:\/\/127\.0\.0\.1:([1-9][0-9]*)\n/)?.[1]);
    const hasPort = this.settings.server.listen.some((address) => address.startsWith('127.0.0.1:'));
    await until(`${this.name} is ready`, async () => {
      if (this.process.ended) throw new Error(`askrd ${this.process.state()}: ${output()}`);
      const ready = (await this.#local('/readyz').catch(() => null))?.status === 200;
      return ready && (!hasPort || port() > 0);
    });
    this.port = port();
    return this;
  }

  #local(path) {
    return ask({ socketPath: this.control }, path, { headers: { Host: 'localhost' } });
  }

  health() {
    return this.#local('/healthz');
  }

  readiness() {
    return this.#local('/readyz');
  }

  /** Both ways in, for tests that hold on each. */
  get tcp() {
    return { port: this.port };
  }

  get unix() {
    return { socketPath: this.socket };
  }

  async kill() {
    return this.process.kill();
  }

  async stop() {
    this.process.signal('SIGTERM');
    return this.process.exited;
  }

  /** Runs one of the other verbs on this ring. */
  cli(args, options = {}) {
    return run(this.binary, args, { uid: this.user.uid, gid: this.user.gid, ...options });
  }
}

export async function startAskrd(scope, settings, name) {
  return new Askrd(scope, settings, name).start();
}

/**
 * The same, started again and again on sockets that somebody else holds, as systemd does: `addresses` are ports of
 * 127.0.0.1 and paths. Resolves to the askrd and `restart()`, which stops it and waits until the next one is ready.
 */
export async function startHeld(scope, settings, addresses, program = ASKRD) {
  const askrd = new Askrd(scope, settings, 'askrd', program);
  const { uid, gid } = askrd.user;
  const args = [path.join(TESTS, 'python/activate.py'), askrd.binary, askrd.config, ...addresses.map(String)];
  const holder = scope.start('holder', '/usr/bin/python3', args, { uid, gid });
  const pids = () => [...holder.output().matchAll(/^askrd (\d+)$/gm)].map(([, pid]) => Number(pid));
  let number = 0;
  const next = async () => {
    number += 1;
    await until(`askrd number ${number} is ready`, async () => {
      if (holder.ended) throw new Error(`askrd: ${holder.output()}`);
      const ready = holder.output().split(' ready\n').length > number;
      return pids().length === number && ready && (await askrd.readiness().catch(() => null))?.status === 200;
    });
  };
  await next();
  const restart = () => {
    process.kill(pids().at(-1), 'SIGTERM');
    return next();
  };
  return { askrd, holder, pids, restart };
}
