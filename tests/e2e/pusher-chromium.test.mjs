// pusher-js and Laravel Echo in Chromium, through nginx with the shipped snippets: two users in three tabs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { openTabs } from '../lib/chromium.mjs';
import { startSite } from '../lib/php.mjs';
import { echoOptions, serverLibrary, startApplication, startPusher } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

const npm = (file) => readFileSync(path.join(TESTS, 'node_modules', file), 'utf8');
const FILES = {
  'page.html': '<!doctype html><title>Askr</title><script src="pusher.js"></script><script src="echo.js"></script>',
  'pusher.js': npm('pusher-js/dist/web/pusher-with-encryption.min.js'),
  'echo.js': npm('laravel-echo/dist/echo.iife.js'),
};

/** What a page of a chat does: everything that it is told is kept in `window.seen`. */
function chat(options) {
  window.seen = { here: [], joined: [], left: [], snapshots: 0, whispers: [], room: [], vault: [], orders: [], notes: [], errors: [] };
  const echo = window.echo = new Echo.default(options);
  const { pusher } = echo.connector;
  pusher.signin();
  pusher.user.bind('note', (data) => seen.notes.push(data));
  const subscribed = [
    window.team = echo.join('team')
      .here((members) => { seen.here = members.map(({ name }) => name).sort(); seen.snapshots += 1; })
      .joining(({ name }) => seen.joined.push(name))
      .leaving(({ name }) => seen.left.push(name))
      .listenForWhisper('typing', (data) => seen.whispers.push(data)),
    echo.private('room.1').listen('.said', (data) => seen.room.push(data)),
    echo.encryptedPrivate('vault').listen('.opened', (data) => seen.vault.push(data)),
    echo.channel('orders').listen('.paid', (data) => seen.orders.push(data)),
  ].map((channel) => new Promise((resolve, reject) => { channel.subscribed(resolve); channel.error((why) => reject(new Error(JSON.stringify(why)))); }));
  echo.private('room-closed').error((error) => seen.errors.push(error.status));
  return Promise.all([...subscribed, pusher.user.signinDonePromise]).then(() => echo.socketId());
}

test('two users in three tabs: every kind of channel, presence, whispers, toOthers, and a restart of askrd', scoped(async (scope) => {
  const askrd = await startPusher(scope);
  const application = await startApplication(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: FILES });
  // The application's server publishes through nginx, too.
  const server = serverLibrary(site.port);
  const tabs = await openTabs(scope, `${site.url}/page.html`, [2, 1]);
  const [one, two, bob] = tabs;
  const sockets = [];
  for (const [tab, user] of [[one, 'ada'], [two, 'ada'], [bob, 'bob']]) {
    sockets.push(await tab.evaluate(chat, { ...echoOptions(site.port, application, user), wsHost: '127.0.0.1' }));
  }
  const seen = (tab) => tab.evaluate(() => window.seen);
  const each = (what, condition) => Promise.all(tabs.map((tab) => until(what, async () => condition(await seen(tab)))));

  await until('the first tab sees bob', async () => (await seen(one)).joined.length > 0);
  assert.deepEqual((await Promise.all(tabs.map(seen))).map(({ here, joined, left }) => [here, joined, left]), [
    [['ADA'], ['BOB'], []],
    [['ADA'], ['BOB'], []],
    [['ADA', 'BOB'], [], []],
  ]);
  await each('the closed room is refused', ({ errors }) => errors.length === 1 && errors[0] === 403);

  await server.trigger(['orders'], 'paid', { n: 1 }, { socket_id: sockets[0] });
  await server.trigger(['orders', 'private-room.1'], 'paid', { n: 2 });
  await server.trigger('private-room.1', 'said', { n: 3 });
  await server.trigger('private-encrypted-vault', 'opened', { n: 4 });
  await server.sendToUser('bob', 'note', { n: 5 });
  await server.sendToUser('ada', 'note', { n: 6 });
  await each('all have arrived', ({ room, vault, notes }) => room.length && vault.length && notes.length);
  assert.deepEqual((await Promise.all(tabs.map(seen))).map(({ orders, room, vault, notes }) => ({ orders, room, vault, notes })), [
    { orders: [{ n: 2 }], room: [{ n: 3 }], vault: [{ n: 4 }], notes: [{ n: 6 }] },
    { orders: [{ n: 1 }, { n: 2 }], room: [{ n: 3 }], vault: [{ n: 4 }], notes: [{ n: 6 }] },
    { orders: [{ n: 1 }, { n: 2 }], room: [{ n: 3 }], vault: [{ n: 4 }], notes: [{ n: 5 }] },
  ]);

  await one.evaluate(() => { window.team.whisper('typing', { by: 'one' }); });
  await until('bob has the whisper', async () => (await seen(bob)).whispers.length > 0);
  await bob.evaluate(() => { window.team.whisper('typing', { by: 'bob' }); });
  await until('the second tab has both', async () => (await seen(two)).whispers.length === 2);
  await until('the first tab has the answer', async () => (await seen(one)).whispers.length > 0);
  assert.deepEqual([(await seen(one)).whispers, (await seen(bob)).whispers], [[{ by: 'bob' }], [{ by: 'one' }]]);

  await askrd.kill();
  await askrd.start();
  await each('all are back', ({ snapshots, here, joined }) => snapshots > 1 && new Set([...here, ...joined]).size === 2);
  await until('all channels are back', async () => {
    const { channels } = await (await server.get({ path: '/channels', params: { info: 'subscription_count' } })).json().catch(() => ({}));
    return channels && ['orders', 'private-room.1', 'private-encrypted-vault'].every((name) => channels[name]?.subscription_count === 3);
  });
  await server.trigger('orders', 'paid', { n: 7 });
  await each('the next event is there', ({ orders }) => orders.at(-1)?.n === 7);
  assert.deepEqual((await Promise.all(tabs.map(seen))).map(({ left }) => left), [[], [], []]);

  // One of ada's two tabs is closed: nothing happens. Then the other.
  await one.close();
  await bob.evaluate(() => { window.team.whisper('typing', { by: 'bob again' }); });
  await until('the second tab is still told', async () => (await seen(two)).whispers.some(({ by }) => by === 'bob again'));
  await two.close();
  await until('ada has left', async () => (await seen(bob)).left.length > 0);
  assert.deepEqual((await seen(bob)).left, ['ADA']);
  for (const tab of tabs) assert.deepEqual(tab.problems, []);
}));
