// What one healthy reader is owed and got: every number once, in order, on one connection.

export class Account {
  connections = 0;
  disconnections = [];
  faults = [];
  gaps = 0;
  next = { news: 0, big: 0 };

  constructor(name) {
    this.name = name;
  }

  /** An event: its channel's counter and its payload, which begins with the number. */
  take(channel, payload) {
    const which = channel === 'big' ? 'big' : 'news';
    const number = Number(payload.slice(0, payload.indexOf(' ')));
    const expected = this.next[which];
    if (number === expected) this.next[which] += 1;
    else if (number < expected) this.#fault(`${which} ${number} again`);
    else {
      this.#fault(`${which} ${number} after ${expected - 1}`);
      this.next[which] = number + 1;
    }
  }

  gap(data) {
    this.gaps += 1;
    this.#fault(`a gap was reported: ${JSON.stringify(data)}`);
  }

  connected() {
    this.connections += 1;
  }

  disconnected(why) {
    this.disconnections.push(why);
  }

  has({ news, big }) {
    return this.next.news >= news && this.next.big >= big;
  }

  #fault(text) {
    if (this.faults.length < 1000) this.faults.push(text);
  }

  report() {
    const { name, connections, disconnections, faults, gaps, next } = this;
    return { name, connections, disconnections: disconnections.length, why: [...new Set(disconnections)], gaps, faults: faults.length, first: faults[0], next };
  }
}
