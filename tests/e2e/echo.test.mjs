// clients/echo in Chromium, through nginx: the same script with stock Echo over pusher-js and with @askr/echo (over Server-Sent
// Events, over a plain WebSocket, and as Echo's option `Pusher`) sees the same; so do the hooks of React and Vue. The
// application is Laravel 8.83; where channels are encrypted, it is Pusher's server library.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chownSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { bundle } from '../lib/bundle.mjs';
import { openPage } from '../lib/chromium.mjs';
import { services } from '../lib/people.mjs';
import { startSite } from '../lib/php.mjs';
import { APP, echoOptions, secretFile, serverLibrary, startApplication, startPusher } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

/** What Echo is made of: stock first. */
const FLAVOURS = ['pusher-js', 'connector over SSE', 'connector over a WebSocket', 'option Pusher'];

const PAGE = `
import axios from 'axios';
import nacl from 'tweetnacl';
import Pusher from 'pusher-js/with-encryption';
import Echo from 'laravel-echo';
import { AskrConnector, AskrPusher } from '@askr/echo';

window.axios = axios;
window.optionsOf = (flavour, options) => ({
  'pusher-js': { ...options, Pusher },
  'connector over SSE': { ...options, broadcaster: AskrConnector, nacl },
  'connector over a WebSocket': { ...options, broadcaster: AskrConnector, transport: 'ws', nacl },
  'option Pusher': { ...options, Pusher: AskrPusher, nacl },
})[flavour];
window.make = (flavour, options) => new Echo(optionsOf(flavour, options));
`;

const HTML = '<!doctype html><title>Askr</title><div id="app"></div><script type="module" src="page.js"></script>';

/** Laravel behind nginx, with pages of this script. */
async function startLaravel(scope, source) {
  const { web } = services();
  const storage = scope.path('storage');
  mkdirSync(storage);
  if (web.uid !== undefined) chownSync(storage, web.uid, web.gid);
  const askrd = await startPusher(scope, { app: { presence_grace: 0.2 } });
  const site = await startSite(scope, askrd, {
    front: path.join(TESTS, 'laravel-app/public/index.php'),
    files: { 'page.html': HTML, 'page.js': await bundle(source) },
    env: {
      APP_STORAGE: storage, BROADCAST_DRIVER: 'pusher', PUSHER_APP_ID: APP.id, PUSHER_APP_KEY: APP.key, PUSHER_APP_SECRET: APP.secret,
      PUSHER_HOST: '127.0.0.1', PUSHER_PORT: String(askrd.port), PUSHER_SCHEME: 'http',
    },
  });
  return { askrd, site };
}

const seen = (page) => page.evaluate(() => window.seen);
const untilSeen = (page, what, count = 1) => until(`${what} is told`, async () => (await seen(page))[what]?.length >= count);

/** A page, and who is on `presence-team` for it. */
async function open(scope, site, flavour, user, options) {
  const page = await openPage(scope, `${site.url}/page.html`);
  await page.waitForFunction(() => window.make);
  await page.evaluate(([flavour, options]) => {
    window.seen = {};
    window.note = (what) => (...told) => (seen[what] ??= []).push(told.length > 1 ? told : told[0]);
    window.statuses = [];
    window.echo = make(flavour, options);
    echo.connector.onConnectionChange((status) => { if (statuses.at(-1) !== status) statuses.push(status); });
  }, [flavour, options(site.port, site, user)]);
  return page;
}

test('the same script sees the same, over pusher-js and over Askr\'s own protocols, with Laravel', scoped(async (scope) => {
  const { askrd, site } = await startLaravel(scope, PAGE);
  const server = serverLibrary(askrd.port);
  const count = async (channel) => (await (await server.get({ path: `/channels/${channel}`, params: { info: 'subscription_count' } })).json()).subscription_count;
  const notification = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';

  const script = async (flavour) => {
    const bob = await open(scope, site, 'pusher-js', 'bob', echoOptions);
    await bob.evaluate(() => new Promise((resolve) => {
      window.team = echo.join('team').here(resolve).listenForWhisper('typing', note('whisper'));
    }));
    const ada = await open(scope, site, flavour, 'ada', echoOptions);
    await ada.evaluate(() => {
      const subscribed = (channel, name) => channel.subscribed(note(`${name} subscribed`)).error(note(`${name} refused`));
      window.orders = subscribed(echo.channel('orders'), 'orders').listen('OrderPaid', note('paid')).listen('.OrderUpdated', note('model'))
        .listenToAll(note('all')).listen('.text', note('text'));
      window.stopped = note('stopped');
      orders.listen('OrderPaid', window.stopped).stopListening('OrderPaid', window.stopped);
      window.mine = subscribed(echo.private('orders.17'), 'mine').listen('OrderPaid', note('mine')).notification(note('notification'));
      subscribed(echo.private('orders.18'), 'closed');
      window.team = echo.join('team').here(note('here')).joining(note('joining')).leaving(note('leaving')).listenForWhisper('typing', note('whisper'));
      echo.listen('orders', '.text', note('text again'));
    });
    for (const what of ['orders subscribed', 'mine subscribed', 'closed refused', 'here']) await untilSeen(ada, what);
    const refused = (await seen(ada))['closed refused'].map(({ type, status }) => ({ type, status }));

    // Her own request leaves her out: Echo puts her socket id into axios' requests by itself. Another's does not.
    const post = (page) => page.evaluate(async () => {
      const answer = await axios.post('/orders/17/paid', {}, { headers: { 'X-User': 'ada' } });
      return [answer.data.socket === echo.socketId(), /^\d+\.\d+$/.test(answer.data.socket)];
    });
    const toOthers = await post(ada);
    await post(bob);
    await untilSeen(ada, 'paid');
    await untilSeen(ada, 'mine');
    await server.trigger('orders', 'OrderUpdated', { model: { id: 17 } });
    await server.trigger('orders', 'text', 'no object');
    await server.trigger('private-orders.17', notification, { id: 'n', type: 'App\\Notifications\\Paid', order: 17 });
    for (const what of ['model', 'text again', 'notification']) await untilSeen(ada, what);

    await bob.evaluate(() => { team.whisper('typing', { by: 'bob' }); });
    await untilSeen(ada, 'whisper');
    await ada.evaluate(() => { team.whisper('typing', { by: 'ada' }); });
    await untilSeen(bob, 'whisper');
    const cyd = await open(scope, site, 'pusher-js', 'cyd', echoOptions);
    await cyd.evaluate(() => new Promise((resolve) => { echo.join('team').here(resolve); }));
    await untilSeen(ada, 'joining');
    await cyd.evaluate(() => echo.leave('team'));
    await untilSeen(ada, 'leaving');

    // What is left is not heard any more, what stays is.
    await ada.evaluate(() => { echo.leave('orders.17'); });
    await until('it is left', async () => !await count('private-orders.17'));
    await server.trigger('private-orders.17', notification, { order: 'late' });
    await server.trigger('orders', 'text', 'last');
    await untilSeen(ada, 'text', 2);
    await ada.evaluate(() => { orders.stopListeningToAll(); orders.stopListening('.text'); });
    await server.trigger('orders', 'text', 'to nobody');
    await server.trigger('orders', 'OrderUpdated', { model: { id: 18 } });
    await untilSeen(ada, 'model', 2);
    await ada.evaluate(() => { echo.leaveAllChannels(); });
    await until('all is left', async () => !await count('orders'));
    const left = await ada.evaluate(() => Object.keys(echo.connector.channels));
    await ada.evaluate(() => { echo.disconnect(); });
    // Without a channel there is no connection yet.
    const statuses = await ada.evaluate(() => [window.statuses.filter((status) => status !== 'connecting'), echo.connectionStatus()]);
    assert.deepEqual([ada.problems, bob.problems], [[], []]);
    const all = { ...await seen(ada), 'closed refused': refused, bob: await seen(bob), toOthers, left, statuses };
    for (const page of [ada, bob, cyd]) await page.context().browser().close();
    return all;
  };

  const results = {};
  for (const flavour of FLAVOURS) results[flavour] = await script(flavour);
  const expected = results['pusher-js'];
  assert.deepEqual(expected.paid, [[{ order: 17 }, {}]], 'hers is not among them');
  assert.deepEqual([expected.here, expected.joining, expected.leaving].map((one) => one.flat().map(({ name }) => name)), [['ADA', 'BOB'], ['CYD'], ['CYD']]);
  assert.deepEqual(expected.whisper, [[{ by: 'bob' }, { user_id: 'bob' }]]);
  assert.deepEqual([expected['closed refused'], expected.toOthers, expected.left], [[{ type: 'AuthError', status: 403 }], [true, true], []]);
  for (const flavour of FLAVOURS.slice(1)) assert.deepEqual(results[flavour], expected, flavour);
}));

test('encrypted channels, cuts of the line and gaps: the connector decrypts, loses nothing, and tells what is gone', scoped(async (scope) => {
  const askrd = await startPusher(scope, { ring: { slots: 64 } });
  const application = await startApplication(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: { 'page.html': HTML, 'page.js': await bundle(PAGE) } });
  const server = serverLibrary(askrd.port);
  const options = (port) => echoOptions(port, application, 'ada');
  for (const flavour of FLAVOURS) {
    const page = await open(scope, site, flavour, 'ada', options);
    await page.evaluate(() => {
      const { connection } = echo.connector.pusher;
      connection.bind('connected', note('connected'));
      const on = (channel, name) => channel.subscribed(note(`${name} subscribed`)).listen('.counted', ({ n }) => note(name)(n)).listen('.askr:gap', note(`${name} gap`));
      on(echo.encryptedPrivate('vault'), 'vault');
      on(echo.channel('orders'), 'orders');
      if (echo.connector.onGap) echo.connector.onGap(note('gap'));
    });
    for (const what of ['vault subscribed', 'orders subscribed']) await untilSeen(page, what);
    const say = async (n) => {
      await server.trigger('private-encrypted-vault', 'counted', { n });
      await server.trigger('orders', 'counted', { n });
    };
    await say(1);
    for (const what of ['vault', 'orders']) await untilSeen(page, what);
    assert.deepEqual([(await seen(page)).vault, (await seen(page)).orders], [[1], [1]], flavour);
    if (flavour === 'pusher-js') continue;

    await askrd.kill();
    await until('it is noticed', async () => (await page.evaluate(() => echo.connectionStatus())) !== 'connected');
    await askrd.start();
    await say(2);
    for (const what of ['vault', 'orders']) await untilSeen(page, what, 2);
    assert.deepEqual([(await seen(page)).vault, (await seen(page)).orders], [[1, 2], [1, 2]], flavour);
    const gaps = async () => (await seen(page))['orders gap'] ?? [];
    assert.deepEqual(await gaps(), [], flavour);

    // Away for longer than the ring reaches.
    await page.evaluate(() => { echo.disconnect(); });
    for (let n = 0; n < 80; n += 1) await server.trigger('orders', 'counted', { n: 100 + n });
    await page.evaluate(() => { echo.connector.pusher.connect(); });
    await until('the gap is told', async () => (await gaps()).length > 0);
    await until('the last is there', async () => (await seen(page)).orders.at(-1) === 179);
    const { orders } = await seen(page);
    const [{ lost, at_most: most }] = await gaps();
    assert.ok(orders.length - 2 + (lost ?? most) >= 80 && orders.length < 82, `${flavour}: ${orders.length} ${lost} ${most}`);
    if (flavour.startsWith('connector')) assert.equal((await seen(page)).gap?.length, 1);
    assert.deepEqual(page.problems, []);
    await page.context().browser().close();
  }
}));

test('requests that a page with 40 private channels needs', scoped(async (scope, t) => {
  const askrd = await startPusher(scope);
  const application = await startApplication(scope);
  const site = await startSite(scope, askrd, {
    front: path.join(TESTS, 'php/front.php'), files: { 'page.html': HTML, 'page.js': await bundle(PAGE) }, ini: { 'askr.secret_file': secretFile(scope) },
  });
  /** How channels are opened: what is beside Echo's options, and whether the page has a cookie. */
  const ways = {
    'pusher-js, signed': ['pusher-js', {}],
    'connector, signed': ['connector over SSE', {}],
    'connector, with a function for the token': ['connector over SSE', { token: true }],
    'connector, with the cookie': ['connector over SSE', { authEndpoint: '' }],
  };
  const needed = {};
  for (const [way, [flavour, more]] of Object.entries(ways)) {
    const page = await openPage(scope, `${site.url}/page.html`);
    await page.waitForFunction(() => window.make);
    await page.evaluate((signs) => {
      window.token = async () => (await (await fetch('/token', { method: 'POST', body: JSON.stringify({ user: 'ada', ttl: 600, patterns: ['private-orders.*'] }) })).json()).token;
      return signs && token();
    }, way.endsWith('cookie'));
    const requests = [];
    page.on('request', (request) => { if (request.method() !== 'OPTIONS') requests.push(new URL(request.url()).pathname); });
    await page.evaluate(([flavour, options, more]) => {
      window.echo = make(flavour, { ...options, ...more, token: more.token && window.token });
      return Promise.all(Array.from({ length: 40 }, (_, n) => new Promise((resolve, reject) => {
        echo.private(`orders.${n}`).subscribed(resolve).error((why) => reject(new Error(JSON.stringify(why))));
      })));
    }, [flavour, echoOptions(site.port, application, 'ada'), more]);
    needed[way] = requests.reduce((all, path) => ({ ...all, [path]: (all[path] ?? 0) + 1 }), {});
    assert.deepEqual(page.problems, []);
    await page.context().browser().close();
  }
  t.diagnostic(`requests for 40 private channels: ${JSON.stringify(needed)}`);
  const auth = '/broadcasting/auth';
  assert.deepEqual(Object.values(needed).map((all) => [all[auth] ?? 0, all['/token'] ?? 0]), [[40, 0], [40, 0], [0, 1], [0, 0]]);
  // One connection for all of them.
  for (const [way, all] of Object.entries(needed)) if (way.startsWith('connector')) assert.equal(all['/askr/events'], 1, way);
}));
