// 10,000 subscribers connected at once, each served each event once.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { publish } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath } from '../lib/sse.mjs';

const CROWDS = 2;
const EACH = 5_000;

test('10,000 subscribers are connected at once and each gets every event once', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const crowds = Array.from({ length: CROWDS }, (_, i) => scope.start(`crowd-${i}`, process.execPath, [
    path.join(TESTS, 'lib/crowd.mjs'),
    JSON.stringify({ port: askrd.port, path: eventsPath(['news', `half-${i}`]), count: EACH }),
  ]));
  const lines = (crowd) => crowd.output().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const all = (what) => until(`every subscriber: ${what}`, () => crowds.every((crowd) => {
    const lost = lines(crowd).find((line) => line.what === 'lost');
    assert.equal(lost, undefined, JSON.stringify(lost));
    assert.equal(crowd.ended, undefined, crowd.output());
    return lines(crowd).some((line) => line.what === what);
  }), 120_000);

  await all('open');
  await publish(scope, askrd, 'news', 'first');
  await all('first');
  await publish(scope, askrd, ['half-0', 'half-1'], 'second');
  await all('second');
  for (const crowd of crowds) {
    const { what, ...counts } = lines(crowd).at(-1);
    assert.deepEqual(counts, { open: EACH, failed: 0, first: EACH, second: EACH });
  }
}));
