// pusher-js' surface, as far as Laravel Echo and applications use it, over @askr/client: Echo's own classes do the rest, so
// that a page sees the same as over pusher-js. `Pusher: AskrPusher` among Echo's options, or `AskrConnector` (index.js).
//
//   Echo ─► AskrPusher ─► AskrChannel ─► @askr/client ─► one connection (Server-Sent Events, or a plain WebSocket)

import { Client } from '@askr/client';
import { ENCRYPTED, Refused, isSigned, signer } from './authorization.js';
import { AskrChannel } from './channel.js';
import { Connection } from './connection.js';
import { Dispatcher } from './dispatcher.js';
import { Secret } from './encryption.js';

/** Options that are @askr/client's. */
const OPTIONS = ['url', 'app', 'transport', 'cursor', 'token', 'credentials', 'silence', 'hidden'];
/** Too many client events: pusher-js' code. */
const RATE = 4301;

/** Who the page's user is, as the application signed it. */
function userOf(channelData) {
  try {
    return String(JSON.parse(channelData).user_id);
  } catch {
    throw new Refused(403, 'the application gives no channel_data that is JSON');
  }
}

export class AskrPusher extends Dispatcher {
  #channels = {};
  #options;
  #client;
  #sign;
  /** What the application has signed for this connection, by channel. */
  #signatures = new Map();
  /** After `disconnect()`: where each channel goes on. */
  #places = new Map();

  /** `key` is not needed: it is there so that this stands in the place of `Pusher`. */
  constructor(key, options = {}) {
    super();
    this.key = key;
    this.#options = options;
    this.#sign = signer(options, (name) => this.channel(name));
    this.connection = new Connection(options);
    this.channels = { channels: this.#channels, find: (name) => this.#channels[name], all: () => this.allChannels() };
    this.connect();
  }

  /** The client below: its states, gaps and errors in its own words. */
  get client() {
    return this.#client;
  }

  /** Again after `disconnect()`: all channels go on where they were. */
  connect() {
    if (this.#client && this.#client.state !== 'closed') return;
    const options = Object.fromEntries(OPTIONS.filter((name) => this.#options[name] !== undefined).map((name) => [name, this.#options[name]]));
    const before = this.#client?.cursor;
    if (before !== undefined) options.cursor = before;
    // Where nothing is signed, channels are asked for with the connection: a request less.
    if (this.#sign && (!options.token || this.#options.nacl)) options.authorize = (names, socketId) => this.#authorize(names, socketId);
    const client = this.#client = new Client(options);
    client.on('state', ({ state }) => {
      if (state === 'connecting') this.#signatures.clear();
      this.connection.follow(state, client.socketId);
    });
    client.on('error', (error) => this.connection.emit('error', { type: 'AskrError', error }));
    client.on('gap', (gap) => this.emit('askr:gap', gap));
    client.on('expiring', (expiring) => this.emit('askr:expiring', expiring));
    for (const channel of this.allChannels()) channel.attach(client.subscribe(channel.name, { since: this.#places.get(channel.name) }));
    this.#places = new Map();
  }

  disconnect() {
    for (const channel of this.allChannels()) channel.detach();
    // Called again, it knows none.
    if (this.#client.state !== 'closed') this.#places = this.#client.close();
    this.connection.follow('closed');
  }

  subscribe(name) {
    const known = this.#channels[name];
    if (known) return known;
    if (name.startsWith(ENCRYPTED) && !this.#options.nacl) throw new Error(`${name}: encrypted channels need tweetnacl, as the option \`nacl\``);
    const channel = this.#channels[name] = new AskrChannel(name, this);
    if (this.#client.state !== 'closed') channel.attach(this.#client.subscribe(name));
    return channel;
  }

  unsubscribe(name) {
    this.#channels[name]?.detach();
    delete this.#channels[name];
    this.#signatures.delete(name);
    this.#places.delete(name);
    this.#client.unsubscribe(name);
  }

  channel(name) {
    return this.#channels[name];
  }

  allChannels() {
    return Object.values(this.#channels);
  }

  /** A client event, on its channel. */
  send_event(event, data, channel) {
    return this.#channels[channel]?.trigger(event, data) ?? false;
  }

  signin() {
    throw new Error('signin() is of Pusher\'s protocol: over Askr\'s own a user has a private channel, and who it is the token says');
  }

  // What its channels ask for.

  /** A client event was not taken. */
  notSent({ status, message }) {
    this.connection.emit('error', { type: 'PusherError', data: { code: status === 429 ? RATE : null, message } });
  }

  /** Asks the application for a channel's secret again. */
  async newSecret({ name }) {
    await this.#ask(name, this.connection.socket_id).catch(() => undefined);
  }

  /** The signatures of these channels, in which each is asked for once. Throws what the application refuses. */
  async #authorize(names, socketId) {
    const wanted = names.filter((name) => isSigned(name, this.#options));
    const answers = await Promise.allSettled(wanted.map((name) => {
      if (!this.#signatures.has(name)) this.#signatures.set(name, this.#ask(name, socketId));
      return this.#signatures.get(name);
    }));
    for (const [n, { reason }] of answers.entries()) {
      if (!reason) continue;
      this.#signatures.delete(wanted[n]);
      // The number says to the client which of them it is about.
      throw reason instanceof Refused ? new Refused(reason.status, `channel ${names.indexOf(wanted[n]) + 1}: ${reason.message}`) : reason;
    }
    return Object.fromEntries(wanted.map((name, n) => [name, answers[n].value]));
  }

  async #ask(name, socketId) {
    const answer = await this.#sign({ channelName: name, socketId });
    if (typeof answer !== 'object' || !answer) throw new Refused(403, 'the application gives no signature');
    const { shared_secret: secret, ...signature } = answer;
    const channel = this.#channels[name];
    if (name.startsWith(ENCRYPTED)) {
      if (!secret) throw new Refused(403, 'the application gives no shared_secret');
      if (channel) channel.secret = new Secret(this.#options.nacl, secret);
    }
    if (channel?.members && signature.channel_data) channel.members.myID = userOf(signature.channel_data);
    return signature;
  }
}
