// The demo's second page: a worker streams an answer word by word, and neither reloads nor a second tab nor a killed
// askrd cost or double a word.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { openTabs } from '../lib/chromium.mjs';
import { startSite } from '../lib/php.mjs';
import { scoped } from '../lib/scope.mjs';

const DEMO = path.join(ROOT, 'demo/public');
const WORDS = 2_000;

/** What answer.php streams. */
function expected() {
  const text = readFileSync(path.join(DEMO, 'answer.php'), 'utf8').match(/<<<'TEXT'\n([^]*?)\nTEXT;/)[1];
  const words = text.trim().split(/\s+/);
  return Array.from({ length: WORDS }, (_, n) => words[n % words.length]).join(' ');
}

test('2,000 words at 1,000 a second survive three reloads, a second tab and a SIGKILL, to the byte', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const site = await startSite(scope, askrd, {
    front: path.join(DEMO, 'answer.php'),
    files: Object.fromEntries(['answer.html', 'look.css'].map((file) => [file, readFileSync(path.join(DEMO, file), 'utf8')])),
  });
  const [page, second] = await openTabs(scope, `${site.url}/answer.html?words=${WORDS}&rate=1000`, [2]);
  const shown = (tab) => tab.evaluate(() => next);
  const past = (tab, count) => tab.waitForFunction((n) => next >= n, count, { polling: 20 });

  await page.click('#ask');
  await past(page, 100);
  for (let reload = 0; reload < 3; reload += 1) {
    const before = await shown(page);
    await page.reload();
    // Where the machine is slow, the answer may have ended by then.
    await past(page, Math.min(before + 100, WORDS));
    if (reload === 0) await second.goto(page.url());
    if (reload === 1) {
      await askrd.kill();
      await askrd.start();
    }
  }
  // And once it has ended.
  const third = await page.context().newPage();
  await page.waitForFunction(() => document.querySelector('#note').textContent.includes('complete'), null, { polling: 50 });
  await third.goto(page.url());
  for (const tab of [page, second, third]) {
    await tab.waitForFunction(() => document.querySelector('#state').textContent === 'done', null, { polling: 50 });
    assert.equal(await tab.textContent('#answer'), expected());
    assert.equal(await tab.textContent('#note'), `${WORDS} words, all in order: the text is complete`);
  }
  assert.deepEqual([...page.problems, ...second.problems], []);
}));
