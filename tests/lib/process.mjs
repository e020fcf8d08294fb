// One started process: its output, its end, its signals.

import { spawn } from 'node:child_process';
import { openSync, closeSync, readFileSync } from 'node:fs';

export class Process {
  constructor(name, command, args, { log, env, cwd, uid, gid, input } = {}) {
    this.name = name;
    this.log = log;
    const out = openSync(log, 'a');
    // A group of its own, so that its children can be ended with it.
    this.child = spawn(command, args, {
      cwd, uid, gid, detached: true,
      env: { ...process.env, ...env },
      stdio: [input === undefined ? 'ignore' : 'pipe', out, out],
    });
    closeSync(out);
    if (input !== undefined) {
      this.child.stdin.on('error', () => {});
      this.child.stdin.end(input);
    }
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ code: null, signal: null, error }));
      this.child.on('exit', (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((end) => { this.ended = end; });
  }

  get pid() {
    return this.child.pid;
  }

  output() {
    return readFileSync(this.log, 'utf8');
  }

  state() {
    if (!this.ended) return 'running';
    return this.ended.error?.message ?? `ended: ${this.ended.code ?? this.ended.signal}`;
  }

  signal(signal) {
    if (!this.ended) this.child.kill(signal);
  }

  killGroup(signal = 'SIGKILL') {
    try {
      if (this.pid) process.kill(-this.pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }

  /** SIGKILL, as the kernel's out-of-memory killer would. */
  async kill() {
    this.signal('SIGKILL');
    return this.exited;
  }

  /** Ends it politely, and after five seconds not so. */
  async end() {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.killGroup(), 5000);
    await this.exited;
    clearTimeout(timer);
    this.killGroup();
  }
}

/** Runs a command to its end: `{ code, signal, out, err }`. `limit` ms bound it, then SIGKILL. */
export function run(command, args, { input = '', env, cwd, uid, gid, limit = 60_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, uid, gid, env: { ...process.env, ...env }, stdio: 'pipe' });
    const out = [];
    const err = [];
    const timer = setTimeout(() => child.kill('SIGKILL'), limit);
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => err.push(data));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() });
    });
  });
}
