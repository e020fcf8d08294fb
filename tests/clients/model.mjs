// A model of askrd as one page sees it: a ring of events, a stream by Server-Sent Events, requests that change it,
// tokens. What a stream is written waits in a pipe, from which it is taken in pieces of any length; requests and answers
// wait until they are let through, in any order. No clock: `now` is set by who plays it.

const EPOCH = '0a0b0c0d0e0f';
export const cursor = (seq) => `${EPOCH}-${seq}`;
const seqOf = (text) => Number(text.split('-')[1]);

export class Server {
  /** Each `{ seq, channels, id }`, from 1 on; those before `oldest` were overwritten. */
  events = [];
  oldest = 1;
  streams = [];
  now = 0;
  /** What a token grants, by its text. */
  tokens = new Map();
  #connections = 0;

  get head() {
    return this.events.length;
  }

  publish(channels, id = null) {
    const seq = this.head + 1;
    this.events.push({ seq, channels, id });
    return seq;
  }

  /** The ring keeps the newest `count`. */
  overwrite(count) {
    this.oldest = Math.max(this.oldest, this.head + 1 - count);
  }

  grant(text, channels, expires) {
    this.tokens.set(text, { channels, expires });
  }

  /** Undefined if all is granted; else what the answer says. */
  #refusal(channels, token) {
    const closed = channels.filter((name) => /^private-/.test(name));
    if (closed.length === 0) return undefined;
    const grant = this.tokens.get(token);
    if (!grant || grant.expires <= this.now) return { status: 401, message: 'the token has expired' };
    const at = channels.findIndex((name) => /^private-/.test(name) && !grant.channels.has(name));
    return at < 0 ? undefined : { status: 403, message: `the token does not grant channel ${at + 1}` };
  }

  /** A stream, or a refusal. */
  open({ channels, since, rewind, token }) {
    const refused = this.#refusal(channels, token);
    if (refused) return { refused };
    this.#connections += 1;
    const stream = {
      me: { socket_id: '1.2', secret: `s${this.#connections}` }, pipe: '', open: true, from: new Map(), channels: new Set(channels), next: this.head + 1,
      expires: channels.some((name) => /^private-/.test(name)) ? this.tokens.get(token).expires : Infinity,
    };
    this.streams.push(stream);
    stream.pipe += ': welcome\nretry: 2000\n';
    const connected = (id) => { stream.pipe += `${id}\nevent: askr:connected\n${id}data: ${JSON.stringify(stream.me)}\n\n`; };
    if (since) {
      const from = seqOf(since) + 1;
      stream.next = Math.max(from, this.oldest);
      const lost = this.#lost(from, channels);
      connected(lost > 0 ? '' : `id: ${cursor(stream.next - 1)}\n`);
      if (lost > 0) stream.pipe += `event: askr:gap\nid: ${cursor(stream.next - 1)}\ndata: {"lost":${lost},"at_most":${lost}}\n\n`;
    } else if (rewind) {
      for (const name of channels) stream.from.set(name, this.#rewound(name, rewind));
      stream.next = Math.min(...stream.from.values());
      connected(`id: ${cursor(stream.next - 1)}\n`);
    } else {
      connected(`id: ${cursor(stream.next - 1)}\n`);
    }
    return { stream };
  }

  #lost(from, channels) {
    return this.events.filter(({ seq, channels: of }) => seq >= from && seq < this.oldest && of.some((name) => channels.includes(name))).length;
  }

  #rewound(name, rewind) {
    const of = this.events.filter(({ seq, channels }) => seq >= this.oldest && channels.includes(name));
    return of.at(-rewind)?.seq ?? of[0]?.seq ?? this.head + 1;
  }

  #frame(stream, event, channels, moves) {
    const mine = event.channels.filter((name) => channels.has(name) && !(stream.from.get(name) > event.seq));
    for (const [n, channel] of mine.entries()) {
      const at = cursor(event.seq);
      const data = { channel, event: null, id: event.id ?? at, data: String(event.seq), ...(event.id ? { at } : {}) };
      const last = moves && n === mine.length - 1;
      if (last) stream.pipe += `id: ${event.id ?? at}\n`;
      stream.pipe += `data: ${JSON.stringify(data)}\n\n`;
      if (last && event.id) stream.pipe += `id: ${at}\n\n`;
    }
  }

  /** Writes what is due to a stream, a few events at a time. */
  write(stream, count = Infinity) {
    for (; count > 0 && stream.open && stream.next <= this.head; stream.next += 1) {
      const event = this.events[stream.next - 1];
      if (event.seq < this.oldest) {
        const lost = this.#lost(stream.next, [...stream.channels]);
        stream.next = this.oldest - 1;
        if (lost > 0) stream.pipe += `event: askr:gap\nid: ${cursor(stream.next)}\ndata: {"lost":${lost},"at_most":${lost}}\n\n`;
        continue;
      }
      this.#frame(stream, event, stream.channels, true);
      count -= 1;
    }
  }

  ping(stream) {
    if (stream.open && stream.next > this.head) stream.pipe += `: ping\nid: ${cursor(stream.next - 1)}\n\n`;
  }

  warn(stream) {
    stream.pipe += `event: askr:expiring\ndata: {"expires":${stream.expires}}\n\n`;
  }

  /** The last words of a stream. */
  end(stream) {
    stream.open = false;
    stream.pipe += 'retry: 200\n\n';
  }

  /** `{ channels }`, or a refusal. */
  change(verb, { socket_id: id, secret, channels, last_event_id: since, rewind, token }) {
    const stream = this.streams.find(({ open, me }) => open && me.socket_id === id && me.secret === secret);
    if (!stream) return { refused: { status: 404, message: 'the stream has ended' } };
    if (verb === 'unsubscribe') {
      for (const name of channels) stream.channels.delete(name);
      return { channels: [...stream.channels] };
    }
    const refused = this.#refusal(channels, token);
    if (refused) return { refused };
    const fresh = new Set(channels.filter((name) => !stream.channels.has(name)));
    const held = [...stream.channels].filter((name) => /^private-/.test(name));
    const closed = channels.filter((name) => /^private-/.test(name));
    if (closed.length > 0) {
      const { expires } = this.tokens.get(token);
      stream.expires = held.every((name) => channels.includes(name)) ? expires : Math.min(expires, stream.expires);
    }
    for (const name of fresh) stream.from.set(name, since ? seqOf(since) + 1 : rewind ? this.#rewound(name, rewind) : stream.next);
    let from = Math.min(stream.next, ...[...fresh].map((name) => stream.from.get(name)));
    stream.pipe += `event: askr:subscribed\ndata: ${JSON.stringify({ channels, cursor: cursor(from - 1) })}\n\n`;
    const lost = since ? this.#lost(from, [...fresh]) : 0;
    if (lost > 0) stream.pipe += `event: askr:gap\ndata: {"lost":${lost},"at_most":${lost}}\n\n`;
    for (from = Math.max(from, this.oldest); from < stream.next; from += 1) this.#frame(stream, this.events[from - 1], fresh, false);
    for (const name of channels) stream.channels.add(name);
    return { channels: [...stream.channels] };
  }
}
