// PHP-FPM behind nginx publishes; Chromium's EventSource receives through nginx from askrd's Unix
// socket, and keeps its place over a SIGKILL of askrd.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { assertRising } from '../lib/cursor.mjs';
import { ask } from '../lib/http.mjs';
import { startSite } from '../lib/php.mjs';
import { scoped, until, within } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/front.php');
const PAGE = { 'page.html': '<!doctype html><title>Askr</title>' };

/** Publishes 1, 2, 3, … through the site until told to stop. */
class Publisher {
  published = 0;
  #stopped = false;

  constructor(site, channel) {
    this.done = this.#run(site, channel);
    // Awaited at the end; until then its failure must not end the runner.
    this.done.catch(() => {});
  }

  async #run(site, channel) {
    while (!this.#stopped) {
      const n = this.published + 1;
      const { status, body } = await ask(site, '/publish', { method: 'POST', body: JSON.stringify({ channel, payload: String(n) }) });
      assert.equal(status, 200, body);
      assert.equal(JSON.parse(body).published, true, 'a publish succeeds, whether askrd runs or not');
      this.published = n;
    }
  }

  async past(count) {
    await until(`${count} events are published`, async () => {
      if (this.published < count) await Promise.race([this.done, new Promise((resolve) => setTimeout(resolve, 20))]);
      return this.published >= count;
    });
  }

  async stop() {
    this.#stopped = true;
    await this.done;
    return this.published;
  }
}

test('an EventSource has every event once and in order over a SIGKILL of askrd, without a new object', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: FRONT, files: PAGE });
  const page = await openPage(scope, `${site.url}/page.html`);
  await within('the stream to open', listen(page, '/askr/events?channel=news'));

  const publisher = new Publisher(site, 'news');
  await seen(page, 50);

  await askrd.kill();
  await page.waitForFunction(() => window.errors > 0);
  const atDeath = publisher.published;
  await publisher.past(atDeath + 200);
  await askrd.start();
  await page.waitForFunction(() => window.opens > 1, null, { timeout: 60_000 });
  await publisher.past(publisher.published + 50);
  const total = await publisher.stop();

  const events = await seen(page, total);
  assert.deepEqual(events.map(({ event }) => event).filter((name) => name !== 'message'), [], 'no gap is told');
  assert.deepEqual(events.map(({ data }) => Number(data)), Array.from({ length: total }, (_, i) => i + 1));
  assertRising(events.map(({ id }) => id));
  assert.equal(await page.evaluate(() => window.made), 1, 'the page made one EventSource only');
  assert.deepEqual(page.problems, []);
}));

test('a page opened while askrd is away is connected when it comes', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: FRONT, files: PAGE });
  await askrd.kill();
  const page = await openPage(scope, `${site.url}/page.html`);
  // nginx answers for askrd: a stream that says when to come back, and ends.
  const away = await ask(site, '/askr/events?channel=news');
  assert.equal(away.status, 200);
  assert.match(away.headers['content-type'], /^text\/event-stream/);
  assert.match(away.headers['cache-control'], /no-store/);
  assert.match(away.body, /^retry: [0-9]+\n\n$/);

  await within('the first answer', listen(page, '/askr/events?channel=news'));
  await askrd.start();
  const publisher = new Publisher(site, 'news');
  const [first] = await seen(page, 1);
  await publisher.stop();
  assert.equal(first.event, 'message');
  assert.equal(await page.evaluate(() => window.made), 1);
}));
