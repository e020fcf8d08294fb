// askrd on the command line: check, tail, publish; a second daemon; the end by SIGTERM; health.

import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ASKRD, ROOT } from '../lib/built.mjs';
import { Askrd, startAskrd } from '../lib/askrd.mjs';
import { ask } from '../lib/http.mjs';
import { publish } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

test('check names the file, the key and the reason, and ends with 2', scoped(async (scope) => {
  const cases = {
    'unknown-key': ['[ring]\nslotz = 1024\n', /slotz/, /unknown/i],
    'unknown-table': ['[rings]\nslots = 1024\n', /rings/, /unknown/i],
    'wrong-type': ['[ring]\nslots = "many"\n', /ring\.slots/, /must be an integer/],
    'not-a-power-of-two': ['[ring]\nslots = 1000\n', /ring\.slots/, /power of two/i],
    'no-size': ['[ring]\narena = "16 apples"\n', /ring\.arena/, /bytes/],
    'out-of-range': ['[server]\nping = 0\n', /server\.ping/, /between/],
    'bad-listen': ['[server]\nlisten = ["nowhere"]\n', /server\.listen/, /host:port.*unix:/],
    'bad-origin': ['[server]\nallowed_origins = ["https://*"]\n', /server\.allowed_origins/, /alone, or have one/],
    'not-toml': ['[ring]\nslots = 8\n[ring\n', /line 3/, /./],
  };
  for (const [name, [content, key, reason]] of Object.entries(cases)) {
    const file = scope.path(`${name}.toml`);
    writeFileSync(file, content);
    for (const verb of ['check', 'serve']) {
      const { code, err } = await run(ASKRD, [verb, '--config', file]);
      assert.equal(code, 2, `${verb} ${name}: ${err}`);
      assert.ok(err.includes(file), `${verb} ${name} names the file: ${err}`);
      assert.match(err, key, name);
      assert.match(err, reason, name);
    }
  }
  const missing = await run(ASKRD, ['check', '--config', scope.path('missing.toml')]);
  assert.equal(missing.code, 2);
  assert.match(missing.err, /missing\.toml/);
}));

test('a bad value in the environment is told by its name', scoped(async (scope) => {
  const file = scope.path('askr.toml');
  writeFileSync(file, '');
  const { code, err } = await run(ASKRD, ['check', '--config', file], { env: { ASKR_RING_SLOTS: 'many' } });
  assert.equal(code, 2, err);
  assert.match(err, /ASKR_RING_SLOTS/);
}));

test('the shipped askr.toml is accepted, names every key, and shows the defaults', scoped(async (scope) => {
  const shipped = path.join(ROOT, 'packaging/askr.toml');
  const plain = await run(ASKRD, ['check', '--config', shipped]);
  assert.equal(plain.code, 0, plain.err);

  // With everything but `listen` at its default in words, the settings in force stay the same.
  const text = readFileSync(shipped, 'utf8');
  const all = scope.path('all.toml');
  writeFileSync(all, text.replace(/^#([a-z_]+ = )/gm, '$1'));
  const written = await run(ASKRD, ['check', '--config', all]);
  assert.equal(written.code, 0, written.err);
  // Each value is followed by the place that it came from.
  const values = (out, file) => out.replaceAll(file, '').replace(/ {2}# .*$/gm, '');
  assert.equal(values(written.out, all), values(plain.out, shipped));

  // An unknown key makes askrd list the known ones.
  for (const section of ['ring', 'server', 'broadcast']) {
    const wrong = scope.path('wrong.toml');
    writeFileSync(wrong, `[${section}]\nno_such_key = 1\n`);
    const { err } = await run(ASKRD, ['check', '--config', wrong]);
    const known = /there are (.+)/.exec(err)?.[1].split(',').map((key) => key.trim());
    assert.ok(known?.length > 0, err);
    const body = text.split(`[${section}]`)[1].split(/^\[/m)[0];
    for (const key of known) assert.match(body, new RegExp(`^#?${key} = `, 'm'), `${section}.${key} is in askr.toml`);
  }
}));

test('tail shows what PHP publishes, and publish reaches a subscriber', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const tail = scope.start('tail', askrd.binary, ['tail', 'news', '--config', askrd.config], { uid: askrd.user.uid, gid: askrd.user.gid });
  const subscriber = await subscribe(scope, askrd.tcp, 'news');
  // tail shows what comes after it has begun, and has no other way to say that it has.
  await until('tail shows an event', async () => {
    await publish(scope, askrd, 'news', 'from PHP');
    return tail.output().includes('from PHP');
  });
  await publish(scope, askrd, 'other', 'not for this tail');
  const seen = subscriber.events.length;
  const done = await askrd.cli(['publish', 'news', 'from the command line', '--config', askrd.config]);
  assert.equal(done.code, 0, done.err);
  await subscriber.until('it arrived', () => subscriber.events.at(-1)?.data === 'from the command line');
  assert.ok(subscriber.events.length > seen);
  await until('tail shows it', () => tail.output().includes('from the command line'));
  assert.doesNotMatch(tail.output(), /not for this tail/);
}));

test('publish refuses what PHP would be refused', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  for (const [channel, reason] of [['', /empty/], ['a'.repeat(201), /200/], ['askr:gap', /askr:/]]) {
    const { code, err } = await askrd.cli(['publish', channel, 'x', '--config', askrd.config]);
    assert.notEqual(code, 0);
    assert.match(err, /channel/i);
    assert.match(err, reason);
  }
}));

test('publish without a ring says which ring is missing', scoped(async (scope) => {
  const askrd = new Askrd(scope);
  const { code, err } = await askrd.cli(['publish', 'news', 'x', '--config', askrd.config]);
  assert.notEqual(code, 0);
  assert.ok(err.includes(askrd.ring), err);
}));

test('a second daemon on the same ring refuses to start and says why', scoped(async (scope) => {
  const first = await startAskrd(scope);
  const second = new Askrd(scope, { ring: { name: first.ring } }, 'second');
  const { code, err, out } = await second.cli(['serve', '--config', second.config]);
  assert.notEqual(code, 0);
  assert.match(err + out, /another askrd/i);
  assert.ok((err + out).includes(first.ring));
  // The first one serves on.
  const subscriber = await subscribe(scope, first.tcp, 'news');
  await publish(scope, first, 'news', 'x');
  await subscriber.take(1);
}));

test('SIGTERM drains: no new streams, the open ones are told when to come back, and nothing is lost', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const subscriber = await subscribe(scope, askrd.unix, 'news', { reconnect: 50 });
  await publish(scope, askrd, 'news', 'before');
  await subscriber.take(1);
  const retries = subscriber.retries.length;
  assert.deepEqual(await askrd.stop(), { code: 0, signal: null });
  await subscriber.until('the stream has ended', () => subscriber.ended > 0);
  assert.ok(subscriber.retries.length > retries, 'retry was told before the end');
  assert.ok(subscriber.retries.at(-1) > 0);
  assert.equal(existsSync(askrd.ring), true, 'the ring outlives the daemon');

  await publish(scope, askrd, 'news', 'while away');
  await askrd.start();
  await publish(scope, askrd, 'news', 'after');
  assert.deepEqual((await subscriber.take(3)).map(({ data }) => data), ['before', 'while away', 'after']);
}));

test('the local socket tells health and readiness, and nobody else may ask', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  assert.equal((await askrd.health()).status, 200);
  assert.equal((await askrd.readiness()).status, 200);
  for (const where of [askrd.tcp, askrd.unix]) {
    for (const page of ['/healthz', '/readyz']) {
      assert.equal((await ask(where, page, { headers: { Host: 'localhost' } })).status, 404);
    }
  }
}));
