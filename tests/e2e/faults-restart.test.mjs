// askrd killed under load, and askrd held up until publishers have gone round the ring: every event
// once, or told as lost.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { metric, numbers, payloads, untilMetric, upTo } from '../lib/faults.mjs';
import { publishAll, startPhp } from '../lib/php.mjs';
import { scoped, within } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const SUBSCRIBERS = 150;
const EVENTS = 6000;

test(`SIGKILL under load, three times: each of ${SUBSCRIBERS} subscribers has every event once and in order`, scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { listen: [`unix:${scope.path('askrd.sock')}`] } });
  const subscribers = await Promise.all(upTo(SUBSCRIBERS).map(() => subscribe(scope, askrd.unix, 'load', { reconnect: 20 })));
  const reached = (count) => Promise.all(subscribers.slice(0, 5).map((one) => one.until(`event ${count}`, () => one.events.length >= count)));
  // It publishes all the time, also while nobody reads.
  const publisher = startPhp(scope, askrd, 'publisher', path.join(TESTS, 'php/paced.php'), ['load', EVENTS, 1000]);
  for (let kill = 1; kill <= 3; kill += 1) {
    await reached((kill * EVENTS) / 5);
    await askrd.kill();
    await askrd.start();
  }
  assert.deepEqual(await within('the publisher', publisher.exited), { code: 0, signal: null });
  await Promise.all(subscribers.map((one) => one.take(EVENTS)));
  for (const one of subscribers) {
    assert.deepEqual(one.events.filter(({ event }) => event === 'askr:gap'), [], 'nothing was lost, nothing told as lost');
    assert.deepEqual(numbers(one.events), upTo(EVENTS));
    assert.equal(one.connections, 4, 'it came back once after each kill');
  }
}));

test('publishers go round the ring while askrd is held up: every live subscriber is told, and goes on', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { ring: { slots: 256 } });
  const subscribers = await Promise.all(upTo(20).map(() => subscribe(scope, askrd.tcp, 'news', { reconnect: false })));
  const toNews = (all) => all.map((payload) => ({ channel: 'news', payload }));
  await publishAll(scope, askrd, toNews(payloads(10, 20)));
  await Promise.all(subscribers.map((one) => one.take(10)));

  askrd.process.signal('SIGSTOP');
  await publishAll(scope, askrd, toNews(payloads(2000, 20, 10)));
  askrd.process.signal('SIGCONT');
  await publishAll(scope, askrd, toNews(payloads(10, 20, 2010)));
  for (const one of subscribers) {
    await one.until('the last event', ({ events }) => numbers(events).at(-1) === 2019);
    const gaps = one.events.filter(({ event }) => event === 'askr:gap').map(({ data }) => JSON.parse(data));
    const got = numbers(one.events);
    assert.ok(got.every((n, i) => i === 0 || n > got[i - 1]), 'in order, none twice');
    assert.ok(got.length < 2020 && gaps.length > 0, 'events were overwritten, and that was told');
    const told = gaps.reduce((sum, { lost, at_most }) => sum + (lost ?? at_most), 0);
    assert.ok(told >= 2020 - got.length, `${2020 - got.length} are missing, at most ${told} told`);
    assert.equal(one.ended, 0, 'nobody was cut');
  }
  const lost = await metric(askrd, 'askr_positions_lost_total{reason="lapped"}');
  assert.equal(lost, 2020 - numbers(subscribers[0].events).length, 'counted, to the last position');
  await untilMetric(askrd, 'askr_gaps_told_total', (n) => n >= subscribers.length);
}));

test('a subscriber that was away while publishers went round is told exactly what is gone', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { ring: { slots: 256 }, broadcast: { index_entries: 4096 } });
  const subscriber = await subscribe(scope, askrd.tcp, 'news');
  const { lastEventId } = subscriber;
  subscriber.close();
  await untilMetric(askrd, 'askr_streams', (n) => n === 0);
  // Every other event is for somebody else: only its own count.
  for (let from = 0; from < 1000; from += 50) {
    await publishAll(scope, askrd, payloads(50, 20, from).flatMap((payload) => [{ channel: 'news', payload }, { channel: 'else', payload }]));
    await untilMetric(askrd, 'askr_events_read_total', (n) => n >= 2 * (from + 50));
  }
  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId, reconnect: false });
  await back.until('the last event', ({ events }) => numbers(events).at(-1) === 999);
  const got = numbers(back.events);
  assert.deepEqual(got, upTo(1000).slice(1000 - got.length), 'the newest, whole');
  const [gap, ...more] = back.events.filter(({ event }) => event === 'askr:gap');
  assert.deepEqual(more, []);
  assert.equal(JSON.parse(gap.data).lost, 1000 - got.length);
  assert.equal(back.events[0], gap, 'told where it was');
}));
