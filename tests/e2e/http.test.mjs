// What askrd answers to requests, good and bad, on TCP and on its Unix socket.

import test from 'node:test';
import assert from 'node:assert/strict';
import { startAskrd } from '../lib/askrd.mjs';
import { ask, rawConnection } from '../lib/http.mjs';
import { publish, publishAll } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';
import { parseCursor } from '../lib/cursor.mjs';

const EVENTS = '/askr/events?channel=news';

/** A refusal: this status, one line of plain text that says why. */
function assertRefused({ status, headers, body }, expected, reason) {
  assert.equal(status, expected, body);
  assert.match(headers['content-type'], /^text\/plain/);
  assert.match(body, /^[^\n]+\n?$/, 'one line');
  assert.match(body, reason);
}

test('a stream begins with the head and the fields that the specification names, at once', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  for (const where of [askrd.tcp, askrd.unix]) {
    const subscriber = await subscribe(scope, where, 'news');
    const [{ status, headers }] = subscriber.heads;
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^text\/event-stream/);
    assert.match(headers['cache-control'], /no-store/);
    assert.equal(headers['x-accel-buffering'], 'no');
    parseCursor(subscriber.lastEventId);
    assert.equal(subscriber.events.length, 0);
  }
}));

test('name, id and retry are given as they were published, and a custom id resumes', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const subscriber = await subscribe(scope, askrd.tcp, 'news');
  await publish(scope, askrd, 'news', 'first', { event: 'headline', id: 'article-7', retry: 1234 });
  const [event] = await subscriber.take(1);
  assert.deepEqual(event, { type: 'event', event: 'headline', data: 'first', id: 'article-7' });
  await subscriber.until('the cursor follows', () => subscriber.lastEventId !== 'article-7');
  parseCursor(subscriber.lastEventId);
  assert.ok(subscriber.retries.includes(1234));

  await publish(scope, askrd, 'news', 'second');
  await subscriber.take(2);
  // By the cursor, and by the custom id: both come back with what followed.
  for (const lastEventId of [event.id, subscriber.events[1].id.replace(/[0-9]+$/, (seq) => String(BigInt(seq) - 1n))]) {
    const resumed = await subscribe(scope, askrd.tcp, 'news', { lastEventId, reconnect: false });
    const events = await resumed.take(1);
    assert.deepEqual(events.map(({ data }) => data), ['second'], `after ${lastEventId}`);
  }
}));

test('the query parameter resumes as the header does', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const before = (await subscribe(scope, askrd.tcp, 'news')).lastEventId;
  await publish(scope, askrd, 'news', 'missed');
  for (const options of [{ lastEventId: before }, { query: { last_event_id: before } }]) {
    const resumed = await subscribe(scope, askrd.tcp, 'news', { ...options, reconnect: false });
    assert.deepEqual((await resumed.take(1)).map(({ data }) => data), ['missed']);
  }
}));

test('channels are percent-decoded, and several share a stream', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const subscriber = await subscribe(scope, askrd.tcp, ['räksmörgås & co', 'a+b', 'news']);
  const plain = await subscribe(scope, askrd.tcp, 'elsewhere');
  await publish(scope, askrd, 'räksmörgås & co', '1');
  await publish(scope, askrd, ['a+b', 'news'], '2');
  await publish(scope, askrd, 'elsewhere', '3');
  await plain.take(1);
  assert.deepEqual((await subscriber.take(2)).map(({ data }) => data), ['1', '2']);
  assert.equal(subscriber.events.length, 2, 'once for both of its channels, and nothing of others');
}));

test('an unknown epoch is told as a gap, and a quiet channel has none', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const unknown = await subscribe(scope, askrd.tcp, 'news', { lastEventId: '0123456789ab-77', reconnect: false });
  const [gap] = await unknown.take(1);
  assert.equal(gap.event, 'askr:gap');
  const told = JSON.parse(gap.data);
  assert.deepEqual(Object.keys(told).sort(), ['at_most', 'lost']);
  assert.equal(told.lost, null);

  const quiet = await subscribe(scope, askrd.tcp, 'quiet');
  const cursor = quiet.lastEventId;
  await publishAll(scope, askrd, Array.from({ length: 20 }, (_, i) => ({ channel: 'noisy', payload: String(i) })));
  const back = await subscribe(scope, askrd.tcp, 'quiet', { lastEventId: cursor, reconnect: false });
  await publish(scope, askrd, 'quiet', 'x');
  assert.deepEqual((await back.take(1)).map(({ event, data }) => [event, data]), [['message', 'x']]);
}));

test('what was overwritten is told: exactly how many of this channel', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { ring: { slots: 64 } });
  const subscriber = await subscribe(scope, askrd.tcp, 'news');
  const cursor = subscriber.lastEventId;
  subscriber.close();
  const all = await subscribe(scope, askrd.tcp, ['news', 'other']);
  // In pieces smaller than the ring, so that askrd itself reads every one.
  const pieces = [
    Array.from({ length: 10 }, (_, i) => ({ channel: 'news', payload: String(i) })),
    ...Array.from({ length: 5 }, () => Array.from({ length: 20 }, () => ({ channel: 'other', payload: 'x'.repeat(300) }))),
    [{ channel: 'news', payload: 'last' }],
  ];
  let published = 0;
  for (const piece of pieces) {
    await publishAll(scope, askrd, piece);
    await all.take(published += piece.length);
  }

  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId: cursor, reconnect: false });
  const [gap, last] = await back.take(2);
  assert.equal(gap.event, 'askr:gap');
  assert.equal(JSON.parse(gap.data).lost, 10);
  assert.equal(last.data, 'last');
  assert.equal(back.events.length, 2);
}));

test('bad requests are refused with their status and one line that says why', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { allowed_hosts: ['127.0.0.1', 'localhost', 'askr.example'] } });
  const many = eventsPath(Array.from({ length: 101 }, (_, i) => `c${i}`));
  const cases = [
    [400, '/askr/events', {}, /channel/],
    [400, '/askr/events?channel=', {}, /channel/],
    [400, `/askr/events?channel=${'a'.repeat(201)}`, {}, /200/],
    [400, '/askr/events?channel=a%00b', {}, /channel/],
    [400, '/askr/events?channel=a%ffb', {}, /UTF-8/i],
    [400, '/askr/events?channel=a%zz', {}, /./],
    [400, '/askr/events?channel=askr:gap', {}, /askr:/],
    [400, many, {}, /100/],
    [400, `${EVENTS}&format=xml`, {}, /format/],
    [403, '/askr/events?channel=private-room', {}, /private|authori/i],
    [403, '/askr/events?channel=news&channel=presence-room', {}, /presence|authori/i],
    [403, EVENTS, { headers: { Origin: 'http://evil.example' } }, /origin/i],
    [403, EVENTS, { headers: { Origin: 'null' } }, /origin/i],
    [404, '/', {}, /./],
    [404, '/askr', {}, /./],
    [404, '/askr/events/more', {}, /./],
    [405, EVENTS, { method: 'POST' }, /GET/],
    [405, EVENTS, { method: 'DELETE' }, /GET/],
    [431, EVENTS, { headers: { 'X-Large': 'a'.repeat(100_000) } }, /./],
  ];
  for (const where of [askrd.tcp, askrd.unix]) {
    for (const [status, path, options, reason] of cases) {
      const host = where.port ? `127.0.0.1:${where.port}` : 'localhost';
      const answer = await ask(where, path, { ...options, headers: { Host: host, ...options.headers } });
      assertRefused(answer, status, reason);
      if (status === 405) assert.match(answer.headers.allow, /GET/);
    }
  }
  // Still served after all that.
  await subscribe(scope, askrd.tcp, 'news');
}));

test('a request with a body that is too large is refused with 413', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const connection = rawConnection(scope, askrd.tcp);
  connection.write(`POST ${EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:${askrd.port}\r\nContent-Length: 1000000000\r\n\r\n`);
  await connection.end();
  assert.match(connection.received, /^HTTP\/1\.1 413 /);
}));

test('a Host that is not allowed is refused, and one that is allowed is not', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { allowed_hosts: ['askr.example'] } });
  assertRefused(await ask(askrd.tcp, EVENTS, { headers: { Host: 'rebound.example' } }), 403, /host/i);
  await subscribe(scope, askrd.tcp, 'news', { headers: { Host: 'askr.example' } });
}));

test('CORS: a listed origin gets credentials and preflight, its own origin always, others nothing', scoped(async (scope) => {
  const origin = 'https://app.example';
  const askrd = await startAskrd(scope, { server: { allowed_origins: [origin] } });

  const allowed = await subscribe(scope, askrd.tcp, 'news', { headers: { Origin: origin } });
  const { headers } = allowed.heads[0];
  assert.equal(headers['access-control-allow-origin'], origin);
  assert.equal(headers['access-control-allow-credentials'], 'true');
  assert.match(headers.vary, /origin/i);

  const own = `http://127.0.0.1:${askrd.port}`;
  await subscribe(scope, askrd.tcp, 'news', { headers: { Origin: own, Host: `127.0.0.1:${askrd.port}` } });

  const preflight = await ask(askrd.tcp, EVENTS, {
    method: 'OPTIONS',
    headers: { Origin: origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'last-event-id' },
  });
  assert.ok([200, 204].includes(preflight.status), String(preflight.status));
  assert.equal(preflight.headers['access-control-allow-origin'], origin);
  assert.equal(preflight.headers['access-control-allow-credentials'], 'true');
  assert.match(preflight.headers['access-control-allow-methods'], /GET/);
  assert.match(preflight.headers['access-control-allow-headers'], /last-event-id/i);

  for (const stranger of ['https://evil.example', 'https://app.example.evil.example', 'http://app.example', 'https://app.example:8443']) {
    const refused = await ask(askrd.tcp, EVENTS, {
      method: 'OPTIONS', headers: { Origin: stranger, 'Access-Control-Request-Method': 'GET' },
    });
    assert.equal(refused.status, 403);
    assert.equal(refused.headers['access-control-allow-origin'], undefined);
  }
}));

test('a request that comes too slowly is cut, while others are served', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { header_timeout: 1 } });
  const slow = rawConnection(scope, askrd.tcp);
  slow.write(`GET ${EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:${askrd.port}\r\n`);
  // A header line now and then, never the empty line that would end the head.
  const drip = setInterval(() => slow.write('X-Slow: yes\r\n'), 100);
  scope.defer(() => clearInterval(drip));
  const silent = rawConnection(scope, askrd.tcp);
  const other = await subscribe(scope, askrd.tcp, 'news');
  await Promise.all([slow.end(), silent.end()]);
  assert.doesNotMatch(slow.received, /^HTTP\/1\.1 200/);
  await publish(scope, askrd, 'news', 'still here');
  await other.take(1);
  assert.equal(other.connections, 1, 'an open stream is not cut by that limit');
}));

test('bytes after the request close the stream, pipelined or later', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const request = `GET ${EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:${askrd.port}\r\n\r\n`;

  const pipelined = rawConnection(scope, askrd.tcp);
  pipelined.write(request + request);
  await pipelined.end();
  assert.ok(pipelined.received.split('HTTP/1.1 200').length <= 2, 'no second stream');

  const later = rawConnection(scope, askrd.tcp);
  later.write(request);
  await later.until('the stream is open', () => later.received.includes('id: '));
  later.write('GET / HTTP/1.1\r\n\r\n');
  await later.end();
}));

test('garbage is answered by 400 or a closed connection, never by silence', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  for (const bytes of ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'GET\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n']) {
    const connection = rawConnection(scope, askrd.tcp);
    connection.write(Buffer.from(bytes, 'latin1'));
    await connection.until('an answer or the end', () => connection.closed || /^HTTP\/1\.[01] [34]/.test(connection.received));
  }
  await subscribe(scope, askrd.tcp, 'news');
}));

test('a quiet stream is kept alive by a comment and its cursor', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { ping: 1 } });
  const subscriber = await subscribe(scope, askrd.tcp, 'quiet');
  const first = subscriber.lastEventId;
  await publish(scope, askrd, 'elsewhere', 'x');
  await subscriber.until('a ping told a newer cursor', () => subscriber.comments > 0 && subscriber.lastEventId !== first);
  assert.ok(parseCursor(subscriber.lastEventId).seq > parseCursor(first).seq);
  assert.equal(subscriber.events.length, 0);
}));

test('over the limit of connections a stream is told to come back, and is served when there is room', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { max_connections: 2 } });
  const first = await subscribe(scope, askrd.tcp, 'news');
  const second = await subscribe(scope, askrd.tcp, 'news');
  const third = rawConnection(scope, askrd.tcp);
  third.write(`GET ${EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:${askrd.port}\r\n\r\n`);
  await third.end();
  assert.doesNotMatch(third.received, /^HTTP\/1\.1 50/, 'a 503 would end an EventSource for good');
  first.close();
  await subscribe(scope, askrd.tcp, 'news');
  await publish(scope, askrd, 'news', 'x');
  await second.take(1);
}));

test('a client that does not read is cut while others are served, and resumes without loss', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { slow_clients: 'close' } });
  const stalled = rawConnection(scope, askrd.tcp);
  stalled.write(`GET ${EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:${askrd.port}\r\n\r\n`);
  await stalled.until('the stream is open', () => /\n\n$/.test(stalled.received));
  stalled.socket.pause();
  const other = await subscribe(scope, askrd.tcp, 'news');
  // More than the kernel's buffers take, less than the ring holds.
  const payloads = Array.from({ length: 24 }, (_, i) => `${i} `.padEnd(500_000, 'x'));
  await publishAll(scope, askrd, payloads.map((payload) => ({ channel: 'news', payload })));
  await other.take(payloads.length);
  assert.ok(other.events.every(({ data }, i) => data === payloads[i]), 'the other client has every event once');
  assert.equal(other.events.length, payloads.length);

  stalled.socket.resume();
  await stalled.end();
  // What came whole is kept, with its cursor; the rest is asked for.
  const whole = stalled.received.slice(0, stalled.received.lastIndexOf('\n\n') + 2);
  const had = [...whole.matchAll(/^data: ([0-9]+) /gm)].map(([, n]) => Number(n));
  assert.ok(had.length < payloads.length, 'it was cut before it had everything');
  const cursor = [...whole.matchAll(/^id: (.+)$/gm)].at(-1)[1];
  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId: cursor, reconnect: false });
  const rest = await back.take(payloads.length - had.length);
  assert.deepEqual([...had, ...rest.map(({ data }) => Number(data.split(' ')[0]))], payloads.map((_, i) => i));
}));
