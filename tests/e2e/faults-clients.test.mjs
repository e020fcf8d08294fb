// Clients that are slow, that stop reading, and that vanish: others are served, nobody loses an event
// without being told, and what became of them is counted by its reason.

import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { startAskrd } from '../lib/askrd.mjs';
import { ended, metric, numbers, parsed, payloads, unread, untilMetric, upTo } from '../lib/faults.mjs';
import { publishAll } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';

const toNews = (all) => all.map((payload) => ({ channel: 'news', payload }));

/** Publishes at the pace of a reader that keeps up: neither the kernel nor an outbox holds much for it. */
async function publishFor(reader, scope, askrd, all) {
  const portion = 5;
  for (let from = 0; from < all.length; from += portion) {
    await publishAll(scope, askrd, toNews(all.slice(from, from + portion)));
    await reader.take(Math.min(from + portion, all.length));
  }
}

test('replay: a slow client stays connected and gets every event once, at its own pace', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { slow_clients: 'replay', outbox_bytes: '128KiB' } });
  const slow = await unread(scope, askrd.unix, 'news');
  const other = await subscribe(scope, askrd.tcp, 'news');
  const all = payloads(200, 20_000);
  await publishFor(other, scope, askrd, all);
  assert.deepEqual(numbers(other.events), upTo(all.length));
  // By now it is behind: it waits for 4 MB in a socket that takes a fraction of that.
  await untilMetric(askrd, 'askr_slow_clients_total{action="replay"}', (n) => n === 1);

  slow.socket.resume();
  await slow.until('it has everything', () => parsed(slow).events.length >= all.length);
  assert.deepEqual(numbers(parsed(slow).events), upTo(all.length));
  await publishAll(scope, askrd, toNews(payloads(1, 10, all.length)));
  await slow.until('it is live again', () => parsed(slow).events.length > all.length);
  assert.equal(slow.closed, false);
  assert.equal(await metric(askrd, 'askr_gaps_told_total'), 0);
  await untilMetric(askrd, 'askr_outbox_bytes', (n) => n === 0);
}));

test('replay: a slow client that the ring overtakes is told how many events it lost', scoped(async (scope) => {
  const askrd = await startAskrd(scope, {
    ring: { slots: 256, arena: '1MiB' }, server: { slow_clients: 'replay', outbox_bytes: '64KiB' }, broadcast: { index_entries: 8192 },
  });
  const slow = await unread(scope, askrd.unix, 'news');
  const other = await subscribe(scope, askrd.tcp, 'news');
  const count = 3000;
  for (let from = 0; from < count; from += 100) {
    await publishAll(scope, askrd, toNews(payloads(100, 400, from)));
    await other.take(from + 100);
  }
  slow.socket.resume();
  const had = () => parsed(slow).events;
  await slow.until('the last event arrived', () => numbers(had()).at(-1) === count - 1);
  const got = numbers(had());
  const gaps = had().filter(({ event }) => event === 'askr:gap').map(({ data }) => JSON.parse(data));
  assert.ok(gaps.length > 0, 'it was told');
  assert.ok(gaps.every(({ lost }) => Number.isInteger(lost)), `the index knows exactly: ${JSON.stringify(gaps)}`);
  assert.equal(got.length + gaps.reduce((sum, { lost }) => sum + lost, 0), count, 'every event arrived or was told as lost');
  assert.ok(got.every((n, i) => i === 0 || n > got[i - 1]), 'in order, none twice');
}));

test('skip: a slow client jumps to the present and is told how many events it lost', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { slow_clients: 'skip', outbox_bytes: '128KiB' } });
  const slow = await unread(scope, askrd.unix, 'news');
  const other = await subscribe(scope, askrd.tcp, 'news');
  const count = 200;
  await publishFor(other, scope, askrd, payloads(count, 20_000));
  assert.deepEqual(numbers(other.events), upTo(count));
  await untilMetric(askrd, 'askr_slow_clients_total{action="skip"}', (n) => n >= 1);

  slow.socket.resume();
  // What comes while it is behind may be skipped as well.
  await untilMetric(askrd, 'askr_outbox_bytes', (n) => n === 0);
  await publishAll(scope, askrd, toNews(payloads(1, 10, count)));
  const had = () => parsed(slow).events;
  await slow.until('it is in the present', () => numbers(had()).at(-1) === count);
  const gaps = had().filter(({ event }) => event === 'askr:gap').map(({ data }) => JSON.parse(data));
  const got = numbers(had());
  assert.ok(got.length < count, 'it skipped');
  assert.ok(got.every((n, i) => i === 0 || n > got[i - 1]), 'in order, none twice');
  assert.equal(got.length + gaps.reduce((sum, { lost, at_most }) => sum + (lost ?? at_most), 0), count + 1);
  assert.equal(await metric(askrd, 'askr_events_skipped_total'), count + 1 - got.length);
  assert.equal(slow.closed, false);
}));

test('close: a slow client is cut, counted, and resumes by its cursor without loss', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { server: { slow_clients: 'close', outbox_bytes: '128KiB' } });
  const slow = await unread(scope, askrd.unix, 'news');
  const other = await subscribe(scope, askrd.tcp, 'news');
  const all = payloads(200, 20_000);
  await publishFor(other, scope, askrd, all);
  await untilMetric(askrd, ended('slow'), (n) => n === 1);
  slow.socket.resume();
  await slow.end();
  const { events, lastEventId } = parsed(slow);
  assert.ok(events.length < all.length, 'it was cut before it had everything');
  const back = await subscribe(scope, askrd.tcp, 'news', { lastEventId, reconnect: false });
  const rest = await back.take(all.length - events.length);
  assert.deepEqual([...numbers(events), ...numbers(rest)], upTo(all.length));
}));

test('unread streams of the same events: they count once, nobody is cut for others, nobody loses, the budget comes back', scoped(async (scope) => {
  // One stream alone may have a quarter of what all may have, and all of them want the same.
  const askrd = await startAskrd(scope, { server: { slow_clients: 'close', outbox_bytes: '1MiB', outbox_frames: 100_000, outbox_total: '4MiB' } });
  const other = await subscribe(scope, askrd.tcp, 'news');
  const slow = await Promise.all(Array.from({ length: 40 }, () => unread(scope, askrd.unix, 'news')));
  const count = 60;
  await publishFor(other, scope, askrd, payloads(count, 20_000));
  assert.deepEqual(numbers(other.events), upTo(count));
  assert.equal(other.connections, 1, 'a client that reads is not cut for others');
  assert.equal(await metric(askrd, ended('memory')), 0, 'what is shared counts once');
  assert.ok(await metric(askrd, 'askr_held_bytes') <= 4 * 2 ** 20);

  for (const one of slow) {
    one.socket.resume();
    await one.until('the end, or everything', () => one.closed || parsed(one).events.length === count);
    const { events, lastEventId } = parsed(one);
    assert.deepEqual(numbers(events), upTo(events.length), 'in order, none missing, none twice');
    if (events.length === count) continue;
    const back = await subscribe(scope, askrd.unix, 'news', { lastEventId, reconnect: false });
    assert.deepEqual([...numbers(events), ...numbers(await back.take(count - events.length))], upTo(count));
    back.close();
  }
  await untilMetric(askrd, 'askr_outbox_bytes', (n) => n === 0);
}));

/** A network of its own for the peer, with one cable to this machine. Its loss is no FIN and no RST. */
async function farPeer(scope, port, channels) {
  // Link-local addresses, and a name of this process: two runs do not meet.
  const [net, name] = [process.pid % 64 * 4, `askr${process.pid}`];
  const [here, there] = [`169.254.213.${net + 1}`, `169.254.213.${net + 2}`];
  const urls = channels.map((channel) => `curl -sN 'http://${here}:${port}${eventsPath(channel)}' & `).join('');
  const peer = scope.start('far-peer', 'unshare', ['-n', 'sh', '-c',
    `until ip -4 -o addr show dev eth0 2>/dev/null | grep -q '${there}'; do sleep 0.05; done; ${urls} wait`]);
  await until('the peer has a network of its own', () => {
    try {
      return readlinkSync(`/proc/${peer.pid}/ns/net`) !== readlinkSync('/proc/self/ns/net');
    } catch {
      return false;
    }
  });
  const ip = (...args) => execFileSync('ip', args);
  const ipThere = (...args) => execFileSync('nsenter', ['-t', String(peer.pid), '-n', 'ip', ...args]);
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(peer.pid));
  scope.defer(() => execFileSync('sh', ['-c', `ip link del ${name} 2>/dev/null || true`]));
  ip('addr', 'add', `${here}/30`, 'dev', name);
  ip('link', 'set', name, 'up');
  ipThere('link', 'set', 'eth0', 'up');
  ipThere('addr', 'add', `${there}/30`, 'dev', 'eth0');
  return { pull: () => ipThere('link', 'set', 'eth0', 'down'), output: () => peer.output() };
}

const mayBuildNetworks = process.getuid() === 0 && (() => {
  try {
    execFileSync('unshare', ['-n', 'ip', 'link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

test('a peer that vanishes without a word is noticed, busy or quiet, and its place is given back',
  { skip: mayBuildNetworks ? false : 'needs root with CAP_NET_ADMIN, to build a network that can be cut' },
  scoped(async (scope) => {
    const askrd = await startAskrd(scope, {
      server: { listen: [`unix:${scope.path('askrd.sock')}`, '127.0.0.1:0', '0.0.0.0:0'], ping: 1, write_timeout: 2, outbox_bytes: '16MiB', outbox_frames: 100_000 },
    });
    const other = await subscribe(scope, askrd.tcp, 'busy');
    const port = Number(askrd.process.output().match(/0\.0\.0\.0:([1-9][0-9]*)/)[1]);
    const peer = await farPeer(scope, port, ['busy', 'quiet']);
    await untilMetric(askrd, 'askr_streams', (n) => n === 3);
    await until('both streams are open', () => (peer.output().match(/^id: /gm) ?? []).length >= 2);
    peer.pull();

    const all = payloads(30, 500_000);
    for (const payload of all) {
      await publishAll(scope, askrd, [{ channel: 'busy', payload }]);
    }
    await other.take(all.length);
    assert.deepEqual(numbers(other.events), upTo(all.length), 'others are served meanwhile');
    await untilMetric(askrd, ended('stalled'), (n) => n === 1);
    // The quiet one is found by its pings, which nobody acknowledges: half a minute.
    await untilMetric(askrd, 'askr_streams', (n) => n === 1, 90_000);
    assert.equal(await metric(askrd, ended('peer')) + await metric(askrd, ended('error')), 1);
    await untilMetric(askrd, 'askr_connections', (n) => n === 1);
    await untilMetric(askrd, 'askr_outbox_bytes', (n) => n === 0);
  }));
