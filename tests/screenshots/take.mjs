// make screenshots: the pictures of docs/images, of the dashboard with the shop behind it (shop.mjs) and of the demo.

import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { launch, open } from '../lib/browsers.mjs';
import { ROOT } from '../lib/built.mjs';
import { signedIn } from '../lib/dashboard.mjs';
import { freePort } from '../lib/http.mjs';
import { main, until } from '../lib/scope.mjs';
import { fonts } from './fonts.mjs';
import { openShop } from './shop.mjs';

const IMAGES = path.join(ROOT, 'docs/images');
/** Bytes of a picture at the most. */
const MOST = 150_000;
/** Seconds after which the curves of a minute are whole. */
const MINUTE = 65;

/** A picture of the tab as it is, with no more colours than it needs. */
async function take(page, name, { scheme, width, height, scale = 1, whole = false, colours = 64 }) {
  await page.setViewport({ width, height, deviceScaleFactor: scale });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.evaluate(() => { document.activeElement?.blur(); window.scrollTo(0, 0); return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))); });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0) throw new Error(`${name} is ${wider} pixels wider than the window`);
  const file = path.join(IMAGES, name);
  await page.screenshot({ path: file, fullPage: whole });
  execFileSync('pngquant', ['--force', '--skip-if-larger', '--strip', '--output', file, String(colours), file]);
  execFileSync('optipng', ['-quiet', '-o2', file]);
  const { size } = statSync(file);
  if (size > MOST) throw new Error(`${name} has ${size} bytes`);
  console.log(`docs/images/${name}: ${Math.round(size / 1024)} KiB`);
}

async function dashboard(scope, browser) {
  const askrd = await openShop(scope, 600);
  const page = await signedIn(browser, askrd.dashboard);
  await page.setViewport({ width: 1440, height: 900 });
  await until('a minute is over', async () => Number(/up ([\d.]+) s/.exec(await page.$eval('#state', (state) => state.textContent))?.[1]) >= MINUTE, 120_000);
  await take(page, 'dashboard-light.png', { scheme: 'light', width: 1440, height: 900 });
  await take(page, 'dashboard-dark.png', { scheme: 'dark', width: 1440, height: 900 });
  await take(page, 'dashboard-phone.png', { scheme: 'dark', width: 390, height: 844, scale: 2 });
  // Something is asked for: who is in the room.
  await page.setViewport({ width: 1440, height: 900 });
  await page.type('#channel [name=channel]', 'presence-support');
  await page.click('#channel button[value=members]');
  await until('members are shown', () => page.$('#channel-table tbody tr'));
  await take(page, 'dashboard-whole.png', { scheme: 'light', width: 1200, height: 900, whole: true, colours: 32 });
  if (page.problems.length) throw page.problems[0];
  await page.close();
}

async function demo(scope, browser) {
  const run = scope.start('demo', path.join(ROOT, 'demo/run'), [], { cwd: ROOT, env: { DEMO_PORT: String(await freePort()), DEMO_SECONDS: '120' } });
  const [, url] = await until('the demo runs', () => /Askr is running: +(\S+)/.exec(run.output()));
  const page = await open(browser, url);
  const count = (most) => until(`${most} events have arrived`, () => page.$eval('#count', (shown, n) => Number(shown.textContent) >= n, most));
  await count(3);
  for (const [n, text] of ['Your order 1041 has been shipped', 'Three new comments', 'Ada is typing'].entries()) {
    await page.$eval('#text', (input, value) => { input.value = value; }, text);
    await page.click('#form button');
    await count(4 + n);
  }
  for (const scheme of ['light', 'dark']) await take(page, `demo-${scheme}.png`, { scheme, width: 960, height: 640 });
  if (page.problems.length) throw page.problems[0];
}

await main(async (scope) => {
  mkdirSync(IMAGES, { recursive: true });
  fonts(scope);
  const browser = await launch(scope, 'chromium');
  await dashboard(scope, browser);
  await demo(scope, browser);
});
