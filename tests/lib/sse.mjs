// A plain SSE subscriber: the WHATWG parsing rules over a byte stream, and a client on node:http that
// comes back with its cursor as a browser does. It sees more than a browser shows: comments, retry,
// ids without data, the head.

import http from 'node:http';
import { PATIENCE } from './scope.mjs';

/** Bytes in; `{type:'event', event, data, id}`, `{type:'comment', text}`, `{type:'retry', ms}` out, and
 * `{type:'connected', data}` for askr:connected, with which each stream begins, `{type:'subscribed', data}` for
 * askr:subscribed, which every added channel has. */
export class Parser {
  #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #rest = '';
  #data = [];
  #event = '';
  #afterCr = false;
  #id;

  constructor(emit, lastEventId = '') {
    this.emit = emit;
    this.lastEventId = this.#id = lastEventId;
  }

  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return;
    // A CR at the very end of a piece may be half of a CRLF.
    if (this.#afterCr && text[0] === '\n') text = text.slice(1);
    this.#afterCr = text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === '') return this.#dispatch();
    if (line[0] === ':') return this.emit({ type: 'comment', text: line.slice(1).replace(/^ /, '') });
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id') { if (!value.includes('\0')) this.#id = value; }
    else if (field === 'retry') { if (/^[0-9]+$/.test(value)) this.emit({ type: 'retry', ms: Number(value) }); }
    else this.emit({ type: 'unknown', field, value });
  }

  #dispatch() {
    // Only now: a block that is cut in its middle leaves the cursor where it was.
    this.lastEventId = this.#id;
    if (this.#event === 'askr:connected' || this.#event === 'askr:subscribed') {
      this.emit({ type: this.#event.slice(5), data: JSON.parse(this.#data.join('\n')) });
    } else if (this.#data.length > 0) {
      this.emit({ type: 'event', event: this.#event || 'message', data: this.#data.join('\n'), id: this.lastEventId });
    } else {
      this.emit({ type: 'id', id: this.lastEventId });
    }
    this.#data = [];
    this.#event = '';
  }
}

/** The query of /askr/events for these channels. */
export function eventsPath(channels, extra = {}) {
  const query = new URLSearchParams();
  for (const channel of [].concat(channels)) query.append('channel', channel);
  for (const [key, value] of Object.entries(extra)) query.append(key, value);
  return `/askr/events?${query}`;
}

export class Subscriber {
  events = [];     // what a page would see
  comments = 0;
  retries = [];
  connected = [];  // what askr:connected told, one per connection
  heads = [];      // one answer head per connection
  connections = 0;
  ended = 0;
  problem = null;
  #closed = false;
  #waiting = new Set();

  /** `where` is `{ port }` or `{ socketPath }`; `reconnect` ms, `told` for what it was told as a browser does, or false
   * to stay away. */
  constructor(where, path, { headers = {}, reconnect = 50, lastEventId = '', onEvent } = {}) {
    Object.assign(this, { where, path, headers, reconnect, onEvent, lastEventId });
    this.#connect();
  }

  #connect() {
    if (this.#closed) return;
    this.parser = new Parser((item) => this.#take(item), this.lastEventId);
    const headers = { Accept: 'text/event-stream', ...this.headers };
    if (this.lastEventId) headers['Last-Event-ID'] = this.lastEventId;
    this.request = http.get({ host: '127.0.0.1', ...this.where, path: this.path, headers, agent: false }, (response) => {
      this.connections += 1;
      this.heads.push({ status: response.statusCode, headers: response.headers });
      if (response.statusCode !== 200) return this.#fail(new Error(`HTTP ${response.statusCode}`));
      this.#tell();
      response.on('data', (bytes) => {
        try {
          this.parser.push(bytes);
        } catch (error) {
          this.#fail(error);
        }
        this.lastEventId = this.parser.lastEventId;
        this.#tell();
      });
      response.on('error', () => {});
      response.on('close', () => this.#again());
    });
    this.request.on('error', () => this.#again());
  }

  #again() {
    this.ended += 1;
    this.#tell();
    if (this.reconnect === false || this.#closed || this.problem) return;
    setTimeout(() => this.#connect(), this.reconnect === 'told' ? this.retries.at(-1) : this.reconnect);
  }

  #fail(error) {
    this.problem = error;
    this.request.destroy();
    this.#tell();
  }

  #take(item) {
    if (item.type === 'event') {
      this.events.push(item);
      this.onEvent?.(item);
    } else if (item.type === 'comment') this.comments += 1;
    else if (item.type === 'connected') this.connected.push(item.data);
    else if (item.type === 'retry') this.retries.push(item.ms);
    else if (item.type === 'unknown') this.#fail(new Error(`unknown field ${item.field}: ${item.value}`));
  }

  #tell() {
    for (const check of this.#waiting) check();
  }

  /** Resolves when `condition(this)` holds; rejects when the stream was refused or time is up. */
  until(what, condition, patience = PATIENCE) {
    return new Promise((resolve, reject) => {
      const done = (action, value) => {
        this.#waiting.delete(check);
        clearTimeout(timer);
        action(value);
      };
      const check = () => {
        if (condition(this)) done(resolve, this);
        else if (this.problem) done(reject, this.problem);
      };
      const timer = setTimeout(
        () => done(reject, new Error(`waited in vain until ${what}; ${this.events.length} events arrived`)), patience);
      this.#waiting.add(check);
      check();
    });
  }

  /** The stream is open: the head and the first bytes are here, so the subscription stands. */
  async open() {
    await this.until('the stream is open', () => this.connections > 0 && (this.lastEventId || this.retries.length || this.comments));
    return this;
  }

  async take(count) {
    await this.until(`${count} events arrived`, () => this.events.length >= count);
    return this.events;
  }

  close() {
    this.#closed = true;
    this.request.destroy();
  }
}

/** An open subscription that ends with the scope. */
export async function subscribe(scope, where, channels, { query, ...options } = {}) {
  const subscriber = new Subscriber(where, eventsPath(channels, query), options);
  scope.defer(() => subscriber.close());
  return subscriber.open();
}
