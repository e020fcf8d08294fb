// A Mercure hub through nginx, with who comes to one: EventSource in Chromium and Firefox, npm's `eventsource`, ux-turbo.
// Published by mercure_publish() in PHP-FPM and by POST, in both versions of the protocol.

import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { EventSource } from 'eventsource';
import { ASKR_SO, PHP, ROOT, TESTS } from '../lib/built.mjs';
import { launch, open } from '../lib/browsers.mjs';
import { bundle } from '../lib/bundle.mjs';
import { Hub, ISSUER, P } from '../lib/mercure.mjs';
import { services } from '../lib/people.mjs';
import { phpEnvironment } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { Subscriber } from '../lib/sse.mjs';

const BROWSERS = ['chromium', 'firefox'];

/** Has a page log in: the cookie is for the hub's path alone, and no script sees it. */
const login = (page, topics, { actions = ['subscribe'], seconds = 600, payload } = {}) =>
  page.evaluate(async (body) => {
    const { status } = await fetch('/login', { method: 'POST', body });
    if (status !== 200) throw new Error(`login: ${status}`);
  }, JSON.stringify({ actions, topics, seconds, payload }));

/** An EventSource of the page, under a name; what it dispatches is in `window.streams[name].seen`. */
const listen = (page, name, query) => page.evaluate(([name, url]) => new Promise((resolve, reject) => {
  const source = new EventSource(url);
  const stream = { source, seen: [], opens: 0 };
  (window.streams ??= {})[name] = stream;
  for (const type of ['message', 'updated', 'askr:gap']) {
    source.addEventListener(type, ({ type, data, lastEventId }) => stream.seen.push({ type, data, id: lastEventId }));
  }
  source.addEventListener('open', () => { stream.opens += 1; resolve(); });
  source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) reject(new Error(`${name} is closed`)); });
}), [name, `${P}?${query}`]);

const seen = (page, name) => page.evaluate((name) => window.streams[name].seen, name);
const arrived = async (page, name, count) => {
  await until(`${name} has seen ${count}`, async () => (await seen(page, name)).length >= count);
  return seen(page, name);
};
const opens = (page, name) => page.evaluate((name) => window.streams[name].opens, name);
const query = (...pairs) => new URLSearchParams(pairs).toString();
const data = (events) => events.map((event) => event.data);

/** Turbo, both ways of ux-turbo to name a stream, and a count of the streams that are open. */
const TURBO = `
import * as Turbo from '@hotwired/turbo';
import { Application } from '@hotwired/stimulus';
import '@symfony/ux-turbo/dist/mercure_stream_source_element.js';
import Controller from '@symfony/ux-turbo/dist/turbo_stream_controller.js';
window.opens = 0;
window.EventSource = class extends window.EventSource {
  constructor(...args) {
    super(...args);
    this.addEventListener('open', () => { window.opens += 1; });
  }
};
Application.start().register('mercure-turbo-stream', Controller);
window.Turbo = Turbo;
`;


const PAGES = {
  'page.html': '<!doctype html><title>Askr</title>',
  'turbo.html': '<!doctype html><title>Askr</title><ul id="list"></ul><div id="streams"></div><script type="module" src="turbo.js"></script>',
};

test('a hub, and pages in Chromium and Firefox', scoped(async (scope, t) => {
  const [script, ...browsers] = await Promise.all([bundle(TURBO), ...BROWSERS.map((name) => launch(scope, name))]);
  const hub = await Hub.start(scope, { files: { ...PAGES, 'turbo.js': script } });
  /** A page in each browser, which shares nothing with those of before. */
  const pages = (file) => Promise.all(browsers.map(async (browser, n) =>
    ({ name: BROWSERS[n], page: await open(await browser.createBrowserContext(), `${hub.origin}/${file}`) })));

  await t.test('public and private updates, by function and by POST, over a restart', async () => {
    const [book, inbox, another] = ['books/1', 'users/7/inbox', 'users/8/inbox'].map((path) => `${hub.origin}/${path}`);
    const tabs = await pages('page.html');

    // Without a token: what is public, by each kind of matcher.
    for (const { page } of tabs) {
      await listen(page, 'exact', query(['match', book], ['match', another]));
      await listen(page, 'pattern', query(['match_urlpattern', '/books/:id']));
      await listen(page, 'template', query(['topic', `${hub.origin}/books/{id}`]));
      // As many as there may be, as Echo asks for channels.
      const channels = Array.from({ length: 99 }, (_, n) => ['match', `https://laravel.alt/echo/channel/private-orders.${n}`]);
      await listen(page, 'many', query(['match', book], ...channels));
    }
    const ids = [
      await hub.publish(book, 'by function\nin two lines', { type: 'updated' }),
      await hub.publish([another], 'hidden', { private: true }),
      await hub.post({ topic: book, data: 'by POST', id: 'urn:uuid:1' }),
      await hub.post({ topic: book, data: 'by POST, 0.x' }, hub.legacyToken([book], [])),
    ];
    assert.equal(ids[2], 'urn:uuid:1');
    const expected = [
      { type: 'updated', data: 'by function\nin two lines', id: ids[0] },
      { type: 'message', data: 'by POST', id: ids[2] },
      { type: 'message', data: 'by POST, 0.x', id: ids[3] },
    ];
    const streams = ['exact', 'pattern', 'template', 'many'];
    for (const { name, page } of tabs) {
      for (const stream of streams) assert.deepEqual(await arrived(page, stream, 3), expected, `${name} ${stream}`);
    }

    // With a cookie: what was granted, and no more.
    for (const { page } of tabs) {
      await login(page, [inbox]);
      await listen(page, 'inbox', query(['match', inbox], ['match', another]));
    }
    await hub.publish([another], 'of another', { private: true });
    const own = await hub.publish([inbox], 'private', { private: true });
    for (const { name, page } of tabs) {
      assert.deepEqual(await arrived(page, 'inbox', 1), [{ type: 'message', data: 'private', id: own }], name);
      assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read the token');
    }

    // While askrd is away nginx asks them to come back, and PHP goes on publishing. Each update arrives once.
    assert.deepEqual(await hub.askrd.stop(), { code: 0, signal: null });
    await hub.publish([inbox], 'meanwhile', { private: true });
    await hub.publish([book, another], 'meanwhile');
    await hub.askrd.start();
    await hub.post({ topic: inbox, data: 'after', private: 'on' });
    await hub.post({ topic: book, data: 'after' });
    for (const { name, page } of tabs) {
      // A public update of two topics, one of which it asked for, is there, too.
      assert.deepEqual(data(await arrived(page, 'inbox', 4)), ['private', 'meanwhile', 'meanwhile', 'after'], name);
      for (const stream of streams) {
        assert.deepEqual(data(await arrived(page, stream, 5)).slice(3), ['meanwhile', 'after'], `${name} ${stream}`);
        assert.ok(await opens(page, stream) > 1, 'it came back');
      }
      assert.deepEqual(page.problems, []);
      await page.close();
    }
  });

  await t.test('a page publishes with its cookie what it was granted, as Echo whispers', async () => {
    const whispers = 'https://laravel.alt/echo/whisper/presence-room.3';
    const post = (page, topic) => page.evaluate(async ([url, topic]) => {
      const body = new URLSearchParams({ topic, data: '{"typing":true}', private: 'on' });
      const answer = await fetch(url, { method: 'POST', body, credentials: 'same-origin' });
      return [answer.status, await answer.text()];
    }, [P, topic]);
    for (const { name, page } of await pages('page.html')) {
      assert.equal((await post(page, whispers))[0], 401, 'without a token');
      await login(page, [whispers], { actions: ['publish', 'subscribe'] });
      await listen(page, 'whispers', query(['match', whispers]));
      const [status, id] = await post(page, whispers);
      assert.equal(status, 200, name);
      assert.deepEqual(await arrived(page, 'whispers', 1), [{ type: 'message', data: '{"typing":true}', id }]);
      assert.equal((await post(page, 'https://laravel.alt/echo/channel/presence-room.3'))[0], 403);
      await page.close();
    }
  });

  await t.test('what API Platform publishes of a resource reaches its admin, which names the IRI as the topic, of 0.x', async () => {
    const iri = `${hub.origin}/api/books/1`;
    const document = (title) => JSON.stringify({ '@context': '/api/contexts/Book', '@id': '/api/books/1', '@type': 'Book', title });
    // Of a resource that is gone there is its name alone.
    const gone = '{"@id":"\\/api\\/books\\/1","@type":"Book"}';
    for (const { name, page } of await pages('page.html')) {
      await listen(page, 'public', query(['topic', iri]));
      // As the admin has it: a script sets the cookie, with the hub's URL as its path, which browsers take for none.
      await page.evaluate((cookie) => { window.document.cookie = cookie; },
        `mercureAuthorization=${hub.legacyToken([], [iri])}; Path=${hub.url}; Secure; SameSite=None`);
      await listen(page, 'private', query(['topic', iri]));
      const publish = (fields) => hub.post({ topic: iri, ...fields }, hub.legacyToken(['*'], []));
      await publish({ data: document('created') });
      await publish({ data: document('of its readers'), private: 'on' });
      await publish({ data: document('updated') });
      await publish({ data: gone });
      const titles = (events) => events.map(({ type, data }) => [type, JSON.parse(data)['@id'], JSON.parse(data).title]);
      const shown = (...all) => all.map((title) => ['message', '/api/books/1', title]);
      assert.deepEqual(titles(await arrived(page, 'private', 4)), shown('created', 'of its readers', 'updated', undefined), name);
      assert.deepEqual(titles(await arrived(page, 'public', 3)), shown('created', 'updated', undefined), name);
      assert.deepEqual(page.problems, []);
      await page.close();
    }
  });

  await t.test('ux-turbo\'s stream source and its Stimulus controller show streams, public and private, of both versions', async () => {
    // As Symfony names the topic of an entity, and of a class.
    const [entity, ofClass] = ['1', '{id}'].map((id) => `https://symfony.com/ux-turbo/${encodeURIComponent('App\\Entity\\Book')}/${id}`);
    const stream = (text) => `<turbo-stream action="append" target="list"><template><li>${text}</li></template></turbo-stream>`;
    const source = (...pairs) => `<turbo-mercure-stream-source src="${P}?${query(...pairs)}" private></turbo-mercure-stream-source>`;
    const kinds = {
      'an element, 1.0': source(['match', entity]),
      'an element, 0.x': source(['topic', entity]),
      'a class, 0.x': source(['topic', ofClass]),
      'the controller': `<div data-controller="mercure-turbo-stream" data-mercure-turbo-stream-hub-value="${hub.url}"
        data-mercure-turbo-stream-topic-value="${entity}" data-mercure-turbo-stream-with-credentials-value="true"></div>`,
    };
    for (const { name, page } of await pages('turbo.html')) {
      await until('Turbo is there', () => page.evaluate(() => Boolean(window.Turbo)));
      const shown = () => page.evaluate(() => [...document.querySelectorAll('#list li')].map((item) => item.textContent));
      await login(page, [entity]);
      for (const [kind, markup] of Object.entries(kinds)) {
        await page.evaluate((markup) => {
          window.opens = 0;
          document.getElementById('list').innerHTML = '';
          document.getElementById('streams').innerHTML = markup;
        }, markup);
        await until(`${kind} is subscribed`, () => page.evaluate(() => window.opens > 0));
        await hub.publish([entity], stream('public'));
        await hub.publish([entity, ofClass], stream('private'), { private: true });
        await until(`${name} shows both of ${kind}`, async () => (await shown()).length >= 2);
        assert.deepEqual(await shown(), ['public', 'private'], `${name}, ${kind}`);
        await page.evaluate(() => { document.getElementById('streams').innerHTML = ''; });
      }
      assert.deepEqual(page.problems, []);
      await page.close();
    }
  });
}));

test('npm\'s eventsource, with a token in a header or in the query, over a restart', scoped(async (scope) => {
  const hub = await Hub.start(scope, { app: { mercure_anonymous: false } });
  const topic = `${hub.origin}/orders/1`;
  const token = hub.token(['subscribe'], [{ match: '/orders/:id', match_type: 'urlpattern' }]);
  const withToken = (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });
  const sources = {
    '1.0': new EventSource(`${hub.plain}?${query(['match_urlpattern', '/orders/:id'])}`, { fetch: withToken }),
    '0.x': new EventSource(`${hub.plain}?${query(['topic', `${hub.origin}/orders/{id}`], ['authorization', hub.legacyToken([], [topic])])}`),
  };
  const streams = Object.entries(sources).map(([name, source]) => {
    const stream = { name, seen: [], opens: 0 };
    scope.defer(() => source.close());
    source.addEventListener('open', () => { stream.opens += 1; });
    source.addEventListener('message', ({ data, lastEventId }) => stream.seen.push({ data, id: lastEventId }));
    return stream;
  });
  const all = (what, condition) => until(what, () => streams.every(condition));
  await all('they are open', ({ opens }) => opens === 1);
  const ids = [await hub.publish([topic], '1', { private: true })];
  await all('it has arrived', ({ seen }) => seen.length === 1);
  assert.deepEqual(await hub.askrd.stop(), { code: 0, signal: null });
  ids.push(await hub.publish([topic], '2', { private: true }));
  await hub.askrd.start();
  ids.push(await hub.post({ topic, data: '3', private: '' }));
  await all('all have arrived', ({ seen }) => seen.length >= 3);
  for (const { name, seen } of streams) assert.deepEqual(seen, ids.map((id, n) => ({ data: String(n + 1), id })), name);

  // No log of nginx has a token, or what was asked for.
  const logs = hub.site.accessLog() + hub.site.errorLog();
  assert.match(logs, /"GET \/\.well-known\/mercure HTTP\/1\.1" 200/);
  assert.doesNotMatch(logs, /authorization|ey[A-Z]|orders/);

  // What a client has to know before it has a token.
  const metadata = await (await fetch(`${hub.site.url}/.well-known/oauth-protected-resource${P}`)).json();
  assert.deepEqual([metadata.resource, metadata.mercure_cookie], [hub.url, '__Secure-mercure_access_token']);

  // What is refused is refused for good, with the reason as OAuth has it.
  const refused = new EventSource(`${hub.plain}?${query(['match', topic])}`);
  scope.defer(() => refused.close());
  assert.equal((await new Promise((resolve) => { refused.onerror = resolve; })).code, 401);
}));

test('npm\'s eventsource, which keeps ids of messages alone, comes back with a cursor though it heard of subscriptions alone', scoped(async (scope) => {
  const hub = await Hub.start(scope, { app: { mercure_anonymous: false } });
  const watched = `${P}/subscriptions/:match_type/:match/:subscriber`;
  const token = hub.token(['subscribe'], [{ match: watched, match_type: 'urlpattern' }]);
  const [asked, heard] = [[], []];
  const source = new EventSource(`${hub.plain}?${query(['match_urlpattern', watched])}`, {
    fetch: (url, init) => {
      asked.push(init.headers['Last-Event-ID']);
      return fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });
    },
  });
  scope.defer(() => source.close());
  source.addEventListener('mercure', ({ data, lastEventId }) => heard.push({ ...JSON.parse(data), lastEventId }));
  await until('it hears of itself', () => heard.length > 0);
  const other = new Subscriber(hub.askrd.tcp, `${P}?match=a`, { headers: { Authorization: `Bearer ${token}` } });
  scope.defer(() => other.close());
  await until('it hears of another', () => heard.some(({ match }) => match === 'a'));
  for (const { lastEventId } of heard) assert.match(lastEventId, /^#/);
  assert.deepEqual(await hub.askrd.stop(), { code: 0, signal: null });
  await hub.askrd.start();
  await until('it came back', () => asked.length > 1 && source.readyState === EventSource.OPEN);
  assert.equal(asked[0], undefined);
  assert.match(asked.at(-1), /^#/);
  // So it is told of who has ended.
  await until('the other one has ended', () => heard.some(({ match, active }) => match === 'a' && !active));
}));

test('docs/MERCURE.md, "Plain PHP", by the letter', scoped(async (scope) => {
  const hub = await Hub.alone(scope, ISSUER, { mercure_anonymous: false });
  const recipe = readFileSync(path.join(ROOT, 'docs/MERCURE.md'), 'utf8').split('\n## ').find((part) => part.startsWith('Plain PHP\n'));
  const [publish, token, post] = [...recipe.matchAll(/^```php\n(.*?)^```$/gms)].map(([, code]) => code);
  const { web } = services();
  const php = async (...code) => {
    // What a page would get as a cookie is printed; the hub listens elsewhere.
    const text = code.join('\n').replace('setcookie(', 'printf(\'%2$s\', ').replace('127.0.0.1:8080', `127.0.0.1:${hub.askrd.port}`);
    const env = { ...phpEnvironment(scope, hub.askrd), MERCURE_JWT_SECRET: hub.key };
    const { code: status, out, err } = await run(PHP, ['-r', text], { uid: web.uid, gid: web.gid, env });
    assert.equal(status, 0, out + err);
    return out;
  };
  const cookie = await php(token);
  const query = new URLSearchParams([['match', `${ISSUER}/users/7/inbox`], ['match', `${ISSUER}/books/1`]]);
  const subscriber = new Subscriber(hub.askrd.tcp, `${P}?${query}`, { headers: { Cookie: `__Secure-mercure_access_token=${cookie}` } });
  scope.defer(() => subscriber.close());
  await subscriber.open();
  await php('$book = ["id" => 1];', publish);
  // Private, and not granted: its id alone is seen.
  const id = await php(token.split('\n\n')[0], post, 'echo $id;');
  assert.match(id, /^#/);
  await hub.post({ topic: `${ISSUER}/books/1`, data: 'end' });
  assert.deepEqual(data(await subscriber.take(3)), ['{"id":1}', '{}', 'end']);
}));

test('where another extension has mercure_publish(), as FrankenPHP has, that one stays, and askr.so loads all the same', scoped(async (scope) => {
  const so = scope.path('another.so');
  const includes = execFileSync(process.env.PHP_CONFIG ?? path.basename(PHP).replace('php', 'php-config'), ['--includes'], { encoding: 'utf8' });
  execFileSync('cc', ['-shared', '-fPIC', '-o', so, ...includes.trim().split(/\s+/), path.join(TESTS, 'php/another.c')]);
  const code = 'echo json_encode([mercure_publish("urn:a"), function_exists("askr_broadcast"), (new ReflectionFunction("mercure_publish"))->getExtensionName()]);';
  const { code: status, out, err } = await run(PHP, ['-n', '-d', 'display_errors=stderr', '-d', `extension=${so}`, '-d', `extension=${ASKR_SO}`, '-r', code]);
  assert.deepEqual([status, JSON.parse(out), err], [0, ["another's", true, 'another'], '']);
}));
