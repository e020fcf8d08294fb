// What nginx answers while askrd is away: an EventSource is told to come back, whatever page it is of, and
// everybody else learns that it did not work.

import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import Client from 'pusher-js';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { publish, publishAll, startSite } from '../lib/php.mjs';
import { APP, serverLibrary } from '../lib/pusher.mjs';
import { scoped, until, within } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/front.php');
const EVENTS = '/askr/events?channel=news';
const LISTED = 'https://shop.example';
/** Half a second to a second and a half. */
const RETRY = /^retry: (?:[5-9]00|1[0-4]00)\n\n$/;

/** askrd behind nginx, at a site that has an error page of its own. */
async function start(scope, { settings, origins = [LISTED] } = {}) {
  const askrd = await startAskrd(scope, settings);
  const directives = 'error_page 502 503 504 =200 /sorry.html;';
  const site = await startSite(scope, askrd, { front: FRONT, files: { 'sorry.html': 'sorry' }, origins, directives });
  return { askrd, site };
}

const UPGRADE = {
  Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

test('only a GET of events is answered by 200 and a time to come back; anything else by 503', scoped(async (scope) => {
  const { askrd, site } = await start(scope);
  await askrd.kill();
  const away = await ask(site, EVENTS);
  assert.equal(away.status, 200);
  assert.match(away.headers['content-type'], /^text\/event-stream/);
  assert.match(away.headers['cache-control'], /no-store/);
  assert.match(away.headers.vary ?? '', /Origin/);
  assert.match(away.body, RETRY);

  const preflight = { Origin: LISTED, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'last-event-id' };
  const json = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"channels":["a"]}' };
  for (const [what, options] of [
    [EVENTS, { method: 'HEAD' }], [EVENTS, { ...json }], [EVENTS, { method: 'PUT' }], [EVENTS, { method: 'DELETE' }],
    [EVENTS, { method: 'OPTIONS', headers: preflight }],
    ['/askr/subscribe', json], ['/askr/unsubscribe', json], ['/askr/subscribe', { method: 'OPTIONS', headers: preflight }],
    ['/askr/subscribe', { ...json, body: 'x'.repeat(500_000) }],
    ['/askr/events/', {}], ['/askr/EVENTS?channel=news', {}], ['/askr/other', {}], ['/askr/', {}],
    ['/askr/ws?channel=news', { headers: UPGRADE }], ['/askr/ws', {}],
    ['/app/key?protocol=7', { headers: UPGRADE }], ['/app/key', {}],
    ['/apps/1/events', json], ['/apps/1/batch_events', json], ['/apps/1/channels', {}], ['/apps/1/events', { method: 'OPTIONS' }],
    ['/apps/1/events', { ...json, body: 'x'.repeat(500_000) }],
  ]) {
    const { status, headers } = await ask(site, what, options);
    assert.equal(status, 503, `${options.method ?? 'GET'} ${what}`);
    assert.match(headers['content-type'], /^text\/plain/, what);
    assert.match(headers['cache-control'] ?? '', /no-store/, what);
    assert.equal(headers['retry-after'], '2', what);
  }
  // What is not askrd's is the site's own.
  assert.equal((await ask(site, '/sorry.html')).body, 'sorry');
}));

test('only a listed origin gets CORS headers from nginx, with credentials, exactly', scoped(async (scope) => {
  const { askrd, site } = await start(scope, { origins: [LISTED, 'http://other.example:8080'] });
  await askrd.kill();
  for (const origin of [LISTED, 'http://other.example:8080']) {
    for (const [what, method] of [[EVENTS, 'GET'], ['/askr/subscribe', 'POST']]) {
      const { headers } = await ask(site, what, { method, headers: { Origin: origin } });
      assert.equal(headers['access-control-allow-origin'], origin, what);
      assert.equal(headers['access-control-allow-credentials'], 'true', what);
    }
  }
  for (const stranger of [undefined, 'null', 'https://evil.example', 'https://shop.example.evil.example', 'http://shop.example',
    'https://shop.example:8443', 'https://other.example:8080', '*', '']) {
    const { status, headers, body } = await ask(site, EVENTS, { headers: stranger === undefined ? {} : { Origin: stranger } });
    assert.equal(status, 200);
    assert.match(body, RETRY);
    assert.equal(headers['access-control-allow-origin'], undefined, stranger);
    assert.equal(headers['access-control-allow-credentials'], undefined, stranger);
  }
}));

test('an origin of * gets no credentials', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  // As an operator may write it, who wants every page to listen.
  const site = await startSite(scope, askrd, { front: FRONT, origins: ['https://a.example" "*"; #'] });
  await askrd.kill();
  const { headers } = await ask(site, EVENTS, { headers: { Origin: 'https://a.example' } });
  assert.equal(headers['access-control-allow-origin'], '*');
  assert.equal(headers['access-control-allow-credentials'], undefined);
}));

test('an origin that only a pattern matches gets no credentials from nginx, and an exact one does', scoped(async (scope) => {
  const askrd = await startAskrd(scope);
  const exact = 'https://exact.example.com';
  const subdomains = '"~^https://([a-z0-9_-]+\\.)+example\\.com$"';
  const start = (name, patterns) => startSite(scope, askrd, { front: FRONT, origins: [exact], patterns, name });
  const sites = {
    one: await start('one', [subdomains]),
    all: await start('all', ['"~^[a-z][a-z0-9+.-]*://."', subdomains]),
    files: await start('files', ['"null"', '"file://"']),
  };
  await askrd.kill();
  const allowed = async (site, origin, method = 'GET') => {
    const { headers } = await ask(sites[site], method === 'GET' ? EVENTS : '/askr/subscribe', { method, headers: { Origin: origin } });
    assert.match(headers.vary, /Origin/);
    return [headers['access-control-allow-origin'], headers['access-control-allow-credentials']];
  };
  for (const method of ['GET', 'POST']) {
    for (const site of ['one', 'all', 'files']) assert.deepEqual(await allowed(site, exact, method), [exact, 'true'], site);
    for (const origin of ['https://www.example.com', 'https://a.b.example.com']) {
      for (const site of ['one', 'all']) assert.deepEqual(await allowed(site, origin, method), ['*', undefined], origin);
    }
    for (const origin of ['https://example.com', 'http://www.example.com', 'https://www.example.com:8443', 'https://evilexample.com',
      'https://www.example.com.evil.com', 'https://evil.com/.example.com', 'https://u@www.example.com']) {
      assert.deepEqual(await allowed('one', origin, method), [undefined, undefined], origin);
      assert.deepEqual(await allowed('all', origin, method), ['*', undefined], origin);
    }
    for (const origin of ['null', 'file://']) {
      for (const site of ['one', 'all']) assert.deepEqual(await allowed(site, origin, method), [undefined, undefined], site);
      assert.deepEqual(await allowed('files', origin, method), ['*', undefined]);
    }
  }
}));

test("a foreign page's EventSource keeps its place over a restart of askrd", scoped(async (scope) => {
  const page = http.createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Shop</title>'));
  const port = await freePort();
  await new Promise((resolve) => page.listen(port, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => { page.close(resolve); page.closeAllConnections(); }));
  const origin = `http://127.0.0.1:${port}`;
  const { askrd, site } = await start(scope, { settings: { server: { allowed_origins: [origin] } }, origins: [origin] });

  for (const withCredentials of [false, true]) {
    const tab = await openPage(scope, origin);
    await within('the stream to open', listen(tab, `${site.url}${EVENTS}`, ['message', 'askr:gap'], { withCredentials }));
    await publish(scope, askrd, 'news', 'before');
    await seen(tab, 1);
    await askrd.kill();
    // It has asked at least once while nobody but nginx was there, and was told to come back.
    await tab.waitForFunction(() => window.opens >= 2 && window.errors >= 2);
    await publishAll(scope, askrd, ['1', '2', '3'].map((payload) => ({ channel: 'news', payload })));
    await askrd.start();
    const events = await seen(tab, 4);
    assert.deepEqual(events.map(({ event, data }) => [event, data]), ['before', '1', '2', '3'].map((data) => ['message', data]));
    assert.equal(await tab.evaluate(() => window.made), 1, 'the page made one EventSource only');
    assert.deepEqual(tab.problems, []);
    await tab.evaluate(() => window.source.close());
  }
}));

test("Pusher's clients: a post fails while askrd is away, and pusher-js comes back by itself", scoped(async (scope) => {
  const { askrd, site } = await start(scope, { settings: { app: APP } });
  const server = serverLibrary(site.port);
  const client = new Client(APP.key, { wsHost: '127.0.0.1', wsPort: site.port, forceTLS: false, cluster: '', enabledTransports: ['ws'] });
  scope.defer(() => client.disconnect());
  const states = [];
  client.connection.bind('state_change', ({ current }) => states.push(current));
  const channel = client.subscribe('news');
  const got = [];
  channel.bind('told', ({ n }) => got.push(n));
  await until('it is subscribed', () => channel.subscribed);
  await server.trigger('news', 'told', { n: 1 });
  await until('the first has come', () => got.length === 1);

  await askrd.kill();
  await until('it has noticed', () => states.includes('connecting'));
  await assert.rejects(server.trigger('news', 'told', { n: 2 }), ({ status }) => status === 503);
  await askrd.start();
  await until('it is subscribed again', () => client.connection.state === 'connected' && channel.subscribed);
  await server.trigger('news', 'told', { n: 3 });
  await until('the last has come', () => got.includes(3));
  assert.deepEqual(got, [1, 3]);
}));
