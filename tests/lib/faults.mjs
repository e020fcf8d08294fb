// What the fault tests share: askrd's counters, raw streams that can stop reading, and floods.

import assert from 'node:assert/strict';
import { ask, rawConnection } from './http.mjs';
import { Parser, eventsPath } from './sse.mjs';
import { until } from './scope.mjs';

/** All counters: `{ 'askr_streams': 3, 'askr_streams_ended_total{reason="slow"}': 1, … }`. */
export async function metrics(askrd) {
  const { status, body } = await ask({ socketPath: askrd.control }, '/metrics', { headers: { Host: 'localhost' } });
  assert.equal(status, 200, body);
  const rows = body.split('\n').filter((line) => line && !line.startsWith('#'));
  return Object.fromEntries(rows.map((row) => [row.slice(0, row.lastIndexOf(' ')), Number(row.slice(row.lastIndexOf(' ') + 1))]));
}

/** One counter, which has to exist. */
export async function metric(askrd, name) {
  const value = (await metrics(askrd))[name];
  assert.notEqual(value, undefined, `there is a counter ${name}`);
  return value;
}

/** Waits until a counter satisfies `condition`; fails with its last value. */
export async function untilMetric(askrd, name, condition, patience) {
  let last;
  try {
    return await until(`${name} is as expected`, async () => {
      last = await metric(askrd, name);
      return condition(last) ? { value: last } : null;
    }, patience);
  } catch (error) {
    throw new Error(`${error.message}; it is ${last}`);
  }
}

export const ended = (reason) => `askr_streams_ended_total{reason="${reason}"}`;
export const refused = (limit) => `askr_refused_total{limit="${limit}"}`;

const host = (where) => `127.0.0.1${where.port ? `:${where.port}` : ''}`;

/** A request for a stream, as bytes. */
export function streamRequest(where, channels, headers = '') {
  return `GET ${eventsPath(channels)} HTTP/1.1\r\nHost: ${host(where)}\r\nAccept: text/event-stream\r\n${headers}\r\n`;
}

/** An open stream on a raw socket, which reads no further until `resume()` of its socket. */
export async function unread(scope, where, channels) {
  const connection = rawConnection(scope, where);
  connection.write(streamRequest(where, channels));
  await connection.until('the stream is open', ({ received }) => /\r\n\r\n[^]*\n\n$/.test(received));
  connection.socket.pause();
  return connection;
}

/** The whole events that a raw connection has received: what a browser would have dispatched; and the cursor. */
export function parsed(connection) {
  const events = [];
  const parser = new Parser((item) => { if (item.type === 'event') events.push(item); });
  const head = connection.received.indexOf('\r\n\r\n');
  parser.push(Buffer.from(connection.received.slice(head + 4), 'latin1'));
  return { events, lastEventId: parser.lastEventId };
}

/** Connections that never say what they want: `count` of them, each with `bytes`. */
export function halfOpen(scope, where, count, bytes) {
  return Array.from({ length: count }, () => rawConnection(scope, where).write(bytes));
}

/** Payloads that tell their number, of `size` bytes. */
export const payloads = (count, size, from = 0) => Array.from({ length: count }, (_, i) => `${from + i} `.padEnd(size, 'x'));

/** The numbers in events made by `payloads`, gaps left out. */
export const numbers = (events) => events.filter(({ event }) => event !== 'askr:gap').map(({ data }) => Number(data.split(' ')[0]));

/** 0, 1, …, count - 1. */
export const upTo = (count) => Array.from({ length: count }, (_, i) => i);
