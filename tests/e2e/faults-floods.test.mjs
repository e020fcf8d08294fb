// Floods, up to and past each limit: whoever was there is served, what was refused is counted, and the
// room is there again when the flood is over.

import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { startAskrd, Askrd } from '../lib/askrd.mjs';
import { halfOpen, metric, numbers, payloads, refused, streamRequest, unread, untilMetric, upTo } from '../lib/faults.mjs';
import { rawConnection } from '../lib/http.mjs';
import { publish, publishAll } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

test('connects over the limit: those inside are served, the others told to come back or closed, all counted', scoped(async (scope) => {
  const limit = 50;
  const flood = 400;
  const askrd = await startAskrd(scope, { server: { max_connections: limit } });
  const inside = await subscribe(scope, askrd.tcp, 'news');
  const all = Array.from({ length: flood }, () => rawConnection(scope, askrd.tcp).write(streamRequest(askrd.tcp, 'news')));
  const isStream = ({ received }) => received.includes('\nid: ');
  await Promise.all(all.map((one) => one.until('a stream, or the end', () => isStream(one) || one.closed)));

  const streams = all.filter(isStream);
  assert.equal(streams.length, limit - 1, 'as many as there was room for');
  for (const one of all.filter((one) => !isStream(one) && one.received)) {
    // Any status but 200 would end an EventSource for good.
    assert.match(one.received, /^HTTP\/1\.1 200 [^]*\r\n\r\n[^]*retry: [0-9]+\n/);
  }
  assert.equal(await metric(askrd, refused('connections')), flood - streams.length);
  await publish(scope, askrd, 'news', 'x');
  await inside.take(1);
  await Promise.all(streams.map((one) => one.until('the event', () => one.received.includes('data: x\n'))));

  for (const one of streams) one.socket.destroy();
  await untilMetric(askrd, 'askr_connections', (n) => n === 1);
  const later = await subscribe(scope, askrd.tcp, 'news');
  await publish(scope, askrd, 'news', 'y');
  await later.take(1);
  assert.equal(inside.connections, 1);
}));

test('requests that are never finished: newcomers are served meanwhile, and each is cut in its time', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { header_timeout: 2 } });
  const silent = halfOpen(scope, askrd.tcp, 500, '');
  const begun = halfOpen(scope, askrd.tcp, 500, 'GET /askr/events?channel=news HTTP/1.1\r\nHost: a\r\nX-Long: ');
  await untilMetric(askrd, 'askr_accepted_total', (n) => n >= 1000);
  const newcomer = await subscribe(scope, askrd.tcp, 'news');
  await publish(scope, askrd, 'news', 'meanwhile');
  await newcomer.take(1);

  await Promise.all([...silent, ...begun].map((one) => one.end()));
  assert.ok([...silent, ...begun].every(({ received }) => !received.startsWith('HTTP/1.1 200')));
  await untilMetric(askrd, 'askr_connections', (n) => n === 1);
  assert.equal(newcomer.connections, 1, 'an open stream is not cut by that limit');
}));

test('requests that are never finished, up to the limit: there is room again when their time is over', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { header_timeout: 2, max_connections: 100 } });
  const inside = await subscribe(scope, askrd.tcp, 'news');
  const flood = halfOpen(scope, askrd.tcp, 99, 'GET /askr/events');
  await untilMetric(askrd, 'askr_connections', (n) => n === 100);
  // It comes back by itself, as an EventSource does, until it is let in.
  const newcomer = await subscribe(scope, askrd.tcp, 'news', { reconnect: 100 });
  await newcomer.until('it is told a cursor', () => newcomer.lastEventId !== '');
  await publish(scope, askrd, 'news', 'x');
  await Promise.all([inside.take(1), newcomer.take(1)]);
  await Promise.all(flood.map((one) => one.end()));
  assert.ok(await metric(askrd, refused('connections')) > 0, 'it was turned away before');
}));

test('channel names up to the limit: known channels are served, new ones told to come back, all counted', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { max_channels: 1001 } });
  const inside = await subscribe(scope, askrd.tcp, 'news');
  const names = (k) => Array.from({ length: 100 }, (_, i) => `flood-${k}-${i}`);
  const flood = [];
  for (let k = 0; k < 15; k += 1) {
    const one = rawConnection(scope, askrd.tcp).write(streamRequest(askrd.tcp, names(k)));
    await one.until('a stream, or the end', () => one.received.includes('\nid: ') || one.closed);
    flood.push(one);
  }
  assert.deepEqual(flood.map((one) => one.received.includes('\nid: ')), upTo(15).map((k) => k < 10));
  assert.ok(flood.slice(10).every(({ received }) => /^HTTP\/1\.1 200 [^]*retry: /.test(received)), 'told when to come back');
  assert.equal(await metric(askrd, refused('channels')), 5);
  assert.equal(await metric(askrd, 'askr_channels'), 1001);

  const known = await subscribe(scope, askrd.tcp, ['news', 'flood-3-7']);
  await publish(scope, askrd, ['news', 'flood-3-7'], 'x');
  await Promise.all([inside.take(1), known.take(1)]);

  for (const one of flood) one.socket.destroy();
  known.close();
  await untilMetric(askrd, 'askr_channels', (n) => n === 1);
  const fresh = await subscribe(scope, askrd.tcp, 'of its own');
  await publish(scope, askrd, 'of its own', 'y');
  await fresh.take(1);
}));

test('published channel names past what the index remembers: what the ring holds is still replayed', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { broadcast: { index_channels: 16 } });
  const before = (await subscribe(scope, askrd.tcp, 'news')).lastEventId;
  await publishAll(scope, askrd, payloads(5, 20).map((payload) => ({ channel: 'news', payload })));
  await publishAll(scope, askrd, upTo(500).map((k) => ({ channel: `name-${k}`, payload: 'x' })));
  await publishAll(scope, askrd, payloads(5, 20, 5).map((payload) => ({ channel: 'news', payload })));
  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId: before, reconnect: false });
  await back.until('the last event', ({ events }) => numbers(events).at(-1) === 9);
  assert.deepEqual(numbers(back.events), upTo(10), `${back.events.length} events, gaps among them: ${
    JSON.stringify(back.events.filter(({ event }) => event === 'askr:gap'))}`);
}));

test('more connections than descriptors are wanted: it does not start, and says what to do', scoped(async (scope) => {
  const askrd = new Askrd(scope, { server: { max_connections: 1000 } });
  const { code, out, err } = await run('prlimit', ['--nofile=300:300', askrd.binary, 'serve', '--config', askrd.config],
    { uid: askrd.user.uid, gid: askrd.user.gid });
  assert.equal(code, 1, out + err);
  assert.match(err + out, /server\.max_connections is 1000, but the limit of open files is 300/);
  assert.match(err + out, /LimitNOFILE/);
  assert.equal(existsSync(askrd.ring), false, 'nothing was begun');
}));

test('descriptors end while it runs: those inside are served, and it accepts again when some are free', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const inside = await subscribe(scope, askrd.tcp, 'news');
  const leaving = await Promise.all(upTo(20).map(() => unread(scope, askrd.unix, 'elsewhere')));
  // The limit is set from outside to just what it has: nothing is left, and it does not know.
  const open = readdirSync(`/proc/${askrd.process.pid}/fd`).map(Number);
  const limit = Math.max(...open) + 1;
  const { code, err } = await run('prlimit', ['--pid', String(askrd.process.pid), `--nofile=${limit}:`],
    { uid: askrd.user.uid, gid: askrd.user.gid });
  assert.equal(code, 0, err);
  // Numbers below that are free may still be used; ten find none.
  const waiting = upTo(limit - open.length + 10).map(() => rawConnection(scope, askrd.tcp).write(streamRequest(askrd.tcp, 'news')));
  // Without a descriptor its own socket for counters does not answer either: the log tells.
  await until('it says that it cannot accept', () => /cannot accept/.test(askrd.process.output()));
  await publish(scope, askrd, 'news', 'x');
  await inside.take(1);
  assert.equal(inside.connections, 1);

  for (const one of leaving) one.socket.destroy();
  // Nobody had to connect again: who waited is let in.
  await Promise.all(waiting.map((one) => one.until('its stream', () => one.received.includes('\nid: '))));
  assert.ok(await metric(askrd, refused('descriptors')) > 0);
  await publish(scope, askrd, 'news', 'y');
  await Promise.all(waiting.map((one) => one.until('the event', () => one.received.includes('data: y\n'))));
  await inside.take(2);
}));
