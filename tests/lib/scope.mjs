// Everything a test starts or writes belongs to a scope, and goes with it: processes (whole groups),
// temporary directories, and whatever else was deferred. Leans on node:test only for the moment of
// the end.

import { mkdtempSync, rmSync, chmodSync, chownSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Process } from './process.mjs';
import { services } from './people.mjs';

const KEEP = process.env.ASKR_TEST_KEEP === '1';

/** How long anything may take before a test gives up on it. Not a promise about speed. */
export const PATIENCE = 60_000;

export class Scope {
  #deferred = [];
  processes = [];

  constructor() {
    this.dir = this.#directory(tmpdir());
    // The ring must be on tmpfs, and what is executed must not (containers mount it noexec).
    this.shm = this.#directory('/dev/shm');
    Scope.#open.add(this);
  }

  static #open = new Set();
  static {
    // A test runner that is interrupted leaves nothing behind either.
    process.on('exit', () => Scope.#open.forEach((scope) => scope.#now()));
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  }

  #directory(parent) {
    const dir = mkdtempSync(path.join(parent, 'askr-test-'));
    chmodSync(dir, 0o770);
    const { daemon } = services();
    if (daemon.uid !== undefined) chownSync(dir, daemon.uid, daemon.gid);
    return dir;
  }

  path(...names) {
    return path.join(this.dir, ...names);
  }

  /** Runs when the scope ends, last come first. */
  defer(action) {
    this.#deferred.push(action);
  }

  /** Starts a process whose output goes to NAME.log in the scope's directory. */
  start(name, command, args, options = {}) {
    const started = new Process(name, command, args, { log: this.path(`${name}.log`), ...options });
    this.processes.push(started);
    return started;
  }

  async close() {
    for (const action of this.#deferred.reverse()) await action();
    for (const one of this.processes.reverse()) await one.end();
    this.#now();
  }

  #now() {
    Scope.#open.delete(this);
    for (const one of this.processes) one.killGroup();
    if (KEEP) console.error(`kept ${this.dir} ${this.shm}`);
    else for (const dir of [this.dir, this.shm]) rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * A test's body with a scope that ends with it. When it fails, the last lines of each of its
 * processes are shown.
 */
export function scoped(body) {
  return async (t) => {
    const scope = new Scope();
    t.after(() => scope.close());
    try {
      await body(scope, t);
    } catch (error) {
      for (const one of scope.processes) {
        const said = one.output().trimEnd().split('\n').slice(-15).join('\n  ');
        if (said) t.diagnostic(`${one.name} (${one.state()}):\n  ${said}`);
      }
      throw error;
    }
  };
}

/** A program with a scope that ends with it: what it fails of is said, and is its exit code. */
export async function main(body) {
  const scope = new Scope();
  let code = 0;
  try {
    await body(scope);
  } catch (error) {
    console.error(error);
    code = 1;
  } finally {
    await scope.close();
  }
  process.exit(code);
}

/** Waits until `condition` gives something true, for what cannot be awaited as an event. */
export async function until(what, condition, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${patience / 1000} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A promise with a limit and a name, so that a hanging test says what it waited for. */
export function within(what, promise, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patience / 1000} s in vain for ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
