// What the tests of clients/js in browsers share: a site by HTTP/1.1 and, with TLS, HTTP/2, whose pages load the client
// as it is shipped; an application that counts what it publishes; and what a page has got of it.

import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { ROOT, TESTS } from './built.mjs';
import { startAskrd } from './askrd.mjs';
import { open } from './browsers.mjs';
import { ask, freePort } from './http.mjs';
import { services } from './people.mjs';
import { startSite } from './php.mjs';
import { run } from './process.mjs';
import { until } from './scope.mjs';

const CLIENT = path.join(ROOT, 'clients/js');
/** What a page may load: the client's modules, and the tests' own. */
const FILES = Object.fromEntries([
  ...readdirSync(CLIENT).filter((file) => file.endsWith('.js')).map((file) => [`client/${file}`, readFileSync(path.join(CLIENT, file), 'utf8')]),
  ['harness.js', readFileSync(path.join(TESTS, 'clients/harness.js'), 'utf8')],
]);

async function certificate(scope) {
  const [key, cert] = [scope.path('tls.key'), scope.path('tls.pem')];
  const made = await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]);
  assert.equal(made.code, 0, made.err);
  chmodSync(key, 0o644);
  return `ssl_certificate ${cert}; ssl_certificate_key ${key};`;
}

export class Application {
  /** How many events were published to each channel. */
  counts = {};

  static async start(scope, settings = {}) {
    const secret = scope.path('secret');
    writeFileSync(secret, `${randomBytes(32).toString('hex')}\n`, { mode: 0o640 });
    const { daemon, web } = services();
    if (daemon.uid !== undefined) chownSync(secret, daemon.uid, daemon.gid);
    const signedOut = scope.path('signed-out');
    mkdirSync(signedOut);
    const askrd = await startAskrd(scope, {
      ...settings,
      server: { ping: 1, retry: 500, ...settings.server },
      auth: { secret_file: secret, expiry_notice: 2, ...settings.auth },
      app: { presence_grace: 2.0, ...settings.app },
    });
    const tls = await freePort();
    const site = await startSite(scope, askrd, {
      front: path.join(TESTS, 'php/client.php'), files: FILES,
      ini: { 'askr.secret_file': secret, 'askr.control': askrd.control }, env: { SIGNED_OUT: signedOut },
      directives: `listen 127.0.0.1:${tls} ssl http2; ${await certificate(scope)}`,
    });
    const urls = { 'HTTP/1.1': site.url, 'HTTP/2': `https://127.0.0.1:${tls}` };
    return Object.assign(new Application(), { scope, askrd, site, signedOut, urls, web });
  }

  async #post(path, body) {
    const answer = await ask(this.site, path, { method: 'POST', body: JSON.stringify(body) });
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body);
  }

  /** The next number to each of the channels, `times` times. */
  async publish(channels, times = 1) {
    const events = Array.from({ length: times }, () => channels.map((channel) => {
      this.counts[channel] = (this.counts[channel] ?? 0) + 1;
      return { channel, payload: String(this.counts[channel]) };
    })).flat();
    for (let from = 0; from < events.length; from += 1000) {
      const some = events.slice(from, from + 1000);
      assert.deepEqual(await this.#post('/publish', { events: some }), { published: some.length });
    }
  }

  /** The same event, many times. */
  async fill(channel, payload, times) {
    const some = Array.from({ length: 1000 }, () => ({ channel, payload, event: null }));
    for (let n = 0; n < times; n += 1000) await this.#post('/publish', { events: some.slice(0, times - n) });
    this.counts[channel] = (this.counts[channel] ?? 0) + times;
  }

  signOut(user) {
    writeFileSync(path.join(this.signedOut, user), '');
  }

  disconnect(user) {
    return this.#post('/disconnect', { user });
  }

  async streams() {
    const { body } = await ask({ socketPath: this.askrd.control }, '/metrics', { headers: { Host: 'localhost' } });
    return Number(/^askr_streams(?:\{[^}]*\})? (\d+)/m.exec(body)[1]);
  }

  /** A page at `/page` that has loaded the client. */
  async page(browser, protocol) {
    const page = await open(browser, `${this.urls[protocol]}/page`);
    await until('the page is ready', () => page.evaluate(() => window.ready));
    return page;
  }

  /** Waits until the page has every event of these channels from `from[channel]` on, each once, in order, and nothing else. */
  async complete(page, channels, from = {}) {
    const all = () => page.evaluate((names) => names.map((name) => window.seen[name].events), channels);
    const due = (channel) => Array.from({ length: (this.counts[channel] ?? 0) - (from[channel] ?? 0) }, (_, i) => i + 1 + (from[channel] ?? 0));
    const wanted = channels.map(due);
    await until('the page has all events', async () => (await all()).every((events, n) => events.length >= wanted[n].length)).catch(async (error) => {
      error.message += `: ${JSON.stringify(await page.evaluate(() => [window.states, window.refused, window.gaps, window.problems]))}`;
      const got = await all();
      const at = got.findIndex((events, n) => events.length < wanted[n].length);
      error.message += ` ${channels[at]}: ${got[at].length} of ${wanted[at].length}`;
      throw error;
    });
    assert.deepEqual(await all(), wanted);
  }
}

/** Starts a client in the page, and waits until its channels are subscribed. */
export async function start(page, options, channels) {
  await page.evaluate((...given) => window.start(...given), options, channels);
  await subscribed(page, channels);
}

export function subscribed(page, channels) {
  return until(`${channels.slice(0, 3)} are subscribed`, () => page.evaluate((names) => names.every((name) => window.client.channels.get(name)?.state === 'subscribed'), channels));
}

/** How many connections the page has had. */
export const connections = (page) => page.evaluate(() => window.states.filter(({ state }) => state === 'connected').length);
