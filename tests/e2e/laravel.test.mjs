// A Laravel 8.83 application publishes from a controller under PHP-FPM and from a queued job.

import test from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, chownSync } from 'node:fs';
import path from 'node:path';
import { PHP, TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { ask } from '../lib/http.mjs';
import { services } from '../lib/people.mjs';
import { phpEnvironment, startSite } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, within } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const APP = path.join(TESTS, 'laravel-app');

test('events of a Laravel controller and of a queued job arrive', scoped(async (scope) => {
  const { web } = services();
  const storage = scope.path('storage');
  mkdirSync(storage);
  if (web.uid !== undefined) chownSync(storage, web.uid, web.gid);

  const askrd = await startAskrd(scope);
  const env = { APP_STORAGE: storage };
  const artisan = async (...args) => {
    const done = await run(PHP, [path.join(APP, 'artisan'), ...args],
      { uid: web.uid, gid: web.gid, env: { ...env, ...phpEnvironment(scope, askrd) } });
    assert.equal(done.code, 0, `artisan ${args.join(' ')}: ${done.out}${done.err}`);
    return done.out;
  };
  // The database is a file in the storage directory.
  await run('touch', [path.join(storage, 'database.sqlite')], { uid: web.uid, gid: web.gid });
  await artisan('migrate', '--force');

  const site = await startSite(scope, askrd, { front: path.join(APP, 'public/index.php'), env, files: { 'page.html': '<!doctype html><title>Orders</title>' } });
  const page = await openPage(scope, `${site.url}/page.html`);
  await within('the stream to open', listen(page, '/askr/events?channel=order.17', ['message', 'order.paid', 'order.shipped', 'askr:gap']));
  const all = await subscribe(scope, askrd.tcp, 'orders');

  const answer = await ask(site, '/orders/17', { method: 'POST' });
  assert.equal(answer.status, 200, answer.body);
  assert.deepEqual(JSON.parse(answer.body), { published: true });
  const [paid] = await seen(page, 1);
  assert.deepEqual([paid.event, JSON.parse(paid.data)], ['order.paid', { order: 17, state: 'paid' }]);

  // The job waits in the database until a worker runs it.
  assert.match(await artisan('queue:work', '--stop-when-empty', '--tries=1'), /Processed/);
  const [, shipped] = await seen(page, 2);
  assert.deepEqual([shipped.event, JSON.parse(shipped.data)], ['order.shipped', { order: 17, state: 'shipped' }]);

  const [onOrders] = await all.take(1);
  assert.equal(onOrders.data, paid.data, 'one call reached both of its channels');
  assert.equal(all.events.length, 1);
}));
