// The connection as pusher-js shows it: its states, and who it is.

import { Dispatcher } from './dispatcher.js';

/** A state of @askr/client in pusher-js' words. Without a channel there is no connection yet. */
const STATES = { idle: 'initialized', connecting: 'connecting', connected: 'connected', waiting: 'connecting', asleep: 'disconnected', closed: 'disconnected' };
/** Milliseconds without a connection after which it is called unavailable; attempts go on. */
const UNAVAILABLE = 10_000;

export class Connection extends Dispatcher {
  state = 'initialized';
  socket_id = undefined;
  #timer;
  #unavailable;

  constructor({ unavailableTimeout = UNAVAILABLE } = {}) {
    super();
    this.#unavailable = unavailableTimeout;
  }

  /** @askr/client is in this state, and knows this socket id. */
  follow(state, socketId) {
    this.socket_id = state === 'connected' ? socketId : this.socket_id;
    const now = STATES[state];
    if (now !== 'connecting') {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= setTimeout(() => this.#to('unavailable'), this.#unavailable);
      this.#timer.unref?.();
      // It is until it is connected, however often that is tried.
      if (this.state === 'unavailable') return;
    }
    this.#to(now);
  }

  #to(current) {
    const previous = this.state;
    if (current === previous) return;
    this.state = current;
    this.emit('state_change', { previous, current });
    this.emit(current, current === 'connected' ? { socket_id: this.socket_id } : undefined);
  }
}
