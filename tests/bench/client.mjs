// clients/js in a page, beside EventSource: how many events a second the page takes, as it catches up with a ring full of
// them through nginx, in turns in one page. Both read each event's JSON. Its sizes, and how many connections a page has.

import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { ROOT } from '../lib/built.mjs';
import { launch } from '../lib/browsers.mjs';
import { Application, start } from '../lib/client.mjs';
import { Scope } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 11);
const EVENTS = Number(process.env.EVENTS ?? 60_000);
const PAYLOAD = JSON.stringify({ id: 1, text: 'x'.repeat(170) });

/** In the page: milliseconds until all events of the channel have come. */
const TAKE = {
  client: ([since, events]) => new Promise((resolve) => {
    import('/client/index.js').then(({ Client }) => {
      const begin = performance.now();
      const client = new Client({ cursor: null });
      let n = 0;
      client.subscribe('bench', { since }).on('message', (data) => {
        if (data.id === 1) n += 1;
        if (n < events) return;
        client.close();
        resolve(performance.now() - begin);
      });
    });
  }),
  EventSource: ([since, events]) => new Promise((resolve) => {
    const begin = performance.now();
    const source = new EventSource(`/askr/events?channel=bench&last_event_id=${since}`);
    let n = 0;
    source.onmessage = ({ data }) => {
      if (JSON.parse(data).id === 1) n += 1;
      if (n < events) return;
      source.close();
      resolve(performance.now() - begin);
    };
  }),
};

async function sizes() {
  const { outputFiles } = await build({
    entryPoints: [path.join(ROOT, 'clients/js/index.js')], bundle: true, splitting: true, minify: true, format: 'esm', outdir: 'out', write: false,
  });
  return outputFiles.map(({ path: file, contents }) => [/websocket/.test(file) ? 'for a WebSocket, beside it' : '@askr/client', contents.length, gzipSync(contents, { level: 9 }).length]);
}

const scope = new Scope();
try {
  console.log(table(['bytes', 'minified', 'gzipped'], (await sizes()).map((row) => row.map(String))));
  const application = await Application.start(scope, { ring: { slots: 131072 }, server: { ping: 15 } });
  const rows = [];
  for (const name of (process.env.BROWSERS ?? 'chromium,firefox').split(',')) {
    const browser = await launch(scope, name);
    const page = await application.page(browser, 'HTTP/1.1');
    const since = await page.evaluate(() => document.querySelector('meta').content);
    if (name === 'chromium' || !application.counts.bench) await application.fill('bench', PAYLOAD, EVENTS);
    const from = application.before ??= since;
    const rates = { client: [], EventSource: [] };
    for (let n = -2; n < ROUNDS; n += 1) {
      for (const what of n % 2 ? ['client', 'EventSource'] : ['EventSource', 'client']) {
        const took = await page.evaluate(TAKE[what], [from, EVENTS]);
        if (n >= 0) rates[what].push(EVENTS / took * 1000);
      }
    }
    const ratios = rates.client.map((rate, n) => rate / rates.EventSource[n]);
    const row = (what, all, digits) => [what, median(all).toFixed(digits), `${Math.min(...all).toFixed(digits)} .. ${Math.max(...all).toFixed(digits)}`];
    rows.push(row(`${name}: @askr/client, events/s`, rates.client, 0), row(`${name}: EventSource, events/s`, rates.EventSource, 0), row(`${name}: ratio`, ratios, 2));
    // Fifty channels, of which ten are private.
    const channels = Array.from({ length: 50 }, (_, n) => (n % 5 ? `news-${n}` : `private-${n}`));
    await start(page, { tokens: { channels: channels.filter((one) => one.startsWith('private')), ttl: 600, user: 'ada' } }, channels);
    rows.push([`${name}: connections of a page with 50 channels`, String(await application.streams()), '']);
    await browser.close();
  }
  console.log(table([`${EVENTS} events of ${PAYLOAD.length} B`, 'median', 'smallest .. largest'], rows));
} finally {
  await scope.close();
}
