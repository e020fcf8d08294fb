// An askrd with its dashboard, and the page in a browser.

import http from 'node:http';
import { chownSync, writeFileSync } from 'node:fs';
import { Askrd } from './askrd.mjs';
import { open } from './browsers.mjs';
import { freePort } from './http.mjs';
import { services } from './people.mjs';
import { until } from './scope.mjs';

export const OPERATOR = 'the-operators-own-secret';

/** An askrd that is not started yet, with the dashboard at `askrd.dashboard`, the same over restarts. */
export async function withDashboard(scope, settings = {}, name = 'askrd') {
  const port = await freePort();
  const file = scope.path('operator');
  writeFileSync(file, OPERATOR, { mode: 0o600 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  const askrd = new Askrd(scope, { ...settings, server: { dashboard: `127.0.0.1:${port}`, dashboard_secret_file: file, ...settings.server } }, name);
  askrd.dashboard = `http://127.0.0.1:${port}/`;
  return askrd;
}

/** Streams (SSE) that are held open: one for each list of channels. `query`: what each asks for besides. */
export async function streams(scope, askrd, lists, query = '') {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
  scope.defer(() => agent.destroy());
  const one = (channels) => new Promise((resolve, reject) => {
    const asked = channels.map((name) => `channel=${encodeURIComponent(name)}`).join('&');
    http.get({ port: askrd.port, host: '127.0.0.1', path: `/askr/events?${asked}${query}`, agent }, (answer) => {
      answer.on('error', () => {});
      answer.once('data', () => { answer.resume(); resolve(answer); });
    }).on('error', reject);
  });
  const all = [];
  for (let n = 0; n < lists.length; n += 50) all.push(...await Promise.all(lists.slice(n, n + 50).map(one)));
  return all;
}

/** A tab that has signed in. */
export async function signedIn(browser, url) {
  const page = await open(browser, url);
  await page.type('#secret', OPERATOR);
  await Promise.all([page.waitForNavigation(), page.click('button')]);
  await shows(page, '#state', /^askrd .*, up /);
  return page;
}

/** Waits until the element has this text. */
export function shows(page, selector, text) {
  const is = (found) => (text instanceof RegExp ? text.test(found ?? '') : found === text);
  let last;
  return until(`${selector} shows ${text}`, async () => {
    last = await page.evaluate((s) => document.querySelector(s)?.textContent, selector);
    return is(last);
  }).catch((error) => { throw new Error(`${error.message}; it shows ${JSON.stringify(last)}`); });
}

/** The text of a value by its name. */
export const of = (list, name) => `#${list} [data-of="${name}"]`;

/** The rows of a table, each a list of texts. */
export function rowsOf(page, table) {
  return page.evaluate((id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.textContent)), table);
}
