// Debian's Chromium, headless: a real browser's EventSource.

import { chromium } from 'playwright-core';
import { CHROMIUM } from './built.mjs';

async function launch(scope) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // The tests' pages are our own, and CI runs as root, where Chromium's sandbox refuses to start.
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    env: { ...process.env, HOME: scope.dir },
  });
  scope.defer(() => browser.close());
  return browser;
}

/** A page at `url`; errors of the page fail the test through `page.problems`. */
export async function openPage(scope, url) {
  const browser = await launch(scope);
  return open(await browser.newContext(), url);
}

/** Tabs of one browser at `url`: as many as each of the users has, who share nothing. */
export async function openTabs(scope, url, users) {
  const browser = await launch(scope);
  const tabs = [];
  for (const count of users) {
    const context = await browser.newContext();
    for (let n = 0; n < count; n += 1) tabs.push(await open(context, url));
  }
  return tabs;
}

async function open(context, url) {
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(error));
  await page.goto(url);
  return page;
}

/**
 * Opens one EventSource in the page, and collects in `window.seen` what it dispatches. `window.made`
 * counts how many EventSource objects the page has ever made.
 */
export function listen(page, path, names = ['message', 'askr:gap'], init = {}) {
  return page.evaluate(([path, names, init]) => new Promise((resolve, reject) => {
    window.made ??= 0;
    window.seen = [];
    window.errors = 0;
    window.opens = 0;
    window.source = new EventSource(path, init);
    window.made += 1;
    for (const name of names) {
      window.source.addEventListener(name, ({ type, data, lastEventId }) => window.seen.push({ event: type, data, id: lastEventId }));
    }
    window.source.addEventListener('error', () => {
      window.errors += 1;
      if (window.opens === 0) reject(new Error('the stream did not open'));
    });
    window.source.addEventListener('open', () => { window.opens += 1; resolve(); });
  }), [path, names, init]);
}

/** Waits until the page has seen `count` events, and returns them. */
export async function seen(page, count, timeout = 60_000) {
  await page.waitForFunction((n) => window.seen.length >= n, count, { timeout, polling: 50 });
  return page.evaluate(() => window.seen);
}
