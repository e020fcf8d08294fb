// A page that follows for an hour, in a minute: its heap does not grow. Chromium tells how large it is once nothing in it
// is garbage.

import test from 'node:test';
import assert from 'node:assert/strict';
import { launch } from '../lib/browsers.mjs';
import { Application } from '../lib/client.mjs';
import { scoped, until } from '../lib/scope.mjs';

/** An hour at fifty events a second, after a start that warms everything up. */
const START = 30_000;
const HOUR = 180_000;
const PAYLOAD = JSON.stringify({ id: 1, text: 'x'.repeat(100) });

async function heap(page) {
  const session = await page.createCDPSession();
  await session.send('HeapProfiler.enable');
  for (let n = 0; n < 3; n += 1) await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  return usedSize;
}

test('the heap of a page that took an hour of events is as large as it was, and the measure would tell', scoped(async (scope) => {
  const application = await Application.start(scope, { server: { ping: 15 } });
  const page = await application.page(await launch(scope, 'chromium'), 'HTTP/2');
  const grown = {};
  for (const keeps of [false, true]) {
    await page.evaluate((keeps) => {
      window.start({ cursor: null }, []);
      window.kept = [];
      window.count = 0;
      const took = (data, event) => {
        window.count += 1;
        if (keeps) window.kept.push(event);
      };
      // With a cut now and then, as an hour has them.
      setInterval(() => window.dispatchEvent(new Event('offline')), 3000);
      for (const name of ['orders', 'quiet', 'news']) window.client.subscribe(name).on('message', took);
    }, keeps);
    await until('it is subscribed', () => page.evaluate(() => window.client.channels.get('news').state === 'subscribed'));
    let published = 0;
    const follow = async (count) => {
      for (const end = published + count; published < end; published += 5000) {
        await application.fill(published % 10_000 ? 'news' : 'orders', PAYLOAD, 5000);
        await until('the page has them', () => page.evaluate((n) => window.count >= n, published + 5000));
      }
      assert.equal(await page.evaluate(() => window.count), published, 'each once');
    };
    await follow(START);
    const before = await heap(page);
    await follow(keeps ? START : HOUR);
    grown[keeps] = await heap(page) - before;
    assert.deepEqual(await page.evaluate(() => window.gaps), []);
    await page.evaluate(() => window.client.close());
  }
  assert.ok(grown.true > START * PAYLOAD.length, `who keeps events is seen: ${grown.true} bytes`);
  assert.ok(grown.false < 256 * 1024, `${grown.false} bytes more after ${HOUR} events`);
}));
