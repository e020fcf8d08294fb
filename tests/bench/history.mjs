// askr_history() of 100 events of 200 B beside phpredis XREVRANGE of the same, in turns in one PHP process. The floor is
// an empty question to redis on its kept connection; askr_history() connects for each call.

import path from 'node:path';
import { PHP, TESTS, server } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { median, quantile, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const CALLS = 1_000;

const scope = new Scope();
try {
  const redis = scope.path('redis.sock');
  scope.start('redis', server('redis-server'), ['--port', '0', '--unixsocket', redis, '--unixsocketperm', '777', '--save', '', '--appendonly', 'no']);
  await until('redis answers', async () => (await run('redis-cli', ['-s', redis, 'ping'])).out === 'PONG\n');
  const askrd = await startAskrd(scope);
  const rounds = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const { code, out, err } = await run(PHP, [path.join(TESTS, 'bench/history.php'), redis, String(CALLS)],
      { env: phpEnvironment(scope, askrd, { 'askr.control': askrd.control }) });
    if (code !== 0) throw new Error(out + err);
    rounds.push(JSON.parse(out));
    await run('redis-cli', ['-s', redis, 'del', 'bench']);
  }
  const row = (name, of) => {
    const medians = rounds.map(of);
    const figure = (value) => value.toFixed(value < 10 ? 2 : 0);
    return [name, figure(median(medians)), `${figure(Math.min(...medians))} .. ${figure(Math.max(...medians))}`];
  };
  console.log(table(['100 events of 200 B, p50 of a call', 'median', 'smallest .. largest'], [
    row('askr_history(), µs', ({ askr }) => median(askr)),
    row('the same, p99, µs', ({ askr }) => quantile(askr, 0.99)),
    row('phpredis XREVRANGE, µs', ({ redis }) => median(redis)),
    row('phpredis PING, µs', ({ ping }) => median(ping)),
    row('askr_history() / XREVRANGE', ({ askr, redis }) => median(askr) / median(redis)),
  ]));
} finally {
  await scope.close();
}
