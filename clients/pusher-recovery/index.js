// Recovery for pusher-js 8 on an Askr server: after a reconnect each channel goes on where it was, or its
// listeners are told by `askr:gap` what is gone. A page that is loaded begins where its state was read: at the cursor
// that it was rendered with.
//
//   server ─► id of each event ─► Tap ─► pusher-js ─► listeners     the id is kept for the channel
//   subscribe again ─► send_event ─► with the channel's last id ─► server replays what came after it
//
// The server shows ids to whoever connects with `askr=1`. pusher-js passes on neither, so sockets are
// tapped where pusher-js makes them: at `Pusher.Runtime.createWebSocket(url)`. Connections of this class
// are known there by a mark in their path, which never leaves this process; others are not touched.

import { isBefore } from './cursor.js';

const MARK = /\/askr-recovery\/(\d+)(?=\/)/;
const USER = '#server-to-user-';
/** These begin with their last event, wherever the page is. */
const CACHE = /^(private-|private-encrypted-|presence-)?cache-/;

/** Cursors of each instance, by the number in its mark. */
const instances = new Map();
const patched = new WeakSet();

/** Where the page's state was read: `<meta name="askr-cursor">`. */
const ofPage = () => globalThis.document?.querySelector?.('meta[name="askr-cursor"]')?.content;

/** What one instance has got. */
class Cursors {
  #last = new Map();
  /** Subscribed on the present connection: only these does a cursor of all channels speak for. */
  #live = new Set();
  /** The id of the message that pusher-js is just reading. */
  reading = undefined;

  reconnected() {
    this.#live.clear();
  }

  /** The page has this much of a channel already, unless it has more. */
  begin(channel, cursor) {
    if (!this.#last.has(channel)) this.#last.set(channel, cursor);
  }

  of(channel) {
    return this.#last.get(channel);
  }

  forget(channel) {
    this.#last.delete(channel);
    this.#live.delete(channel);
  }

  /** The message is passed on. */
  passed({ event, channel }) {
    if (event === 'pusher_internal:subscription_succeeded') this.#live.add(channel);
    if (this.reading === undefined) return;
    for (const name of channel ? [channel] : this.#live) this.#move(name, this.reading);
  }

  #move(channel, cursor) {
    const last = this.#last.get(channel);
    // What was on its way while the channel was left does not count; nor does an answer that looks back.
    if (this.#live.has(channel) && !(last && isBefore(cursor, last))) this.#last.set(channel, cursor);
  }
}

/** A socket as pusher-js uses one. */
class Tap {
  #socket;

  constructor(socket, cursors) {
    this.#socket = socket;
    for (const handler of ['onopen', 'onerror', 'onclose']) socket[handler] = (event) => this[handler]?.(event);
    socket.onmessage = (message) => {
      try {
        cursors.reading = JSON.parse(message.data).id;
      } catch {
        // pusher-js tells its own listeners of what cannot be read.
      }
      try {
        this.onmessage?.(message);
      } finally {
        cursors.reading = undefined;
      }
    };
  }

  send(data) {
    this.#socket.send(data);
  }

  close() {
    this.#socket.close();
  }
}

function tap(Runtime) {
  if (patched.has(Runtime)) return;
  patched.add(Runtime);
  const create = Runtime.createWebSocket;
  Runtime.createWebSocket = function (url) {
    const cursors = instances.get(MARK.exec(url)?.[1]);
    if (!cursors) return create.call(this, url);
    cursors.reconnected();
    return new Tap(create.call(this, `${url.replace(MARK, '')}&askr=1`), cursors);
  };
}

/**
 * `Pusher`, with recovery: a class to be used in its place, also as Echo's option `Pusher`. `cursor`: where channels begin
 * that are subscribed to before the first connection stands.
 */
export function withRecovery(Pusher, { cursor = ofPage() } = {}) {
  tap(Pusher.Runtime);
  return class extends Pusher {
    #cursors;
    #wasConnected = false;

    constructor(key, options) {
      const number = String(instances.size + 1);
      const cursors = new Cursors();
      instances.set(number, cursors);
      super(key, { ...options, wsPath: `${options?.wsPath ?? ''}/askr-recovery/${number}` });
      this.#cursors = cursors;
      this.connection.bind('connected', () => { this.#wasConnected = true; });
      // Before pusher-js passes it on: a listener of the page that throws keeps it from all that come after.
      this.connection.bind_global((name, event) => { if (name === 'message') cursors.passed(event); });
      this.connection.bind('message', (event) => {
        if (event.event === 'askr:gap') this.#tellGap(event);
      });
    }

    subscribe(name) {
      if (cursor && !this.#wasConnected && !CACHE.test(name)) this.#cursors.begin(name, cursor);
      return super.subscribe(name);
    }

    unsubscribe(name) {
      super.unsubscribe(name);
      // Without a connection there is nothing to send. While it is being subscribed to, pusher-js keeps it.
      if (!this.channel(name)) this.#cursors.forget(name);
    }

    send_event(name, data, channel) {
      const withCursor = (of) => {
        const last = this.#cursors.of(of);
        return last === undefined ? data : { ...data, askr: { cursor: last } };
      };
      if (name === 'pusher:subscribe') data = withCursor(data.channel);
      if (name === 'pusher:signin') data = withCursor(USER + JSON.parse(data.user_data).id);
      return super.send_event(name, data, channel);
    }

    /** Where pusher-js does not by itself: of all channels together, and on encrypted ones. */
    #tellGap({ channel, data }) {
      const all = channel ? [this.channel(channel)] : this.allChannels();
      for (const one of all) {
        if (one && (!channel || one.name.startsWith('private-encrypted-'))) one.emit('askr:gap', data);
      }
    }
  };
}
