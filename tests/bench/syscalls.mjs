// System calls per publish, by strace: while another publisher keeps askrd reading, while it sleeps
// between events, and after it was killed in its sleep.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PHP, TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment, startPhp } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { table } from './figures.mjs';

const COUNT = 1000;

/** Publishes under strace. `{ name: calls }` between the marks; the pauses' own calls left out. */
async function traced(scope, askrd, name, pause) {
  const file = scope.path(`${name}.strace`);
  const { code, out, err } = await run('strace', ['-f', '-o', file, PHP, path.join(TESTS, 'bench/syscalls.php'), String(COUNT), String(pause)],
    { env: phpEnvironment(scope, askrd) });
  if (code !== 0) throw new Error(out + err);
  const text = readFileSync(file, 'utf8');
  const between = text.slice(text.indexOf('/askr-bench-begins'), text.lastIndexOf('/askr-bench-ends'));
  const calls = {};
  // The first line is the rest of the first mark, the last one the beginning of the last.
  for (const line of between.split('\n').slice(1, -1)) {
    const call = /^[0-9]+ +([a-z0-9_]+)\(/.exec(line)?.[1];
    if (call && !call.endsWith('nanosleep')) calls[call] = (calls[call] ?? 0) + 1;
  }
  return calls;
}

const row = (name, calls) => {
  const total = Object.values(calls).reduce((sum, n) => sum + n, 0);
  return [name, (total / COUNT).toFixed(3), Object.entries(calls).map(([call, n]) => `${call} ${n}`).join(', ') || 'none'];
};

const scope = new Scope();
try {
  const askrd = await startAskrd(scope);
  const asleep = await traced(scope, askrd, 'asleep', 3000);
  const flood = startPhp(scope, askrd, 'flood', path.join(TESTS, 'bench/flood.php'));
  await until('the flood has begun', async () => {
    if (flood.ended) throw new Error(flood.output());
    const { out } = await run(PHP, ['-r', 'echo askr_status()["tail"];'], { env: phpEnvironment(scope, askrd) });
    return Number(out) > 100_000;
  });
  const busy = await traced(scope, askrd, 'busy', 0);
  await flood.end();
  await askrd.kill();
  const down = await traced(scope, askrd, 'down', 0);
  console.log(`\nSystem calls of ${COUNT} publishes\n`);
  console.log(table(['askrd is', 'a publish', 'which, in all'], [row('busy', busy), row('asleep', asleep), row('down (SIGKILL)', down)]));
} finally {
  await scope.close();
}
