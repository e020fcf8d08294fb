// Two hosts of one cluster on this machine, each with its ring, askrd, PHP-FPM and nginx, and a Redis between them: what
// happens on one is asked of the other.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { untilMetric } from '../lib/faults.mjs';
import { ask } from '../lib/http.mjs';
import { startSite } from '../lib/php.mjs';
import { APP, rawPusher, secretFile, serverLibrary } from '../lib/pusher.mjs';
import { Redis } from '../lib/redis.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';

const TEAM = 'presence-team';

/** One host. `php(function, …arguments)` is one call in its FPM; `follow` subscribes through its nginx, as who has
 * the token. */
async function startHost(scope, name, cluster, secret) {
  const askrd = await startAskrd(scope, {
    ring: { name: `${scope.shm}/ring-${name}` },
    app: { ...APP, presence_grace: 0.0 },
    cluster: { ...cluster, node: name },
  }, name);
  const site = await startSite(scope, askrd, {
    name: `site-${name}`, front: path.join(TESTS, 'php/audience.php'), files: { 'page.html': '<!doctype html><title>Askr</title>' },
    ini: { 'askr.secret_file': secret, 'askr.control': askrd.control },
  });
  const post = (url, body) => ask(site, url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const php = async (...call) => {
    const { status, body } = await post('/', [call]);
    assert.equal(status, 200, body);
    const [result] = JSON.parse(body);
    assert.equal(result?.class, undefined, result?.message);
    return result;
  };
  const follow = (channels, { token, query } = {}) => subscribe(scope, site, channels, { query, reconnect: false, headers: bearer(token) });
  return { askrd, site, post, php, follow };
}

async function start(scope, more = {}) {
  const redis = await new Redis(scope, 'redis', { socketPath: scope.path('redis.sock') }).start();
  const cluster = { url: `unix://${redis.where.socketPath}`, ...more };
  const secret = secretFile(scope);
  const hosts = await Promise.all(['a', 'b'].map((name) => startHost(scope, name, cluster, secret)));
  for (const { askrd } of hosts) await untilMetric(askrd, 'askr_cluster_nodes', (nodes) => nodes === 2);
  const [a, b] = hosts;
  return { a, b, token: (user, ...channels) => a.php('askr_token', channels, 600, user, { name: user.toUpperCase() }) };
}

const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});
const messages = ({ events }) => events.filter(({ event }) => event === 'message').map(({ data }) => data);
const has = (stream, count) => stream.until(`it has ${count} messages`, () => messages(stream).length >= count);
const gone = (stream) => stream.until('the stream has ended', () => stream.ended > 0);
/** A question that other hosts are asked, too, gets this answer; one that they answered too late is put again. */
async function answers(question, expected) {
  let last;
  await until('the answer is of both hosts', async () => isDeepStrictEqual(last = await question(), expected))
    .catch(() => assert.deepEqual(last, expected));
}
/** What a page shows to change its stream. */
const me = ({ connected: [{ socket_id: id, secret }] }) => ({ socket_id: id, secret });
const greeted = (stream) => stream.until('it was told who it is', () => stream.connected.length > 0);
/** The status that a stream would be answered with. */
const status = async ({ site }, token, channel) => {
  const stop = new AbortController();
  const answer = await fetch(`${site.url}${eventsPath(channel)}`, { headers: bearer(token), signal: stop.signal });
  stop.abort();
  return answer.status;
};

test('what PHP publishes on one host is seen by a page of the other, but for the one it excepts', scoped(async (scope) => {
  const { a, b } = await start(scope);
  const page = await openPage(scope, `${b.site.url}/page.html`);
  await listen(page, eventsPath('news'));
  const [author, other] = [await greeted(await b.follow('news')), await b.follow('news')];
  const pusher = await rawPusher(scope, b.site.port);
  await pusher.subscribe('news');
  // toOthers of Laravel: by the socket id of a page at the other host.
  const publish = (data, except) => a.php('askr_broadcast', 'news', data, null, null, null, except);
  await publish('not to author', me(author).socket_id);
  await publish('not to pusher', pusher.socketId);
  await publish('to all');
  const all = ['not to author', 'not to pusher', 'to all'];
  assert.deepEqual((await seen(page, 3)).map(({ data }) => data), all);
  await has(other, 3);
  await has(author, 2);
  const frames = () => pusher.messages.filter(({ event, channel }) => channel === 'news' && !event.startsWith('pusher'));
  await until('it has the last one', () => frames().length >= 2);
  assert.deepEqual(messages(other), all);
  assert.deepEqual(messages(author), all.filter((data) => data !== 'not to author'));
  assert.deepEqual(frames().map(({ data }) => data), all.filter((data) => data !== 'not to pusher'));
  assert.deepEqual(page.problems, []);
}));

test('members and subscribers of one host are known to PHP, the command line and the Pusher API of the other', scoped(async (scope) => {
  const { a, b, token } = await start(scope);
  const [ada, bob] = [await token('ada', TEAM), await token('bob', TEAM)];
  const hers = await b.follow([TEAM, 'orders'], { token: ada });
  await b.follow(TEAM, { token: bob });
  const here = [{ id: 'ada', info: { name: 'ADA' } }, { id: 'bob', info: { name: 'BOB' } }];
  await until('both are known on a', async () => (await a.php('askr_members', TEAM)).length === 2);
  assert.deepEqual(await a.php('askr_members', TEAM), here);
  await answers(() => a.php('askr_channels'), { orders: 1, [TEAM]: 2 });
  await answers(async () => (await a.askrd.cli(['channels', '--config', a.askrd.config])).out, `        1  orders\n        2  ${TEAM}\n`);

  const server = serverLibrary(a.site.port);
  const json = async (url, params) => (await server.get({ path: url, params })).json();
  await answers(() => json('/channels'), { channels: { orders: {}, [TEAM]: {} } });
  await answers(() => json('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: { [TEAM]: { user_count: 2 } } });
  assert.deepEqual(await json(`/channels/${TEAM}/users`), { users: [{ id: 'ada' }, { id: 'bob' }] });
  await answers(() => json('/channels/orders', { info: 'subscription_count' }), { occupied: true, subscription_count: 1 });

  hers.close();
  await until('she has left on a', async () => (await a.php('askr_members', TEAM)).length === 1);
  assert.deepEqual(await json(`/channels/${TEAM}/users`), { users: [{ id: 'bob' }] });
}));

test('a disconnect on one host ends streams of the other, and what it revokes is refused there', scoped(async (scope) => {
  const { a, b, token } = await start(scope);
  const [ada, bob, eve] = await Promise.all(['ada', 'bob', 'eve'].map((user) => token(user, 'private-all')));
  const [hers, his] = [await b.follow('private-all', { token: ada }), await b.follow('private-all', { token: bob })];
  assert.equal(await a.php('askr_disconnect_user', 'ada'), 1);
  await gone(hers);
  // Who has no stream anywhere is refused all the same.
  assert.equal(await a.php('askr_disconnect_user', 'eve'), 0);
  for (const revoked of [ada, eve]) assert.equal(await status(b, revoked, 'private-all'), 401);
  assert.equal(await status(b, bob, 'private-all'), 200);
  await a.php('askr_broadcast', 'private-all', 'still here');
  await has(his, 1);
  assert.deepEqual(messages(his), ['still here']);

  const { socket_id: id } = me(await greeted(his));
  assert.equal(await a.php('askr_disconnect_socket', id), 1);
  await gone(his);
}));

test('history, rewind, cache channels and cursors of one host hold on the other', scoped(async (scope) => {
  const { a, b } = await start(scope);
  const marks = [await a.follow('mark'), await b.follow('mark')];
  const publish = (host, data, channel = 'news') => host.php('askr_broadcast', channel, data);
  /** What `host` has published so far is on the other, as what comes after it is. */
  const relayed = async (host) => {
    const counts = marks.map((stream) => messages(stream).length + 1);
    await publish(host, 'mark', 'mark');
    await Promise.all(marks.map((stream, n) => has(stream, counts[n])));
  };
  for (const data of ['1', '2']) await publish(a, data);
  for (const data of ['rain', 'sun']) await publish(a, data, 'cache-weather');
  await relayed(a);
  await publish(b, '3');
  await relayed(b);

  const past = await b.php('askr_history', 'news');
  assert.deepEqual(past.map(({ event, data }) => [event, data]), [[null, '1'], [null, '2'], [null, '3']]);
  const back = await b.follow('news', { query: { rewind: '2' } });
  await has(back, 2);
  assert.deepEqual(messages(back), ['2', '3']);
  const weather = await b.follow('cache-weather');
  await has(weather, 1);
  assert.deepEqual(messages(weather), ['sun']);

  const cursor = await a.php('askr_cursor');
  assert.match(cursor, /^~/, 'it says how far the page is with each host');
  await publish(a, '4');
  await relayed(a);
  await publish(b, '5');
  const next = await b.follow('news', { query: { last_event_id: cursor } });
  await has(next, 2);
  // One more, behind which nothing of before can hide.
  await publish(a, '6');
  await has(next, 3);
  assert.deepEqual(next.events.map(({ event, data }) => [event, data]), [['message', '4'], ['message', '5'], ['message', '6']]);
  assert.deepEqual([...messages(back), ...messages(weather)], ['2', '3', '4', '5', '6', 'sun']);
}));

test('a stream of one host is changed, and sends client events, by way of the other', scoped(async (scope) => {
  const { a, b, token } = await start(scope);
  const ada = await token('ada', 'private-chat');
  const hers = await greeted(await b.follow('news'));
  const onA = await a.follow('private-chat', { token: ada });
  const onB = await greeted(await b.follow('private-chat', { token: ada }));
  const change = await a.post('/askr/subscribe', { ...me(hers), channels: ['private-chat'], token: ada });
  assert.equal(change.status, 200, change.body);
  assert.deepEqual(JSON.parse(change.body).channels, ['news', 'private-chat']);
  await a.php('askr_broadcast', 'private-chat', 'hello');
  await has(hers, 1);

  const said = (body) => a.post('/askr/client-event', { ...me(hers), channel: 'private-chat', event: 'client-typing', data: { n: 1 }, ...body });
  assert.equal((await said()).status, 204);
  for (const stream of [onA, onB]) await stream.until('the others are told', () => stream.events.length >= 2);
  await a.php('askr_broadcast', 'private-chat', 'bye');
  for (const stream of [onA, onB, hers]) await has(stream, 2);
  assert.deepEqual(messages(hers), ['hello', 'bye']);
  assert.equal(hers.events.length, 2, 'not whoever sent it');
  // It is checked where the stream is.
  assert.equal((await said({ secret: me(onB).secret })).status, 403);
  assert.equal((await said({ channel: 'private-other' })).status, 403);
  const refused = await a.post('/askr/subscribe', { ...me(hers), channels: ['private-other'], token: ada });
  assert.equal(refused.status, 403, refused.body);

  const left = await a.post('/askr/unsubscribe', { ...me(hers), channels: ['private-chat'] });
  assert.deepEqual([left.status, JSON.parse(left.body).channels], [200, ['news']]);
  await a.php('askr_broadcast', 'private-chat', 'not to her');
  await a.php('askr_broadcast', 'news', 'to her');
  await has(hers, 3);
  assert.deepEqual(messages(hers), ['hello', 'bye', 'to her']);
}));

test('a host that does not answer hinders nobody on the other, and has missed nothing when it does again', scoped(async (scope) => {
  // For as long as this takes it is taken for one that lives.
  const { a, b, token } = await start(scope, { lease: 120.0 });
  const here = await a.follow('news');
  const there = await greeted(await b.follow(['news', TEAM], { token: await token('ada', TEAM) }));
  await until('she is known on a', async () => (await a.php('askr_members', TEAM)).length === 1);
  const change = () => a.post('/askr/subscribe', { ...me(there), channels: ['orders'] });
  b.askrd.process.signal('SIGSTOP');
  assert.deepEqual(await a.php('askr_channels'), { news: 1 }, 'what is lacking');
  assert.deepEqual(await a.php('askr_members', TEAM), [{ id: 'ada', info: { name: 'ADA' } }]);
  assert.equal((await change()).status, 503);
  await a.php('askr_broadcast', 'news', 'meanwhile');
  await has(here, 1);
  b.askrd.process.signal('SIGCONT');
  await has(there, 1);
  await until('it answers', async () => (await change()).status === 200);
  await answers(() => a.php('askr_channels'), { news: 2, orders: 1, [TEAM]: 1 });
  await a.php('askr_broadcast', 'orders', 'afterwards');
  await has(there, 2);
  assert.deepEqual(messages(there), ['meanwhile', 'afterwards']);
}));
