// A planned restart behind nginx, with a few hundred viewers: each is told a time to come back that is in proportion
// to their number, nothing is lost, and nginx's logs have none of what they authorize themselves with.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { Askrd, startHeld } from '../lib/askrd.mjs';
import { TESTS } from '../lib/built.mjs';
import { numbers, upTo } from '../lib/faults.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { publish, startPhp, startSite } from '../lib/php.mjs';
import { rawSocket } from '../lib/pusher.mjs';
import { scoped, until, within } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';
import { APP } from '../siege/settings.mjs';
import { api, token } from '../siege/wire.mjs';

const FRONT = path.join(TESTS, 'php/front.php');
const VIEWERS = 250;
const EVENTS = 1500;
/** Milliseconds. What a browser keeps while all is well, what a drain tells so few viewers, what nginx tells. */
const USUAL = (ms) => ms >= 1500 && ms <= 2500;
const SOON = (ms) => ms >= 200 && ms <= 400;
const NGINX = (ms) => ms >= 500 && ms <= 1400;

const settings = (server) => ({ app: APP, server });

/** Viewers of a private channel through nginx, each with a token and a session of its own in the query. */
async function watch(scope, site) {
  const users = upTo(VIEWERS).map((n) => ({ token: token(['private-a'], `user-${n}`), session: `session-of-viewer-number-${n}` }));
  const viewers = users.map((query) => subscribe(scope, { port: site.port }, 'private-a', { query, reconnect: 'told' }));
  return { users, viewers: await Promise.all(viewers) };
}

/** Restarts askrd under events, and shows that everybody has each of them once. */
async function restartUnderEvents(scope, askrd, viewers, restart) {
  const publisher = startPhp(scope, askrd, 'publisher', path.join(TESTS, 'php/paced.php'), ['private-a', EVENTS, 500]);
  await viewers[0].until('it has begun', ({ events }) => events.length > 50);
  await restart();
  assert.deepEqual(await within('the publisher', publisher.exited), { code: 0, signal: null });
  // However fast the publisher was, this one is after the restart.
  await publish(scope, askrd, 'private-a', `${EVENTS} `);
  await Promise.all(viewers.map((one) => one.take(EVENTS + 1)));
  for (const one of viewers) {
    assert.deepEqual(one.events.filter(({ event }) => event !== 'message'), [], 'nothing was told as lost');
    assert.deepEqual(numbers(one.events), upTo(EVENTS + 1));
  }
}

/** Lines of the error log about requests to askrd. */
const told = (site) => site.errorLog().split('\n').filter((line) => / "[A-Z]+ \/(askr|apps?)\//.test(line));

/** None of these is in a log. */
function assertSilent(site, secrets) {
  for (const log of [site.errorLog(), site.accessLog()]) {
    assert.deepEqual(secrets.filter((secret) => log.includes(secret)), []);
  }
}

test('with its socket held: everybody is back at the first try, soon, and keeps the usual time to come back', scoped(async (scope) => {
  const socket = scope.path('askrd.sock');
  const { askrd, restart } = await startHeld(scope, settings({ listen: [`unix:${socket}`] }), [socket]);
  const site = await startSite(scope, askrd, { front: FRONT });
  const { users, viewers } = await watch(scope, site);
  await restartUnderEvents(scope, askrd, viewers, restart);
  for (const one of viewers) {
    assert.equal(one.connections, 2);
    const [before, drain, after, ...more] = one.retries;
    assert.ok(USUAL(before) && SOON(drain) && USUAL(after) && more.length === 0, `told ${one.retries}`);
  }
  // Spread: of so many a few may have the same time, not most of them.
  assert.ok(new Set(viewers.map(({ retries }) => retries[1])).size > 100);
  assert.deepEqual(told(site), []);
  assertSilent(site, users.flatMap((user) => Object.values(user)));
}));

test('with a socket of its own: who is too early is asked to try again, and nginx logs that by the path alone', scoped(async (scope) => {
  const askrd = await new Askrd(scope, settings({ listen: [`unix:${scope.path('askrd.sock')}`] })).start();
  const site = await startSite(scope, askrd, { front: FRONT });
  const { users, viewers } = await watch(scope, site);
  await restartUnderEvents(scope, askrd, viewers, async () => {
    await askrd.stop();
    // Some have met nginx alone.
    await until('some came too early', () => viewers.some(({ retries }) => retries.length > 2));
    await askrd.start();
  });
  for (const { retries } of viewers) {
    const [before, drain, ...early] = retries.slice(0, -1);
    assert.ok(USUAL(before) && SOON(drain) && early.every(NGINX) && USUAL(retries.at(-1)), `told ${retries}`);
  }
  const early = viewers.flatMap(({ retries }) => retries.slice(2, -1));
  assert.ok(early.length < 20 || new Set(early).size > 3, `spread: ${early}`);
  assert.deepEqual(told(site), [], 'no line for a viewer');
  assertSilent(site, users.flatMap((user) => Object.values(user)));
  // The access log says whom nginx answered in place of askrd.
  assert.match(site.accessLog(), /"GET \/askr\/events HTTP\/1\.1" 200 .* 502$/m);
}));

test("what Pusher's clients and plain WebSockets authorize themselves with is in no log of nginx either, also after a kill", scoped(async (scope) => {
  const askrd = await new Askrd(scope, settings({})).start();
  const site = await startSite(scope, askrd, { front: FRONT });
  const secret = token(['private-a'], 'somebody');
  const secrets = [secret, 'session-of-a-plain-socket', 'socket-of-old', 'secret-of-old'];
  const query = new URLSearchParams({ channel: 'private-a', token: secret, session: secrets[1], socket_id: secrets[2], secret: secrets[3] });
  const plain = await rawSocket(scope, site.port, `/askr/ws?channel=private-a&token=${secret}&session=${secrets[1]}`);
  await until('it is open', () => plain.messages.length > 0);
  const viewer = await subscribe(scope, { port: site.port }, 'private-a', { query: { token: secret }, reconnect: false });
  await askrd.kill();
  await viewer.until('it has ended', ({ ended }) => ended === 1);
  await plain.end();
  const signed = api('told', '{}').split(' ')[1];
  const paths = [`/askr/events?${query}`, `/askr/subscribe?${query}`, `/askr/ws?${query}`, `/askr/other?${query}`,
    `/app/${APP.key}?protocol=7&token=${secret}`, signed];
  for (const one of paths) await ask(site, one);
  for (const one of ['/askr/subscribe', '/apps/7/events']) {
    await ask(site, `${one}?${query}`, { method: 'POST', body: 'x'.repeat(20 << 20) }).catch(() => {});
  }
  assertSilent(site, [...secrets, APP.secret, new URLSearchParams(signed.split('?')[1]).get('auth_signature')]);
  assert.deepEqual(told(site), []);
  // Why askrd cannot be reached is told where no query has anything to hide.
  assert.equal((await ask(site, '/askr/up')).status, 503);
  assert.match(told(site).join('\n'), /^.*connect\(\) to unix:\S+ failed .*"GET \/askr\/up HTTP\/1\.1".*$/);
  await askrd.start();
  assert.deepEqual(await ask(site, '/askr/up').then(({ status, body }) => [status, body]), [200, '{"health":"OK"}']);
}));
