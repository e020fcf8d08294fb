// A page's own history, through nginx: with the cookie that lets it subscribe, and no longer than that; then the stream
// from there on, without a hole.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { openPage } from '../lib/chromium.mjs';
import { services } from '../lib/people.mjs';
import { publish, startSite } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/front.php');
const CHANNEL = 'private-user.ada';

async function start(scope) {
  const file = scope.path('secret');
  writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o640 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  const askrd = await startAskrd(scope, { auth: { secret_file: file } });
  const files = { 'page.html': '<!doctype html><title>Askr</title>' };
  const site = await startSite(scope, askrd, { front: FRONT, files, ini: { 'askr.secret_file': file } });
  return { askrd, page: await openPage(scope, `${site.url}/page.html`) };
}

const login = (page, user) => page.evaluate(async (body) => (await fetch('/login', { method: 'POST', body })).status,
  JSON.stringify({ user, ttl: 600 }));
const history = (page, query) => page.evaluate(async (url) => {
  const answer = await fetch(url);
  return { status: answer.status, page: answer.ok ? await answer.json() : await answer.text() };
}, `/askr/history?${query}`);

test('a page reads its history page by page, and the stream goes on from there', scoped(async (scope) => {
  const { askrd, page } = await start(scope);
  for (let n = 0; n < 5; n++) await publish(scope, askrd, CHANNEL, `${n}`);
  assert.equal((await history(page, `channel=${CHANNEL}`)).status, 401);
  assert.equal(await login(page, 'bob'), 200);
  assert.equal((await history(page, `channel=${CHANNEL}`)).status, 403);
  assert.equal(await login(page, 'ada'), 200);
  const newest = (await history(page, `channel=${CHANNEL}&limit=3`)).page;
  assert.deepEqual(newest.events.map(({ data }) => data), ['2', '3', '4']);
  const older = (await history(page, `channel=${CHANNEL}&limit=3&before=${newest.next}`)).page;
  assert.deepEqual([older.events.map(({ data }) => data), older.next, older.gap], [['0', '1'], null, null]);
  await publish(scope, askrd, CHANNEL, '5');
  const cursor = newest.events.at(-1).cursor;
  const next = await page.evaluate((url) => new Promise((done) => {
    const source = new EventSource(url);
    source.addEventListener('message', ({ data }) => { source.close(); done(data); });
  }), `/askr/events?channel=${CHANNEL}&last_event_id=${cursor}`);
  assert.equal(next, '5');
}));
