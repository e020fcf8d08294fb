// What judges the torture of several hosts: a judge that sees nothing would let everything pass.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Ledger, checksum } from '../cluster/ledger.mjs';
import { Presence } from '../cluster/presence.mjs';

const event = (p, n, x = '') => JSON.stringify({ p, n, x, h: checksum(`${p} ${n} ${x}`) });

test('an event that comes twice, late, torn or never is counted, and a gap accounts for no more than it says', () => {
  const ledger = new Ledger('viewer');
  for (const n of [1, 2, 2, 4]) ledger.event(event('p', n));
  ledger.event(event('p', 3));
  ledger.event('{"p":"p","n":5,"x":"","h":1}');
  assert.deepEqual([ledger.twice, ledger.disorder, ledger.torn, ledger.unexplained], [1, 1, 1, 1]);
  ledger.gap({ lost: null, at_most: 2 });
  ledger.event(event('p', 8));
  ledger.close(new Map([['p', 8], ['q', 1]]));
  assert.deepEqual([ledger.missing, ledger.unexplained], [5, 3]);
});

/** Members who say of themselves what is given, and see all of them. */
function presence({ apart = false, down = false, ...judged } = {}, ...people) {
  const all = people.map(([user, gone, hereFor]) => ({ user, gone, hereFor, at: 'a', present: gone === null ? new Set(people.map(([name]) => name)) : null }));
  return { all, judge: new Presence(all, { bound: 1000, settle: 500, recovery: 3000, apart: () => apart, down: () => down, ...judged }) };
}

test('a member who is seen for too long after it is gone is a ghost, once, and not before its time or while hosts are apart', () => {
  let now = 10_000;
  const scene = (options) => presence({ now: () => now, ...options }, ['ada', null, 9000], ['bob', 9000, 0]);
  const scenes = [scene(), scene({ apart: true }), scene({ down: true })];
  const ghostsAt = (at) => {
    now = at;
    return scenes.map(({ judge }) => {
      judge.look();
      return judge.ghosts;
    });
  };
  assert.deepEqual(ghostsAt(10_000), [0, 0, 0]);
  assert.deepEqual(ghostsAt(11_000), [0, 0, 0], 'it counts from when it is calm');
  assert.deepEqual(ghostsAt(11_001), [1, 0, 0]);
  assert.deepEqual(ghostsAt(20_000), [1, 0, 0]);
});

test('who is there and is said to be gone flickers, but not if it has just come, or hosts are apart or were so just now', () => {
  for (const [options, hereFor, event, flickers] of [
    [{}, 600, 'askr:left', 1], [{}, 400, 'askr:left', 0], [{ apart: true }, 600, 'askr:left', 0], [{ down: true }, 600, 'askr:left', 1],
    [{}, 600, 'askr:members', 0],
  ]) {
    const { all, judge } = presence(options, ['ada', null, 9000], ['bob', null, hereFor]);
    all[0].onMissing('bob', event);
    assert.equal(judge.flickers, flickers, JSON.stringify([options, hereFor, event]));
  }
  let now = 0;
  // A host that was restarted knows of the others before it is ready.
  const { all, judge } = presence({ now: () => now, down: true }, ['ada', null, 9000], ['bob', null, 600]);
  for (const [at, flickers] of [[1000, 0], [3999, 0], [4000, 1]]) {
    now = at;
    judge.look();
    all[0].onMissing('bob', 'askr:members');
    assert.equal(judge.flickers, flickers, `${at}`);
  }
  assert.equal(judge.lacked, 3000, 'it is said how late that was');
});
