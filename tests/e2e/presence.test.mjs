// Presence over Server-Sent Events in Chromium, through nginx: two users in three tabs, with cookies that
// PHP signed; and a SIGKILL of askrd, which nobody sees.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openTabs } from '../lib/chromium.mjs';
import { services } from '../lib/people.mjs';
import { publish, startSite } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';

const TEAM = '/askr/events?channel=presence-team';
const NAMES = ['message', 'askr:members', 'askr:joined', 'askr:left', 'askr:gap'];

async function start(scope) {
  const secret = scope.path('secret');
  writeFileSync(secret, `${randomBytes(32).toString('hex')}\n`, { mode: 0o640 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(secret, daemon.uid, daemon.gid);
  const askrd = await startAskrd(scope, { auth: { secret_file: secret }, app: { presence_grace: 3.0 } });
  const site = await startSite(scope, askrd, {
    front: path.join(TESTS, 'php/front.php'),
    files: { 'page.html': '<!doctype html><title>Askr</title>' },
    ini: { 'askr.secret_file': secret },
  });
  const tabs = await openTabs(scope, `${site.url}/page.html`, [2, 1]);
  const users = ['ada', 'ada', 'bob'];
  for (const [n, tab] of tabs.entries()) {
    assert.equal(await tab.evaluate(async (body) => (await fetch('/login', { method: 'POST', body })).status, JSON.stringify({ user: users[n], ttl: 600 })), 200);
  }
  return { askrd, tabs };
}

/** What a tab was told of members: `members ada,bob`, `joined bob`, `left bob`, and events as they are. */
async function told(tab) {
  const seen = await tab.evaluate(() => window.seen);
  return seen.map(({ event, data }) => {
    if (event === 'message') return data;
    const { id, members } = JSON.parse(data);
    return `${event.slice(5)} ${members ? members.map((member) => member.id) : id}`;
  });
}

test('two users in three tabs see each other come and go once, and a SIGKILL of askrd is not seen', scoped(async (scope) => {
  const { askrd, tabs: [one, two, bob] } = await start(scope);
  await listen(one, TEAM, NAMES);
  await until('ada sees herself', async () => (await told(one)).length === 1);
  await listen(two, TEAM, NAMES);
  await listen(bob, TEAM, NAMES);
  await until('ada sees bob', async () => (await told(one)).includes('joined bob'));
  await until('in both tabs', async () => (await told(two)).includes('joined bob'));
  const info = await bob.evaluate(() => JSON.parse(window.seen[0].data).members[0].info);
  assert.deepEqual(info, { name: 'Ada' }, 'what the token says of her');

  // One of two tabs is no leave.
  await two.evaluate(() => window.source.close());
  await publish(scope, askrd, 'presence-team', '1');
  await askrd.kill();
  await publish(scope, askrd, 'presence-team', '2');
  await askrd.start();
  await publish(scope, askrd, 'presence-team', '3');
  for (const tab of [one, bob]) {
    await tab.waitForFunction(() => window.opens > 1, null, { timeout: 60_000 });
    await until('a snapshot follows', async () => (await told(tab)).filter((what) => what.startsWith('members')).length === 2);
  }
  const after = (tab) => told(tab).then((all) => all.filter((what) => !what.startsWith('members')));
  assert.deepEqual(await after(one), ['joined bob', '1', '2', '3'], 'nobody left, nobody came, nothing is lost');
  assert.deepEqual(await after(bob), ['1', '2', '3']);
  assert.equal((await told(one)).at(-1).startsWith('members'), true);
  assert.equal((await told(one)).filter((what) => what === 'members ada,bob').length, 1);

  await bob.evaluate(() => window.source.close());
  await until('bob has left', async () => (await told(one)).includes('left bob'));
  assert.deepEqual((await told(one)).filter((what) => what === 'left bob'), ['left bob'], 'once');
}));

test('a page without a token, or for another channel, is not let in', scoped(async (scope) => {
  const { tabs: [one] } = await start(scope);
  const status = (channel) => one.evaluate(async (channel) => (await fetch(`/askr/events?channel=${channel}`)).status, channel);
  assert.equal(await status('presence-other'), 403);
  assert.equal(await status('private-user.bob'), 403);
  assert.equal(await one.evaluate(async () => (await fetch('/askr/events?channel=presence-team', { credentials: 'omit' })).status), 401);
}));
