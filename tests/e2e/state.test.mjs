// A page and its stream without a hole: PHP takes the cursor, then reads the state; whoever changes the state publishes
// after the commit; the page applies events by id.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PHP, TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { openTabs } from '../lib/chromium.mjs';
import { ask } from '../lib/http.mjs';
import { run } from '../lib/process.mjs';
import { startPhp, startSite } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';

const LOADS = 100;
const ITEMS = 40;

test('a hundred pages loaded under load, askrd killed in between, show what the database has', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  // Both users write beside it: SQLite keeps a journal there.
  const dir = scope.path('state');
  mkdirSync(dir);
  chmodSync(dir, 0o777);
  const database = path.join(dir, 'items.db');
  const made = await run(PHP, ['-r', '$d = new PDO("sqlite:" . $argv[1]); $d->exec("PRAGMA journal_mode = WAL"); $d->exec("CREATE TABLE items (id INTEGER PRIMARY KEY, version INTEGER UNIQUE)"); foreach ([$argv[1], "$argv[1]-wal", "$argv[1]-shm"] as $f) { touch($f); chmod($f, 0666); }', database]);
  assert.equal(made.code, 0, made.err);
  const env = { STATE_DATABASE: database };
  const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/state.php'), env });
  const stop = path.join(dir, 'stop');
  const writers = [0, 1, 2].map((n) => startPhp(scope, askrd, `writer-${n}`, path.join(TESTS, 'php/state_writer.php'), [ITEMS, stop], { env }));

  const items = async () => JSON.parse((await ask(site, '/items')).body);
  const tabs = await openTabs(scope, `${site.url}/items`, [4]);
  /** Loads the page and waits until it has what the database had by then. */
  const load = async (tab) => {
    await tab.goto(`${site.url}/page`);
    const { version } = await items();
    await tab.waitForFunction((last) => missing(last).length === 0 || problems.length > 0, version, { polling: 20, timeout: 60_000 });
    assert.deepEqual(await tab.evaluate(() => problems), []);
  };
  let loads = 0;
  let killing = Promise.resolve();
  await Promise.all(tabs.map(async (tab) => {
    while (loads < LOADS) {
      loads += 1;
      if (loads % 20 === 0) {
        killing = killing.then(async () => {
          await askrd.kill();
          await askrd.start();
        });
      }
      await load(tab);
    }
  }));
  await killing;
  writeFileSync(stop, '');
  for (const writer of writers) assert.equal((await writer.exited).code, 0, writer.output());

  const last = await items();
  assert.ok(last.version > LOADS, `${last.version} changes`);
  for (const tab of tabs) {
    await tab.waitForFunction((version) => missing(version).length === 0, last.version, { polling: 20, timeout: 60_000 });
    assert.deepEqual(await tab.evaluate(() => Object.fromEntries(items)), last.items);
    assert.deepEqual(await tab.evaluate(() => problems), []);
    assert.deepEqual(tab.problems, []);
  }
}));
