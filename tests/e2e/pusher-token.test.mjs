// clients/pusher-token with pusher-js and Laravel Echo as npm has them, in Chromium through nginx: a token that PHP signed
// opens private and presence channels without a request to the application for each.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, TESTS } from '../lib/built.mjs';
import { openPage } from '../lib/chromium.mjs';
import { publish, startSite } from '../lib/php.mjs';
import { echoOptions, secretFile, serverLibrary, startApplication, startPusher } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

const npm = (file) => readFileSync(path.join(TESTS, 'node_modules', file), 'utf8');
const FILES = {
  'page.html': `<!doctype html><title>Askr</title><script src="pusher.js"></script><script src="echo.js"></script>
    <script type="module">import * as askr from './token.js'; window.askr = askr;</script>`,
  'pusher.js': npm('pusher-js/dist/web/pusher-with-encryption.min.js'),
  'echo.js': npm('laravel-echo/dist/echo.iife.js'),
  'token.js': readFileSync(path.join(ROOT, 'clients/pusher-token/index.js'), 'utf8'),
};

async function start(scope, settings) {
  const askrd = await startPusher(scope, settings);
  const application = await startApplication(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: FILES, ini: { 'askr.secret_file': secretFile(scope) } });
  const options = echoOptions(site.port, application, 'ada');
  /** A page, and the requests that it makes once it is loaded. */
  const open = async () => {
    const page = await openPage(scope, `${site.url}/page.html`);
    await page.waitForFunction(() => window.askr);
    page.requests = [];
    page.on('request', (request) => { if (request.method() !== 'OPTIONS') page.requests.push(new URL(request.url()).pathname); });
    return page;
  };
  return { askrd, site, options, open };
}

/** PHP signs; the cookie is set, too. */
const sign = (page, what) => page.evaluate(async (what) => {
  const answer = await fetch('/token', { method: 'POST', body: JSON.stringify({ user: 'ada', ttl: 600, ...what }) });
  return (await answer.json()).token;
}, what);

/** Echo on these private channels, authorized by `how`; resolves when all are subscribed. */
function subscribeAll([options, count, how]) {
  const handlers = {
    endpoint: () => ({}),
    cookie: () => ({ channelAuthorization: { customHandler: askr.tokenAuthorization() } }),
    meta: () => ({ channelAuthorization: { customHandler: askr.tokenAuthorization() } }),
    fetched: () => ({
      channelAuthorization: {
        customHandler: askr.tokenAuthorization({
          token: async () => (await (await fetch('/token', { method: 'POST', body: JSON.stringify({ user: 'ada', ttl: 600, patterns: ['private-orders.*'] }) })).json()).token,
        }),
      },
    }),
  };
  const echo = window.echo = new Echo.default({ ...options, ...handlers[how]() });
  return Promise.all(Array.from({ length: count }, (_, n) => new Promise((resolve, reject) => {
    echo.private(`orders.${n}`).subscribed(resolve).error((why) => reject(new Error(JSON.stringify(why))));
  })));
}

test('40 private channels: 40 requests with /broadcasting/auth, none with a token in a cookie or in the page, one with a function', scoped(async (scope, t) => {
  const { options, open } = await start(scope);
  const needed = {};
  for (const how of ['endpoint', 'cookie', 'meta', 'fetched']) {
    const page = await open();
    const token = how === 'cookie' || how === 'meta' ? await sign(page, { patterns: ['private-orders.*'] }) : undefined;
    if (how === 'meta') {
      await page.context().clearCookies();
      await page.evaluate((token) => {
        const meta = Object.assign(document.createElement('meta'), { name: 'askr-token', content: token });
        document.head.append(meta);
      }, token);
    }
    page.requests.length = 0;
    await page.evaluate(subscribeAll, [options, 40, how]);
    needed[how] = page.requests.filter((path) => !path.startsWith('/app/')).length;
    assert.deepEqual(page.problems, []);
    await page.context().browser().close();
  }
  t.diagnostic(`requests for 40 private channels: ${JSON.stringify(needed)}`);
  assert.deepEqual(needed, { endpoint: 40, cookie: 0, meta: 0, fetched: 1 });
}));

test('presence, whispers, encrypted channels and refusals are as with signatures', scoped(async (scope) => {
  const { site, options, open } = await start(scope);
  const [ada, bob] = [await open(), await open()];
  const server = serverLibrary(site.port);
  const seen = (page) => page.evaluate(() => window.seen);
  const join = (page, [options, token, encrypted]) => page.evaluate(([options, token, encrypted]) => {
    window.seen = { here: [], joined: [], whispers: [], vault: [], refused: [] };
    const otherwise = encrypted ? askr.endpoint(options.authEndpoint, options.auth.headers) : undefined;
    const authorization = token === 'signatures' ? {} : { channelAuthorization: { customHandler: askr.tokenAuthorization({ token, otherwise }) } };
    const echo = window.echo = new Echo.default({ ...options, ...authorization });
    window.team = echo.join('team')
      .here((members) => { seen.here = members.map(({ name }) => name).sort(); })
      .joining(({ name }) => seen.joined.push(name))
      .listenForWhisper('typing', (data) => seen.whispers.push(data));
    echo.encryptedPrivate('vault').listen('.opened', (data) => seen.vault.push(data)).error(({ error }) => seen.refused.push(error));
    echo.private('closed').error(({ error, status }) => seen.refused.push(status ?? error));
    return new Promise((resolve) => { window.team.subscribed(() => resolve(echo.connector.pusher.channel('presence-team').members.me.id)); });
  }, [options, token, encrypted]);
  const token = await sign(ada, { channels: ['presence-team', 'private-encrypted-vault'] });
  assert.equal(await join(ada, [options, token, true]), 'ada');
  assert.equal(await join(bob, [{ ...options, auth: { headers: { 'X-User': 'bob' } } }, 'signatures']), 'bob');
  await until('ada sees bob', async () => (await seen(ada)).joined.length > 0);
  assert.deepEqual([(await seen(ada)).here, (await seen(ada)).joined], [['Ada'], ['BOB']]);
  assert.deepEqual((await seen(bob)).here, ['Ada', 'BOB']);
  await ada.evaluate(() => { window.team.whisper('typing', { n: 1 }); });
  await until('bob has the whisper', async () => (await seen(bob)).whispers.length > 0);
  await until('the vault is subscribed', async () => (await (await server.get({ path: '/channels/private-encrypted-vault' })).json()).occupied);
  await until('the closed channel is refused', async () => (await seen(ada)).refused.length > 0);
  assert.deepEqual((await seen(ada)).refused, [403]);
  await server.trigger('private-encrypted-vault', 'opened', { n: 2 });
  await until('it is decrypted', async () => (await seen(ada)).vault.length > 0);
  assert.deepEqual((await seen(ada)).vault, [{ n: 2 }]);
  assert.deepEqual(ada.problems, []);

  // Without a way to its shared secret an encrypted channel is refused, and says why.
  const other = await open();
  await join(other, [options, token, false]);
  await until('both are refused', async () => (await seen(other)).refused.length > 1);
  assert.match((await seen(other)).refused.find((why) => why !== 403), /shared_secret/);

  // With the cookie the page says who its user is; otherwise it is told what is missing, and the server goes by the token.
  const cookie = await open();
  await sign(cookie, { channels: ['presence-team'] });
  const me = (user) => cookie.evaluate(([options, user]) => new Promise((resolve) => {
    window.echo?.disconnect();
    const echo = window.echo = new Echo.default({ ...options, channelAuthorization: { customHandler: askr.tokenAuthorization({ user }) } });
    echo.join('team').here((members) => resolve([echo.connector.pusher.channel('presence-team').members.me.info.name, members.length])).error(({ error }) => resolve(error));
  }), [options, user]);
  assert.match(await me(undefined), /pusher-js has to know who the page's user is/);
  assert.deepEqual(await me({ id: 'ada' }), ['Ada', 2]);
}));

test('a token ends: the page comes back with the next one, and a token that has ended is told', scoped(async (scope) => {
  const { askrd, options, open } = await start(scope, { auth: { expiry_notice: 1 } });
  const page = await open();
  await page.evaluate((options) => {
    window.seen = [];
    window.ttls = [3, 600];
    const token = async () => (await (await fetch('/token', { method: 'POST', body: JSON.stringify({ user: 'ada', ttl: window.ttls.shift(), channels: ['private-a'] }) })).json()).token;
    const echo = window.echo = new Echo.default({ ...options, channelAuthorization: { customHandler: askr.tokenAuthorization({ token }) } });
    const { pusher } = echo.connector;
    pusher.bind('askr:expiring', () => seen.push('expiring'));
    pusher.connection.bind('connected', () => seen.push('connected'));
    echo.private('a').subscribed(() => seen.push('subscribed')).listen('.n', ({ n }) => seen.push(n));
  }, options);
  const seen = () => page.evaluate(() => window.seen);
  await until('the page is back', async () => (await seen()).filter((what) => what === 'subscribed').length > 1);
  await publish(scope, askrd, 'private-a', '{"n":1}', { event: 'n' });
  await until('the event is there', async () => (await seen()).includes(1));
  assert.deepEqual(await seen(), ['connected', 'subscribed', 'expiring', 'connected', 'subscribed', 1]);

  // It cannot be renewed any more: told once, and the connection stays.
  const late = await open();
  await late.evaluate(([options, token]) => {
    window.seen = [];
    const echo = window.echo = new Echo.default({ ...options, channelAuthorization: { customHandler: askr.tokenAuthorization({ token }) } });
    echo.private('a').subscribed(() => seen.push('subscribed')).error(({ status }) => seen.push(status));
    echo.channel('open').subscribed(() => seen.push('open'));
  }, [options, await sign(late, { channels: ['private-a'], ttl: 2 })]);
  const told = () => late.evaluate(() => window.seen);
  await until('it is told', async () => (await told()).includes(401));
  await until('the public channel is back', async () => (await told()).filter((what) => what === 'open').length === 2);
  assert.deepEqual((await told()).filter((what) => what !== 'open'), ['subscribed', 401]);
  assert.equal(await late.evaluate(() => echo.connector.pusher.connection.state), 'connected');
}));
