// A Redis of a test's own, and sentinels that watch it. Asked by redis-cli, which enters the namespace they may be in.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { run } from './process.mjs';
import { until } from './scope.mjs';

/** Another one can be chosen: its command and first arguments. */
const SERVER = (process.env.REDIS_SERVER ?? 'redis-server').split(' ');

class Server {
  /** `where`: `{ port, host }` or `{ socketPath }`. `wrap`: words before each command, as those that enter a network namespace. */
  constructor(scope, name, where, { wrap = [] } = {}) {
    Object.assign(this, { scope, name, where, wrap, dir: scope.path(name) });
    mkdirSync(this.dir);
    chmodSync(this.dir, 0o755);
  }

  async begin(command) {
    const [first, ...args] = [...this.wrap, ...command];
    this.process = this.scope.start(this.name, first, args);
    await until(`${this.name} answers`, async () => {
      if (this.process.ended) throw new Error(`${this.name} ${this.process.state()}: ${this.process.output()}`);
      return (await this.ask('PING').catch(() => '')) === 'PONG';
    });
    return this;
  }

  /** One command: its answer as redis-cli shows it to a program. */
  async ask(...words) {
    const { socketPath, host, port } = this.where;
    const place = socketPath ? ['-s', socketPath] : ['-h', host ?? '127.0.0.1', '-p', String(port)];
    const [first, ...args] = [...this.wrap, 'redis-cli', ...place, ...words.map(String)];
    const { code, out, err } = await run(first, args, { limit: 10_000 });
    if (code !== 0) throw new Error(`${this.name}, ${words[0]}: ${out}${err}`);
    return out.trimEnd();
  }

  kill() {
    return this.process.kill();
  }
}

/** redis-server without persistence. */
export class Redis extends Server {
  start(...more) {
    const { socketPath, host, port } = this.where;
    const place = socketPath
      ? ['--port', '0', '--unixsocket', socketPath, '--unixsocketperm', '777']
      : ['--port', String(port), '--bind', host ?? '127.0.0.1', '--protected-mode', 'no'];
    return this.begin([...SERVER, ...place, '--save', '', '--appendonly', 'no', '--dir', this.dir, ...more.map(String)]);
  }
}

export class Sentinel extends Server {
  /** `primary`: the server that it watches by the name `askr`. */
  start(primary, quorum = 2) {
    const { host, port } = this.where;
    writeFileSync(`${this.dir}/sentinel.conf`, `port ${port}
bind ${host}
protected-mode no
dir ${this.dir}
sentinel monitor askr ${primary.where.host} ${primary.where.port} ${quorum}
sentinel down-after-milliseconds askr 2000
sentinel failover-timeout askr 6000
`);
    return this.begin([...SERVER, `${this.dir}/sentinel.conf`, '--sentinel']);
  }
}
