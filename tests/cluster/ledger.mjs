// What a viewer was sent, held against what was published: torn, twice, out of order, missing without a gap that accounts for it.

import { crc32 } from 'node:zlib';

export const checksum = crc32 ?? ((text) => {
  let crc = ~0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
});

export class Ledger {
  last = new Map();       // publisher -> the last number seen
  torn = 0;
  twice = 0;
  disorder = 0;
  events = 0;
  gaps = 0;
  unbounded = 0;          // gaps whose size is not known
  missing = 0;
  unexplained = 0;
  complaints = [];
  #room = 0;              // events that reported gaps may stand for, and that were not found missing yet
  #seen = new Map();      // publisher -> numbers, as a bit set

  /** Numbers that a viewer begins with: those before are none of its. */
  constructor(name) {
    this.name = name;
  }

  event(text) {
    this.events += 1;
    let event;
    try {
      event = JSON.parse(text);
    } catch {
      return this.#complain('torn', `not JSON: ${text.slice(0, 60)}`);
    }
    const { p, n, x, h } = event;
    if (checksum(`${p} ${n} ${x}`) !== h) return this.#complain('torn', `${p}:${n} has another checksum`);
    const seen = this.#seen.get(p) ?? new Set();
    this.#seen.set(p, seen);
    if (seen.has(n)) return this.#complain('twice', `${p}:${n}`);
    seen.add(n);
    const last = this.last.get(p) ?? 0;
    if (n < last) return this.#complain('disorder', `${p}:${n} after ${p}:${last}`);
    this.#miss(n - last - 1, `${p}: ${last} -> ${n}`);
    this.last.set(p, n);
  }

  gap({ lost, at_most: most }) {
    this.gaps += 1;
    if (lost === null && most === null) {
      this.unbounded += 1;
      this.#room = Infinity;
      return;
    }
    this.#room += most ?? lost;
  }

  /** Everything was published and awaited: what the viewer should have had in the end. `ends`: publisher -> its last number. */
  close(ends) {
    for (const [p, n] of ends) {
      const last = this.last.get(p) ?? 0;
      if (last < n) this.#miss(n - last, `${p}: ends with ${last}, published were ${n}`);
    }
  }

  #miss(count, what) {
    if (count <= 0) return;
    this.missing += count;
    const explained = Math.min(count, this.#room);
    this.#room -= explained;
    if (explained < count) {
      this.unexplained += count - explained;
      this.#complain(null, `${count - explained} missing without a gap, ${what}`);
    }
  }

  #complain(kind, what) {
    if (kind) this[kind] += 1;
    if (this.complaints.length < 5) this.complaints.push(`${this.name}: ${kind ?? 'unexplained'}: ${what}`);
  }
}
