// askr_broadcast() of 200 B beside an empty extension function with the same arguments and phpredis
// publish() on a kept Unix-socket connection, in turns, so that all meet the same machine. Then one call in a request
// of PHP-FPM, as a page makes it: nothing is warm there, and askrd sleeps unless others publish.

import { execFileSync } from 'node:child_process';
import { cpSync, copyFileSync } from 'node:fs';
import path from 'node:path';
import { PHP, PHP_VERSION, TESTS, server } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment, startPhp, startSite } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 7);
const CALLS = 100_000;
const REQUESTS = Number(process.env.REQUESTS ?? 500);

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

/** One call in each of many requests, one after another. */
async function requests(site, redis, count) {
  const all = [];
  for (let i = 0; i < count; i += 1) {
    all.push(await (await fetch(`${site.url}/?redis=${encodeURIComponent(redis)}`)).json());
  }
  return all.map(({ clock, askr, redis, published }) => ({ askr: askr - clock, redis: redis - clock, failed: published ? 0 : 1 }));
}

const scope = new Scope();
try {
  const empty = buildEmpty(scope);
  const redis = scope.path('redis.sock');
  scope.start('redis', server('redis-server'), ['--port', '0', '--unixsocket', redis, '--unixsocketperm', '777', '--save', '', '--appendonly', 'no']);
  await until('redis answers', async () => (await run('redis-cli', ['-s', redis, 'ping'])).out === 'PONG\n');
  const askrd = await startAskrd(scope);

  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'bench/fpm.php'), workers: 1 });
  await requests(site, redis, 50);
  const asleep = await requests(site, redis, REQUESTS);
  const flood = startPhp(scope, askrd, 'flood', path.join(TESTS, 'bench/flood.php'));
  await until('the flood has begun', async () => {
    if (flood.ended) throw new Error(flood.output());
    const { out } = await run(PHP, ['-r', 'echo askr_status()["tail"];'], { env: phpEnvironment(scope, askrd) });
    return Number(out) > 100_000;
  });
  const awake = await requests(site, redis, REQUESTS);
  await flood.end();

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

  const failed = [...read, ...unread, ...killed, ...asleep, ...awake].reduce((sum, one) => sum + one.failed, 0);
  const of = (rounds, what) => median(rounds.map((one) => one[what]));
  const row = (name, rounds, what, beside = 'empty') => {
    const ns = of(rounds, what);
    return [name, ns.toFixed(0), `${(ns / of(rounds, beside)).toFixed(2)} ×`, `${(of(rounds, 'redis') / ns).toFixed(0)} ×`];
  };
  const inRequest = (name, rounds, what) => [name, of(rounds, what).toFixed(0), '', `${(of(rounds, 'redis') / of(rounds, what)).toFixed(0)} ×`];
  console.log(`\nOne call from PHP, 200 B, ns, median of ${ROUNDS} rounds (no JIT)\n`);
  console.log(table(['', 'ns a call', 'to the empty function', 'cheaper than phpredis'], [
    row('empty extension function', read, 'empty'),
    row('askr_broadcast(), askrd reads', read, 'askr'),
    row('askr_broadcast(), askrd is stopped', unread, 'askr'),
    row('askr_broadcast(), askrd was killed', killed, 'askr'),
    row('all arguments by position, no key, askrd reads', read, 'unkeyed'),
    row('the same with a key of 32 B', read, 'keyed'),
    row('phpredis publish(), no subscriber', read, 'redis'),
    row('empty function without arguments', read, 'emptyCursor'),
    row('askr_cursor(), askrd reads', read, 'cursor'),
    row('askr_cursor(), askrd is stopped', unread, 'cursor'),
    row('askr_cursor(), to the one without arguments', read, 'cursor', 'emptyCursor'),
  ]));
  console.log(`\nThe one call of a PHP-FPM request, median of ${REQUESTS} requests, less what two looks at the clock cost\n`);
  console.log(table(['', 'ns a call', '', 'cheaper than phpredis'], [
    inRequest('askr_broadcast(), askrd asleep', asleep, 'askr'),
    inRequest('askr_broadcast(), askrd awake (another process publishes)', awake, 'askr'),
    inRequest('phpredis publish() on a kept connection', asleep, 'redis'),
  ]));
  console.log(`\nfailed publishes: ${failed}`);
} finally {
  await scope.close();
}
