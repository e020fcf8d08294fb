// Private channels in Chromium, through nginx: PHP signs a token into a cookie, the page listens with it.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { services } from '../lib/people.mjs';
import { publish, startSite } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/front.php');
const PAGE = { 'page.html': '<!doctype html><title>Askr</title>' };

/** The file that PHP signs with and askrd verifies by: of their common group, closed to others. */
function secretFile(scope) {
  const file = scope.path('secret');
  writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o640 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return file;
}

const login = (page, user, ttl) => page.evaluate(async (body) => (await fetch('/login', { method: 'POST', body })).status,
  JSON.stringify({ user, ttl }));
const refused = (page, url) => page.evaluate(async (url) => {
  const answer = await fetch(url);
  return [answer.status, await answer.text()];
}, url);

async function start(scope, settings = {}) {
  const secret = secretFile(scope);
  const askrd = await startAskrd(scope, { auth: { secret_file: secret, ...settings } });
  const site = await startSite(scope, askrd, { front: FRONT, files: PAGE, ini: { 'askr.secret_file': secret } });
  return { askrd, page: await openPage(scope, `${site.url}/page.html`) };
}

test('a page with a cookie sees its own private channel, not its neighbour\'s', scoped(async (scope) => {
  const { askrd, page } = await start(scope);
  const [before, why] = await refused(page, '/askr/events?channel=private-user.ada');
  assert.equal(before, 401, why);
  assert.equal(await login(page, 'ada', 600), 200);
  await listen(page, '/askr/events?channel=private-user.ada');
  assert.deepEqual((await refused(page, '/askr/events?channel=private-user.bob'))[0], 403);
  await publish(scope, askrd, 'private-user.bob', 'for bob');
  await publish(scope, askrd, 'private-user.ada', 'for ada');
  assert.deepEqual((await seen(page, 1)).map(({ data }) => data), ['for ada']);
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read the token');
}));

test('a token ends, is renewed by the page in time, and nothing is lost', scoped(async (scope) => {
  const { askrd, page } = await start(scope, { expiry_notice: 3 });
  assert.equal(await login(page, 'ada', 5), 200);
  await listen(page, '/askr/events?channel=private-user.ada', ['message', 'askr:expiring', 'askr:gap']);
  await publish(scope, askrd, 'private-user.ada', '1');
  await page.waitForFunction(() => window.seen.some(({ event }) => event === 'askr:expiring'), null, { timeout: 30_000 });
  assert.equal(await login(page, 'ada', 600), 200);
  // The stream ends with the old token; the browser comes back by itself, with the new cookie.
  await page.waitForFunction(() => window.errors > 0, null, { timeout: 30_000 });
  await publish(scope, askrd, 'private-user.ada', '2');
  await page.waitForFunction(() => window.opens > 1, null, { timeout: 30_000 });
  await publish(scope, askrd, 'private-user.ada', '3');
  const data = async () => (await page.evaluate(() => window.seen)).filter(({ event }) => event === 'message').map((e) => e.data);
  await until('everything arrived', async () => (await data()).length >= 3);
  assert.deepEqual(await data(), ['1', '2', '3']);
  assert.equal(await page.evaluate(() => window.made), 1);
}));
