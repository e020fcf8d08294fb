// sockudo, a server of Pusher's protocol, as the fan-out benchmark's rival with WebSockets. It is there only
// if `make bench-rivals` has installed it.

import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { until } from '../lib/scope.mjs';
import { APP, Server, byApi } from './fanout-servers.mjs';

const BINARY = path.join(process.env.ASKR_RIVALS ?? path.join(ROOT, 'target/bench-rivals'), 'bin/sockudo');

/** "sockudo 5.2.0", or null where it is not installed. */
export function sockudoVersion() {
  return existsSync(BINARY) ? execFileSync(BINARY, ['--version'], { encoding: 'utf8' }).trim() : null;
}

/** Everything that would slow it is off: metrics, limits of rates, compression. Everything else as it comes. */
export async function startSockudo(scope, { name = 'sockudo' } = {}) {
  const port = await freePort();
  const config = scope.path(`${name}.json`);
  writeFileSync(config, JSON.stringify({
    host: '127.0.0.1',
    port,
    metrics: { enabled: false },
    rate_limiter: { enabled: false },
    event_limits: { max_batch_size: 100 },
    app_manager: { array: { apps: [{ ...APP, enabled: true, policy: { limits: { max_event_batch_size: 100 } } }] } },
  }));
  // One thread of its runtime, as the others have one: it is pinned to one core like them.
  const started = scope.start(name, 'taskset', ['-c', '0', BINARY, '--config', config],
    { cwd: scope.dir, env: { TOKIO_WORKER_THREADS: '1', RUST_LOG: 'error' } });
  await until('sockudo answers', async () => {
    if (started.ended) throw new Error(`sockudo ${started.state()}: ${started.output()}`);
    return (await ask({ port }, `/up/${APP.id}`).catch(() => null))?.status === 200;
  });
  const made = new Server(scope, 'sockudo', () => [started.pid], port, byApi(port, 100));
  made.process = started;
  return made;
}
