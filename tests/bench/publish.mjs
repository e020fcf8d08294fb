// askr_broadcast() of 200 B beside an empty extension function with the same arguments and phpredis
// publish() on a kept Unix-socket connection, in turns, so that all meet the same machine.

import { execFileSync } from 'node:child_process';
import { cpSync, copyFileSync } from 'node:fs';
import path from 'node:path';
import { PHP, PHP_VERSION, TESTS, server } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 7);
const CALLS = 20_000;

/** Builds the empty extension with PHP's own tools; gives the .so. */
function buildEmpty(scope) {
  const dir = scope.path('empty');
  cpSync(path.join(TESTS, 'bench/empty'), dir, { recursive: true });
  const at = { cwd: dir, stdio: 'pipe' };
  execFileSync(`phpize${PHP_VERSION}`, at);
  execFileSync('./configure', [`--with-php-config=php-config${PHP_VERSION}`, '--quiet'], at);
  execFileSync('make', ['-s', 'CFLAGS=-O2'], at);
  const so = scope.path('empty.so');
  copyFileSync(path.join(dir, 'modules/empty.so'), so);
  return so;
}

async function round(scope, askrd, redis, empty) {
  const { code, out, err } = await run(PHP, ['-d', `extension=${empty}`, path.join(TESTS, 'bench/publish.php'), redis, String(CALLS)],
    { env: phpEnvironment(scope, askrd) });
  if (code !== 0) throw new Error(out + err);
  return JSON.parse(out);
}

const scope = new Scope();
try {
  const empty = buildEmpty(scope);
  const redis = scope.path('redis.sock');
  scope.start('redis', server('redis-server'), ['--port', '0', '--unixsocket', redis, '--save', '', '--appendonly', 'no']);
  await until('redis answers', async () => (await run('redis-cli', ['-s', redis, 'ping'])).out === 'PONG\n');
  const askrd = await startAskrd(scope);

  // What a publish costs depends on whether askrd must be woken.
  const rounds = async (count) => {
    const all = [];
    for (let i = 0; i < count; i += 1) all.push(await round(scope, askrd, redis, empty));
    return all;
  };
  const read = await rounds(ROUNDS);
  await askrd.stop();
  const unread = await rounds(ROUNDS);
  await askrd.start();
  await askrd.kill();
  const killed = await rounds(ROUNDS);

  const failed = [...read, ...unread, ...killed].reduce((sum, one) => sum + one.failed, 0);
  const of = (rounds, what) => median(rounds.map((one) => one[what]));
  const row = (name, rounds, what) => {
    const ns = of(rounds, what);
    return [name, ns.toFixed(0), `${(ns / of(rounds, 'empty')).toFixed(2)} ×`, `${(of(rounds, 'redis') / ns).toFixed(0)} ×`];
  };
  console.log(`\nOne call from PHP, 200 B, ns, median of ${ROUNDS} rounds (no JIT)\n`);
  console.log(table(['', 'ns a call', 'to the empty function', 'cheaper than phpredis'], [
    row('empty extension function', read, 'empty'),
    row('askr_broadcast(), askrd reads', read, 'askr'),
    row('askr_broadcast(), askrd is stopped', unread, 'askr'),
    row('askr_broadcast(), askrd was killed', killed, 'askr'),
    row('phpredis publish(), no subscriber', read, 'redis'),
  ]));
  console.log(`\nfailed publishes: ${failed}`);
} finally {
  await scope.close();
}
