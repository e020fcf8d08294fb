// What @askr/client does at each answer and each turn of a page, one at a time.

import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { machine } from '../../clients/js/machine.js';
import { events } from '../../clients/js/sse.js';
import { Listeners, Subscription } from '../../clients/js/subscription.js';

/** A page whose connection is played by the test. Chance is none: a pause is as long as it is at least. */
class Page extends Listeners {
  channels = new Map();
  now = 0;
  connects = [];
  changes = [];
  tokens = [];
  told = [];

  constructor(settings = {}) {
    super();
    for (const type of ['state', 'refused', 'error', 'gap', 'expiring']) this.on(type, (data) => this.told.push([type, data]));
    this.is = machine(this, {
      now: () => this.now,
      random: () => 0,
      connect: (request) => this.connects.push(request),
      disconnect: () => {},
      change: (verb, body, done, failed) => this.changes.push({ verb, ...body, done, failed }),
      token: (why, done, failed) => this.tokens.push({ why, done, failed }),
      timer: (at) => { this.timer = at; },
    }, settings);
  }

  /** All that is due. */
  settle() {
    while (this.timer <= this.now) {
      this.timer = Infinity;
      this.is.tick();
    }
    return this;
  }

  wait(milliseconds) {
    this.now += milliseconds;
    return this.settle();
  }

  subscribe(...names) {
    for (const name of names) this.is.subscribe(new Subscription(name), {});
    return this.settle();
  }

  connected(cursor = '0a0b0c0d0e0f-1') {
    this.is.heard();
    this.is.told('retry', 2000);
    this.is.told('connected', { socket_id: '1.2', secret: 's' });
    this.is.moved(cursor);
    return this.settle();
  }

  ended(...why) {
    this.is.ended(...why);
    return this.settle();
  }

  /** The answer to the last request about channels. */
  answer(status, message) {
    const { channels, done, failed } = this.changes.at(-1);
    if (status === 200) done({ channels });
    else failed(Object.assign(new Error(message), { status }));
    return this.settle();
  }

  states() {
    return this.told.filter(([type]) => type === 'state').map(([, { state }]) => state);
  }

  get pause() {
    return this.told.findLast(([type, { state }]) => type === 'state' && state === 'waiting')[1].retryIn;
  }

  channelStates() {
    return Object.fromEntries([...this.channels].map(([name, { state }]) => [name, state]));
  }
}

test('without an answer each pause is twice the last, up to half a minute; a connection makes it short again', () => {
  const page = new Page().subscribe('a');
  const pauses = [];
  for (let n = 0; n < 7; n += 1) {
    page.ended('network');
    pauses.push(page.pause);
    page.wait(page.pause);
  }
  assert.deepEqual(pauses, [2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  page.connected().ended('closed');
  assert.equal(page.pause, 2000);
  assert.equal(page.connects.length, 8);
});

test('the pause that the server told counts, also of an answer that is nothing else', () => {
  const page = new Page().subscribe('a').connected();
  page.is.told('retry', 250);
  page.ended('closed');
  assert.equal(page.pause, 250);
  for (let n = 0; n < 5; n += 1) {
    page.wait(page.pause);
    page.is.told('retry', 700);
    page.ended('closed');
    assert.equal(page.pause, 700);
  }
});

test('a publisher that tells pages to come back at once does not have them ask without a pause', () => {
  const page = new Page().subscribe('a').connected();
  page.is.told('retry', 0);
  for (const pause of [100, 200, 400]) {
    page.ended('network');
    assert.equal(page.pause, pause);
    page.wait(pause);
  }
});

test('429 and 503 wait as Retry-After says, else as without an answer; nobody is refused', () => {
  for (const status of [429, 503]) {
    const page = new Page().subscribe('a', 'b').ended('busy', status, '7');
    assert.equal(page.pause, 7000);
    page.wait(7000).ended('busy', status, null);
    assert.equal(page.pause, 2000);
    assert.deepEqual(page.channelStates(), { a: 'subscribing', b: 'subscribing' });
    assert.deepEqual(page.connects.map(({ channels }) => channels), [['a', 'b'], ['a', 'b']]);
  }
});

test('a connection that is refused whatever is asked for is tried again after a minute, and told each time', () => {
  for (const [status, reason] of [[403, 'this origin is not allowed'], [404, 'not found']]) {
    const page = new Page().subscribe('a', 'b').ended(reason, status);
    // Once more without channels: it might be one of them.
    assert.deepEqual(page.connects.map(({ channels }) => channels), [['a', 'b'], []]);
    page.ended(reason, status);
    assert.deepEqual(page.told.at(-1), ['state', { state: 'waiting', reason, status, retryIn: 60_000 }]);
    page.wait(60_000).connected();
    assert.equal(page.state, 'connected');
  }
});

test('403 names the channel that may not be heard: it is told, once, and the others are asked for again at once', () => {
  const page = new Page().subscribe('a', 'private-b', 'private-c');
  page.tokens.pop().done('new');
  page.settle().ended('the token does not grant channel 3', 403);
  assert.deepEqual(page.connects.map(({ channels, token }) => [channels.length, token]), [[3, 'new'], [2, 'new']]);
  page.connected();
  assert.deepEqual(page.channelStates(), { a: 'subscribed', 'private-b': 'subscribed', 'private-c': 'refused' });
  assert.deepEqual(page.told.filter(([type]) => type === 'refused'), [['refused', { channel: 'private-c', status: 403, reason: 'the token does not grant channel 3' }]]);
  // A token that was good for others may be older than the channel: a new one, once.
  page.subscribe('private-d').answer(403, 'the token does not grant channel 1');
  assert.equal(page.tokens.at(-1).why, 'refused');
  page.tokens.pop().done('newer');
  page.settle();
  assert.deepEqual([page.changes.at(-1).channels, page.changes.at(-1).token], [['private-d'], 'newer']);
  page.answer(403, 'the token does not grant channel 1');
  assert.equal(page.channels.get('private-d').state, 'refused');
  assert.equal(page.tokens.length, 0);
});

test('401: a new token, once; then the private channels are refused and the public ones go on', () => {
  const page = new Page().subscribe('a', 'private-b');
  page.tokens.pop().done('old');
  page.settle().connected().ended('closed');
  page.wait(2000).ended('revoked', 401);
  assert.equal(page.tokens.at(-1).why, 'refused');
  page.tokens.pop().done(null);
  page.settle().ended('needs a token', 401);
  assert.deepEqual(page.connects.at(-1).channels, ['a']);
  page.connected();
  assert.deepEqual(page.channelStates(), { a: 'subscribed', 'private-b': 'refused' });
  // Somebody signs in.
  page.is.renew();
  page.settle();
  assert.equal(page.tokens.at(-1).why, 'renew');
  page.tokens.pop().done('hers');
  page.settle();
  assert.deepEqual([page.changes.at(-1).channels, page.changes.at(-1).token], [['private-b'], 'hers']);
});

test('only private channels, and all are refused: idle, and told', () => {
  const page = new Page().subscribe('private-b');
  page.tokens.pop().done(undefined);
  page.settle().ended('needs a token', 401);
  assert.equal(page.state, 'idle');
  assert.equal(page.timer, Infinity);
});

test('a refusal that names none is found by asking for one after the other', () => {
  const page = new Page().subscribe('a').connected().subscribe('b', 'c', 'd');
  page.answer(409, 'there are too many members');
  assert.deepEqual(page.changes.at(-1).channels, ['b']);
  page.answer(200);
  assert.deepEqual(page.changes.at(-1).channels, ['c']);
  page.answer(409, 'there are too many members').answer(200);
  assert.deepEqual(page.changes.map(({ channels }) => channels.join('')), ['bcd', 'b', 'c', 'd']);
  assert.equal(page.channels.get('c').state, 'refused');
});

test('a request to add channels: 503 and 429 are tried again, no answer and 404 make a new connection', () => {
  const page = new Page().subscribe('a').connected().subscribe('b');
  page.answer(503, 'away').wait(1000).answer(429, 'too many').wait(1000);
  assert.equal(page.changes.length, 2, 'twice as long');
  page.wait(1000);
  assert.equal(page.changes.length, 3);
  assert.deepEqual(page.told.filter(([type]) => type === 'error').map(([, { status }]) => status), [503, 429]);
  for (const status of [0, 404]) {
    page.answer(status, 'the stream has ended');
    assert.equal(page.state, 'waiting');
    page.wait(2000).connected();
    assert.deepEqual(page.connects.at(-1).channels, ['a'], 'from where it was');
  }
  page.answer(403, "the secret is not this socket's");
  assert.equal(page.state, 'waiting', 'no channel is refused for it');
  page.wait(2000).connected().answer(403, 'channel 1: who has no secret may not hear it');
  assert.deepEqual([page.state, page.channels.get('b').state], ['connected', 'refused'], "the application's words");
});

test('more channels than an address has room for: fifty are asked for with the connection, the others after it', () => {
  const names = Array.from({ length: 120 }, (_, n) => `c${n}`);
  const page = new Page().subscribe(...names).connected();
  page.answer(200).answer(200);
  assert.deepEqual([page.connects[0].channels, ...page.changes.map(({ channels }) => channels)], [names.slice(0, 50), names.slice(50, 100), names.slice(100)]);
});

test('silence ends a connection, anything that is heard does not', () => {
  const page = new Page({ silence: 1000 }).subscribe('a').connected();
  page.wait(900).is.heard();
  page.wait(900);
  assert.equal(page.state, 'connected');
  page.wait(100);
  assert.equal(page.told.at(-1)[1].reason, 'silence');
  // Nor does one that is never answered stay for ever.
  page.wait(2000).wait(20_000);
  assert.equal(page.told.at(-1)[1].reason, 'no answer');
});

test('offline, hidden, away: it comes back when the page does, without waiting, from where it was', () => {
  const page = new Page({ hidden: 5000 }).subscribe('a').connected('0a0b0c0d0e0f-7');
  page.is.offline();
  page.settle().is.wake();
  page.settle();
  assert.equal(page.connects.length, 2);
  page.connected('0a0b0c0d0e0f-8');
  page.is.hide();
  page.settle().wait(4999);
  assert.equal(page.state, 'connected');
  page.wait(1).wait(100_000);
  assert.equal(page.state, 'asleep');
  page.is.wake();
  page.settle().connected('0a0b0c0d0e0f-9');
  page.is.sleep();
  page.settle().wait(1_000_000);
  page.is.wake();
  page.settle();
  assert.deepEqual(page.connects.map(({ since }) => since), [undefined, ...[7, 8, 9].map((n) => `0a0b0c0d0e0f-${n}`)]);
});

test('a page that was seen again before it would sleep does not', () => {
  const page = new Page({ hidden: 5000 }).subscribe('a').connected();
  page.is.hide();
  page.settle().wait(3000).is.wake();
  page.settle().wait(10_000);
  assert.deepEqual(page.states(), ['connecting', 'connected']);
});

test('a token that ends is renewed on the connection, for all private channels together', () => {
  const page = new Page().subscribe('a', 'private-b', 'presence-c');
  page.tokens.pop().done('one');
  page.settle().connected();
  page.is.told('expiring', { expires: 9 });
  assert.equal(page.tokens.at(-1).why, 'expiring');
  page.tokens.pop().done('two');
  page.settle();
  assert.deepEqual([page.changes.at(-1).channels, page.changes.at(-1).token], [['private-b', 'presence-c'], 'two']);
  page.answer(503, 'away').wait(1000);
  assert.equal(page.changes.length, 2, 'and again, if it was not taken');
  page.answer(200);
  assert.equal(page.connects.length, 1);
});

test('a token or cookie that stays as it is, is shown once before it ends, and not again and again', () => {
  for (const same of [null, 'of the page']) {
    const page = new Page().subscribe('private-b');
    page.tokens.pop().done(same);
    page.settle().connected();
    const expiring = (expires) => { page.is.told('expiring', { expires }); page.settle(); };
    expiring(30);
    page.tokens.pop().done(same);
    page.settle().answer(200);
    page.is.told('subscribed', { channels: ['private-b'] }, '0a0b0c0d0e0f-1');
    // As the server says whenever it is shown one that is about to end.
    expiring(30);
    assert.deepEqual([page.tokens.length, page.changes.length, page.told.filter(([type]) => type === 'expiring').length], [0, 1, 1]);
    // A newer one ends later, and on another connection there may be one.
    expiring(60);
    assert.equal(page.tokens.pop().why, 'expiring');
    page.ended('closed').wait(2000);
    page.connected();
  }
  const page = new Page().subscribe('private-b');
  page.tokens.pop().done('one');
  for (const _ of [1, 2]) {
    page.settle().connected();
    page.is.told('expiring', { expires: 30 });
    assert.equal(page.tokens.at(-1)?.why, 'expiring');
    page.tokens.pop().failed(new Error('no network'));
    page.ended('closed').wait(4000);
  }
});

test('a page whose function for tokens throws is told, and asked again', () => {
  const page = new Page().subscribe('private-b');
  page.tokens.pop().failed(new Error('no network'));
  page.settle();
  assert.deepEqual(page.told.map(([type, { message, reason }]) => [type, message ?? reason]).slice(1), [['error', 'no network'], ['state', 'no network']]);
  page.wait(2000).tokens.pop().done('one');
  page.settle().connected();
  page.is.told('expiring', { expires: 9 });
  page.tokens.pop().failed(new Error('no network'));
  page.settle();
  assert.equal(page.state, 'connected', 'the old one may do for a while');
});

test('the page begins at its cursor, for what it subscribes to before the first connection', () => {
  const page = new Page({ cursor: '0a0b0c0d0e0f-5' }).subscribe('a', 'b');
  page.subscribe('early').connected('0a0b0c0d0e0f-5');
  assert.deepEqual([page.connects[0].since, page.changes[0].last_event_id], ['0a0b0c0d0e0f-5', '0a0b0c0d0e0f-5']);
  page.answer(200).subscribe('late');
  assert.equal(page.changes.at(-1).last_event_id, undefined);
});

test('after close() nothing is done any more', () => {
  const page = new Page().subscribe('a').connected();
  const channel = page.channels.get('a');
  page.is.close();
  page.wait(1_000_000);
  assert.deepEqual([page.state, channel.state, page.channels.size, page.connects.length], ['closed', 'unsubscribed', 0, 1]);
});

test('a quiet channel goes on where the connection was, however many attempts fail', () => {
  const at = (n) => `0a0b0c0d0e0f-${n}`;
  const page = new Page().subscribe('a').connected(at(1));
  page.is.event({ channel: 'a', id: at(3), data: '1' });
  page.is.moved(at(900));
  page.ended('closed');
  for (let n = 0; n < 3; n += 1) {
    page.wait(page.pause);
    assert.equal(page.connects.at(-1).since, at(900), 'not from its last event, which the ring may not hold any more');
    page.ended('network');
  }
  page.is.sleep();
  page.is.wake();
  page.settle();
  assert.equal(page.connects.at(-1).since, at(900));
});

test('a channel that catches up goes on from its last event', () => {
  const at = (n) => `0a0b0c0d0e0f-${n}`;
  const page = new Page().subscribe('a').connected(at(50));
  page.is.subscribe(new Subscription('b'), { since: at(10) });
  page.settle();
  page.is.told('subscribed', { channels: ['b'] }, at(10));
  page.is.event({ channel: 'b', id: at(20), data: '1' });
  page.is.event({ channel: 'b', id: null, event: 'client-x', data: '1' });
  page.ended('closed').wait(2000).ended('network');
  page.wait(page.pause).connected(at(50));
  assert.deepEqual([page.connects.at(-1).since, page.changes.at(-1).last_event_id], [at(50), at(20)]);
});

test('what is told once a listener has closed or left the connection moves nothing', () => {
  const at = (n) => `0a0b0c0d0e0f-${n}`;
  for (const end of ['sleep', 'close']) {
    const page = new Page().subscribe('a').connected(at(1));
    page.channels.get('a').on('*', () => page.is[end]());
    page.is.event({ channel: 'a', id: at(2), data: '1' });
    page.is.moved(at(2));
    page.is.event({ channel: 'a', id: at(3), data: '1' });
    page.is.moved(at(3));
    assert.equal(page.cursor, at(1), end);
    page.is.wake();
    page.settle();
    if (end === 'sleep') assert.equal(page.connects.at(-1).since, at(2), 'it has that one');
  }
});

test('a connection that ends says where each channel goes on', () => {
  const at = (n) => `0a0b0c0d0e0f-${n}`;
  const page = new Page().subscribe('a', 'b').connected(at(50));
  page.is.subscribe(new Subscription('c'), { since: at(10) });
  page.settle();
  page.is.told('subscribed', { channels: ['c'] }, at(10));
  page.is.event({ channel: 'c', id: at(20), data: '1' });
  page.is.event({ channel: 'b', id: at(51), data: '1' });
  assert.deepEqual([...page.is.close()], [['a', at(50)], ['b', at(51)], ['c', at(20)]]);
});

test('a refusal of an older token is none of the one that is fetched meanwhile, nor of the one that has come', () => {
  for (const late of [false, true]) {
    const page = new Page().subscribe('private-b');
    page.tokens.pop().done('of a guest');
    page.settle();
    assert.equal(page.connects.at(-1).token, 'of a guest');
    // Somebody signs in before the answer.
    page.is.renew();
    page.settle();
    assert.equal(page.tokens.at(-1).why, 'renew');
    if (!late) page.tokens.pop().done('hers');
    page.settle().ended('needs a token', 401);
    if (late) page.tokens.pop().done('hers');
    page.settle();
    assert.deepEqual([page.connects.at(-1).token, page.channelStates()], ['hers', { 'private-b': 'subscribing' }]);
    // As in a request that adds a channel.
    page.connected().subscribe('private-c');
    page.is.renew();
    page.settle();
    if (!late) page.tokens.pop().done('newer');
    page.settle().answer(403, 'the token does not grant channel 1');
    if (late) page.tokens.pop().done('newer');
    page.settle();
    assert.deepEqual([page.changes.at(-1).token, page.channels.get('private-c').state], ['newer', 'subscribing']);
    // Which may refuse it, too.
    page.answer(403, 'the token does not grant channel 1');
    assert.equal(page.channels.get('private-c').state, 'refused');
    assert.equal(page.tokens.length, 0);
  }
});

test('renew() asks for a token of its own, if one is just being fetched', () => {
  const page = new Page().subscribe('private-b');
  assert.equal(page.tokens.at(-1).why, 'connect');
  page.is.renew();
  page.is.renew();
  page.settle();
  page.tokens.pop().done('of before the sign-in');
  page.settle();
  assert.deepEqual([page.connects, page.tokens.map(({ why }) => why)], [[], ['renew']]);
  page.tokens.pop().done('hers');
  page.settle();
  assert.deepEqual([page.connects.at(-1).token, page.tokens], ['hers', []]);
  // Nor does one that fails stand for it.
  page.connected();
  page.is.told('expiring', { expires: 9 });
  page.is.renew();
  page.tokens.pop().failed(new Error('no network'));
  page.settle();
  assert.equal(page.tokens.at(-1)?.why, 'renew');
});

test('a cache channel begins with its last event, wherever the page is, and no other does', () => {
  const at = (n) => `0a0b0c0d0e0f-${n}`;
  const caches = ['cache-a', 'private-cache-a', 'presence-cache-a', 'private-encrypted-cache-a'];
  const page = new Page({ cursor: at(5) }).subscribe('a', 'my-cache-a', ...caches);
  page.tokens.pop().done('one');
  page.settle().connected(at(5));
  assert.deepEqual([page.connects.at(-1).channels, page.connects.at(-1).since], [['a', 'my-cache-a'], at(5)]);
  assert.deepEqual([page.changes.at(-1).channels, page.changes.at(-1).last_event_id], [caches, undefined]);
  // Another one goes on from where it was confirmed, also without an event.
  page.is.told('subscribed', { channels: caches }, at(5));
  page.answer(200).subscribe('late-cache-b');
  page.is.told('subscribed', { channels: ['late-cache-b'] }, at(7));
  page.ended('closed').wait(2000);
  page.connected(at(7));
  while (page.changes.at(-1).channels[0] !== 'late-cache-b') page.answer(200);
  assert.equal(page.changes.at(-1).last_event_id, at(7));
});

test('a page that sleeps is not woken by the network, nor kept awake by it', () => {
  const page = new Page({ hidden: 5000 }).subscribe('a').connected();
  page.is.hide();
  page.settle().wait(3000).is.online();
  page.settle().wait(2000);
  assert.equal(page.state, 'asleep');
  page.is.online();
  page.settle();
  assert.deepEqual([page.state, page.connects.length], ['asleep', 1]);
  page.is.wake();
  page.settle().ended('network');
  page.is.online();
  page.settle();
  assert.equal(page.connects.length, 3, 'one that waits does not wait for longer');
});

test('a page that sleeps and is not seen either sleeps on, with no timer, until it is back', () => {
  const page = new Page({ hidden: 5000 }).subscribe('a').connected();
  // As it goes into the back/forward cache: pagehide, then visibilitychange.
  page.is.sleep();
  page.is.hide();
  page.settle();
  assert.deepEqual([page.state, page.timer], ['asleep', Infinity]);
  page.wait(100_000).is.wake();
  page.settle().connected();
  assert.deepEqual(page.states(), ['connecting', 'connected', 'asleep', 'connecting', 'connected']);
});

test('a listener that comes while listeners are told waits for the next, one that goes is not told', () => {
  const listeners = new Listeners();
  const told = [];
  // Each hears one event, and puts another in its place.
  const next = (n) => {
    const off = listeners.on('x', () => {
      off();
      told.push(n);
      if (n < 5) next(n + 1);
    });
  };
  next(1);
  listeners.call('x');
  assert.deepEqual(told, [1]);
  listeners.call('x');
  assert.deepEqual(told, [1, 2]);
  const off = [listeners.on('y', () => off[1]()), listeners.on('y', () => told.push('gone'))];
  listeners.call('y');
  assert.deepEqual(told, [1, 2]);
});

/** What `events()` hands to a machine, of a server that answers so. */
async function heard(answer) {
  const server = http.createServer(answer);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const got = [];
  const sink = Object.fromEntries(['event', 'moved', 'told'].map((what) => [what, (...values) => got.push([what, ...values])]));
  const ended = new Promise((resolve) => { Object.assign(sink, { heard() {}, ended: (...why) => resolve(why) }); });
  await events(`http://127.0.0.1:${server.address().port}/`, new AbortController(), sink);
  const why = await ended;
  server.close();
  server.closeAllConnections();
  return { got, why };
}

test('what a stream cannot be is its end, with a reason, whatever it sends', async () => {
  const say = (text, status = 200, headers = {}) => (_, response) => { response.writeHead(status, headers); response.end(text); };
  assert.deepEqual((await heard(say('no such page\n', 404))).why, ['no such page', 404, null]);
  assert.deepEqual((await heard(say('busy\n', 503, { 'Retry-After': '2' }))).why, ['busy', 503, '2']);
  assert.deepEqual((await heard(say('<html>\n\n'))).why, ['closed']);
  assert.match((await heard(say('data: {"a\n\n'))).why[0], /JSON/);
  assert.equal((await heard((_, response) => { response.writeHead(200); response.write('id: 1\n\n'); setTimeout(() => response.destroy(), 50); })).why.length, 1);
  const { got } = await heard(say('event: askr:connected\nid: 0a-1\ndata: {"socket_id":"1.2"}\n\nid: own\ndata: {"at":"0a-2","data":"x"}\n\nid: 0a-2\n\n'));
  assert.deepEqual(got, [
    ['told', 'connected', { socket_id: '1.2' }, undefined], ['moved', '0a-1'], ['event', { at: '0a-2', data: 'x' }], ['moved', '0a-2'],
  ]);
});
