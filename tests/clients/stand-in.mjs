// @askr/client's surface without a connection: a test says what happens.

class Listeners {
  #all = new Map();

  on(name, listener) {
    this.#all.set(name, [...(this.#all.get(name) ?? []), listener]);
    return () => this.#all.set(name, this.#all.get(name).filter((one) => one !== listener));
  }

  call(name, ...values) {
    for (const listener of this.#all.get(name) ?? []) listener(...values);
  }
}

class Channel extends Listeners {
  sent = [];

  constructor(name) {
    super();
    this.name = name;
  }

  tell(event, data, more) {
    this.call('*', data, { channel: this.name, event, id: null, data: JSON.stringify(data), ...more });
  }

  async send(event, data) {
    if (this.refuses) throw this.refuses;
    this.sent.push([event, data]);
  }
}

/** Those that were made, in order. */
export const clients = [];

export class Client extends Listeners {
  state = 'idle';
  channels = new Map();

  constructor(options) {
    super();
    this.options = options;
    clients.push(this);
  }

  to(state, socketId) {
    this.state = state;
    this.socketId = socketId ?? this.socketId;
    this.call('state', { state });
  }

  subscribe(name, where) {
    const channel = new Channel(name);
    channel.where = where;
    this.channels.set(name, channel);
    return channel;
  }

  unsubscribe(name) {
    this.channels.delete(name);
  }

  /** Where each channel goes on: a test says it. */
  places = new Map();

  close() {
    this.to('closed');
    return this.places;
  }
}
