// Chromium and Firefox as Debian has them, driven by one library: Chromium by its own protocol, Firefox by WebDriver BiDi.

import { existsSync, mkdirSync } from 'node:fs';
import puppeteer from 'puppeteer-core';
import { CHROMIUM, FIREFOX } from './built.mjs';

/** The tests' pages are our own, and CI runs as root, where Chromium's sandbox refuses to start. */
const CHROMIUM_ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A browser that ends with the scope: `chromium` or `firefox`. It takes the tests' own certificates. */
export async function launch(scope, name) {
  const home = scope.path(`home-${name}`);
  if (!existsSync(home)) mkdirSync(home);
  const browser = await puppeteer.launch({
    ...(name === 'firefox' ? { browser: 'firefox', executablePath: FIREFOX } : { browser: 'chrome', executablePath: CHROMIUM, args: CHROMIUM_ARGS }),
    // Puppeteer's own choice keeps pages from the back/forward cache.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    acceptInsecureCerts: true,
    env: { ...process.env, HOME: home },
  });
  scope.defer(() => browser.close());
  return browser;
}

/** A tab at `url`. Errors of the page are in `page.problems`. */
export async function open(browser, url) {
  const page = await browser.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(error));
  await page.goto(url);
  return page;
}
