// clients/pusher-recovery with pusher-js 8 and Laravel Echo 2 as npm has them: what was published while
// they were away, or since their page was rendered, arrives once and in order, or they are told what is gone. Stock clients
// see no difference.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import StockPusher from 'pusher-js';
import { withRecovery } from '../../clients/pusher-recovery/index.js';
import { ROOT, TESTS } from '../lib/built.mjs';
import { openPage } from '../lib/chromium.mjs';
import { APP, echoOptions, first, rawPusher, recorded, serverLibrary, startApplication, startEcho, startPusher, subscribed } from '../lib/pusher.mjs';
import { publishAll, startSite } from '../lib/php.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped, until } from '../lib/scope.mjs';

const Pusher = withRecovery(StockPusher);

/** askrd behind a relay that can be cut, an application, and clients of both kinds that go through it. */
async function start(scope, settings) {
  const askrd = await startPusher(scope, settings);
  const application = await startApplication(scope);
  const line = await relay(scope, askrd.tcp, (left) => left);
  const echo = (user, options) => startEcho(scope, line.port, application, user, options);
  const server = serverLibrary(askrd.port);
  let n = 0;
  /** Publishes the next numbers to each of the channels. */
  const publish = async (channels, count, from = n) => {
    n = from;
    for (let i = 0; i < count; i += 1) await server.trigger(channels, 'counted', { n: n += 1 });
  };
  return { askrd, line, server, publish, echo };
}

const numbers = (seen) => seen.filter(({ event }) => event === '.counted').map(({ data }) => data.n);
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

/** A client on one public, one private and one presence channel. */
async function listen(echo) {
  const channels = [echo.channel('orders'), echo.private('room.1'), echo.join('team')];
  const seen = channels.map(recorded);
  await Promise.all(channels.map(subscribed));
  return { seen, reconnected: countConnects(echo) };
}

function countConnects(echo) {
  const count = { n: 0 };
  echo.connector.pusher.connection.bind('connected', () => { count.n += 1; });
  return count;
}

const CHANNELS = ['orders', 'private-room.1', 'presence-team'];

test('events published while the line is cut arrive once and in order, and a stock client beside has lost them', scoped(async (scope) => {
  const { line, publish, echo, server } = await start(scope);
  const [ada, bob] = [await echo('ada', { Pusher }), await echo('bob')];
  const [mine, stock] = [await listen(ada), await listen(bob)];
  await publish(CHANNELS, 5);
  await until('five have arrived', () => [...mine.seen, ...stock.seen].every((seen) => numbers(seen).length === 5));
  for (let round = 1; round <= 3; round += 1) {
    line.break();
    await publish(CHANNELS, 20);
    await until('both are connected again', () => mine.reconnected.n >= round && stock.reconnected.n >= round);
    // Answered when everybody is subscribed again.
    await until('all are subscribed', async () => {
      const { channels } = await (await server.get({ path: '/channels', params: { info: 'subscription_count' } })).json();
      return channels.orders?.subscription_count === 2 && channels['private-room.1']?.subscription_count === 2 && channels['presence-team'];
    });
    await publish(CHANNELS, 1);
    await until('the last has arrived', () => mine.seen.every((seen) => numbers(seen).length >= 5 + 21 * round));
  }
  for (const seen of mine.seen) assert.deepEqual(numbers(seen), upTo(68));
  const got = numbers(stock.seen[0]);
  assert.ok(got.length < 68, 'a stock client misses what it was not there for');
  assert.deepEqual(mine.seen[0].filter(({ event }) => event !== '.counted' && !event.startsWith('.pusher:')), [], 'nothing else is told');
}));

test('the same across a kill of askrd, and for messages to a user', scoped(async (scope) => {
  const { askrd, publish, echo, server } = await start(scope);
  const ada = await echo('ada', { Pusher, enabledTransports: ['ws'] });
  const mine = await listen(ada);
  const { pusher } = ada.connector;
  const told = [];
  pusher.user.bind('told', ({ n }) => told.push(n));
  pusher.signin();
  await pusher.user.signinDonePromise;
  await until('the user has a channel', async () => (await (await server.get({ path: '/channels/%23server-to-user-ada' })).json()).occupied);
  await server.sendToUser('ada', 'told', { n: 0 });
  await publish(CHANNELS, 3);
  await until('three have arrived', () => mine.seen.every((seen) => numbers(seen).length === 3) && told.length === 1);
  // PHP publishes into the ring, whether anybody reads it or not.
  await askrd.kill();
  await until('it is noticed', () => pusher.connection.state !== 'connected');
  await publishAll(scope, askrd, upTo(10).flatMap((n) => [
    ...CHANNELS.map((channel) => ({ channel, event: 'counted', payload: JSON.stringify({ n: n + 3 }) })),
    { channel: '#server-to-user-ada', event: 'told', payload: JSON.stringify({ n }) },
  ]));
  await askrd.start();
  // And before everybody is back.
  await publish(CHANNELS, 20, 13);
  await until('all have arrived', () => mine.seen.every((seen) => numbers(seen).length >= 33) && told.length >= 11);
  await publish(CHANNELS, 1);
  await until('and the last', () => mine.seen.every((seen) => numbers(seen).length >= 34));
  for (const seen of mine.seen) assert.deepEqual(numbers(seen), upTo(34));
  assert.deepEqual(told, [0, ...upTo(10)]);
}));

test('a ring that was overwritten meanwhile: askr:gap is told to the listeners of the channel', scoped(async (scope) => {
  const { publish, echo, server } = await start(scope, { ring: { slots: 64 } });
  const people = await Promise.all(['ada', 'bob', 'cyd'].map((user) => echo(user, { Pusher })));
  const [ada, bob, cyd] = people;
  const heard = async (channel) => {
    const gaps = [];
    channel.listen('.askr:gap', (gap) => gaps.push(gap));
    await subscribed(channel);
    return gaps;
  };
  const orders = ada.channel('orders');
  const seen = recorded(orders);
  const ofOrders = await heard(orders);
  // Of an encrypted channel beside another one, whose events pusher-js would not pass on by itself.
  const ofVault = await heard(bob.encryptedPrivate('vault'));
  await heard(bob.channel('beside'));
  const ofQuiet = await heard(cyd.channel('quiet'));
  await publish(['orders'], 2);
  await until('two have arrived', () => numbers(seen).length === 2);
  for (const one of people) one.connector.pusher.disconnect();
  await publish(['orders'], 120);
  await server.trigger('private-encrypted-vault', 'stored', {});
  await publish(['orders'], 80);
  for (const one of people) one.connector.pusher.connect();
  await until('gaps are told', () => ofOrders.length > 0 && ofVault.length > 0);
  const [{ lost, at_most: bound }] = ofOrders;
  assert.ok(lost >= 200 - 64 && lost === bound, `${lost} ${bound}`);
  await until('the rest has arrived', () => numbers(seen).length >= 202 - lost);
  assert.deepEqual(numbers(seen), [1, 2, ...upTo(202).slice(2 + lost)]);
  // Two channels that come back together are told what both have lost at most.
  const [vault] = ofVault;
  assert.ok(vault.at_most >= 1 && (vault.lost === null || vault.lost === 1), JSON.stringify(vault));
  await server.trigger('quiet', 'counted', {});
  assert.deepEqual([ofOrders.length, ofVault.length, ofQuiet.length], [1, 1, 0], 'each once, and none where nothing was lost');
}));

test('a page begins where it was rendered: nothing between that and its channels is lost', scoped(async (scope) => {
  const askrd = await startPusher(scope);
  const application = await startApplication(scope);
  const npm = (file) => readFileSync(path.join(TESTS, 'node_modules', file), 'utf8');
  const site = await startSite(scope, askrd, {
    front: path.join(TESTS, 'php/front.php'),
    files: {
      'pusher.js': npm('pusher-js/dist/web/pusher-with-encryption.min.js'),
      'echo.js': npm('laravel-echo/dist/echo.iife.js'),
      ...Object.fromEntries(['index.js', 'cursor.js'].map((file) => [file, readFileSync(path.join(ROOT, 'clients/pusher-recovery', file), 'utf8')])),
    },
  });
  const say = (n) => publishAll(scope, askrd, ['orders', 'private-room.1', 'presence-team', 'cache-price'].map((channel) => ({ channel, event: 'counted', payload: JSON.stringify({ n }) })));
  const body = `<script src="/pusher.js"></script><script src="/echo.js"></script>
    <script type="module">import { withRecovery } from '/index.js'; window.withRecovery = withRecovery;</script>`;
  await say(1);
  const page = await openPage(scope, `${site.url}/live?body=${encodeURIComponent(body)}`);
  await page.waitForFunction(() => window.withRecovery);
  // It was rendered, and has not subscribed yet.
  await say(2);
  await say(3);
  const heard = (Pusher) => page.evaluate(([options, which]) => {
    const classes = { stock: () => Pusher, page: () => withRecovery(Pusher), none: () => withRecovery(Pusher, { cursor: null }) };
    const echo = new Echo.default({ ...options, Pusher: classes[which]() });
    const seen = (window.seen ??= {})[which] = {};
    const channels = { orders: echo.channel('orders'), room: echo.private('room.1'), team: echo.join('team'), price: echo.channel('cache-price') };
    return Promise.all(Object.entries(channels).map(([name, channel]) => {
      seen[name] = [];
      channel.listen('.counted', ({ n }) => seen[name].push(n)).listen('.askr:gap', (gap) => seen[name].push(gap));
      return new Promise((resolve) => { channel.subscribed(resolve); });
    })).then(() => { (window.echoes ??= {})[which] = echo; });
  }, [echoOptions(site.port, application, 'ada'), Pusher]);
  for (const which of ['page', 'stock', 'none']) await heard(which);
  await say(4);
  const seen = () => page.evaluate(() => window.seen);
  await until('the last has arrived', async () => Object.values(await seen()).every((one) => Object.values(one).every((numbers) => numbers.includes(4))));
  const [all, live, price] = [[2, 3, 4], [4], [3, 4]];
  assert.deepEqual(await seen(), {
    page: { orders: all, room: all, team: all, price },
    stock: { orders: live, room: live, team: live, price },
    none: { orders: live, room: live, team: live, price },
  });

  // A channel that the page adds later, or enters again, begins then.
  await page.evaluate(() => {
    const echo = window.echoes.page;
    seen.later = [];
    echo.leave('orders');
    return new Promise((resolve) => { echo.channel('orders').listen('.counted', ({ n }) => seen.later.push(n)).subscribed(resolve); });
  });
  await say(5);
  await until('it has arrived', async () => (await seen()).later.length > 0);
  assert.deepEqual((await seen()).later, [5]);
  assert.deepEqual(page.problems, []);
}));

test('a channel that was left and entered again begins anew', scoped(async (scope) => {
  const { publish, echo, server } = await start(scope);
  const ada = await echo('ada', { Pusher });
  const before = ada.channel('orders');
  await subscribed(before);
  await publish(['orders'], 1);
  ada.leave('orders');
  await until('it has left', async () => !(await (await server.get({ path: '/channels/orders' })).json()).occupied);
  await publish(['orders'], 5);
  const again = ada.channel('orders');
  const seen = recorded(again);
  await subscribed(again);
  await publish(['orders'], 1);
  assert.deepEqual(numbers(await first(seen, 1)), [7]);
}));

test('stock clients are sent no id, and their class is left as it was', scoped(async (scope) => {
  const { askrd, publish } = await start(scope, { server: { ping: 0.2 } });
  const [stock, asks] = [await rawPusher(scope, askrd.port), await rawPusher(scope, askrd.port, 'protocol=7&client=test&version=1&askr=1')];
  for (const one of [stock, asks]) await one.subscribe('orders');
  await publish(['orders'], 3);
  await until('both have three and a ping', () => stock.messages.length >= 5 && asks.messages.length >= 6);
  assert.ok(stock.messages.every((message) => !('id' in message)), JSON.stringify(stock.messages));
  assert.ok(asks.messages.filter(({ event }) => event === 'counted').every(({ id }) => /^[0-9a-f]{12}-\d+$/.test(id)));
  const plain = asks.messages.filter(({ event }) => event === 'counted').map(({ id, ...rest }) => rest);
  assert.deepEqual(plain, stock.messages.filter(({ event }) => event === 'counted'));

  // An instance of the class that recovery was made from asks for what it always did.
  const client = new StockPusher(APP.key, { wsHost: '127.0.0.1', wsPort: askrd.port, forceTLS: false, cluster: '', enabledTransports: ['ws'] });
  scope.defer(() => client.disconnect());
  const messages = [];
  client.connection.bind('message', (message) => messages.push(message));
  const channel = client.subscribe('orders');
  await until('it is subscribed', () => channel.subscribed);
  await publish(['orders'], 1);
  await until('its event has come', () => messages.some(({ event }) => event === 'counted'));
  assert.equal(client.config.wsPath, '');
  assert.deepEqual(messages.find(({ event }) => event === 'counted'), { event: 'counted', channel: 'orders', data: { n: 4 } });
}));
