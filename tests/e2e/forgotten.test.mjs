// An index that is too small for its channels forgets whose positions are: what that costs, who bears it, and
// that nobody loses anything by it.

import test from 'node:test';
import assert from 'node:assert/strict';
import { startAskrd } from '../lib/askrd.mjs';
import { metric, numbers, payloads, untilMetric, upTo } from '../lib/faults.mjs';
import { publish, publishAll } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const EVENTS = 30_000;

/** A ring full of channels that the index has forgotten, five events of `news` among them, and a cursor before all that. */
async function start(scope, settings = {}) {
  const askrd = await startAskrd(scope, { broadcast: { index_channels: 16 }, ...settings });
  const before = await subscribe(scope, askrd.tcp, 'news');
  const { lastEventId } = before;
  before.close();
  for (let from = 0; from < EVENTS; from += 1000) {
    const others = upTo(1000).map((n) => ({ channel: `other-${from + n}`, payload: 'x' }));
    const [own] = from < 5000 ? payloads(1, 20, from / 1000) : [];
    await publishAll(scope, askrd, own ? [...others, { channel: 'news', payload: own }] : others);
    await untilMetric(askrd, 'askr_events_read_total', (n) => n >= from + 1000);
  }
  await untilMetric(askrd, 'askr_events_read_total', (n) => n === EVENTS + 5);
  return { askrd, lastEventId };
}

test('a quiet channel with an old cursor costs hardly a look into the ring, and is reported no gap', scoped(async (scope) => {
  const { askrd, lastEventId } = await start(scope);
  for (const round of upTo(20)) {
    const quiet = await subscribe(scope, askrd.tcp, `quiet-${round}`, { lastEventId, reconnect: false });
    await publish(scope, askrd, `quiet-${round}`, 'first');
    assert.deepEqual((await quiet.take(1)).map(({ event, data }) => [event, data]), [['message', 'first']]);
  }
  const read = await metric(askrd, 'askr_positions_scanned_total');
  assert.ok(read < EVENTS / 10, `${read} positions were read for 20 streams on a ring of ${EVENTS}`);
  // What was forgotten and is there is found all the same.
  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId, reconnect: false });
  assert.deepEqual(numbers(await back.take(5)), upTo(5));
}));

test('who asks for it again and again waits, others do not, and both get everything once', scoped(async (scope) => {
  const { askrd, lastEventId } = await start(scope);
  // As nginx says it: two clients.
  const from = (address) => ({ headers: { 'X-Real-IP': address }, lastEventId, reconnect: false });
  // Each looks through the ring for a hundred channels.
  const many = (k) => ['news', ...upTo(99).map((n) => `quiet-${k}-${n}`)];
  const greedy = await Promise.all(upTo(10).map((k) => subscribe(scope, askrd.unix, many(k), from('192.0.2.1'))));
  await untilMetric(askrd, 'askr_replays_paced_total', (n) => n > 0);
  const modest = await subscribe(scope, askrd.unix, 'news', from('192.0.2.2'));
  assert.deepEqual(numbers(await modest.take(5)), upTo(5));
  await publishAll(scope, askrd, payloads(5, 20, 5).map((payload) => ({ channel: 'news', payload })));
  for (const one of [...greedy, modest]) {
    await one.take(10);
    assert.deepEqual(numbers(one.events), upTo(10));
    assert.deepEqual(one.events.filter(({ event }) => event === 'askr:gap'), []);
    assert.equal(one.ended, 0);
  }
  // Who leaves while it waits is waited for no longer.
  const gone = await Promise.all(upTo(10).map((k) => subscribe(scope, askrd.unix, many(k), from('192.0.2.1'))));
  for (const one of gone) one.close();
  await untilMetric(askrd, 'askr_streams', (n) => n === greedy.length + 1);
  await publish(scope, askrd, 'news', '10 ');
  for (const one of [...greedy, modest]) assert.deepEqual(numbers(await one.take(11)), upTo(11));
}));
