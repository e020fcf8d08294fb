// What PHP publishes is what a page gets, whatever is in it and wherever the network cuts the stream.
// Seen by two independent clients: Chromium, and the npm package eventsource.

import test from 'node:test';
import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { publishAll, startSite } from '../lib/php.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped, until, within } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';

const MIB = 1024 * 1024;

/** Name → payload. Small ones travel byte by byte. */
const SMALL = {
  'empty': '',
  'one space': ' ',
  'leading space': ' leading',
  'leading colon': ': not a comment',
  'colon inside': 'data: not a field',
  'LF': 'one\ntwo',
  'CR': 'one\rtwo',
  'CRLF': 'one\r\ntwo',
  'all three, mixed': 'a\r\nb\rc\nd\n\re\r\rf\n\ng',
  'only line ends': '\n\r\n\r',
  'an injected event': 'x\n\nevent: fake\ndata: injected\nid: 0\n\n',
  'ends with LF': 'end\n',
  'U+2028 and U+2029': 'line\u2028paragraph\u2029end',
  'NUL and controls': 'a\u0000b\u0001\t\u001b[0m',
  'BOM': '\ufeffstart',
  'emoji': '🌳👩‍👩‍👧‍👦🇸🇪é',
  'JSON': JSON.stringify({ a: [1, 'ö', null], b: '"quoted"' }),
};

/** A megabyte of everything: line ends of each kind, characters of one to four bytes. */
function megabyte() {
  const piece = 'Askr 🌳 äöü ≈ \u2028 : ';
  const lines = ['\n', '\r\n', '\r'];
  let text = '';
  for (let i = 0; Buffer.byteLength(text) < MIB - 64; i += 1) text += piece.repeat(400) + lines[i % 3];
  const bytes = Buffer.from(text);
  let end = MIB;
  while ((bytes[end] & 0xc0) === 0x80) end -= 1;
  const cut = bytes.subarray(0, end).toString();
  return cut + 'x'.repeat(MIB - Buffer.byteLength(cut));
}

/** What the specification makes of line ends: a receiver joins lines with LF. */
const received = (payload) => payload.replace(/\r\n|\r/g, '\n');

/** The npm client on a TCP port; collects events until it is closed. */
async function npmClient(scope, where, channel) {
  const source = new EventSource(`http://127.0.0.1:${where.port}${eventsPath(channel)}`);
  scope.defer(() => source.close());
  const events = [];
  for (const name of ['message', 'askr:gap']) {
    source.addEventListener(name, ({ type, data, lastEventId }) => events.push({ event: type, data, id: lastEventId }));
  }
  await within('the npm client to open', new Promise((resolve, reject) => {
    source.addEventListener('open', resolve);
    source.addEventListener('error', (error) => reject(error));
  }));
  return events;
}

test('each payload arrives as the specification says, in Chromium and in the npm client', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: { 'page.html': '<!doctype html>' } });
  const page = await openPage(scope, `${site.url}/page.html`);
  await listen(page, '/askr/events?channel=p');
  const npm = await npmClient(scope, askrd.tcp, 'p');

  const payloads = { ...SMALL, '1 MiB': megabyte() };
  assert.equal(Buffer.byteLength(payloads['1 MiB']), MIB);
  const results = await publishAll(scope, askrd, Object.values(payloads).map((payload) => ({ channel: 'p', payload })));
  assert.deepEqual([...new Set(results)], [true]);

  const names = Object.keys(payloads);
  const inChromium = await seen(page, names.length);
  await until('the npm client has all', () => npm.length >= names.length);
  for (const [client, events] of [['Chromium', inChromium], ['npm eventsource', npm]]) {
    assert.equal(events.length, names.length, client);
    names.forEach((name, i) => {
      assert.equal(events[i].event, 'message', `${name} in ${client}`);
      assert.ok(events[i].data === received(payloads[name]), `'${name}' is unchanged in ${client}: ${JSON.stringify(events[i].data.slice(0, 80))}`);
    });
  }
}));

test('a stream cut at every byte is received unchanged by both clients', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: { 'page.html': '<!doctype html>' } });
  // Behind the relay is nginx for the page, so that page and stream have one origin.
  const bytewise = await relay(scope, { port: site.port }, () => 1);
  const page = await openPage(scope, `http://127.0.0.1:${bytewise.port}/page.html`);
  await listen(page, '/askr/events?channel=p');
  const npm = await npmClient(scope, await relay(scope, askrd.tcp, () => 1), 'p');

  const payloads = Object.values(SMALL);
  await publishAll(scope, askrd, payloads.map((payload) => ({ channel: 'p', payload })));
  const expected = payloads.map(received);
  assert.deepEqual((await seen(page, expected.length)).map(({ data }) => data), expected);
  await until('the npm client has all', () => npm.length >= expected.length);
  assert.deepEqual(npm.map(({ data }) => data), expected);
}));

test('1 MiB in pieces of every small size is received unchanged', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  let size = 0;
  const pieces = await relay(scope, askrd.tcp, () => (size = size % 997 + 1));
  const npm = await npmClient(scope, pieces, 'p');
  const payload = megabyte();
  await publishAll(scope, askrd, [{ channel: 'p', payload }]);
  await until('the npm client has it', () => npm.length >= 1);
  assert.ok(npm[0].data === received(payload));
}));

test('format=json keeps every character, line ends of all kinds included', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const subscriber = await subscribe(scope, askrd.tcp, ['a', 'b'], { query: { format: 'json' } });
  const payloads = Object.values(SMALL);
  await publishAll(scope, askrd, payloads.map((payload, i) => ({ channel: ['b', 'other', 'a'], payload, event: 'named', id: `own-${i}` })));

  const events = await subscriber.take(payloads.length * 2);
  assert.equal(events.length, payloads.length * 2, 'once for each matching channel');
  payloads.forEach((payload, i) => {
    const pair = events.slice(i * 2, i * 2 + 2).map(({ data }) => JSON.parse(data));
    assert.deepEqual(pair.map(({ channel }) => channel).sort(), ['a', 'b']);
    // With an id of its own it says where it is, too: the same on each channel.
    const [{ at }] = pair;
    assert.match(at, /^[0-9a-f]{12}-[0-9]+$/);
    for (const one of pair) {
      assert.deepEqual(one, { channel: one.channel, event: 'named', id: `own-${i}`, data: payload, at });
    }
  });
}));
