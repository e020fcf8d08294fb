// Listeners as pusher-js keeps them: of one event, and of all.

export class Dispatcher {
  #listeners = new Map();
  #global = [];

  bind(event, callback, context) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), { callback, context }]);
    return this;
  }

  /** Without a callback: all of the event; without an event: of all events. */
  unbind(event, callback, context) {
    for (const name of event === undefined ? [...this.#listeners.keys()] : [event]) {
      const others = (this.#listeners.get(name) ?? []).filter((one) =>
        (callback && one.callback !== callback) || (context && one.context !== context));
      if (others.length > 0) this.#listeners.set(name, others);
      else this.#listeners.delete(name);
    }
    return this;
  }

  bind_global(callback) {
    this.#global = [...this.#global, callback];
    return this;
  }

  unbind_global(callback) {
    this.#global = callback ? this.#global.filter((one) => one !== callback) : [];
    return this;
  }

  unbind_all() {
    return this.unbind().unbind_global();
  }

  /** `more`: what pusher-js calls metadata; only with it do listeners get data that is nothing. */
  emit(event, data, more) {
    for (const callback of this.#global) callback(event, data);
    const args = more ? [data, more] : data ? [data] : [];
    for (const { callback, context } of this.#listeners.get(event) ?? []) callback.apply(context ?? globalThis, args);
    return this;
  }
}
