// One channel as pusher-js shows it, over a channel of @askr/client: which events its listeners get, and with which data.

import { ENCRYPTED } from './authorization.js';
import { Dispatcher } from './dispatcher.js';

const PRESENCE = 'presence-';
/** Milliseconds between two questions for a channel's secret: whoever publishes what nobody can read asks for no more. */
const SECRET = 5_000;

/** Who is on a presence channel, in pusher-js' form. */
class Members {
  members = {};
  count = 0;
  myID = null;
  me = null;

  /** Whether these are all, and no others. */
  are(list) {
    const same = ({ id, info }) => Object.hasOwn(this.members, id) && JSON.stringify(this.members[id]) === JSON.stringify(info);
    return list.length === this.count && list.every(same);
  }

  replace(list) {
    this.members = Object.fromEntries(list.map(({ id, info }) => [id, info]));
    this.count = list.length;
    this.me = this.get(this.myID);
  }

  add({ id, info }) {
    if (!Object.hasOwn(this.members, id)) this.count += 1;
    // Whatever a user is called: an assignment to `__proto__` is none.
    Object.defineProperty(this.members, id, { value: info, writable: true, enumerable: true, configurable: true });
  }

  remove({ id }) {
    if (Object.hasOwn(this.members, id)) this.count -= 1;
    delete this.members[id];
  }

  get(id) {
    return Object.hasOwn(this.members, id) ? { id, info: this.members[id] } : null;
  }

  each(callback) {
    Object.keys(this.members).forEach((id) => callback(this.get(id)));
  }
}

export class AskrChannel extends Dispatcher {
  subscribed = false;
  subscriptionPending = true;
  subscriptionCount = null;
  /** Of an encrypted channel. */
  secret = undefined;
  #pusher;
  /** The channel of @askr/client, which is another one after `disconnect()` and `connect()`. */
  #channel;
  /** Encrypted events, one after the other, also while a newer secret is asked for. */
  #opened = Promise.resolve();
  /** When its secret may be asked for again. */
  #secretAt = 0;

  constructor(name, pusher) {
    super();
    this.name = name;
    this.#pusher = pusher;
    if (name.startsWith(PRESENCE)) this.members = new Members();
  }

  get pusher() {
    return this.#pusher;
  }

  /** From now on it is this channel of @askr/client. */
  attach(channel) {
    this.#channel = channel;
    this.subscriptionPending = true;
    const { members } = this;
    const is = (listener) => (...args) => { if (this.#channel === channel) listener(...args); };
    channel.on('*', is((data, event) => this.#heard(data, event)));
    channel.on('askr:subscribed', is(() => {
      // Of a presence channel once its members are known.
      if (members) this.subscribed = false;
      else this.#succeeded({});
    }));
    channel.on('askr:refused', is((refusal) => this.#refused(refusal)));
    channel.on('askr:gap', is((gap) => this.emit('askr:gap', gap)));
    channel.on('askr:count', is((count) => {
      this.subscriptionCount = count;
      this.emit('pusher:subscription_count', { subscription_count: count });
    }));
    if (!members) return;
    channel.on('askr:members', is((list) => {
      // Told again, as when the token is renewed, without anything new.
      if (this.subscribed && members.are(list)) return;
      members.replace(list);
      this.#succeeded(members);
    }));
    channel.on('askr:joined', is((member) => {
      members.add(member);
      this.emit('pusher:member_added', member);
    }));
    channel.on('askr:left', is((member) => {
      members.remove(member);
      this.emit('pusher:member_removed', member);
    }));
  }

  /** The connection is closed for good, or the channel is left. */
  detach() {
    this.#channel = undefined;
    this.subscribed = false;
    this.subscriptionPending = false;
  }

  /** A client event. False: there is no connection. */
  trigger(event, data) {
    if (!event.startsWith('client-')) throw new Error(`Event '${event}' does not start with 'client-'`);
    if (this.name.startsWith(ENCRYPTED)) throw new Error('Client events are not supported for encrypted channels');
    if (this.#pusher.connection.state !== 'connected' || !this.#channel) return false;
    this.#channel.send(event, data).catch((error) => this.#pusher.notSent(error));
    return true;
  }

  #succeeded(data) {
    this.subscribed = true;
    this.subscriptionPending = false;
    this.emit('pusher:subscription_succeeded', data);
  }

  #refused({ status, reason }) {
    this.subscribed = false;
    this.subscriptionPending = false;
    this.emit('pusher:subscription_error', { type: 'AuthError', error: reason.replace(/^channel \d+: /, ''), status });
  }

  #heard(data, { event, user }) {
    const name = event ?? 'message';
    if (!this.name.startsWith(ENCRYPTED)) return this.#tell(name, data, user === undefined ? {} : { user_id: user });
    this.#opened = this.#opened.then(() => this.#open(name, data)).catch((error) => setTimeout(() => { throw error; }));
  }

  #tell(name, data, more) {
    this.emit(name, data, more);
    this.#pusher.emit(name, data);
  }

  /** An event by a secret that is not known may be by a newer one: the application is asked. */
  async #open(name, data) {
    let plain = this.secret?.open(data);
    if (plain === undefined && performance.now() >= this.#secretAt) {
      this.#secretAt = performance.now() + SECRET;
      await this.#pusher.newSecret(this);
      plain = this.secret?.open(data);
    }
    // It may have been left meanwhile.
    if (!this.#channel) return;
    if (plain === undefined) this.#pusher.connection.emit('error', { type: 'EncryptionError', error: new Error(`${this.name}: ${name} cannot be decrypted`) });
    else this.#tell(name, plain, {});
  }
}
