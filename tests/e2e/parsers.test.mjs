// EventSources that are no browser's: npm's `eventsource`, whose parser (`eventsource-parser`) keeps the id of a
// block only if the block has data, and polyfills that resume with the query. What a browser loses nothing
// with, they lose nothing with.

import test from 'node:test';
import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import { startAskrd } from '../lib/askrd.mjs';
import { parseCursor } from '../lib/cursor.mjs';
import { untilMetric } from '../lib/faults.mjs';
import { publish, publishAll } from '../lib/php.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';
import { ask } from '../lib/http.mjs';

/** npm's EventSource on these channels, behind a line that can be cut. */
async function start(scope, askrd, channels, query) {
  const line = await relay(scope, askrd.tcp, (left) => left);
  const source = new EventSource(`http://127.0.0.1:${line.port}${eventsPath(channels, query)}`);
  scope.defer(() => source.close());
  const seen = { events: [], gaps: [], connected: [] };
  source.addEventListener('message', ({ data, lastEventId }) => seen.events.push({ data, id: lastEventId }));
  source.addEventListener('askr:gap', ({ data }) => seen.gaps.push(data));
  source.addEventListener('askr:connected', ({ data, lastEventId }) => seen.connected.push({ data, id: lastEventId }));
  await until('the stream begins', () => seen.connected.length === 1);
  /** The line is cut, `meanwhile` happens, and it comes back by itself. */
  const away = async (meanwhile) => {
    const before = seen.connected.length;
    line.break();
    await untilMetric(askrd, 'askr_streams', (n) => n === 0);
    await meanwhile();
    await until('it is back', () => seen.connected.length > before);
  };
  return { line, source, seen, away };
}

const payloadsOf = ({ events }) => events.map(({ data }) => data);
const toNews = (all) => all.map((payload) => ({ channel: 'news', payload }));
const numbered = (from, count) => Array.from({ length: count }, (_, i) => String(from + i));
const QUICK = { server: { retry: 100 } };

test('npm eventsource, disconnected before its first event, misses nothing and gets nothing twice', scoped(async (scope) => {
  const askrd = await startAskrd(scope, QUICK);
  for (const query of [{}, { format: 'json' }]) {
    const shown = ({ data }) => (query.format ? JSON.parse(data).data : data);
    const { source, seen, away } = await start(scope, askrd, 'news', query);
    const [{ id }] = seen.connected;
    parseCursor(id);
    await away(() => publishAll(scope, askrd, toNews(numbered(0, 3))));
    // And once more, after a replay.
    await until('what it missed has come', () => seen.events.length >= 3);
    await away(() => publishAll(scope, askrd, toNews(numbered(3, 3))));
    await publishAll(scope, askrd, toNews(['last']));
    await until('the last has come', () => seen.events.some((event) => shown(event) === 'last'));
    assert.deepEqual(seen.events.map(shown), [...numbered(0, 6), 'last'], JSON.stringify(query));
    assert.deepEqual(seen.gaps, []);
    source.close();
    await untilMetric(askrd, 'askr_streams', (n) => n === 0);
  }
}));

test('npm eventsource, quiet for longer than the ring remembers, misses nothing and is reported no gap', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { retry: 100, ping: 0.2 }, ring: { slots: 64 } });
  const { seen, away } = await start(scope, askrd, 'news');
  for (let read = 0; read < 200; read += 20) {
    await publishAll(scope, askrd, numbered(0, 20).map((payload) => ({ channel: 'other', payload })));
    await untilMetric(askrd, 'askr_events_read_total', (n) => n >= read + 20);
  }
  // Its parser drops the cursors of pings: it comes back with that of its connection.
  await untilMetric(askrd, 'askr_pings_total', (n) => n > 2);
  await away(() => publishAll(scope, askrd, toNews(numbered(0, 3))));
  await until('what it missed has come', () => seen.events.length >= 3);
  await publish(scope, askrd, 'news', 'last');
  await until('the last has come', () => seen.events.some(({ data }) => data === 'last'));
  assert.deepEqual(payloadsOf(seen), [...numbered(0, 3), 'last']);
  assert.deepEqual(seen.gaps, []);
}));

test('npm eventsource resumes by an id that a publisher gave: once and in order, as raw and as JSON', scoped(async (scope) => {
  const askrd = await startAskrd(scope, QUICK);
  for (const [n, query] of [{}, { format: 'json' }].entries()) {
    const shown = ({ data }) => (query.format ? JSON.parse(data).data : data);
    const { source, seen, away } = await start(scope, askrd, ['news', 'more'], query);
    await publish(scope, askrd, 'news', 'first', { id: `article-${n}` });
    await until('it has come', () => seen.events.length === 1);
    assert.equal(seen.events[0].id, `article-${n}`);
    await away(() => publishAll(scope, askrd, toNews(numbered(0, 3))));
    await publish(scope, askrd, 'news', 'last');
    await until('the last has come', () => seen.events.some((event) => shown(event) === 'last'));
    assert.deepEqual(seen.events.map(shown), ['first', ...numbered(0, 3), 'last']);
    assert.deepEqual(seen.gaps, []);
    source.close();
    await untilMetric(askrd, 'askr_streams', (m) => m === 0);
  }
}));

test('an id that several events had: who resumes by it is reported what it may have lost between them', scoped(async (scope) => {
  const askrd = await startAskrd(scope, QUICK);
  const { seen, away } = await start(scope, askrd, 'news');
  await publish(scope, askrd, 'news', 'first', { id: 'order-7' });
  await until('it has come', () => seen.events.length === 1);
  await away(() => publishAll(scope, askrd, [
    { channel: 'news', payload: 'between' }, { channel: 'news', payload: 'again', id: 'order-7' }, { channel: 'news', payload: 'after' },
  ]));
  await until('the last has come', () => payloadsOf(seen).includes('after'));
  const missing = ['first', 'between', 'again', 'after'].filter((payload) => !payloadsOf(seen).includes(payload));
  assert.deepEqual(missing, ['between', 'again']);
  assert.equal(seen.gaps.length, 1, 'it was reported');
  const { lost, at_most: bound } = JSON.parse(seen.gaps[0]);
  assert.equal(lost, null);
  assert.ok(bound >= missing.length, `${bound}`);
}));

test('polyfills resume by the query under any of its names, and only under one of them', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const before = (await subscribe(scope, askrd.tcp, 'news')).lastEventId;
  await publish(scope, askrd, 'news', 'missed');
  const names = ['last_event_id', 'lastEventId', 'lastEventID', 'last-event-id'];
  for (const name of names) {
    const resumed = await subscribe(scope, askrd.tcp, 'news', { query: { [name]: before }, reconnect: false });
    assert.deepEqual((await resumed.take(1)).map(({ data }) => data), ['missed'], name);
  }
  for (const one of names) {
    for (const other of names) {
      const { status, body } = await ask(askrd.tcp, `${eventsPath('news')}&${one}=${before}&${other}=${before.replace(/\d+$/, '1')}`);
      assert.equal(status, 400, `${one} and ${other}`);
      assert.match(body, /last_event_id.*lastEventId.*once/s);
    }
  }
}));
