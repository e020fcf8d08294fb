// Presence as Laravel's Echo has it over a Mercure hub, in Chromium through nginx: who is there is asked for once, when the stream
// opens, and then only told. Tokens end and are renewed, askrd is killed, one user has ten tabs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { launch, open } from '../lib/browsers.mjs';
import { Hub, P } from '../lib/mercure.mjs';
import { scoped, until } from '../lib/scope.mjs';

const TOPIC = 'https://laravel.alt/echo/channel/presence-room.3';
const TABS = 10;

/** A page's part of a presence channel: members by their subscriber, and one user with several of them is one member. */
const PAGE = `<!doctype html><title>Askr</title><script type="module">
const enc = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());
const count = (user) => [...members.values()].filter((payload) => payload.user_id === user).length;
let members = new Map();
window.here = () => [...new Set([...members.values()].map((payload) => payload.user_id))].sort();
Object.assign(window, { told: [], updates: [], opens: 0, longest: 0, asked: 0, refused: 0 });

window.join = async (topic, user, seconds) => {
  const list = '${P}/subscriptions/exact/' + enc(topic);
  let waiting = [];
  let gone;
  const apply = ({ subscriber, active, payload }) => {
    if (active && !members.has(subscriber)) {
      if (count(payload.user_id) === 0) told.push('+' + payload.user_id);
      members.set(subscriber, payload);
    } else if (!active && members.has(subscriber)) {
      const { user_id } = members.get(subscriber);
      members.delete(subscriber);
      if (count(user_id) === 0) told.push('-' + user_id);
    }
  };
  window.login = async () => {
    const topics = [topic, { match: '${P}/subscriptions/:match_type/' + enc(topic) + '{/:subscriber}?', match_type: 'urlpattern' }];
    const body = JSON.stringify({ actions: ['subscribe'], topics, seconds, payload: { user_id: user } });
    const { status } = await fetch('/login', { method: 'POST', body });
    if (status !== 200) throw new Error('login: ' + status);
    // The cookie alone: the stream goes on, and ends with the token that it began with.
    setTimeout(login, seconds * 500);
  };
  window.ask = async () => {
    const answer = await fetch(list);
    if (answer.status !== 200) throw new Error(list + ': ' + answer.status);
    asked += 1;
    return (await answer.json()).subscriptions;
  };
  let last = '';
  // A channel more is another stream, which goes on where this one was; who is there is not asked again.
  window.connect = (more = []) => {
    const query = new URLSearchParams([topic, ...more].map((one) => ['match', one]));
    query.append('match_urlpattern', '${P}/subscriptions/:match_type/' + enc(topic) + '/:subscriber');
    if (last) query.set('last_event_id', last);
    window.source?.close();
    window.source = new EventSource('${P}?' + query, { withCredentials: true });
    listen(source);
  };
  // As a client whose parser keeps no id that came without data: it comes back without a cursor, and asks nothing.
  window.forget = () => { last = ''; };
  const listen = (source) => {
    source.onopen = async () => {
      opens += 1;
      if (gone) longest = Math.max(longest, performance.now() - gone);
      gone = undefined;
      if (opens > 1) return;
      const all = (await ask()).filter((one) => one.payload);
      members = new Map(all.map((one) => [one.subscriber, one.payload]));
      const late = waiting;
      waiting = null;
      late.forEach(apply);
    };
    source.onerror = () => {
      gone ??= performance.now();
      if (source.readyState === EventSource.CLOSED) refused += 1;
    };
    source.onmessage = ({ data, lastEventId }) => {
      last = lastEventId;
      updates.push(data);
    };
    source.addEventListener('mercure', ({ data, lastEventId }) => {
      last = lastEventId;
      const one = JSON.parse(data);
      if (one.match !== topic || one.match_type !== 'exact' || (one.active && !one.payload)) return;
      if (waiting) waiting.push(one);
      else apply(one);
    });
  };
  await login();
  connect();
};
</script>`;

const here = (page) => page.evaluate(() => window.here());
const sees = (page, who) => until(`it sees ${who}`, async () => (await here(page)).join() === who.join());
const number = (page, name) => page.evaluate((name) => window[name], name);
const join = (page, user, seconds) => page.evaluate((...of) => window.join(...of), TOPIC, user, seconds);

test('who is there stays there over tokens that end and a killed askrd, and ten tabs are one user', scoped(async (scope, t) => {
  const hub = await Hub.start(scope, { files: { 'page.html': PAGE }, app: { mercure_anonymous: false } });
  const browser = await launch(scope, 'chromium');
  // Tabs of one user share their cookies, those of another are in a browser of their own.
  const [ofAda, ofBob] = [await browser.createBrowserContext(), await browser.createBrowserContext()];
  const page = (context) => open(context, `${hub.origin}/page.html`);
  const [bob, ...tabs] = [await page(ofBob), ...await Promise.all(Array.from({ length: TABS }, () => page(ofAda)))];
  const all = [bob, ...tabs];
  await join(bob, 'bob', 600);
  await sees(bob, ['bob']);

  // Short tokens, so that each tab's stream ends and comes back by itself.
  await Promise.all(tabs.map((tab) => join(tab, 'ada', 6)));
  for (const one of all) await sees(one, ['ada', 'bob']);
  for (const tab of tabs) await until('its token was renewed, and it is back', async () => (await number(tab, 'opens')) > 1);

  // One who joins a channel more was not away, and misses nothing of it.
  const orders = 'https://laravel.alt/echo/channel/orders';
  await hub.publish(orders, 'before');
  await bob.evaluate((orders) => window.connect([orders]), orders);
  await until('it is open again', async () => (await number(bob, 'opens')) > 1);
  await hub.publish(orders, 'after');
  await until('the update arrived', async () => (await number(bob, 'updates')).length > 0);

  await hub.askrd.kill();
  const before = await Promise.all(all.map((one) => number(one, 'opens')));
  await hub.askrd.start();
  for (const [n, one] of all.entries()) await until('it is back', async () => (await number(one, 'opens')) > before[n]);
  const cyd = await page(await browser.createBrowserContext());
  await join(cyd, 'cyd', 600);
  for (const one of [...all, cyd]) await sees(one, ['ada', 'bob', 'cyd']);

  // Nobody seemed to be gone: each was told of who came, once. Where a tab was away for longer than askrd waits for who comes
  // back, this machine was too slow to show it.
  const longest = Math.max(...await Promise.all(all.map((one) => number(one, 'longest'))));
  t.diagnostic(`tabs were away for up to ${Math.round(longest)} ms`);
  for (const one of [...all, cyd]) {
    const told = await one.evaluate(() => window.told);
    // Whoever has ten tabs or one, and whatever the others see: nobody leaves for itself.
    const own = one === bob ? 'bob' : one === cyd ? 'cyd' : 'ada';
    if (longest < 4000) assert.ok(!told.includes(`-${own}`), `${own}: ${told}`);
    if (one === cyd) continue;
    if (longest < 4000) assert.deepEqual(told.filter((what) => what !== '+ada'), ['+cyd']);
    assert.deepEqual([await number(one, 'asked'), await number(one, 'refused'), one.problems], [1, 0, []]);
  }

  assert.equal((await number(bob, 'updates')).at(-1), 'after');

  // Who comes back without a cursor, when its token was renewed, is told of its new name before the one of before ends.
  const ofBobs = async () => (await cyd.evaluate(() => window.ask())).filter(({ payload }) => payload.user_id === 'bob');
  const former = (await ofBobs()).at(-1).subscriber;
  const count = await number(bob, 'opens');
  await bob.evaluate(async () => { await window.login(); window.forget(); window.connect(); });
  await until('it is open again', async () => (await number(bob, 'opens')) > count);
  await until('the one of before has ended', async () => !(await ofBobs()).some(({ subscriber }) => subscriber === former));
  for (const one of [bob, cyd]) await sees(one, ['ada', 'bob', 'cyd']);
  for (const one of [...all, cyd]) {
    const told = await one.evaluate(() => window.told);
    if (longest < 4000) assert.ok(!told.includes('-bob'), `${told}`);
  }

  // Nine tabs are closed, and she is there; with the tenth she is gone, for who was there when askrd was
  // killed, for who came after, and for who asks.
  const users = async () => [...new Set((await cyd.evaluate(() => window.ask())).map(({ payload }) => payload.user_id))].sort();
  for (const tab of tabs.slice(1)) await tab.close();
  const streams = async () => (await cyd.evaluate(() => window.ask())).filter(({ payload }) => payload.user_id === 'ada').length;
  await until('nine of them have ended', async () => (await streams()) === 1);
  assert.deepEqual(await here(cyd), ['ada', 'bob', 'cyd']);
  await tabs[0].close();
  for (const one of [bob, cyd]) await sees(one, ['bob', 'cyd']);
  assert.deepEqual(await users(), ['bob', 'cyd']);
}));
