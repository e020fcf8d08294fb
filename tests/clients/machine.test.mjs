// The state machine of @askr/client against a model of the server, by schedules of chance: connections that break at any
// byte, requests and answers that are late, lost or overtake the stream, tokens that end, a ring that overwrites, a page
// that changes its mind. SCHEDULES=20000 for more, SEED=n for one of them.

import test from 'node:test';
import assert from 'node:assert/strict';
import { machine } from '../../clients/js/machine.js';
import { blocks } from '../../clients/js/sse.js';
import { Listeners, Subscription } from '../../clients/js/subscription.js';
import { Server, cursor } from './model.mjs';

const SCHEDULES = Number(process.env.SCHEDULES ?? 1500);
const STEPS = 250;

/** mulberry32: the same numbers for the same seed. */
function chance(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = ['a', 'b', 'c', 'private-p', 'private-q', 'private-never'];

/** One page, one server, and what is between them. */
class Play {
  server = new Server();
  page = Object.assign(new Listeners(), { channels: new Map() });
  /** Each subscription there was, with what it was told. */
  all = [];
  waiting = [];        // requests, answers and tokens on their way
  tokens = 0;
  timer = Infinity;
  gaps = 0;

  constructor(seed, settings) {
    const random = chance(seed);
    this.random = random;
    this.below = (n) => Math.floor(random() * n);
    this.pick = (some) => some[this.below(some.length)];
    this.page.on('gap', ({ lost }) => { this.gaps += lost; });
    this.granted = new Set(['private-p', 'private-q']);
    for (let n = this.below(20); n > 0; n -= 1) this.publish();
    const host = {
      now: () => this.server.now,
      random,
      connect: (request) => this.connect(request),
      disconnect: () => {
        // The server finds out later, or never.
        this.stream = undefined;
        this.connection = {};
      },
      change: (verb, body, done, failed) => {
        const { connection } = this;
        this.waiting.push(() => {
          const answer = this.server.change(verb, body);
          this.waiting.push((lost) => {
            if (connection !== this.connection) return;
            if (lost) failed(Object.assign(new Error('network'), { status: 0 }));
            else if (answer.refused) failed(Object.assign(new Error(answer.refused.message), answer.refused));
            else done(answer);
          });
        });
      },
      token: (why, done, failed) => this.waiting.push((lost) => {
        if (lost) return failed(new Error('no token'));
        this.tokens += 1;
        const text = `token ${this.tokens}`;
        this.server.grant(text, new Set(this.granted), this.server.now + 60_000);
        done(text);
      }),
      timer: (at) => { this.timer = at; },
    };
    this.machine = machine(this.page, host, settings);
  }

  publish() {
    const channels = NAMES.filter(() => this.random() < 0.3);
    if (channels.length > 0) this.server.publish(channels, this.random() < 0.3 ? `own ${this.server.head}` : null);
  }

  connect(request) {
    const connection = this.connection = {};
    this.waiting.push((lost) => {
      const { refused, stream } = lost ? {} : this.server.open(request);
      this.waiting.push(() => {
        if (connection !== this.connection) return;
        if (!stream) return this.machine.ended(refused?.message ?? 'network', refused?.status);
        this.stream = stream;
        this.push = blocks(({ event, data, id, retry }) => {
          // As sse.js.
          if (connection !== this.connection) return;
          if (retry) this.machine.told('retry', Number(retry));
          const value = data && JSON.parse(data);
          if (event) this.machine.told(event.slice(5), value, value.cursor);
          else if (value) this.machine.event(value);
          if (id && !value?.at) this.machine.moved(id);
        });
      });
    });
  }

  /** What came through of the pipe. */
  read(length) {
    const { stream } = this;
    if (!stream) return;
    const piece = stream.pipe.slice(0, length);
    stream.pipe = stream.pipe.slice(length);
    this.machine.heard();
    this.push(piece);
    if (stream === this.stream && !stream.open && stream.pipe === '') this.machine.ended('closed');
  }

  subscribe(name, where) {
    if (this.page.channels.has(name)) return;
    const one = new Subscription(name);
    const record = { one, where, seen: [], head: this.server.head, gaps: this.gaps };
    one.on('*', (data) => {
      assert.ok(!one.gone, `${name} was left, and hears ${data}`);
      record.seen.push(data);
    });
    one.on('askr:subscribed', () => { record.confirmedAt ??= this.server.head; });
    one.on('askr:refused', ({ status }) => { record.refused = status; });
    this.all.push(record);
    this.machine.subscribe(one, where);
  }

  unsubscribe(name) {
    const one = this.page.channels.get(name);
    if (one) this.all.find((record) => record.one === one).left = this.server.head;
    this.machine.unsubscribe(name);
  }

  where() {
    const n = this.below(3);
    if (n === 0 && this.server.head > 0) return { since: cursor(this.below(this.server.head + 1)) };
    return n === 1 ? { rewind: 1 + this.below(5) } : {};
  }

  /** Time passes, up to the next thing that is due. */
  wait(most) {
    const at = Math.min(this.server.now + most, Math.max(this.timer, this.server.now));
    this.server.now = at;
    for (const stream of this.server.streams) {
      if (stream.open && stream.expires <= at) this.server.end(stream);
      else if (stream.open && !stream.warned && stream.expires <= at + 30_000) {
        stream.warned = true;
        this.server.warn(stream);
      }
    }
    if (at >= this.timer) this.due();
  }

  due() {
    this.timer = Infinity;
    this.machine.tick();
  }

  step() {
    const { server, stream } = this;
    if (this.timer <= server.now && this.random() < 0.5) return this.due();
    switch (this.below(16)) {
      case 0: case 1: case 2: return this.publish();
      case 3: case 4: for (const one of server.streams) server.write(one, 1 + this.below(4)); return;
      case 5: case 6: return this.read(1 + this.below(200));
      case 7: case 8: case 9: {
        const [one] = this.waiting.splice(this.below(this.waiting.length), 1);
        return one?.(this.random() < 0.1);
      }
      case 10: return this.subscribe(this.pick(NAMES), this.where());
      case 11: return this.random() < 0.5 ? this.unsubscribe(this.pick(NAMES)) : undefined;
      case 12: return this.wait(this.below(5000));
      case 13: if (stream) server.ping(stream); return;
      case 14: return this.trouble();
      default: return this.read(Infinity);
    }
  }

  trouble() {
    const { server, stream } = this;
    switch (this.below(8)) {
      case 0: case 1:
        if (!stream) return;
        // It breaks: the server may notice or not.
        if (this.random() < 0.5) stream.open = false;
        return this.machine.ended('broken');
      case 2:
        for (const one of server.streams) if (one.open) server.end(one);
        return;
      case 3: return server.overwrite(1 + this.below(30));
      case 4:
        this.machine.sleep();
        return this.machine.wake();
      case 5: return this.machine.offline();
      case 6:
        // Everybody's tokens are refused from now on.
        server.tokens.clear();
        for (const one of server.streams) if (one.expires < Infinity && one.open) server.end(one);
        return;
      default: return this.wait(20_000);
    }
  }

  /** No more trouble: all that is on its way arrives. */
  settle() {
    for (let quiet = 0, rounds = 0; quiet < 20; rounds += 1) {
      assert.ok(rounds < 2000, 'it never comes to rest');
      if (this.waiting.length > 0) {
        this.waiting.shift()(false);
      } else if (this.timer <= this.server.now) {
        this.due();
      } else if (this.stream) {
        this.server.write(this.stream);
        this.server.ping(this.stream);
        this.read(Infinity);
        quiet += this.waiting.length === 0 && this.timer > this.server.now && this.stream ? 1 : 0;
        this.wait(4000);
      } else if (this.page.state === 'idle' && this.timer === Infinity) {
        return;
      } else {
        this.wait(Infinity);
      }
    }
  }

  check() {
    for (const { one, where, seen, head, confirmedAt, refused, left, gaps } of this.all) {
      const { name } = one;
      const numbers = seen.map(Number);
      assert.ok(numbers.every((n, i) => i === 0 || n > numbers[i - 1]), `${name}: once and in order: ${numbers}`);
      const mine = this.server.events.filter(({ channels }) => channels.includes(name)).map(({ seq }) => seq);
      assert.ok(numbers.every((n) => mine.includes(n)), `${name}: nothing of others: ${numbers}`);
      if (name === 'private-never') {
        assert.deepEqual(numbers, [], 'nothing leaks');
        if (left === undefined) assert.equal(one.state, 'refused', 'it is told that it may not be heard');
        continue;
      }
      if (refused || left !== undefined) continue;
      assert.equal(one.state, 'subscribed', name);
      const from = where.since ? Number(where.since.split('-')[1]) + 1 : Math.min(numbers[0] ?? Infinity, confirmedAt + 1);
      assert.ok(numbers.length === 0 || numbers[0] >= from, `${name}: nothing from before ${from}: ${numbers}`);
      const missing = mine.filter((n) => n >= from && !numbers.includes(n));
      assert.ok(missing.length <= this.gaps - gaps, `${name}: ${missing} of ${mine} after ${from} is missing, and gaps are ${this.gaps - gaps} (${head})`);
      if (where.rewind && this.gaps === 0) {
        const due = mine.filter((n) => n <= head).slice(-where.rewind).filter((n) => n >= this.server.oldest);
        if (this.server.oldest === 1) assert.ok(due.every((n) => numbers.includes(n) || numbers.length >= where.rewind), `${name}: looks back ${where.rewind}`);
      }
    }
  }
}

function play(seed, settings) {
  const one = new Play(seed, settings);
  const troubles = 0.3 < one.random();
  for (let n = 1 + one.below(3); n > 0; n -= 1) one.subscribe(one.pick(NAMES), one.where());
  for (let n = 0; n < STEPS; n += 1) if (troubles || n % 4) one.step();
  one.settle();
  one.publish();
  one.settle();
  one.check();
  return one;
}

for (const [what, settings] of [['by Server-Sent Events', {}], ['of a connection to which all channels are added', { adds: true }]]) {
  test(`every event once and in order, or a gap that accounts for it: ${what}`, () => {
    const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: SCHEDULES }, (_, i) => i);
    let events = 0, gaps = 0, refused = 0, streams = 0;
    for (const seed of seeds) {
      try {
        const one = play(seed, settings);
        for (const { seen, refused: no } of one.all) {
          events += seen.length;
          refused += no ? 1 : 0;
        }
        gaps += one.gaps;
        streams += one.server.streams.length;
      } catch (error) {
        error.message = `SEED=${seed}: ${error.message}`;
        throw error;
      }
    }
    // The schedules get somewhere.
    if (seeds.length > 100) {
      for (const [count, least] of [[events, 10], [gaps, 0.1], [refused, 0.1], [streams, 3]]) {
        assert.ok(count > least * seeds.length, JSON.stringify({ events, gaps, refused, streams }));
      }
    }
  });
}
