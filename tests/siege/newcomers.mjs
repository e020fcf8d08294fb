// Healthy users who come while the siege is on: each with an address of its own, a channel of its own, and a
// private channel for which the application is asked. Each must be let in.

import http from 'node:http';
import { eventsPath } from '../lib/sse.mjs';

const EVERY = 500;
/** A browser that is told to come back does; one that is told so this often was not let in. */
const TRIES = 10;
const BACK = 200;
/** Events come all the time: who has none for so long is not served. */
const PATIENCE = 10_000;

export class Newcomers {
  came = 0;
  inside = 0;
  turnedAway = 0;
  never = 0;
  said = new Set();
  #waiting = new Set();
  #ending = false;

  constructor(port) {
    this.port = port;
    this.timer = setInterval(() => this.#come(this.came++), EVERY);
  }

  #come(n) {
    const user = this.#user(n).finally(() => this.#waiting.delete(user));
    this.#waiting.add(user);
  }

  async #user(n) {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const said = await this.#try(n);
      if (said === 'in') {
        this.inside += 1;
        return;
      }
      // Nothing is published any more, or will not be in a moment.
      if (this.#ending) {
        this.came -= 1;
        return;
      }
      this.turnedAway += 1;
      this.said.add(said);
      await new Promise((resolve) => setTimeout(resolve, BACK));
    }
    this.never += 1;
  }

  /** In: it was told who it is, and had an event of its private channel. */
  #try(n) {
    return new Promise((resolve) => {
      let text = '';
      const request = http.get({
        host: '127.0.0.1', port: this.port, localAddress: `127.1.${n >> 8 & 255}.${n & 255}`, agent: false,
        path: eventsPath([`own-${n}`, 'private-news']), headers: { Cookie: `user=${n}` },
      }, (response) => {
        response.on('data', (bytes) => {
          text += bytes;
          if (text.includes('askr:connected') && /^data: \d+ $/m.test(text)) {
            resolve('in');
            request.destroy();
          }
        });
        response.on('error', () => {});
        response.on('close', () => resolve(`${response.statusCode} ${text.replaceAll(/\d+/g, 'N').trim().slice(0, 60)}`));
      });
      request.on('error', (error) => resolve(error.code));
      setTimeout(() => request.destroy(), PATIENCE).unref();
    });
  }

  /** No more come; those who came are let in, or are not counted. */
  async end() {
    clearInterval(this.timer);
    this.#ending = true;
    await Promise.all(this.#waiting);
  }

  report() {
    const { came, inside, turnedAway, never, said } = this;
    return { came, inside, turnedAway, never, said: [...said] };
  }
}
