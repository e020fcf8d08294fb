// @askr/client in a page that is made up: what it does at the page's events, and what it makes of a piece of a stream, of
// an application that does not sign, and of what is no message.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Client } from '../../clients/js/index.js';

/** A page, and a server that a test plays. */
class Made {
  streams = [];
  posts = [];
  sockets = [];

  constructor(t, { hidden = false } = {}) {
    this.window = new EventTarget();
    this.document = Object.assign(new EventTarget(), { hidden, querySelector: () => null });
    const { sockets } = this;
    const given = {
      window: this.window,
      document: this.document,
      location: 'http://shop.example/',
      fetch: (url, { method = 'GET', body, signal }) => (method === 'GET' ? this.#stream(signal) : this.#post(url, JSON.parse(body))),
      WebSocket: class {
        constructor() { sockets.push(this); }
        close() { this.closed = true; }
      },
    };
    const before = Object.fromEntries(Object.keys(given).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));
    for (const [name, value] of Object.entries(given)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => {
      this.client?.close();
      for (const [name, descriptor] of Object.entries(before)) {
        if (descriptor) Object.defineProperty(globalThis, name, descriptor);
        else delete globalThis[name];
      }
    });
  }

  async #stream(signal) {
    let controller;
    const body = new ReadableStream({ start: (one) => { controller = one; } });
    const say = (text) => controller.enqueue(new TextEncoder().encode(text));
    this.streams.push({ say, signal });
    say('retry: 2000\n\nevent: askr:connected\nid: 0a0b0c0d0e0f-1\ndata: {"socket_id":"1.2","secret":"s"}\n\n');
    return new Response(body);
  }

  async #post(url, body) {
    this.posts.push([/\w+(?=\?)/.exec(url)[0], body]);
    return Response.json({ channels: body.channels });
  }

  open(options) {
    this.client = new Client(options);
    this.states = [];
    this.client.on('state', ({ state }) => this.states.push(state));
    return this.client;
  }

  /** Once it is in this state. */
  async until(state) {
    if (this.client.state === state) return;
    await new Promise((resolve) => {
      const off = this.client.on('state', (change) => {
        if (change.state !== state) return;
        off();
        resolve();
      });
    });
  }
}

const told = (channel, name) => new Promise((resolve) => { const off = channel.on(name, (...values) => { off(); resolve(values); }); });

test('a page that is opened in a tab nobody looks at goes to sleep as one that is hidden later', async (t) => {
  const made = new Made(t, { hidden: true });
  made.open({ hidden: 30 }).subscribe('a');
  // The page has been loaded: it is still not seen.
  made.window.dispatchEvent(new Event('pageshow'));
  await made.until('asleep');
  made.window.dispatchEvent(new Event('online'));
  made.document.hidden = false;
  assert.equal(made.client.state, 'asleep');
  made.document.dispatchEvent(new Event('visibilitychange'));
  await made.until('connected');
});

test('the network that is back does not keep a hidden page awake', async (t) => {
  const made = new Made(t);
  const channel = made.open({ hidden: 30 }).subscribe('a');
  await told(channel, 'askr:subscribed');
  made.document.hidden = true;
  made.document.dispatchEvent(new Event('visibilitychange'));
  made.window.dispatchEvent(new Event('online'));
  await made.until('asleep');
  assert.ok(made.streams.every(({ signal }) => signal.aborted));
});

test('nothing of a piece of a stream counts once a listener has closed the client', async (t) => {
  const made = new Made(t);
  const channel = made.open().subscribe('a');
  const gaps = [];
  made.client.on('gap', (gap) => gaps.push(gap));
  await told(channel, 'askr:subscribed');
  const heard = [];
  let places;
  channel.on('*', (data) => {
    heard.push(data);
    places = made.client.close();
  });
  const event = (n) => `id: 0a0b0c0d0e0f-${n}\ndata: {"channel":"a","event":null,"id":"0a0b0c0d0e0f-${n}","data":"${n}"}\n\n`;
  const [{ say, signal }] = made.streams;
  say(`${event(2)}${event(3)}event: askr:gap\ndata: {"lost":1,"at_most":1}\n\n${event(5)}`);
  await new Promise((resolve) => { signal.addEventListener('abort', resolve); });
  await new Promise((resolve) => { setTimeout(resolve); });
  assert.deepEqual([heard, gaps, made.client.cursor], [[2], [], '0a0b0c0d0e0f-1']);
  assert.deepEqual([...places], [['a', '0a0b0c0d0e0f-2']], 'it has that one');
});

test('an application that does not sign is asked again, and the connection with its other channels stays', async (t) => {
  const made = new Made(t);
  let asked = 0;
  const authorize = () => {
    asked += 1;
    if (asked === 1) throw new SyntaxError('no JSON');
    return Promise.resolve({ 'private-a': { auth: 'k:1' } });
  };
  made.open({ authorize });
  const errors = [];
  made.client.on('error', (error) => errors.push(error.message));
  const channel = made.client.subscribe('private-a');
  while (made.posts.length === 0) await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.deepEqual(made.posts.map(([verb, { auth }]) => [verb, auth]), [['subscribe', { 'private-a': { auth: 'k:1' } }]]);
  made.streams[0].say('event: askr:subscribed\ndata: {"channels":["private-a"],"cursor":"0a0b0c0d0e0f-1"}\n\n');
  await told(channel, 'askr:subscribed');
  assert.deepEqual([errors, made.streams.length, made.states], [['no JSON'], 1, ['connecting', 'connected']]);
});

test('what is no message ends a WebSocket, with a reason', async (t) => {
  for (const bad of ['<html>', 'null', '{"gap":null,"']) {
    const made = new Made(t);
    made.open({ transport: 'ws' }).subscribe('a');
    const waiting = new Promise((resolve) => { made.client.on('state', (change) => change.state === 'waiting' && resolve(change)); });
    while (made.sockets.length === 0) await new Promise((resolve) => { setTimeout(resolve, 5); });
    made.sockets[0].onmessage({ data: bad });
    assert.ok((await waiting).reason, bad);
    assert.ok(made.sockets[0].closed);
    made.client.close();
  }
});
