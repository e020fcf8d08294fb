// Several hosts, where askr.so is of this version or of another, OLD_ASKR_SO, and an askrd of that version, OLD_ASKRD, which may know of no
// other hosts: viewers come with vectors as cursors.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Askrd } from '../lib/askrd.mjs';
import { untilMetric } from '../lib/faults.mjs';
import { Redis } from '../lib/redis.mjs';
import { scoped } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';
import { VERSIONS, arrived, counted, gaps, publisher } from './publishing.mjs';

const settings = (scope, name) => ({
  ring: { name: `${scope.shm}/ring-${name}` },
  server: { listen: [`unix:${scope.path(`${name}.sock`)}`], control: scope.path(`${name}-control.sock`) },
});

async function hosts(scope) {
  const redis = await new Redis(scope, 'redis', { socketPath: scope.path('redis.sock') }).start();
  const host = (name) => new Askrd(scope, { ...settings(scope, name), cluster: { url: `unix://${redis.where.socketPath}`, node: name } }, name).start();
  const both = await Promise.all(['a', 'b'].map(host));
  for (const askrd of both) await untilMetric(askrd, 'askr_cluster_nodes', (nodes) => nodes === 2);
  return both;
}

/** The viewer ends its connection and comes back to this one, with its cursor. */
function goOn(viewer, askrd) {
  viewer.where = askrd.unix;
  viewer.request.destroy();
}

test('both askr.so publish on each of two hosts, and a viewer that goes to and fro has each event once', scoped(async (scope) => {
  const both = await hosts(scope);
  const viewer = await subscribe(scope, both[0].unix, 'news');
  const all = both.flatMap((askrd) => ['old', 'new'].map((version) => {
    const name = `${version}-on-${askrd.name}`;
    return [name, publisher(scope, askrd, version, name, { rate: 100 })];
  }));
  for (let n = 1; n <= 6; n += 1) {
    await viewer.take(viewer.events.length + 150);
    assert.match(viewer.lastEventId, /^~/);
    goOn(viewer, both[n % 2]);
  }
  for (const [name, one] of all) {
    const said = await one.end();
    assert.ok((await arrived(viewer, name, said)).every((times) => times === 1), `each event of ${name} arrives once`);
  }
  assert.deepEqual(gaps(viewer), []);
}));

const name = ({ data }) => {
  const { by, n } = JSON.parse(data);
  return `${by} ${n}`;
};
const messages = (events) => events.filter(({ event }) => event === 'message').map(name);

test('an askrd of the other version, alone, takes the place of a host and gives it back: what is lost or comes twice is told by a gap', scoped(async (scope) => {
  const [a, b] = await hosts(scope);
  const viewer = await subscribe(scope, a.unix, 'news');
  const two = { 'on-a': publisher(scope, a, 'old', 'on-a'), 'on-b': publisher(scope, b, 'new', 'on-b') };
  await viewer.take(200);
  assert.match(viewer.lastEventId, /^~/);
  await a.stop();
  const alone = await new Askrd(scope, settings(scope, 'a'), 'alone', VERSIONS.old.askrd).start();
  await viewer.until('it is back at the other version', () => viewer.connections === 2);
  await viewer.take(viewer.events.length + 100);
  const told = gaps(viewer).map(({ data }) => JSON.parse(data).at_most);
  const first = messages(viewer.events);
  assert.ok(told.includes(null) || new Set(first).size === first.length, 'one that does not know vectors says that it does not know what the viewer has');
  await alone.kill();
  await a.start();
  await viewer.until('it is back at this version', () => viewer.connections === 3);
  const before = viewer.events.length;
  await viewer.take(before + 100);
  let missing = 0;
  for (const [by, one] of Object.entries(two)) {
    const { count } = await one.end();
    await viewer.until(`it has the last event of ${by}`, () => counted(viewer).get(by)?.length === count);
    missing += Array.from(counted(viewer).get(by)).filter((times) => times === undefined).length;
  }
  const reported = gaps(viewer).reduce((sum, { data }) => sum + (JSON.parse(data).at_most ?? 0), 0);
  assert.ok(missing <= reported, `${missing} are missing, ${reported} were reported beside what nobody knows`);
  const [had, since] = [new Set(messages(viewer.events.slice(0, before))), messages(viewer.events.slice(before))];
  assert.deepEqual([new Set(since).size, since.filter((one) => had.has(one))], [since.length, []], 'with the cursor that it gave nothing comes twice');
}));
