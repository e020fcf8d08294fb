// The dashboard's panels that need something to happen, in Chromium and Firefox, each with known numbers: members, hosts, slow
// clients, refusals, a trace, and what is done from the page: the end of connections, a drain, a login that is tried too often.

import test from 'node:test';
import assert from 'node:assert/strict';
import { launch, open } from '../lib/browsers.mjs';
import { of, OPERATOR, rowsOf, shows, signedIn, streams, withDashboard } from '../lib/dashboard.mjs';
import { ask, freePort, rawConnection } from '../lib/http.mjs';
import { publish, publishAll } from '../lib/php.mjs';
import { APP, rawPusher, serverLibrary } from '../lib/pusher.mjs';
import { Redis } from '../lib/redis.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';

const ROOM = 'presence-room';
const HOSTILE = '<b onclick="window.hacked=1">Eve</b>';

/** Two hosts of one cluster, the first of which is looked at. */
async function hosts(scope) {
  const redis = await new Redis(scope, 'redis', { socketPath: scope.path('redis.sock') }).start();
  const host = async (name) => (await withDashboard(scope, {
    ring: { name: `${scope.shm}/${name}` },
    server: { listen: [`127.0.0.1:${await freePort()}`], workers: 1, outbox_bytes: '64KiB', channels_per_address: 200 },
    app: { ...APP, presence_grace: 0.0, channel_members: 4 },
    cluster: { url: `unix://${redis.where.socketPath}`, node: name, timeout: 0.5, lease: 1.0 },
  }, name)).start();
  return { redis, north: await host('north'), south: await host('south') };
}

async function joins(scope, { port }, user, name) {
  const socket = await rawPusher(scope, port);
  socket.send('pusher:subscribe', { channel: ROOM, ...serverLibrary(port).authorizeChannel(socket.socketId, ROOM, { user_id: user, user_info: { name } }) });
  return socket;
}

/** Waits until a table has these rows. */
async function has(page, table, expected) {
  let rows;
  await until(`${table} has its rows`, async () => {
    rows = await rowsOf(page, table);
    return JSON.stringify(rows) === JSON.stringify(expected);
  }, 20_000).catch(() => assert.deepEqual(rows, expected));
}

/** Asks for something of a channel. */
async function asks(page, channel, what) {
  await page.$eval('#channel [name=channel]', (input) => { input.value = ''; });
  await page.type('#channel [name=channel]', channel);
  await page.click(`#channel button[value=${what}]`);
}

/** Answers the question whether it should be, which must be this one. */
async function sure(page, question, answer) {
  await page.waitForSelector('#sure[open]');
  assert.match(await page.$eval('#sure-text', (text) => text.textContent), question);
  await page.click(`#sure button[value=${answer}]`);
  await until('the question is gone', async () => !(await page.$('#sure[open]')));
}

const values = (page, list) => page.evaluate((id) => Object.fromEntries([...document.querySelectorAll(`#${id} dd`)]
  .map((dd) => [dd.dataset.of, dd.textContent])), list);

/** Everything, with one browser. */
const within = (name) => scoped(async (scope, t) => {
  const { redis, north, south } = await hosts(scope);
  const browser = await launch(scope, name);
  const page = await signedIn(browser, north.dashboard);

  await t.test('members of a presence channel, on whichever host they are', async () => {
    const joined = [await joins(scope, north, '1', 'Ada'), await joins(scope, north, '2', HOSTILE), await joins(scope, south, '3', 'Ben'),
      await joins(scope, south, '1', 'Ada')];
    for (const socket of joined) await socket.next('pusher_internal:subscription_succeeded');
    await asks(page, ROOM, 'members');
    await shows(page, '#channel-said', '3 members');
    await has(page, 'channel-table', [['1', '{"name":"Ada"}', 'End'], ['2', JSON.stringify({ name: HOSTILE }), 'End'], ['3', '{"name":"Ben"}', 'End']]);
    await shows(page, of('connections', 'members'), '3');
    // All connections of a user, on all hosts.
    await page.click('#channel-table [aria-label="End 1"]');
    await sure(page, /^End all connections of the user 1, and refuse the tokens issued until now\?$/, 'no');
    assert.deepEqual([joined[0].closed, joined[3].closed, (await values(page, 'connections')).members], [null, null, '3']);
    await page.click('#channel-table [aria-label="End 1"]');
    await sure(page, /^End all connections of the user 1/, 'yes');
    await shows(page, '#end-said', '2 ended (1)');
    for (const socket of [joined[0], joined[3]]) await socket.end();
    await asks(page, ROOM, 'members');
    await shows(page, '#channel-said', '2 members');
    for (const { socket } of joined) socket.close();
    await shows(page, of('connections', 'members'), '0');
  });

  await t.test('hosts, with what is to be relayed while the server hangs', async () => {
    const [version] = (await page.$eval('#state', (state) => state.textContent)).match(/\d+\.\d+\.\d+/);
    const lags = async () => (await rowsOf(page, 'nodes')).map((row) => row.toSpliced(4, 1));
    let rows;
    const are = (what, expected) => until(what, async () => JSON.stringify(rows = await lags()) === JSON.stringify(expected), 30_000)
      .catch(() => assert.deepEqual(rows, expected, what));
    const calm = [[APP.id, 'north', version, 'this one', '0 to relay'], [APP.id, 'south', version, 'lives', '0 to import']];
    await are('both live', calm);
    redis.process.signal('SIGSTOP');
    await publishAll(scope, north, Array.from({ length: 70 }, (_, n) => ({ channel: 'a', payload: `${n}` })));
    await until('it is cut off', async () => (await rowsOf(page, 'nodes'))[0]?.[3] === 'cut off');
    await until('all that waits is counted', async () => (await lags())[0][4] === '70 to relay');
    assert.match((await rowsOf(page, 'nodes'))[0][1], /does not respond in time/);
    await asks(page, ROOM, 'members');
    await shows(page, '#channel-said', '0 members; other hosts cannot be reached: theirs are those of when they were last heard of');
    await asks(page, 'a', 'events');
    await shows(page, '#channel-said', '50 events, the newest last; other hosts cannot be reached: what they have published since is not there');
    redis.process.signal('SIGCONT');
    await are('all is relayed', calm);
    await asks(page, 'a', 'events');
    await shows(page, '#channel-said', '50 events, the newest last');
  });
  // It takes a while until that is known: looked at last.
  await south.kill();

  await t.test('slow clients, and the end of one', async () => {
    const slow = rawConnection(scope, north);
    slow.write(`GET ${eventsPath('big')} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await slow.until('it is told who it is', ({ received }) => /"socket_id":"[^"]+".*\n\n/.test(received));
    const [, id] = /"socket_id":"([^"]+)"/.exec(slow.received);
    slow.socket.pause();
    // Its socket takes some megabytes before it is full.
    for (let full = false; !full;) {
      await publishAll(scope, north, Array.from({ length: 30 }, () => ({ channel: 'big', payload: 'x'.repeat(100_000) })));
      full = Number((await values(page, 'slow-totals'))['switched to replay']) > 0;
    }
    await until('it is listed', async () => (await rowsOf(page, 'slow')).length === 1);
    const [[socket, user, transport, channels, waiting, state]] = await rowsOf(page, 'slow');
    assert.deepEqual([socket, user, transport, channels, state], [id, '', 'sse', '1', 'replays']);
    assert.match(waiting, /^[\d.,]+ [KM]?i?B$/);
    await shows(page, of('slow-totals', 'switched to replay'), '1');
    await page.click(`[aria-label="End ${id}"]`);
    await sure(page, new RegExp(`^End the connection ${id}\\?`), 'no');
    assert.equal((await rowsOf(page, 'slow')).length, 1);
    await page.click(`[aria-label="End ${id}"]`);
    await sure(page, new RegExp(`^End the connection ${id}\\?`), 'yes');
    // The other host may count among the living for a moment still, and gives no answer.
    await shows(page, '#end-said', new RegExp(`^1 ended \\(${id.replace('.', '\\.')}\\)(; hosts that did not answer: 1)?$`));
    slow.socket.resume();
    await slow.end();
    await until('it is not listed any more', async () => (await rowsOf(page, 'slow')).length === 0);
  });

  await t.test('refusals, each with the line of settings that would allow it', async () => {
    const refused = async (times, path, headers, status) => {
      for (let n = 0; n < times; n += 1) assert.equal((await ask(north, path, { headers })).status, status, path);
    };
    await refused(3, eventsPath('a'), { Origin: 'https://shop.example' }, 403);
    await refused(2, '/events', {}, 404);
    await refused(1, eventsPath('private-a'), {}, 401);
    await refused(2, eventsPath(Array.from({ length: 201 }, (_, n) => `c${n}`)), {}, 400);
    for (const user of ['1', '2', '3', '4', '5', '6']) await (await joins(scope, north, `${user}0`, user)).next(user < '5' ? 'pusher_internal:subscription_succeeded' : 'pusher:subscription_error');
    const expected = {
      'reason: origin': '3', 'reason: path': '2', 'reason: credentials': '1', 'limit: members (app.channel_members, app.members)': '2',
      'status 400': '2', 'status 401': '1', 'status 403': '3', 'status 404': '2', 'presence: members_of_channel': '2',
    };
    let counted;
    await until('all are counted', async () => {
      counted = await values(page, 'refusals');
      return Object.entries(expected).every(([what, count]) => counted[what] === count);
    }, 20_000).catch(() => assert.deepEqual(counted, expected));
    const notes = await page.$$eval('#notes li', (all) => all.map((one) => one.textContent));
    for (const line of [/https:\/\/shop\.example" is not allowed: \[server\] allowed_origins = \["https:\/\/shop\.example"\] allows it/,
      /there is nothing at path "\/events": events are at \/askr\/events/, /no credentials for "private-a": it needs a token/]) {
      assert.ok(notes.some((note) => line.test(note)), `${line} in ${notes.join('\n')}`);
    }
  });

  await t.test('what happened to an event', async () => {
    const [author] = [await subscribe(scope, north, 'traced'), await subscribe(scope, north, 'traced'), await subscribe(scope, north, 'traced')];
    await author.until('it was told who it is', ({ connected }) => connected.length > 0);
    const { socket_id: id } = author.connected[0];
    await asks(page, 'traced', 'trace');
    await shows(page, '#channel-said', 'tracing for a minute: 0 records');
    await publish(scope, north, 'traced', '<i>hello', { except: id });
    await shows(page, '#channel-said', 'tracing for a minute: 3 records');
    const rows = await rowsOf(page, 'channel-table');
    assert.deepEqual(rows.map(([, , what]) => what), ['read from the ring, 8 bytes, for workers 0',
      `worker 0: 2 streams get it, 1 do not; ${id} (left out by the publisher)`, 'worker 0: written']);
    for (const [cursor, after] of rows) {
      assert.equal(cursor, rows[0][0]);
      assert.match(after, /^[\d.,]+ µs$/);
    }
    // Somebody who has no right is seen when it tries.
    await asks(page, 'private-traced', 'trace');
    await shows(page, '#channel-said', 'tracing for a minute: 0 records');
    assert.equal((await ask(north, eventsPath('private-traced'))).status, 401);
    await until('the refusal is shown', async () => /^a subscription was refused: /.test((await rowsOf(page, 'channel-table'))[0]?.[2]));
  });

  await t.test('a trace says what was lost, and is refused where others have all places', async () => {
    await asks(page, 'busy', 'trace');
    await shows(page, '#channel-said', 'tracing for a minute: 0 records');
    await page.evaluate(() => {
      const { fetch } = window;
      const held = new Promise((resolve) => { window.goOn = resolve; });
      window.fetch = async (...request) => { await held; return fetch(...request); };
    });
    const events = Array.from({ length: 3000 }, () => ({ channel: 'busy', payload: 'x' }));
    await publishAll(scope, north, events);
    const last = await subscribe(scope, north, 'behind');
    await publish(scope, north, 'behind', 'them');
    await last.until('they have been read', ({ events: got }) => got.length > 0);
    await page.evaluate(() => window.goOn());
    await shows(page, '#channel-said', /^tracing for a minute: [\d,]+ records, the newest 200 of them, [\d,]+ were lost: there were too many$/);

    const look = (channel) => page.evaluate(async (name) => (
      await fetch(`/trace?${new URLSearchParams({ app: document.querySelector('#channel [name=app]').value, channel: name })}`)).status, channel);
    await until('others are traced', async () => (await Promise.all(['one', 'two', 'three'].map(look))).every((status) => status === 200));
    await asks(page, 'five', 'trace');
    await shows(page, '#channel-said', /^4 channels are being traced already: "/);
    assert.deepEqual(await rowsOf(page, 'channel-table'), []);
  });

  await t.test('a drain, after it was asked whether it should be', async () => {
    const held = await streams(scope, north, Array.from({ length: 20 }, () => ['drained']));
    await until('they are counted', async () => Number((await values(page, 'connections')).streams) >= 20);
    const ended = Promise.all(held.map((one) => new Promise((resolve) => one.once('close', resolve))));
    await page.$eval('#drain [name=over]', (input) => { input.value = '0'; });
    await page.click('#drain button[value=begin]');
    await sure(page, /^Let all viewers go, over 0 seconds, and turn new ones away until it is stopped\?$/, 'no');
    assert.equal(await page.$eval('#drain-said', (said) => said.textContent), '');
    assert.equal(await page.$eval('#drain-stop', (button) => button.hidden), true);
    await page.click('#drain button[value=begin]');
    await sure(page, /^Let all viewers go/, 'yes');
    await shows(page, '#drain-said', 'it has begun');
    await ended;
    await shows(page, of('connections', 'streams'), '0');
    await shows(page, '#state', /not ready: .*drain/);
    await page.waitForSelector('#drain-stop:not([hidden])');
    await page.click('#drain-stop');
    await shows(page, '#drain-said', 'viewers are welcome again');
    await shows(page, '#state', /^askrd [^–]*$/);
    await streams(scope, north, [['drained']]);
    await until('somebody is there again', async () => Number((await values(page, 'connections')).streams) >= 1);
  });

  await t.test('a login that is tried too often is not compared any more', async () => {
    const tab = await open(browser, new URL('/', north.dashboard).href.replace('127.0.0.1', 'localhost'));
    const tries = async (secret) => {
      await tab.type('#secret', secret);
      await Promise.all([tab.waitForNavigation(), tab.keyboard.press('Enter')]);
      return tab.$eval('[role=alert]', (alert) => alert.textContent);
    };
    for (let n = 0; n < 5; n += 1) assert.equal(await tries(`wrong ${n}`), 'That is not the secret.');
    assert.equal(await tries(OPERATOR), 'Too many tries. Wait a minute.', 'also the right one');
    assert.equal(await tab.title(), 'Askr: sign in');
    // Who was signed in stays.
    await shows(page, '#state', /^askrd /);
    await tab.close();
  });

  await t.test('a host that has died', async () => {
    await until('it is shown as dead', async () => JSON.stringify((await rowsOf(page, 'nodes')).map(([, host, , state]) => [host, state]))
      === JSON.stringify([['north', 'this one'], ['south', 'dead']]));
  });
  assert.equal(await page.evaluate(() => window.hacked ?? null), null);
  assert.deepEqual(page.problems, []);
});

// They mostly wait for the next second: both at one time.
test('the panels', { concurrency: 2 }, (t) => Promise.all(['chromium', 'firefox'].map((name) => t.test(name, within(name)))));
