// One channel of a page: who hears it, who is there, and how far the page has it.

export const isPrivate = ({ name }) => /^(private|presence)-/.test(name);
export const isCache = ({ name }) => /^((private|presence)-|private-encrypted-)?cache-/.test(name);

/** Listeners by name. What one of them throws is reported, and keeps nothing from the others. */
export class Listeners {
  #all = new Map();

  on(name, listener) {
    this.#all.set(name, (this.#all.get(name) ?? new Set()).add(listener));
    return () => this.off(name, listener);
  }

  off(name, listener) {
    this.#all.get(name)?.delete(listener);
  }

  call(name, ...values) {
    // Those that are there now, unless another takes them away: each may put the next in its place.
    const all = this.#all.get(name);
    for (const listener of [...all ?? []]) {
      try {
        if (all.has(listener)) listener(...values);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }
  }
}

export class Subscription extends Listeners {
  members = new Map();
  // And for machine.js: `from` and `rewind`, where it goes on; `position`, its last event; `asked`, for it on this
  // connection; `open`, confirmed; `live`, as far as the stream's cursor; `refused`; `gone`, unsubscribed.

  constructor(name) {
    super();
    this.name = name;
  }

  get state() {
    return this.gone ? 'unsubscribed' : this.refused ? 'refused' : this.open ? 'subscribed' : 'subscribing';
  }

  cut() {
    this.open = this.asked = this.live = false;
  }

  /** An event. */
  tell(event) {
    let { data } = event;
    try {
      data = JSON.parse(data);
    } catch {
      // It is no JSON: the text.
    }
    this.call(event.event ?? 'message', data, event);
    this.call('*', data, event);
  }

  /** Who is on a presence channel, or how many are on any. */
  present(what, { channel, members, count, ...member }) {
    const { id } = member;
    const known = this.members.get(id);
    if (members) this.members = new Map(members.map((one) => [one.id, one]));
    if (what === 'joined') this.members.set(id, member);
    else this.members.delete(id);
    this.call(`askr:${what}`, members ?? count ?? { ...known, ...member });
  }
}
