// Recovery for pusher-js 8 on an Askr server: after a reconnect each channel goes on where it was, or its
// listeners are told by `askr:gap` what is gone.
//
//   server ─► id of each event ─► Tap ─► pusher-js ─► listeners     the id is kept for the channel
//   subscribe again ─► send_event ─► with the channel's last id ─► server replays what came after it
//
// The server shows ids to whoever connects with `askr=1`. pusher-js passes on neither, so sockets are
// tapped where pusher-js makes them: at `Pusher.Runtime.createWebSocket(url)`. Connections of this class
// are known there by a mark in their path, which never leaves this process; others are not touched.

const MARK = /\/askr-recovery\/(\d+)(?=\/)/;
const USER = '#server-to-user-';

/** Cursors of each instance, by the number in its mark. */
const instances = new Map();
const patched = new WeakSet();

/** A cursor is `epoch-position`: whether `one` is before `other`. Of two epochs the newer is not known. */
function isBefore(one, other) {
  const [[epoch, a], [same, b]] = [one.split('-'), other.split('-')];
  return epoch === same && (a.length < b.length || (a.length === b.length && a < b));
}

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

  of(channel) {
    return this.#last.get(channel);
  }

  forget(channel) {
    this.#last.delete(channel);
    this.#live.delete(channel);
  }

  /** The message was passed on. */
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

/** `Pusher`, with recovery: a class to be used in its place, also as Echo's option `Pusher`. */
export function withRecovery(Pusher) {
  tap(Pusher.Runtime);
  return class extends Pusher {
    #cursors;

    constructor(key, options) {
      const number = String(instances.size + 1);
      const cursors = new Cursors();
      instances.set(number, cursors);
      super(key, { ...options, wsPath: `${options?.wsPath ?? ''}/askr-recovery/${number}` });
      this.#cursors = cursors;
      this.connection.bind('message', (event) => {
        cursors.passed(event);
        if (event.event === 'askr:gap') this.#tellGap(event);
      });
    }

    send_event(name, data, channel) {
      const cursor = (of) => {
        const last = this.#cursors.of(of);
        return last === undefined ? data : { ...data, askr: { cursor: last } };
      };
      if (name === 'pusher:subscribe') data = cursor(data.channel);
      if (name === 'pusher:signin') data = cursor(USER + JSON.parse(data.user_data).id);
      if (name === 'pusher:unsubscribe') this.#cursors.forget(data.channel);
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
