// The package askr/laravel in a Laravel 8.83 application under PHP-FPM and nginx, with queue workers, stock Echo and Chromium.

import test from 'node:test';
import assert from 'node:assert/strict';
import {
  chmodSync, chownSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Askrd } from '../lib/askrd.mjs';
import { PHP, ROOT, TESTS } from '../lib/built.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { services } from '../lib/people.mjs';
import { phpEnvironment, startSite } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { APP, first, rawSocket, recorded, startEcho, startPusher, subscribed } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const DIR = path.join(TESTS, 'laravel-package-app');

/** askrd, and a site whose default connection is `driver`. */
async function start(scope, { driver = 'askr', settings = {}, env = {}, name = 'site', askrd, files = {} } = {}) {
  const { web } = services();
  const storage = scope.path(`${name}-storage`);
  mkdirSync(storage);
  if (web.uid !== undefined) chownSync(storage, web.uid, web.gid);
  askrd ??= await startPusher(scope, settings);
  const environment = {
    APP_STORAGE: storage, BROADCAST_DRIVER: driver,
    ASKR_APP_ID: APP.id, ASKR_APP_KEY: APP.key, ASKR_APP_SECRET: APP.secret, ASKR_URL: `http://127.0.0.1:${askrd.port}`, ...env,
  };
  const ini = { 'askr.control': askrd.control };
  const site = await startSite(scope, askrd, { front: path.join(DIR, 'public/index.php'), env: environment, ini, name, files });
  const post = async (url, { json, headers = {} } = {}) => {
    const answer = await ask(site, url, {
      method: 'POST', headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(json ?? {}),
    });
    assert.equal(answer.status, 200, `${url}: ${answer.body} ${log(storage)}`);
    return JSON.parse(answer.body);
  };
  const as = { uid: web.uid, gid: web.gid, env: { ...environment, ...phpEnvironment(scope, askrd, ini) } };
  const artisan = async (...args) => {
    const done = await run(PHP, [path.join(DIR, 'artisan'), ...args], as);
    return { ...done, all: `${done.out}${done.err}` };
  };
  const worker = async () => {
    await run('touch', [path.join(storage, 'database.sqlite')], { uid: web.uid, gid: web.gid });
    const migrated = await artisan('migrate', '--force');
    assert.equal(migrated.code, 0, migrated.all);
    return scope.start(`${name}-worker`, PHP, [path.join(DIR, 'artisan'), 'queue:work', '--sleep=0.05', '--tries=3', '--backoff=0'], as);
  };
  return { askrd, site, storage, post, artisan, worker, echo: (user) => startEcho(scope, site.port, site, user) };
}

/** Jobs that a worker has begun, and done, by the words of Laravel 8 and of 9 and later. */
const begun = (worker) => (worker.output().match(/Processing|RUNNING/g) ?? []).length;
const done = (worker) => (worker.output().match(/Processed|DONE/g) ?? []).length;

const log = (storage) => (existsSync(path.join(storage, 'logs/laravel.log')) ? readFileSync(path.join(storage, 'logs/laravel.log'), 'utf8').slice(0, 500) : '');

/** A subscriber of Pusher's protocol that keeps its frames as they came. */
async function pusherSubscriber(scope, port, channels, auth = {}) {
  const raw = await rawSocket(scope, port, `/app/${APP.key}?protocol=7&client=test&version=1`);
  const { socket_id: socket } = JSON.parse((await raw.next('pusher:connection_established')).data);
  for (const channel of channels) {
    raw.send('pusher:subscribe', { channel, ...(await auth[channel]?.(socket)) });
    await raw.next('pusher_internal:subscription_succeeded', channel);
  }
  return { socket, events: () => raw.texts.filter((text) => !/"event":"pusher(_internal)?:/.test(text)) };
}

test('events are the same to the byte as those of Laravel\'s own driver for Pusher', scoped(async (scope) => {
  const ours = await start(scope);
  const theirs = await start(scope, { driver: 'pusher', name: 'pusher', askrd: ours.askrd });
  const sign = (channel) => async (socket_id) => JSON.parse((await ask(ours.site, '/broadcasting/auth', {
    method: 'POST', headers: { 'X-User': 'ada', 'Content-Type': 'application/json' }, body: JSON.stringify({ socket_id, channel_name: channel }),
  })).body);
  const subscriber = await pusherSubscriber(scope, ours.askrd.port, ['orders', 'private-orders.7'], { 'private-orders.7': sign('private-orders.7') });
  const sse = await subscribe(scope, ours.askrd.tcp, 'orders');
  const workers = [await ours.worker(), await theirs.worker()];

  const more = [
    undefined, [], { a: 1 }, { html: '</script><b>&"\'', path: 'a/b', umlaut: 'Grüße \u{1F69A}', nul: '\u0000', line: '\u2028' },
    { numbers: [0, -1, 1.5, 1e21, 0.1], deep: { list: [[], {}, [null, true]] } }, { '': 'empty key', 7: 'number' },
  ];
  let frames = 0;
  for (const data of more) {
    for (const one of [ours, theirs]) {
      await one.post('/orders/7/paid', { json: data === undefined ? {} : { more: data } });
      frames += 2;
      await until('both of its frames are there', () => subscriber.events().length === frames);
    }
    const [a, b, c, d] = subscriber.events().slice(-4);
    assert.deepEqual([a, b].sort(), [c, d].sort());
  }
  // Queued, named by broadcastAs(), with data of broadcastWith().
  for (const one of [ours, theirs]) {
    await one.post('/orders/7/shipped');
    frames += 1;
    await until(`its frame is there: ${workers.map((worker) => worker.output())}`, () => subscriber.events().length === frames);
  }
  const [mine, other] = subscriber.events().slice(-2);
  assert.match(mine, /order\.shipped/);
  assert.equal(mine, other);
  const events = await sse.take(2 * more.length);
  for (let n = 0; n < events.length; n += 2) assert.deepEqual([events[n].event, events[n].data], [events[n + 1].event, events[n + 1].data]);
}));

test('stock Echo hears what the driver and the facade publish; the page that asked does not', scoped(async (scope) => {
  const { site, post, echo: connect } = await start(scope);
  const echo = async (user) => {
    const one = await connect(user);
    const [open, closed] = [one.channel('orders'), one.private('orders.17')];
    const lists = [recorded(open), recorded(closed)];
    await Promise.all([open, closed].map(subscribed));
    return { one, lists };
  };
  const [ada, bob] = [await echo('ada'), await echo('bob')];
  await assert.rejects(subscribed(ada.one.private('orders.18')), ({ status }) => status === 403);
  const here = await new Promise((resolve) => { ada.one.join('team').here(resolve); });
  assert.deepEqual(here, [{ name: 'ADA' }]);

  const headers = { 'X-Socket-ID': ada.one.socketId() };
  await post('/orders/17/paid', { headers });
  assert.deepEqual(await post('/orders/17/facade', { headers }), { sent: true });
  await post('/orders/17/paid');
  const paid = { event: 'OrderPaid', data: { order: 17, more: [] } };
  assert.deepEqual(await first(bob.lists[0], 2), [paid, paid]);
  assert.deepEqual(await first(bob.lists[1], 3), [paid, { event: '.shipped', data: { order: 17 } }, paid]);
  for (const list of ada.lists) {
    assert.deepEqual(await first(list, 1), [paid], 'the last one, which left nobody out');
    assert.equal(list.length, 1);
  }
  const asked = JSON.parse((await ask(site, '/asked?channel=private-orders.17')).body);
  assert.equal(asked.history.length, 3);
  assert.deepEqual(asked.members, [{ id: 'ada', info: { name: 'ADA' } }]);
  assert.equal(asked.channels['private-orders.17'], 2);
  assert.match(asked.cursor, /^[0-9a-f]{12}-\d+$/);
}));

test('a page goes on from where it was rendered, with one request for its channels, until its user signs out', scoped(async (scope) => {
  const { site, post, askrd } = await start(scope);
  const page = await openPage(scope, `${site.url}/page`);
  const call = (url, body = {}) => page.evaluate(async ([url, body]) => {
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json' }, body: JSON.stringify(body) });
    return [answer.status, await answer.json()];
  }, [url, body]);
  const channels = [...Array(40).keys()].map((n) => `private-orders.${n}`);
  assert.equal((await call('/broadcasting/askr/token', { channels }))[0], 403, 'nobody is signed in');
  await call('/login/ada');
  await page.goto(`${site.url}/page`);
  // Published while the page is on its way to the browser.
  await post('/orders/7/paid');
  const [status, token] = await call('/broadcasting/askr/token', { channels });
  assert.equal(status, 200);
  assert.deepEqual(Object.entries(token.channels).filter(([, open]) => !open), [['private-orders.18', false]]);
  const cursor = await page.evaluate(() => document.querySelector('meta[name="askr-cursor"]').content);
  const wanted = channels.filter((channel) => token.channels[channel]);
  const url = `/askr/events?${wanted.map((channel) => `channel=${channel}`).join('&')}&last_event_id=${cursor}`;
  await listen(page, url, ['App\\Events\\OrderPaid', 'askr:gap', 'askr:expiring']);
  await post('/orders/39/paid');
  assert.deepEqual((await seen(page, 2)).map(({ data }) => JSON.parse(data).order), [7, 39]);
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read the token');

  // A restart and a kill of askrd: the cookie goes on.
  await askrd.kill();
  await post('/orders/1/paid');
  await askrd.start();
  assert.deepEqual((await seen(page, 3)).map(({ data }) => JSON.parse(data).order), [7, 39, 1]);

  const stream = await page.evaluate((url) => { window.test = url; return fetch(url).then((answer) => { answer.body.cancel(); return answer.status; }); }, url);
  assert.equal(stream, 200);
  await call('/logout');
  await page.waitForFunction(() => window.source.readyState === 2, null, { polling: 50 });
  assert.equal(await page.evaluate((url) => fetch(url).then(({ status }) => status), url), 401);
}));

test('the token of one request opens the channels of a Pusher client, too, and nothing is signed for each', scoped(async (scope) => {
  const { site, post, askrd } = await start(scope);
  const channels = ['private-orders.7', 'private-orders.9', 'presence-team'];
  const answer = await ask(site, '/broadcasting/askr/token', {
    method: 'POST', headers: { 'X-User': 'ada', 'Content-Type': 'application/json' }, body: JSON.stringify({ channels }),
  });
  assert.equal(answer.status, 200, answer.body);
  const cookies = answer.headers['set-cookie'].filter((cookie) => cookie.startsWith('askr_token='));
  assert.deepEqual(cookies.map((cookie) => cookie.match(/path=([^;]*)/)[1]), ['/askr', '/app']);
  const Cookie = cookies[1].split(';')[0];
  const raw = await rawSocket(scope, site.port, `/app/${APP.key}?protocol=7&client=test&version=1`, { Cookie, Origin: site.url });
  await raw.next('pusher:connection_established');
  for (const channel of channels) {
    raw.send('pusher:subscribe', { channel });
    await raw.next('pusher_internal:subscription_succeeded', channel);
  }
  await post('/orders/9/paid');
  await raw.next('App\\Events\\OrderPaid', 'private-orders.9');
  raw.send('pusher:subscribe', { channel: 'private-orders.18' });
  await raw.next('pusher:subscription_error', 'private-orders.18');
  // Signing out ends this connection as well.
  assert.equal((await ask(site, '/logout', { method: 'POST', headers: { 'X-User': 'ada' } })).status, 200);
  await until('the connection has ended', () => raw.closed);
  assert.equal(raw.closed.code, 4009);
  assert.equal(askrd.process.ended, undefined);
}));

test('a token that ends is renewed by the same request, and what is closed by then stays closed', scoped(async (scope) => {
  const { site, post } = await start(scope, { settings: { auth: { expiry_notice: 6 } }, env: { ASKR_TEST_TTL: '9' } });
  const page = await openPage(scope, `${site.url}/page`);
  const renew = () => page.evaluate(() => fetch('/broadcasting/askr/token', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ channels: ['private-orders.7'] }),
  }).then(({ status }) => status));
  await page.evaluate(() => fetch('/login/ada', { method: 'POST' }));
  assert.equal(await renew(), 200);
  await listen(page, '/askr/events?channel=private-orders.7', ['App\\Events\\OrderPaid', 'askr:expiring', 'askr:gap']);
  await post('/orders/7/paid');
  await page.waitForFunction(() => window.seen.some(({ event }) => event === 'askr:expiring'), null, { timeout: 30_000, polling: 50 });
  assert.equal(await renew(), 200);
  // The stream ends with its first token, and comes back with the next.
  await page.waitForFunction(() => window.opens >= 2, null, { timeout: 30_000, polling: 50 });
  await post('/orders/7/paid');
  await page.waitForFunction(() => window.seen.filter(({ event }) => event.includes('OrderPaid')).length === 2, null, { polling: 50 });
  assert.equal((await page.evaluate(() => window.seen)).filter(({ event }) => event === 'askr:gap').length, 0);
}));

test('a job that fails after it published, and is tried again, is heard once', scoped(async (scope) => {
  const { askrd, post, worker, storage } = await start(scope);
  const process = await worker();
  const heard = await subscribe(scope, askrd.tcp, 'orders');
  const history = (channel) => askrd.cli(['history', channel, '--config', askrd.config]).then(({ out }) => out.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line)));
  await post('/orders/7/shipped?die=1');
  await until('it failed, and was tried again', () => done(process) === 1);
  assert.ok(existsSync(path.join(storage, 'died-once')));
  assert.equal(begun(process), 2, process.output());
  await post('/orders/7/shipped');
  await until('the other job is done', () => done(process) === 2);
  const events = await history('private-orders.7');
  assert.equal(events.length, 2, 'one of each job');
  assert.equal(heard.events.length, 0);
}));

test('a worker lives through a ring of another size, a restart and a kill of askrd; nothing is lost', scoped(async (scope) => {
  const { askrd, post, worker } = await start(scope);
  const process = await worker();
  const history = async () => {
    const { out } = await askrd.cli(['history', 'private-orders.7', '--limit', '100', '--config', askrd.config]);
    return out.trim().split('\n').filter(Boolean).length;
  };
  const ship = async (count) => {
    const before = done(process);
    for (let n = 1; n <= count; n += 1) {
      await post('/orders/7/shipped');
      // One after the other: where the queue is an SQLite file, a job that ends while another comes may find it locked, and
      // is tried again only after 90 s.
      await until('the worker has published it', () => done(process) === before + n);
    }
  };
  await ship(3);
  await until('askrd has them', async () => (await history()) === 3);

  await askrd.stop();
  await ship(2);
  const larger = await new Askrd(scope, { ...askrd.settings, ring: { ...askrd.settings.ring, slots: 65536 } }).start();
  await ship(2);
  await until('none is missing after another size', async () => (await history()) === 7);

  await larger.kill();
  await ship(2);
  await larger.start();
  await ship(1);
  await until('none is missing after a kill', async () => (await history()) === 10);
  assert.equal(process.ended, undefined, 'it is the same worker');
  assert.doesNotMatch(process.output(), /Failed|FAIL/);
}));

test('what askrd tells the application arrives as Laravel\'s events', scoped(async (scope) => {
  const port = await freePort();
  const hooks = { app: { webhook_url: `http://127.0.0.1:${port}/broadcasting/askr/webhook` } };
  const { site, storage, echo: connect } = await start(scope, { settings: hooks });
  // nginx has a port of its own choice; what askrd calls is passed on there.
  const server = net.createServer((from) => {
    const to = net.connect(site.port, '127.0.0.1');
    from.pipe(to).pipe(from);
    for (const end of [from, to]) end.on('error', () => {});
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  scope.defer(() => server.close());
  const echo = await connect('ada');
  await subscribed(echo.join('team'));
  echo.join('team').whisper('typing', { x: 1 });
  const told = () => (existsSync(path.join(storage, 'webhooks.log')) ? readFileSync(path.join(storage, 'webhooks.log'), 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : []);
  await until('the whisper is told', () => told().some(([name]) => name === 'ClientEvent'));
  echo.leave('team');
  await until('the end is told', () => told().some(([name]) => name === 'ChannelVacated'));
  assert.deepEqual(told().filter(([name]) => name !== 'SubscriptionCounted'), [
    ['ChannelOccupied', 'presence-team', null, null],
    ['MemberAdded', 'presence-team', 'ada', null],
    ['ClientEvent', 'presence-team', 'ada', 'client-typing'],
    ['MemberRemoved', 'presence-team', 'ada', null],
    ['ChannelVacated', 'presence-team', null, null],
  ]);
}));

test('a page that comes late to a text that is being written has all of it', scoped(async (scope) => {
  const { site, post } = await start(scope);
  const text = 'Once upon a time there was a truck \u{1F69A}, and it went home.';
  const page = await openPage(scope, `${site.url}/page`);
  const names = ['text.start', 'text.part', 'text.end', 'askr:gap'];
  assert.deepEqual(await post('/story', { json: { channel: 'story', text } }), { text });
  await listen(page, '/askr/events?channel=story&rewind=all', names);
  const all = await seen(page, 3 + text.split(' ').length - 1);
  assert.equal(all.filter(({ event }) => event === 'text.part').map(({ data }) => JSON.parse(data).text).join(''), text);
  assert.deepEqual([all.at(0).event, all.at(-1).event], ['text.start', 'text.end']);
}));

test('without the extension\'s ring the same application goes over HTTP, and Echo hears the same', scoped(async (scope) => {
  const { site, post, storage, askrd, echo } = await start(scope, { env: { ASKR_TRANSPORT: 'http' } });
  const bob = await echo('bob');
  const list = recorded(bob.private('orders.17'));
  await subscribed(bob.private('orders.17'));
  await post('/orders/17/paid', { headers: { 'X-Socket-ID': 'nonsense' } });
  assert.deepEqual(await first(list, 1), [{ event: 'OrderPaid', data: { order: 17, more: [] } }]);
  await askrd.stop();
  const failed = await ask(site, '/orders/17/paid', { method: 'POST' });
  assert.equal(failed.status, 500);
  assert.match(readFileSync(path.join(storage, 'logs/laravel.log'), 'utf8'), /BroadcastException.*Askr: askrd does not answer at/);
}));

/** A copy of the application as `composer create-project` leaves one, without anything of broadcasting set up. */
async function skeleton(scope, files) {
  const { web } = services();
  const dir = scope.path('app');
  cpSync(DIR, dir, { recursive: true });
  rmSync(path.join(dir, 'routes/channels.php'));
  for (const [file, text] of Object.entries({
    'package.json': '{"devDependencies":{"vite":"^7.0"}}', 'vite.config.js': 'export default {};\n', '.gitignore': '/node_modules\n',
    'resources/js/app.js': "import './bootstrap';\n", 'resources/js/bootstrap.js': 'window.x = 1;\n', ...files,
  })) {
    mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    writeFileSync(path.join(dir, file), text);
  }
  const storage = scope.path('app-storage');
  mkdirSync(storage);
  for (const one of [dir, storage, ...readdirSync(dir, { recursive: true }).map((name) => path.join(dir, name))]) {
    if (web.uid !== undefined) chownSync(one, web.uid, web.gid);
  }
  const env = { APP_STORAGE: storage, ASKR_ROOT: ROOT };
  /** As the web's user, who is not root; `ini` is PHP's environment. */
  const artisan = async (args, ini = {}) => {
    const done = await run(PHP, [path.join(dir, 'artisan'), ...args], { uid: web.uid, gid: web.gid, cwd: dir, env: { ...env, ...ini } });
    return { code: done.code, said: `${done.out}${done.err}` };
  };
  return { dir, env, artisan, file: (name) => readFileSync(path.join(dir, name), 'utf8') };
}

/** Echo with the options that a page's script gives it, built as Vite would with this .env. */
async function builtEcho(scope, script, env, host, port) {
  const vars = {};
  for (const [, name, value] of env.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)) vars[name] = value.replace(/\$\{(\w+)\}/g, (_, other) => vars[other] ?? '');
  const options = script.slice(script.indexOf('new Echo(') + 9, script.lastIndexOf('})') + 1).replaceAll('import.meta.env.', 'env.');
  const given = new Function('env', 'window', `return ${options}`)(vars, { location: { hostname: host } });
  assert.equal(given.broadcaster, 'reverb');
  const url = `http://${host}:${port}`;
  return startEcho(scope, given.wsPort, { url }, 'ada', { ...given, headers: {} });
}

/** What the installer leaves is served: askrd by its askr.toml, the application by its .env, Echo by its script. */
async function works(scope, { dir, env, file, artisan }, port, script) {
  const { group } = services();
  const ring = `${scope.shm}/ring`;
  const control = scope.path('control.sock');
  const askrd = new Askrd(scope, { server: { control } });
  copyFileSync(path.join(dir, 'askr.toml'), askrd.config);
  if (askrd.user.uid !== undefined) chownSync(askrd.config, askrd.user.uid, askrd.user.gid);
  // What is one for a machine is one for this test.
  const apart = { ASKR_RING_NAME: ring, ASKR_SERVER_CONTROL: control, ...(group ? { ASKR_RING_GROUP: group } : {}) };
  const process = scope.start('askrd-of-the-installer', askrd.binary, ['serve', '--config', askrd.config],
    { uid: askrd.user.uid, gid: askrd.user.gid, env: { RUST_LOG: 'info', ...apart } });
  await until('askrd is ready', async () => {
    if (process.ended) throw new Error(process.output());
    return (await askrd.readiness().catch(() => null))?.status === 200;
  });
  const ini = { 'askr.control': control };
  const status = await artisan(['askr:status'], phpEnvironment(scope, askrd, ini));
  assert.equal(status.code, 0, status.said);
  const site = await startSite(scope, askrd, { front: path.join(dir, 'public/index.php'), env, ini });
  const echo = await builtEcho(scope, script, file('.env'), '127.0.0.1', site.port);
  assert.equal(port, echo.connector.options.wsPort * 1);
  const list = recorded(echo.channel('orders'));
  await subscribed(echo.channel('orders'));
  const answer = await ask(site, '/orders/7/paid', { method: 'POST' });
  assert.equal(answer.status, 200, answer.body);
  assert.deepEqual(await first(list, 1), [{ event: 'OrderPaid', data: { order: 7, more: [] } }]);
}

test('the installer makes a page that works of a fresh application; twice changes nothing', scoped(async (scope) => {
  const port = await freePort();
  const app = await skeleton(scope, { '.env': 'APP_URL=http://localhost\nBROADCAST_DRIVER=log\n' });
  const install = () => app.artisan(['askr:install', '--no-interaction', `--listen=127.0.0.1:${port}`]);
  // Neither root nor the extension are there; both are said, with the command.
  const first = await install();
  assert.equal(first.code, 0, first.said);
  assert.match(first.said, /The extension is not loaded: events go over HTTP/);
  assert.match(first.said, /askrd --config .*askr\.toml|sudo install -b -m 0640/);
  const files = ['.env', 'askr.toml', '.gitignore', 'routes/channels.php', 'resources/js/echo.js', 'resources/js/bootstrap.js'];
  const before = files.map(app.file);
  assert.equal((await install()).code, 0);
  assert.deepEqual(files.map(app.file), before);
  assert.equal(statSync(path.join(app.dir, 'askr.toml')).mode & 0o777, 0o600);
  // As it is deployed.
  for (const command of ['config:cache', 'route:cache']) {
    const cached = await app.artisan([command]);
    assert.equal(cached.code, 0, cached.said);
  }
  await works(scope, app, port, app.file('resources/js/echo.js'));
}));

test('the installer makes a page that works of one that used Reverb, whose script it leaves alone', scoped(async (scope) => {
  const port = await freePort();
  const echo = `import Echo from 'laravel-echo';

window.Echo = new Echo({
    broadcaster: 'reverb',
    key: import.meta.env.VITE_REVERB_APP_KEY,
    wsHost: import.meta.env.VITE_REVERB_HOST,
    wsPort: import.meta.env.VITE_REVERB_PORT ?? 80,
    wssPort: import.meta.env.VITE_REVERB_PORT ?? 443,
    forceTLS: (import.meta.env.VITE_REVERB_SCHEME ?? 'https') === 'https',
    enabledTransports: ['ws', 'wss'],
});
`;
  const app = await skeleton(scope, {
    '.env': `APP_URL=http://localhost:8000
BROADCAST_DRIVER=reverb

REVERB_APP_ID=736251
REVERB_APP_KEY=lq3jxw0kzv8rt5nc2hyd
REVERB_APP_SECRET=p7fm1ge4sua9dk6xob2w
REVERB_HOST="localhost"
REVERB_PORT=8080
REVERB_SCHEME=http

VITE_REVERB_APP_KEY="\${REVERB_APP_KEY}"
VITE_REVERB_HOST="\${REVERB_HOST}"
VITE_REVERB_PORT="\${REVERB_PORT}"
VITE_REVERB_SCHEME="\${REVERB_SCHEME}"
`,
    'resources/js/echo.js': echo, 'resources/js/bootstrap.js': "import './echo';\n",
  });
  const done = await app.artisan(['askr:install', '--no-interaction', `--listen=127.0.0.1:${port}`]);
  assert.equal(done.code, 0, done.said);
  assert.equal(app.file('resources/js/echo.js'), echo);
  assert.match(app.file('askr.toml'), /id = "736251"\nkey = "lq3jxw0kzv8rt5nc2hyd"\nsecret = "p7fm1ge4sua9dk6xob2w"/);
  await works(scope, app, port, echo);
}));

test('where the installer may not write, it says which file', scoped(async (scope) => {
  const app = await skeleton(scope, { '.env': 'APP_URL=http://localhost\n' });
  if (process.getuid() === 0) chownSync(path.join(app.dir, '.env'), 0, 0);
  chmodSync(path.join(app.dir, '.env'), 0o444);
  const done = await app.artisan(['askr:install', '--no-interaction']);
  assert.equal(done.code, 2, done.said);
  assert.match(done.said, /Nothing was changed: .*\.env cannot be written/);
  assert.ok(!existsSync(path.join(app.dir, 'askr.toml')));
}));
