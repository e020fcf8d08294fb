// A member of a presence channel who comes back to another node each time, and watches the others: joins and leaves of one user must alternate.
// Whether what it sees is so is judged by `presence.mjs`.

import http from 'node:http';
import path from 'node:path';
import { createHmac } from 'node:crypto';
import { Hopper } from './hopper.mjs';
import { Parser, eventsPath } from '../lib/sse.mjs';

const CHANNEL = 'presence-room';
/** Milliseconds without a connection that are none to others: well within the grace time. */
const BRIEF = 2000;

function token(secret, user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 24 * 3600;
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, channels: [CHANNEL], exp })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

export class Person extends Hopper {
  present = null;         // who is there, as this one was told; null before the first snapshot of a connection
  contradictions = [];
  changes = 0;
  /** When the last connection ended that a node may have seen; null while there is one. */
  gone = Date.now();
  onMissing = () => {};
  #here = 0;              // since when it was there, but for brief moments
  #confirmed = 0;         // until when, as a node confirmed; of a connection that is open: 0

  constructor(user, users, nodes, { secret, ...options }) {
    super(nodes, options);
    Object.assign(this, { user, users, token: token(secret, user) });
    this.connect();
  }

  /** Milliseconds for which it has been there. */
  get hereFor() {
    const now = Date.now();
    const is = this.present !== null || now - this.#confirmed < BRIEF;
    return is ? now - this.#here : 0;
  }

  open(node, again) {
    let over = false;
    this.at = path.basename(node.socketPath, '.sock');
    const before = this.gone;
    this.gone = null;
    const end = (error) => {
      if (over) return;
      over = true;
      const now = Date.now();
      if (this.present) this.#confirmed = now;
      this.present = null;
      // A node that is not there has not seen it.
      this.gone = ['ECONNREFUSED', 'ENOENT'].includes(error?.code) ? before ?? now : now;
      again();
    };
    const parser = new Parser((item) => item.type === 'event' && this.#take(item.event, item.data));
    const headers = { Authorization: `Bearer ${this.token}` };
    const request = http.get({ ...node, path: eventsPath(CHANNEL, { format: 'json' }), headers, agent: false }, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        return request.destroy();
      }
      response.on('data', (bytes) => over || parser.push(bytes));
      response.on('error', () => {});
      response.on('close', end);
    });
    request.on('error', end);
    request.on('close', end);
    return () => request.destroy();
  }

  #take(event, text) {
    if (!['askr:members', 'askr:joined', 'askr:left'].includes(event)) return;
    const data = JSON.parse(text);
    if (event === 'askr:members') {
      if (!this.present && Date.now() - this.#confirmed > BRIEF) this.#here = Date.now();
      this.present = new Set(data.members.map(({ id }) => id));
      for (const user of this.users) if (!this.present.has(user)) this.onMissing(user, event);
      return;
    }
    this.changes += 1;
    const joins = event === 'askr:joined';
    if (!this.present) this.contradictions.push(`${this.user}: ${event} of ${data.id} before the members`);
    else if (this.present.has(data.id) === joins) this.contradictions.push(`${this.user}: ${event} of ${data.id}, who ${joins ? 'was' : 'was not'} there`);
    else if (joins) this.present.add(data.id);
    else {
      this.present.delete(data.id);
      this.onMissing(data.id, event);
    }
  }

  sees(users) {
    return this.present !== null && this.present.size === users.length && users.every((user) => this.present.has(user));
  }
}
