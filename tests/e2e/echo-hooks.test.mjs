// The hooks of @laravel/echo-react and @laravel/echo-vue, as npm has them, in Chromium: with pusher-js, with the connector of
// clients/echo, and with its `Pusher`, a component is told the same, and leaves its channels when it goes.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { bundle } from '../lib/bundle.mjs';
import { openPage } from '../lib/chromium.mjs';
import { startSite } from '../lib/php.mjs';
import { echoOptions, serverLibrary, startApplication, startPusher } from '../lib/pusher.mjs';
import { scoped, until } from '../lib/scope.mjs';

const FLAVOURS = ['pusher-js', 'connector', 'option Pusher'];

/** A component of either framework: what it uses, and what it shows. */
const PAGE = `
import { createElement, useEffect, useReducer } from 'react';
import { createRoot } from 'react-dom/client';
import { createApp, h } from 'vue';
import * as react from '@laravel/echo-react';
import * as vue from '@laravel/echo-vue';
import Pusher from 'pusher-js';
import { AskrConnector, AskrPusher } from '@askr/echo';

const seen = window.seen = {};
const note = (what) => (told) => { (seen[what] ??= []).push(told); };
const listeners = Object.fromEntries(['public', 'private', 'model', 'notification', 'presence', 'whisper', 'here'].map((what) => [what, note(what)]));

function use(hooks) {
  hooks.useEchoPublic('orders', '.paid', listeners.public);
  hooks.useEcho('orders.17', ['.shipped', '.returned'], listeners.private);
  hooks.useEchoModel('App.Models.Order', 17, 'OrderUpdated', listeners.model);
  hooks.useEchoNotification('orders.17', listeners.notification, 'App.Notifications.Paid');
  const { channel } = hooks.useEchoPresence('team', '.said', listeners.presence);
  return { channel, status: hooks.useConnectionStatus(), socket: hooks.useSocketId() };
}

const joined = (channel) => channel.here((members) => listeners.here(members.length)).listenForWhisper('typing', listeners.whisper);

const frameworks = {
  react(target) {
    function Page() {
      const { channel, status, socket } = use(react);
      useEffect(() => { window.team = joined(channel()); }, []);
      return createElement('p', null, status, ' ', socket);
    }
    const root = createRoot(target);
    root.render(createElement(Page));
    return () => root.unmount();
  },
  vue(target) {
    const app = createApp({
      setup() {
        const { channel, status, socket } = use(vue);
        return { channel, status, socket };
      },
      mounted() { window.team = joined(this.channel()); },
      render() { return h('p', [this.status, ' ', this.socket]); },
    });
    app.mount(target);
    return () => app.unmount();
  },
};

window.start = (framework, flavour, options) => {
  const { configureEcho, echo } = framework === 'react' ? react : vue;
  configureEcho({ ...options, ...{ 'pusher-js': { Pusher }, connector: { broadcaster: AskrConnector }, 'option Pusher': { Pusher: AskrPusher } }[flavour] });
  window.echo = echo;
  window.stop = frameworks[framework](document.getElementById('app'));
};
`;
const HTML = '<!doctype html><title>Askr</title><div id="app"></div><script type="module" src="page.js"></script>';

for (const framework of ['react', 'vue']) {
  test(`the hooks of ${framework} are told the same over pusher-js and over Askr`, scoped(async (scope) => {
    const askrd = await startPusher(scope, { app: { presence_grace: 0.2 } });
    const application = await startApplication(scope);
    const site = await startSite(scope, askrd, { front: path.join(TESTS, 'php/front.php'), files: { 'page.html': HTML, 'page.js': await bundle(PAGE) } });
    const server = serverLibrary(askrd.port);
    const occupied = async () => Object.keys((await (await server.get({ path: '/channels' })).json()).channels).sort();
    const CHANNELS = ['orders', 'presence-team', 'private-App.Models.Order.17', 'private-orders.17'];

    const run = async (flavour) => {
      const page = await openPage(scope, `${site.url}/page.html`);
      await page.waitForFunction(() => window.start);
      await page.evaluate(([framework, flavour, options]) => { start(framework, flavour, options); }, [framework, flavour, echoOptions(site.port, application, 'ada')]);
      const seen = () => page.evaluate(() => window.seen);
      const shown = () => page.evaluate(() => document.getElementById('app').textContent);
      await until('it shows that it is connected, and who it is', async () => /^connected \d+\.\d+$/.test(await shown()));
      await until('all channels are subscribed', async () => (await occupied()).length === CHANNELS.length && (await seen()).here);
      assert.deepEqual(await occupied(), CHANNELS);
      await server.trigger('orders', 'paid', { n: 1 });
      await server.trigger('private-orders.17', 'shipped', { n: 2 });
      await server.trigger('private-orders.17', 'returned', { n: 3 });
      await server.trigger('private-App.Models.Order.17', 'OrderUpdated', { model: { id: 17 } });
      for (const type of ['App\\Notifications\\Paid', 'App\\Notifications\\Other']) {
        await server.trigger('private-orders.17', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', { id: 'n', type });
      }
      await server.trigger('presence-team', 'said', { n: 4 });
      await until('all is told', async () => {
        const all = await seen();
        return all.public && all.private?.length === 2 && all.model && all.notification && all.presence;
      });
      const told = await seen();
      // Whoever goes leaves.
      await page.evaluate(() => { window.stop(); });
      await until('the channels are left', async () => (await occupied()).length === 0);
      assert.deepEqual(page.problems, []);
      await page.context().browser().close();
      return told;
    };

    const results = {};
    for (const flavour of FLAVOURS) results[flavour] = await run(flavour);
    const expected = results['pusher-js'];
    assert.deepEqual(expected, {
      here: [1], public: [{ n: 1 }], private: [{ n: 2 }, { n: 3 }], model: [{ model: { id: 17 } }],
      notification: [{ id: 'n', type: 'App\\Notifications\\Paid' }], presence: [{ n: 4 }],
    });
    for (const flavour of FLAVOURS.slice(1)) assert.deepEqual(results[flavour], expected, flavour);
  }));
}
