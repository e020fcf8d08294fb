// Typed events under PHP-FPM: strict for a pool, for a directory, and for a request.

import test from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startAskrd } from '../lib/askrd.mjs';
import { TESTS } from '../lib/built.mjs';
import { startSite } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/strict.php');
const MISSPELT = 'askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "order.shiped" is not; '
  + 'did you mean "order.shipped"?';

const asked = (site) => async (query, at = '/') => (await fetch(`${site.url}${at}?${query}`)).json();

test('a pool is strict, the one beside it is not, and no script of it can change that', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const pool = 'php_admin_value[askr.events] = "order.shipped, order.paid"\nphp_admin_flag[askr.strict] = on';
  const strict = asked(await startSite(scope, askrd, { front: FRONT, name: 'strict', workers: 1, pool }));
  const loose = asked(await startSite(scope, askrd, { front: FRONT, name: 'loose', workers: 1 }));

  assert.equal((await strict('event=order.shiped')).refused, MISSPELT);
  assert.equal((await strict('event=order.shiped&loose=1')).loosened, false);
  assert.match((await strict('')).refused, /none given$/);
  assert.deepEqual((await strict('event=order.paid')).events, ['order.paid', 'order.shipped']);
  assert.equal((await strict('event=order.paid')).published, true);
  assert.deepEqual([(await loose('event=order.shiped')).published, (await loose('')).published], [true, true]);
}));

test('what a request registered is forgotten with it, in the same worker', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const strict = asked(await startSite(scope, askrd,
    { front: FRONT, workers: 1, pool: 'php_value[askr.events] = order.shipped\nphp_flag[askr.strict] = on' }));
  const first = await strict('event=user.joined&register[]=user.joined&register[]=user.left');
  assert.deepEqual([first.published, first.events], [true, ['order.shipped', 'user.joined', 'user.left']]);
  const second = await strict('event=user.joined');
  assert.equal(second.worker, first.worker);
  assert.match(second.refused, /"user.joined" is not, nor one that is nearly the same$/);
  // A script may loosen what was set for it to change; the next request does not notice.
  assert.equal((await strict('event=user.joined&loose=1')).published, true);
  assert.match((await strict('event=user.joined')).refused, /user.joined/);
}));

test('a directory is strict by its .user.ini, and another in the same worker is not', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const directory = scope.path('directory');
  mkdirSync(directory);
  copyFileSync(FRONT, path.join(directory, 'strict.php'));
  writeFileSync(path.join(directory, '.user.ini'), 'askr.strict = 1\naskr.events = "order.shipped"\n');
  const directives = `location = /strict {
    include /etc/nginx/fastcgi_params;
    fastcgi_param SCRIPT_FILENAME ${directory}/strict.php;
    fastcgi_pass unix:${scope.path('site-fpm.sock')};
  }`;
  const site = asked(await startSite(scope, askrd, { front: FRONT, workers: 1, directives }));
  const workers = new Set();
  for (let round = 0; round < 3; round += 1) {
    const strict = await site('event=order.shiped', '/strict');
    const loose = await site('event=order.shiped');
    assert.deepEqual([strict.refused, strict.events, loose.published, loose.events], [MISSPELT, ['order.shipped'], true, []]);
    workers.add(strict.worker).add(loose.worker);
  }
  assert.equal(workers.size, 1);
}));
