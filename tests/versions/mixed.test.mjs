// askrd and askr.so of this version and of another, OLD_ASKRD and OLD_ASKR_SO: every mix on one ring, and askrd
// replaced by the other while publishers and a subscriber go on.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Askrd } from '../lib/askrd.mjs';
import { scoped } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';
import { VERSIONS, arrived, counted, gaps, publisher } from './publishing.mjs';

for (const daemon of ['old', 'new']) {
  test(`both askr.so publish to the ${daemon} askrd at once`, scoped(async (scope) => {
    const askrd = await new Askrd(scope, {}, 'askrd', VERSIONS[daemon].askrd).start();
    const subscriber = await subscribe(scope, askrd.unix, 'news');
    const two = [publisher(scope, askrd, 'old', 'of-old'), publisher(scope, askrd, 'new', 'of-new'), publisher(scope, askrd, 'new', 'keyed', { keyed: true })];
    await subscriber.take(600);
    const [old, now, keyed] = await Promise.all(two.map((one) => one.end()));
    assert.ok((await arrived(subscriber, 'of-old', old)).every((times) => times === 1));
    assert.ok((await arrived(subscriber, 'of-new', now)).every((times) => times === 1));
    const times = await arrived(subscriber, 'keyed', keyed);
    if (daemon === 'new') {
      assert.ok(times.every((n) => n === 1), 'of two events with one key the first counts');
      assert.equal(keyed.ignored, 0);
    } else {
      await subscriber.until('the repeated ones arrived too', () => counted(subscriber).get('keyed').every((n) => n === 2));
      assert.equal(keyed.ignored, 2 * keyed.count, 'each key that was left out is counted');
    }
    assert.deepEqual(gaps(subscriber), []);
  }));
}

test('askrd is replaced by the other version, there and back, killed and stopped, and nobody misses an event', scoped(async (scope) => {
  const sockets = { server: { listen: [`unix:${scope.path('both.sock')}`], control: scope.path('both-control.sock') } };
  const start = (version, n) => {
    const askrd = new Askrd(scope, sockets, `askrd-${n}`, VERSIONS[version].askrd);
    return askrd.start();
  };
  let askrd = await start('old', 0);
  const subscriber = await subscribe(scope, { socketPath: scope.path('both.sock') }, 'news');
  const two = { 'of-old': publisher(scope, askrd, 'old', 'of-old'), 'of-new': publisher(scope, askrd, 'new', 'of-new') };
  let n = 0;
  for (const version of ['new', 'old', 'new', 'old', 'new']) {
    const before = subscriber.events.length;
    await subscriber.take(before + 100);
    n += 1;
    await (n % 2 ? askrd.stop() : askrd.kill());
    askrd = await start(version, n);
  }
  for (const [name, one] of Object.entries(two)) {
    const said = await one.end();
    assert.ok((await arrived(subscriber, name, said)).every((times) => times === 1), `each event of ${name} arrives once`);
  }
  assert.deepEqual(gaps(subscriber), []);
}));

test('what an older askrd cannot read, after a downgrade, is reported as a gap and costs nobody the history', scoped(async (scope) => {
  const sockets = { server: { listen: [`unix:${scope.path('both.sock')}`], control: scope.path('both-control.sock') } };
  let askrd = await new Askrd(scope, sockets, 'askrd-0', VERSIONS.new.askrd).start();
  const subscriber = await subscribe(scope, { socketPath: scope.path('both.sock') }, 'news');
  const first = publisher(scope, askrd, 'old', 'before');
  await subscriber.take(50);
  await askrd.kill();
  // The one that was killed knew keys, so they are used while none runs.
  const keyed = publisher(scope, askrd, 'new', 'keyed', { keyed: true, rate: 20 });
  await keyed.begun();
  askrd = await new Askrd(scope, sockets, 'askrd-1', VERSIONS.old.askrd).start();
  const last = publisher(scope, askrd, 'old', 'after');
  await last.begun();
  const [before, unread, after] = [await first.end(), await keyed.end(), await last.end()];
  assert.ok((await arrived(subscriber, 'before', before)).every((times) => times === 1));
  assert.ok((await arrived(subscriber, 'after', after)).every((times) => times === 1));
  const lost = gaps(subscriber).reduce((sum, { data }) => sum + JSON.parse(data).at_most, 0);
  const came = (counted(subscriber).get('keyed') ?? []).reduce((sum, times) => sum + times, 0);
  assert.ok(lost > 0 && came + lost >= 2 * unread.count, `${came} came, ${lost} were reported, of ${2 * unread.count}`);
}));
