// askr_history() and askr_forget(): what the ring holds of a channel, page by page, and an end to it.

import test from 'node:test';
import assert from 'node:assert/strict';
import { startAskrd } from '../lib/askrd.mjs';
import { phpEnvironment, phpJson } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

async function start(scope, settings = {}) {
  const askrd = await startAskrd(scope, settings);
  phpEnvironment(scope, askrd, { 'askr.control': askrd.control });
  const all = (...list) => phpJson(scope, askrd, 'audience.php', [], { input: JSON.stringify(list) });
  const one = async (...call) => (await all(call))[0];
  return { askrd, all, one };
}

/** Events for askr_broadcast_all(), numbered. */
const numbered = (channel, from, to, more = {}) =>
  Array.from({ length: to - from + 1 }, (_, n) => ({ channel, payload: `${from + n}`, ...more }));
const data = (page) => page.map((event) => event.data);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => `${from + n}`);

test('a channel is read page by page, forwards and backwards, and others are not in it', scoped(async (scope) => {
  const { all, one } = await start(scope);
  const [begin] = await all(['askr_cursor'], ['askr_broadcast_all', numbered('other', 1, 50)],
    ['askr_broadcast_all', numbered('chat', 1, 249)],
    ['askr_broadcast', 'chat', '250', 'message', 'an id'], ['askr_broadcast_all', numbered('other', 51, 60)]);

  const newest = await one('askr_history', 'chat');
  assert.deepEqual(data(newest), range(151, 250));
  const { event, id, cursor, time } = newest.at(-1);
  assert.deepEqual([event, id], ['message', 'an id']);
  assert.match(cursor, /^[0-9a-f]{12}-[0-9]+$/);
  assert.ok(Math.abs(time - Date.now() / 1000) < 600, `${time}`);
  assert.deepEqual([newest[0].event, newest[0].id], [null, null]);

  const forwards = [];
  for (let page = await one('askr_history', 'chat', 60, begin); page.length > 0; page = await one('askr_history', 'chat', 60, page.at(-1).cursor)) {
    forwards.push(...data(page));
  }
  assert.deepEqual(forwards, range(1, 250));
  let backwards = [];
  for (let page = await one('askr_history', 'chat', 60); page.length > 0; page = await one('askr_history', 'chat', 60, null, page[0].cursor)) {
    backwards = [...data(page), ...backwards];
  }
  assert.deepEqual(backwards, range(1, 250));
  const between = await one('askr_history', 'chat', 60, newest[10].cursor, newest[15].cursor);
  assert.deepEqual(data(between), range(162, 165));
  assert.deepEqual(await one('askr_history', 'nobody'), []);
}));

test('what was overwritten is reported by a gap, and the pages after it go on', scoped(async (scope) => {
  const { all, one } = await start(scope, { ring: { slots: 1024 } });
  const [begin] = await all(['askr_cursor'], ['askr_broadcast_all', numbered('chat', 1, 1000)], ['askr_broadcast_all', numbered('chat', 1001, 2000)]);
  const [gap, ...first] = await one('askr_history', 'chat', 500, begin);
  assert.equal(gap.event, 'askr:gap');
  const { lost, at_most } = JSON.parse(gap.data);
  const rest = [...first];
  for (let page = await one('askr_history', 'chat', 500, rest.at(-1).cursor); page.length > 0; page = await one('askr_history', 'chat', 500, page.at(-1).cursor)) {
    rest.push(...page);
  }
  assert.deepEqual(data(rest), range(2001 - rest.length, 2000));
  assert.equal(lost ?? at_most, 2000 - rest.length);
  // Who goes on at the gap itself misses nothing.
  assert.deepEqual(data(await one('askr_history', 'chat', 500, gap.cursor)), data([gap, ...first]));

  // Of another ring nothing is known. Nothing was published after the cursor of such a gap, so that is the end.
  const [foreign, ...more] = await one('askr_history', 'quiet', 10, '0123456789ab-7');
  assert.deepEqual([foreign.event, foreign.data, more], ['askr:gap', '{"lost":null,"at_most":null}', []]);
  assert.deepEqual(await one('askr_history', 'quiet', 10, foreign.cursor), []);
}));

test('what was forgotten is given out no more, by history or stream, also after a restart', scoped(async (scope) => {
  const { askrd, all, one } = await start(scope);
  const [begin] = await all(['askr_cursor'], ['askr_broadcast_all', numbered('chat', 1, 20)], ['askr_broadcast_all', numbered('other', 1, 5)]);
  assert.deepEqual(await all(['askr_forget', 'chat'], ['askr_forget', 'chat'], ['askr_history', 'chat']), [20, 0, []]);
  await askrd.kill();
  await askrd.start();
  await one('askr_broadcast', 'chat', 'afterwards');
  assert.deepEqual(data(await one('askr_history', 'chat', 100, begin)), ['afterwards']);
  assert.deepEqual(data(await one('askr_history', 'other', 100, begin)), range(1, 5));
  const stream = await subscribe(scope, askrd.tcp, ['chat', 'other'], { lastEventId: begin });
  await stream.until('the last event came', ({ events }) => events.some((event) => event.data === 'afterwards'));
  const messages = stream.events.filter(({ event }) => event === 'message').map((event) => event.data);
  assert.deepEqual(messages, [...range(1, 5), 'afterwards']);
}));
