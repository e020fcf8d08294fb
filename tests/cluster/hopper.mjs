// What comes back to another node each time its connection ends, and ends it by itself after a while.

export class Hopper {
  #end = null;            // ends the connection there is
  #stopped = false;
  #settled = false;
  #rests = null;          // the timer, while there is none

  /** `nodes`: places to connect to; `pick` chooses one of them; `stay`: milliseconds on one, `rest`: until the next one. */
  constructor(nodes, { pick, stay, rest = () => 30 + Math.random() * 100 }) {
    Object.assign(this, { nodes, pick, stay, rest });
  }

  /** Stays where it is from now on. */
  settle() {
    this.#settled = true;
    if (this.#rests) this.connect();
  }

  stop() {
    this.#stopped = true;
    this.#end?.();
  }

  /** `open(node, again)` connects, calls `again` once or more when that is over, and returns what ends it. */
  connect() {
    clearTimeout(this.#rests);
    this.#rests = null;
    if (this.#stopped) return;
    let over = false;
    const again = () => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#rests = setTimeout(() => this.connect(), this.#settled ? 100 : this.rest());
    };
    const timer = setTimeout(() => this.#settled || this.#end?.(), this.stay());
    this.#end = this.open(this.pick(this.nodes), again);
  }
}
