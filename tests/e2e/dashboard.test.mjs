// The dashboard in Chromium and Firefox: what it shows is what the generator made, names and payloads are never markup, it
// goes on after a restart, and with 100,000 channels; by keyboard, and on a phone.

import test from 'node:test';
import assert from 'node:assert/strict';
import { launch, open } from '../lib/browsers.mjs';
import { of, rowsOf, shows, signedIn, streams, withDashboard } from '../lib/dashboard.mjs';
import { publishAll } from '../lib/php.mjs';
import { scoped, until } from '../lib/scope.mjs';

const HOSTILE = [
  '<img src=x onerror="window.hacked=1">', '"><script>window.hacked=1</script>', "'-alert(1)-'", '&lt;b&gt;', '{{7*7}}', 'javascript:alert(1)',
  '\u202Egnp.exe', '</td></tr></table><h1>no', 'ｘ'.repeat(60), '%3Cscript%3E',
];

const event = (channel, payload) => ({ channel, payload });

/** Everything, with one browser. */
const within = (name) => scoped(async (scope, t) => {
  const askrd = await withDashboard(scope, { server: { max_channels: 200_000, channels_per_address: 0 } });
  await askrd.start();
  const browser = await launch(scope, name);

  await t.test('without the secret there is only the login, whose tries are limited', async () => {
    const page = await open(browser, askrd.dashboard);
    assert.equal(await page.title(), 'Askr: sign in');
    await page.type('#secret', 'not the secret');
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    await shows(page, '[role=alert]', 'That is not the secret.');
    const live = await page.evaluate(() => fetch('/live').then((answer) => answer.status));
    assert.equal(live, 401);
    await page.close();
  });

  const page = await signedIn(browser, askrd.dashboard);
  await t.test('each panel has the numbers of the generator', async () => {
    const held = await streams(scope, askrd, [['news', 'a'], ['news'], ['news', HOSTILE[0]]]);
    await shows(page, of('connections', 'streams'), '3');
    await publishAll(scope, askrd, [
      ...Array.from({ length: 120 }, (_, n) => event('news', `${n}`)),
      ...Array.from({ length: 30 }, (_, n) => event('a', `${n}`)),
      ...HOSTILE.map((text) => event(HOSTILE[0], text)),
    ]);
    await shows(page, of('flow', 'events read'), '160');
    // Three streams have "news", one "a" and one the other: each gets a frame.
    await shows(page, of('flow', 'frames sent'), `${3 * 120 + 30 + HOSTILE.length}`);
    await shows(page, of('connections', 'SSE'), '3');
    await shows(page, of('connections', 'Pusher'), '0');
    await shows(page, of('connections', 'subscriptions'), '5');
    await shows(page, of('connections', 'channels'), '3');
    await shows(page, of('flow', 'ring: behind'), '0');
    await until('the busiest are ranked', async () => {
      const rows = await rowsOf(page, 'busiest');
      return JSON.stringify(rows.map(([channel, count]) => [channel, count]))
        === JSON.stringify([['news', '120'], ['a', '30'], [HOSTILE[0], '10']]);
    });
    await until('the largest are ranked', async () => (await rowsOf(page, 'largest'))[0]?.join() === 'news,3');
    const [app] = await rowsOf(page, 'apps');
    assert.deepEqual(app.slice(0, 8), ['askr', '3', '0', '0', '3', '0', '160', '400']);
    for (const answer of held) answer.destroy();
    await shows(page, of('connections', 'streams'), '0');
  });

  await t.test('hostile names and payloads are text', async () => {
    await publishAll(scope, askrd, HOSTILE.map((text) => event(text, text)));
    await until('each is shown as it is', async () => {
      const names = (await rowsOf(page, 'busiest')).map(([channel]) => channel);
      return HOSTILE.every((text) => names.includes(text));
    });
    await page.type('#channel [name=channel]', HOSTILE[0]);
    await page.click('#channel button[value=events]');
    await shows(page, '#channel-said', /^11 events/);
    const data = (await rowsOf(page, 'channel-table')).map((row) => row[4]);
    assert.deepEqual(data, [...HOSTILE, HOSTILE[0]]);
    const added = await page.evaluate(() => [window.hacked, document.querySelectorAll('img, script:not([src]), td *:not(button)').length]);
    assert.deepEqual(added.map((one) => one ?? null), [null, 0]);
  });

  await t.test('a connection is ended, after it was asked whether it should be', async () => {
    const [held] = await streams(scope, askrd, [['end-me']]);
    const ended = new Promise((resolve) => held.once('close', resolve));
    await shows(page, of('connections', 'streams'), '1');
    const [socket] = await page.evaluate(async () => { const answer = await fetch('/members?app=askr&channel=presence-none'); return [answer.status]; });
    assert.equal(socket, 200);
    await page.select('#end [name=kind]', 'user');
    await page.type('#end [name=id]', 'nobody');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#sure[open]');
    await page.keyboard.press('Escape');
    await until('nothing was asked', async () => !(await page.$('#sure[open]')));
    assert.equal(await page.evaluate(() => document.getElementById('end-said').textContent), '');
    await page.click('#end button');
    await page.waitForSelector('#sure[open]');
    await page.click('#sure button[value=yes]');
    await shows(page, '#end-said', '0 ended (nobody)');
    held.destroy();
    await ended;
  });

  await t.test('it goes on when askrd is restarted, without a new login', async () => {
    await askrd.kill();
    await shows(page, '#state', /is away/);
    await askrd.start();
    await shows(page, '#state', /^askrd .*, up /);
    await publishAll(scope, askrd, [event('after', '1')]);
    await until('what comes then is shown', async () => (await rowsOf(page, 'busiest')).some(([channel]) => channel === 'after'));
  });

  await t.test('with 100,000 channels', async () => {
    const lists = Array.from({ length: 1000 }, (_, n) => Array.from({ length: 100 }, (_, m) => `many-${n}-${m}`));
    const held = await streams(scope, askrd, [...lists, ['many-7-7'], ['many-7-7']]);
    await shows(page, of('connections', 'channels'), '100,000');
    await until('the largest is found among them', async () => (await rowsOf(page, 'largest'))[0]?.join() === 'many-7-7,3');
    for (const answer of held) answer.destroy();
    await shows(page, of('connections', 'channels'), '0');
  });

  await t.test('a channel among the busiest is asked for by a click on its name', async () => {
    await publishAll(scope, askrd, [event('clicked', 'a'), event('clicked', 'b')]);
    await until('it is shown', async () => (await rowsOf(page, 'busiest')).some(([channel]) => channel === 'clicked'));
    await page.evaluate(() => [...document.querySelectorAll('#busiest button')].find((button) => button.textContent === 'clicked').click());
    assert.equal(await page.$eval('#channel [name=channel]', (input) => input.value), 'clicked');
    await page.click('#channel button[value=events]');
    await shows(page, '#channel-said', /^2 events/);
  });

  await t.test('on a phone nothing is wider than the screen, in light and dark, and all can be reached by keyboard', async () => {
    await page.setViewport({ width: 360, height: 740 });
    for (const scheme of name === 'chromium' ? ['light', 'dark'] : ['light']) {
      if (name === 'chromium') await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wide, 0, scheme);
    }
    const reached = new Set();
    for (let n = 0; n < 90; n += 1) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate(() => { const on = document.activeElement; return on.name || on.value || on.textContent; }));
    }
    for (const control of ['minute', 'channel', 'members', 'events', 'kind', 'id'].map((one) => (one === 'minute' ? 'a minute' : one))) {
      assert.ok(reached.has(control), `${control} among ${[...reached]}`);
    }
  });

  await t.test('who signs out sees nothing any more', async () => {
    await Promise.all([page.waitForNavigation(), page.evaluate(() => document.querySelector('#leave button').click())]);
    assert.equal(await page.title(), 'Askr: sign in');
    assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees the cookie');
  });
  assert.deepEqual(page.problems, []);
});

// They mostly wait for the next second: both at one time.
test('the dashboard', { concurrency: 2 }, (t) => Promise.all(['chromium', 'firefox'].map((name) => t.test(name, within(name)))));
