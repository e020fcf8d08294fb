// clients/js in Chromium and Firefox, through nginx by HTTP/1.1 and HTTP/2: whatever cuts the connection, each channel has
// every event once and in order, and nothing that the page may not hear.

import test from 'node:test';
import assert from 'node:assert/strict';
import { launch, open } from '../lib/browsers.mjs';
import { Application, connections, start, subscribed } from '../lib/client.mjs';
import { scoped, until } from '../lib/scope.mjs';

const FIFTY = Array.from({ length: 50 }, (_, n) => (n % 5 ? `news-${n}` : `private-${n}`));
const PRIVATE = FIFTY.filter((name) => name.startsWith('private-'));
const TOKENS = { channels: [...PRIVATE, 'presence-team'], ttl: 600, user: 'ada' };

for (const name of ['chromium', 'firefox']) {
  test(`${name}`, scoped(async (scope, t) => {
    const application = await Application.start(scope);
    const browser = await launch(scope, name);
    for (const protocol of ['HTTP/1.1', 'HTTP/2']) {
      const tabs = [];
      const page = async () => {
        const tab = await application.page(browser, protocol);
        tabs.push(tab);
        return tab;
      };
      const scenario = (what, body) => t.test(`${protocol}: ${what}`, async () => {
        await body();
        for (const tab of tabs.splice(0)) {
          assert.deepEqual(tab.problems, []);
          await tab.close();
        }
        await until('its streams are gone', async () => await application.streams() === 0);
      });

      await scenario('fifty channels, ten of them private, share one connection, which askrd ends by being killed and stopped', async () => {
        const { askrd } = application;
        const before = { ...application.counts };
        const one = await page();
        await application.publish(FIFTY, 2);
        await start(one, { tokens: TOKENS }, FIFTY);
        assert.equal(await application.streams(), 1);
        await application.publish(FIFTY, 2);
        await application.complete(one, FIFTY, before);
        assert.equal(await connections(one), 1);
        for (const end of ['kill', 'stop']) {
          let going = true;
          // No more than the ring holds, however long the page is away.
          const publishing = (async () => { for (let n = 0; going && n < 300; n++) await application.publish(FIFTY); })();
          await askrd[end]();
          const count = application.counts['news-1'];
          await until('more is published meanwhile', () => application.counts['news-1'] > count + 3);
          await askrd.start();
          await until('it is back', () => one.evaluate(() => window.client.state === 'connected'));
          going = false;
          await publishing;
          await application.publish(FIFTY);
          await application.complete(one, FIFTY, before);
        }
        assert.deepEqual(await one.evaluate(() => [window.gaps, window.refused, window.problems]), [[], [], []]);
        assert.ok(await connections(one) >= 3);
      });

      await scenario('channels come and go without a new connection, and one that was left is heard no more', async () => {
        const one = await page();
        await start(one, { tokens: TOKENS }, ['news-1']);
        const from = { ...application.counts };
        await one.evaluate(() => { window.join('news-2'); window.join('private-0'); window.join('news-3', { rewind: 2 }); });
        await subscribed(one, ['news-2', 'private-0', 'news-3']);
        const all = ['news-1', 'news-2', 'news-3', 'private-0'];
        await application.publish(all, 3);
        await application.complete(one, all, { ...from, 'news-3': from['news-3'] - 2 });
        await one.evaluate(() => window.client.channels.get('news-2').unsubscribe());
        await application.publish(all, 3);
        await application.complete(one, ['news-1', 'news-3', 'private-0'], { ...from, 'news-3': from['news-3'] - 2 });
        assert.equal((await one.evaluate(() => window.seen['news-2'].events)).length, 3);
        assert.equal(await connections(one), 1);
      });

      await scenario('a channel that may not be heard is told and hears nothing; the others go on', async () => {
        const one = await page();
        await one.evaluate((options) => window.start(options, ['news-1', 'private-0', 'private-secret', 'presence-other']), { tokens: TOKENS });
        await subscribed(one, ['news-1', 'private-0']);
        await until('both are refused', () => one.evaluate(() => window.refused.length === 2));
        await one.evaluate(() => window.join('private-later'));
        await until('and one that was added', () => one.evaluate(() => window.refused.length === 3));
        const from = { ...application.counts };
        await application.publish(['private-secret', 'private-later', 'news-1', 'private-0'], 2);
        await application.complete(one, ['news-1', 'private-0'], from);
        const { refused, heard } = await one.evaluate(() => ({
          refused: window.refused.map(({ channel, status }) => [channel, status]),
          heard: ['private-secret', 'presence-other', 'private-later'].map((name) => [window.seen[name].events.length, window.client.channels.get(name).state]),
        }));
        assert.deepEqual(refused.sort(), [['presence-other', 403], ['private-later', 403], ['private-secret', 403]]);
        assert.deepEqual(heard, Array(3).fill([0, 'refused']));
      });

      await scenario('a token is renewed before it ends, on the same connection', async () => {
        const one = await page();
        const from = { ...application.counts };
        await start(one, { tokens: { ...TOKENS, ttl: 4 } }, ['private-0', 'private-5', 'news-1']);
        await until('three tokens were used', async () => {
          await application.publish(['private-0', 'news-1']);
          return (await one.evaluate(() => window.asked)).length >= 4;
        });
        await application.complete(one, ['private-0', 'private-5', 'news-1'], { ...from, 'private-5': application.counts['private-5'] });
        assert.deepEqual(await one.evaluate(() => window.asked.slice(0, 4)), ['connect', 'expiring', 'expiring', 'expiring']);
        assert.equal(await connections(one), 1);
        assert.deepEqual(await one.evaluate(() => [window.refused, window.problems]), [[], []]);
      });

      await scenario('a revoked token is replaced; who is signed out is told, keeps the public channels, and comes back', async () => {
        const one = await page();
        const user = `eve-${protocol.slice(-1)}`;
        await start(one, { tokens: { ...TOKENS, user } }, ['private-0', 'news-1']);
        const from = { ...application.counts };
        // Tokens of a second are revoked as a whole.
        await until('a new token is younger', async () => {
          await application.disconnect(user);
          await application.publish(['private-0', 'news-1']);
          return one.evaluate(() => window.client.channels.get('private-0').state === 'refused' || (window.asked.includes('refused') && window.client.state === 'connected'));
        });
        if (await one.evaluate(() => window.client.channels.get('private-0').state === 'refused')) {
          await new Promise((resolve) => setTimeout(resolve, 1100));
          await one.evaluate(() => window.client.renew());
        }
        await subscribed(one, ['private-0', 'news-1']);
        await application.complete(one, ['private-0', 'news-1'], from);

        application.signOut(user);
        await application.disconnect(user);
        await until('it is told', () => one.evaluate(() => window.client.channels.get('private-0').state === 'refused'));
        const { length } = await one.evaluate(() => window.seen['private-0'].events);
        await subscribed(one, ['news-1']);
        await application.publish(['private-0', 'news-1'], 2);
        await application.complete(one, ['news-1'], from);
        assert.equal((await one.evaluate(() => window.seen['private-0'].events)).length, length, 'nothing leaks');
      });

      await scenario('offline and back, and away in the back/forward cache', async () => {
        const one = await page();
        const from = { ...application.counts };
        await start(one, {}, ['news-1', 'news-2']);
        await application.publish(['news-1', 'news-2'], 2);
        await application.complete(one, ['news-1', 'news-2'], from);
        if (name === 'chromium') await one.setOfflineMode(true);
        else await one.evaluate(() => window.dispatchEvent(new Event('offline')));
        await until('it is noticed', () => one.evaluate(() => window.states.some(({ reason }) => reason === 'offline')));
        await application.publish(['news-1', 'news-2'], 2);
        if (name === 'chromium') await one.setOfflineMode(false);
        else await one.evaluate(() => window.dispatchEvent(new Event('online')));
        await application.complete(one, ['news-1', 'news-2'], from);

        const loaded = await one.evaluate(() => window.loaded);
        // Firefox keeps no page that has a request under way when it is left: there it is told before.
        if (name === 'firefox') await one.evaluate(() => window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })));
        if (name === 'firefox') await until('the connection is closed', async () => await application.streams() === 0);
        await one.goto(`${application.urls[protocol]}/other`);
        await until('the connection is closed', async () => await application.streams() === 0);
        await application.publish(['news-1', 'news-2'], 2);
        // Not goBack(): it waits for a load that there is not.
        await one.evaluate(() => window.history.back());
        await until('the page is there', () => one.evaluate(() => Boolean(window.client)).catch(() => false));
        assert.equal(await one.evaluate(() => window.loaded), loaded, 'it was kept, not loaded again');
        await application.complete(one, ['news-1', 'news-2'], from);
        assert.ok((await one.evaluate(() => window.states)).some(({ state }) => state === 'asleep'));
        assert.deepEqual(await one.evaluate(() => window.gaps), []);
      });

      await scenario('members of a presence channel see each other, and what they send to one another', async () => {
        const ada = await page();
        const bob = await page();
        await start(ada, { tokens: TOKENS }, ['presence-team']);
        await start(bob, { tokens: { ...TOKENS, user: 'bob' }, transport: 'ws' }, ['presence-team']);
        const members = (tab) => tab.evaluate(() => [...window.client.channels.get('presence-team').members.values()]);
        const both = [{ id: 'ada', info: { name: 'Ada' } }, { id: 'bob', info: { name: 'Bob' } }];
        for (const tab of [ada, bob]) await until('both are there', async () => (await members(tab)).length === 2);
        assert.deepEqual(await members(ada), both);
        for (const [from, to, id] of [[ada, bob, 'ada'], [bob, ada, 'bob']]) {
          await from.evaluate(async () => {
            for (let n = 1; n <= 5; n += 1) await window.client.channels.get('presence-team').send('client-typing', { n });
          });
          await until('it is heard', () => to.evaluate(() => window.seen['presence-team'].events.length === 5));
          const got = await to.evaluate(() => window.seen['presence-team'].events);
          assert.deepEqual(got.map(({ event, data, user }) => [event, JSON.parse(data).n, user]), [1, 2, 3, 4, 5].map((n) => ['client-typing', n, id]));
        }
        const refused = await ada.evaluate(() => window.client.channels.get('presence-team').send('typing', {}).catch(({ status }) => status));
        assert.equal(refused, 400);
        await bob.evaluate(() => window.client.close());
        await until('bob has left', () => ada.evaluate(() => window.seen['presence-team'].told.some(([what, member]) => what === 'left' && member.id === 'bob')));
        assert.deepEqual(await members(ada), both.slice(0, 1));
      });

      await scenario('by WebSocket: fifty channels, across a kill of askrd', async () => {
        const one = await page();
        const from = { ...application.counts };
        await application.publish(FIFTY, 2);
        await start(one, { tokens: TOKENS, transport: 'ws' }, FIFTY);
        await application.publish(FIFTY, 2);
        await application.complete(one, FIFTY, from);
        await application.askrd.kill();
        await application.publish(FIFTY, 2);
        await application.askrd.start();
        await application.publish(FIFTY, 2);
        await application.complete(one, FIFTY, from);
        assert.deepEqual(await one.evaluate(() => [window.gaps, window.refused]), [[], []]);
      });
    }

    await t.test('ten tabs: all at once by HTTP/2; by HTTP/1.1 six, and others as these close', async () => {
      for (const [protocol, most] of [['HTTP/2', 10], ['HTTP/1.1', 6]]) {
        const tabs = [];
        for (let n = 0; n < 10; n += 1) tabs.push(await application.page(browser, protocol));
        const from = { ...application.counts };
        for (const tab of tabs) await tab.evaluate(() => window.start({}, ['news-1', 'news-2']));
        await until(`${most} are connected`, async () => await application.streams() === most);
        await application.publish(['news-1', 'news-2'], 3);
        let connected = [];
        await until('their pages know', async () => {
          const states = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.client.state)));
          connected = tabs.filter((_, n) => states[n] === 'connected');
          return connected.length === most;
        });
        for (const tab of connected) await application.complete(tab, ['news-1', 'news-2'], from);
        // A place is free: another one takes it, and has missed nothing.
        if (most < 10) {
          await connected[0].close();
          await until('the next is connected', async () => {
            const now = await Promise.all(tabs.map((tab) => (tab === connected[0] ? 'gone' : tab.evaluate(() => window.client.state))));
            return now.filter((state) => state === 'connected').length === most;
          });
        }
        for (const tab of tabs) if (tab !== connected[0] || most === 10) await tab.close();
        await until('they are gone', async () => await application.streams() === 0);
      }
    });
  }));
}
