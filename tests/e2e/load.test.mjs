// 200,000 events of 1 B to 64 KiB from the command line, from forked children and from eight FPM
// workers at once. Paced, every one arrives; unpaced, every missing one is accounted for.

import test from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { openSync, writeSync, closeSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { parseCursor } from '../lib/cursor.mjs';
import { ask } from '../lib/http.mjs';
import { startPhp, startSite } from '../lib/php.mjs';
import { scoped, within } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const CLI = 40_000;
const CHILDREN = 4;
const PER_CHILD = 15_000;
const STREAMS = 8;
const PER_STREAM = 12_500;
// The forking parent publishes one itself.
const TOTAL = CLI + 1 + CHILDREN * PER_CHILD + STREAMS * PER_STREAM;
const PER_REQUEST = 250;
const LONG = 240_000;

/** What the subscriber has, checked as it comes: content, order, duplicates, gaps. */
class Account {
  arrived = 0;
  workers = new Set();
  sizes = { smallest: Infinity, largest: 0 };
  told = { exact: 0, atMost: 0, gaps: 0 };
  faults = [];
  #last = new Map();

  take({ event, data, id }) {
    if (event === 'askr:gap') return this.#gap(JSON.parse(data));
    const [publisher, number, digest] = id.split('.');
    const n = Number(number);
    const bytes = Buffer.from(data);
    this.arrived += 1;
    this.sizes.smallest = Math.min(this.sizes.smallest, bytes.length);
    this.sizes.largest = Math.max(this.sizes.largest, bytes.length);
    if (createHash('sha256').update(bytes).digest('hex').slice(0, 16) !== digest) this.#fault(`${id} is changed`);
    const before = this.#last.get(publisher) ?? -1;
    if (n <= before) this.#fault(`${publisher}: ${n} after ${before}`);
    this.#last.set(publisher, n);
  }

  #gap({ lost, at_most }) {
    this.told.gaps += 1;
    if (lost === null) {
      if (!Number.isInteger(at_most)) this.#fault(`a gap without a bound: at_most ${at_most}`);
      this.told.atMost += at_most;
    } else {
      this.told.exact += lost;
      this.told.atMost += lost;
    }
  }

  #fault(text) {
    if (this.faults.length < 10) this.faults.push(text);
  }
}

/** Publishes everything at once. Resolves when the last publisher is done. */
async function publishAll(scope, askrd, site, acknowledged) {
  const cli = (name, count, children) => within(`the publisher ${name}`,
    startPhp(scope, askrd, `php-${name}`, path.join(TESTS, 'php/load_cli.php'), [name, count, acknowledged ?? '', children]).exited, LONG);
  const workers = new Set();
  const stream = async (k) => {
    for (let from = 0; from < PER_STREAM; from += PER_REQUEST) {
      const { status, body } = await ask(site, '/load', {
        method: 'POST',
        body: JSON.stringify({ publisher: `fpm${k}`, from, count: Math.min(PER_REQUEST, PER_STREAM - from), acknowledged }),
      });
      assert.equal(status, 200, body);
      workers.add(JSON.parse(body).worker);
    }
  };
  const ends = await Promise.all([
    cli('cli', CLI, 0),
    cli('fork', PER_CHILD, CHILDREN),
    ...Array.from({ length: STREAMS }, (_, k) => stream(k)),
  ]);
  assert.deepEqual(ends.slice(0, 2), [{ code: 0, signal: null }, { code: 0, signal: null }]);
  assert.equal(workers.size, STREAMS, 'every FPM worker published');
}

test('200,000 events, paced by what the readers acknowledge, arrive once, unchanged and in order', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), workers: STREAMS });
  const account = new Account();
  const acknowledged = scope.path('acknowledged');
  const file = openSync(acknowledged, 'w', 0o644);
  scope.defer(() => closeSync(file));
  // Of fixed width and written in place, so that a reader never sees half of it.
  const acknowledge = (position) => writeSync(file, String(position).padStart(20, '0'), 0);
  acknowledge(0);

  const subscriber = await subscribe(scope, askrd.tcp, 'load', { onEvent: (event) => account.take(event) });
  let told = '';
  const timer = setInterval(() => {
    subscriber.events.length = 0;
    if (subscriber.lastEventId !== told && /^[0-9a-f]{12}-[0-9]+$/.test(subscriber.lastEventId)) {
      told = subscriber.lastEventId;
      acknowledge(parseCursor(told).seq);
    }
  }, 5);
  scope.defer(() => clearInterval(timer));

  await publishAll(scope, askrd, site, acknowledged);
  await subscriber.until('all arrived', () => account.arrived >= TOTAL || account.faults.length > 0 || account.told.gaps > 0, LONG);
  assert.deepEqual(account.faults, []);
  assert.deepEqual(account.told, { exact: 0, atMost: 0, gaps: 0 });
  assert.equal(account.arrived, TOTAL);
  assert.deepEqual(account.sizes, { smallest: 1, largest: 65536 });
}));

test('200,000 events without any pacing: each one that is missing is told', scoped(async (scope, t) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), workers: STREAMS });
  const account = new Account();
  let last = false;
  const subscriber = await subscribe(scope, askrd.tcp, ['load', 'end'], {
    onEvent: (event) => {
      if (event.event === 'end') last = true;
      else account.take(event);
    },
  });
  const timer = setInterval(() => { subscriber.events.length = 0; }, 5);
  scope.defer(() => clearInterval(timer));

  await publishAll(scope, askrd, site, null);
  const { code, err } = await askrd.cli(['publish', 'end', 'that was all', '--event', 'end', '--config', askrd.config]);
  assert.equal(code, 0, err);
  await subscriber.until('the last event arrived', () => last, LONG);

  assert.deepEqual(account.faults, []);
  const missing = TOTAL - account.arrived;
  t.diagnostic(`${account.arrived} arrived, ${missing} missing; told: ${JSON.stringify(account.told)}`);
  assert.ok(missing >= account.told.exact, `${missing} are missing, ${account.told.exact} told as lost`);
  assert.ok(missing <= account.told.atMost, `${missing} are missing, at most ${account.told.atMost} told`);
}));
