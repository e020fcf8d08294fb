// clients/echo without a server: listeners as pusher-js has them, the states of the connection, who signs what, and
// encrypted events. A client of @askr/client's surface stands in for it; the whole is in e2e/echo.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import nacl from 'tweetnacl';
import PusherClient from 'pusher-js';
import { TESTS } from '../lib/built.mjs';
import { imported } from '../lib/bundle.mjs';
import { scoped, until } from '../lib/scope.mjs';

const load = (scope) => imported(scope, `
  export { AskrConnector, AskrPusher } from '@askr/echo';
  export { Dispatcher } from '../clients/echo/dispatcher.js';
  export { default as Echo } from 'laravel-echo';
  export { clients } from '@askr/client';`, { packages: { '@askr/client': path.join(TESTS, 'clients/stand-in.mjs') } });

/** Numbers that look random, and are the same each time. */
function random(seed) {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

test('listeners are told what pusher-js tells them, whatever is bound and unbound', scoped(async (scope) => {
  const { Dispatcher } = await load(scope);
  const pusher = new PusherClient('key', { cluster: '', wsHost: '127.0.0.1', enabledTransports: ['ws'] });
  pusher.disconnect();
  const PusherDispatcher = Object.getPrototypeOf(pusher.connection.constructor);
  for (let seed = 1; seed <= 300; seed += 1) {
    const [one, other] = [new Dispatcher(), new PusherDispatcher()];
    const told = [[], []];
    const contexts = [undefined, { a: 1 }, { b: 2 }];
    const callbacks = told.map((list) => [0, 1, 2].map((n) => function listener(...values) { list.push([n, contexts.indexOf(this) > 0 ? this : null, values]); }));
    const next = random(seed);
    for (let step = 0; step < 30; step += 1) {
      const [what, event, callback, context] = [next(7), `e${next(3)}`, next(3), contexts[next(3)]];
      const data = [undefined, null, 0, '', 'text', { n: step }][next(6)];
      const more = next(2) ? { user_id: '7' } : undefined;
      for (const [which, dispatcher] of [one, other].entries()) {
        const listener = callbacks[which][callback];
        if (what === 0) dispatcher.bind(event, listener, context);
        if (what === 1) dispatcher.unbind(event, listener, context);
        if (what === 2) dispatcher.unbind(event);
        if (what === 3) dispatcher.bind_global(listener);
        if (what === 4) dispatcher.unbind_global(listener);
        if (what >= 5) dispatcher.emit(event, data, more);
      }
    }
    assert.deepEqual(told[0], told[1], `seed ${seed}`);
  }
}));

test('the connection has pusher-js\' states, and Echo its own of them', scoped(async (scope) => {
  const { AskrConnector, Echo, clients } = await load(scope);
  const echo = new Echo({ broadcaster: AskrConnector, unavailableTimeout: 20, withoutInterceptors: true });
  const [seen, statuses] = [[], []];
  const { connection } = echo.connector.pusher;
  connection.bind('state_change', ({ previous, current }) => seen.push(`${previous}>${current}`));
  connection.bind('connected', (data) => seen.push(data));
  const off = echo.connector.onConnectionChange((status) => { if (statuses.at(-1) !== status) statuses.push(status); });
  assert.deepEqual([connection.state, echo.connectionStatus(), echo.socketId()], ['initialized', 'disconnected', undefined]);
  const [client] = clients;
  client.to('connecting');
  client.to('connected', '1.2');
  assert.deepEqual([echo.connectionStatus(), echo.socketId()], ['connected', '1.2']);
  client.to('waiting');
  client.to('connecting');
  assert.equal(echo.connectionStatus(), 'connecting');
  await until('it is unavailable', () => connection.state === 'unavailable');
  assert.equal(echo.connectionStatus(), 'failed');
  client.to('waiting');
  assert.equal(connection.state, 'unavailable', 'until it is connected');
  client.to('connected', '1.2');
  client.to('asleep');
  echo.disconnect();
  assert.equal(client.state, 'closed');
  assert.deepEqual(seen, ['initialized>connecting', 'connecting>connected', { socket_id: '1.2' }, 'connected>connecting',
    'connecting>unavailable', 'unavailable>connected', { socket_id: '1.2' }, 'connected>disconnected']);
  assert.deepEqual(statuses, ['connecting', 'connected', 'connecting', 'failed', 'connected', 'disconnected']);
  off();
}));

test('after disconnect() and connect() channels go on where they were', scoped(async (scope) => {
  const { AskrPusher, clients } = await load(scope);
  const pusher = new AskrPusher('key', { cursor: 'page' });
  const heard = [];
  pusher.subscribe('orders').bind('paid', (data) => heard.push(data));
  const [first] = clients;
  assert.equal(first.options.cursor, 'page');
  first.channels.get('orders').tell('paid', 1);
  pusher.subscribe('left');
  first.cursor = 'later';
  first.places = new Map([['orders', 'much later'], ['left', 'later']]);
  pusher.disconnect();
  // Who leaves and enters again begins anew.
  pusher.unsubscribe('left');
  pusher.subscribe('left');
  assert.equal(pusher.channel('orders').subscribed, false);
  first.channels.get('orders')?.tell('paid', 'of the closed one');
  pusher.subscribe('added');
  pusher.connect();
  pusher.connect();
  const [, second, ...more] = clients;
  assert.deepEqual([more.length, second.options.cursor, [...second.channels.keys()]], [0, 'later', ['orders', 'left', 'added']]);
  assert.deepEqual([...second.channels.values()].map(({ where }) => where?.since), ['much later', undefined, undefined]);
  second.channels.get('orders').tell('paid', 2);
  assert.deepEqual(heard, [1, 2]);
}));

/** An application that signs, and what it was asked. */
async function application(scope, answer) {
  const asked = [];
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const form = Object.fromEntries(new URLSearchParams(body));
    asked.push({ ...form, csrf: request.headers['x-csrf-token'] });
    const [status, json] = answer(form);
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(typeof json === 'string' ? json : JSON.stringify(json));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));
  return { asked, url: `http://127.0.0.1:${server.address().port}/broadcasting/auth` };
}

test('the application signs each channel once for a connection, as Echo\'s options say', scoped(async (scope) => {
  const { AskrConnector, clients } = await load(scope);
  const { asked, url } = await application(scope, ({ channel_name: name }) => [name.endsWith('closed') ? 403 : 200, { auth: `k:${name}` }]);
  const connector = new AskrConnector({ authEndpoint: url, csrfToken: 'csrf' });
  const [client] = clients;
  const sign = (names) => client.options.authorize(names, '1.2');
  const both = { 'private-a': { auth: 'k:private-a' }, 'presence-b': { auth: 'k:presence-b' } };
  assert.deepEqual(await sign(['open', 'private-a', 'presence-b']), both);
  assert.deepEqual(await sign(['private-a', 'presence-b']), both);
  assert.deepEqual(asked, ['private-a', 'presence-b'].map((name) => ({ socket_id: '1.2', channel_name: name, csrf: 'csrf' })));
  // Which one is refused, and why, for the client to tell; the others are not asked for again.
  const refused = { status: 403, message: `channel 3: ${url} answered 403` };
  await assert.rejects(sign(['private-a', 'private-c', 'private-closed']), refused);
  assert.deepEqual(Object.keys(await sign(['private-a', 'private-c'])), ['private-a', 'private-c']);
  assert.equal(asked.length, 4);
  // Another connection may be another user's.
  client.to('connecting');
  await sign(['private-a']);
  assert.equal(asked.length, 5);
  connector.disconnect();
}));

test('an application that is away is asked again, and by pusher-js\' other options', scoped(async (scope) => {
  const { AskrPusher, clients } = await load(scope);
  let status = 500;
  const { url } = await application(scope, ({ more }) => [status, { auth: `k:${more}` }]);
  const sign = (options, name = 'private-a') => {
    new AskrPusher('key', options).subscribe(name);
    return clients.at(-1).options.authorize([name], '1.2');
  };
  const options = { channelAuthorization: { endpoint: url, paramsProvider: () => ({ more: 'more' }) } };
  await assert.rejects(sign(options), { status: 503, message: `${url} answered 500` });
  await assert.rejects(sign({ authEndpoint: 'http://127.0.0.1:1/' }), { status: 503 });
  status = 200;
  assert.deepEqual(await sign(options), { 'private-a': { auth: 'k:more' } });
  const customHandler = ({ channelName, socketId }, callback) => callback(null, { auth: `${channelName} ${socketId}` });
  assert.deepEqual(await sign({ channelAuthorization: { customHandler } }), { 'private-a': { auth: 'private-a 1.2' } });
  const authorizer = ({ name }) => ({ authorize: (socketId, callback) => callback(new Error(`no ${name ?? socketId}`), null) });
  await assert.rejects(sign({ authEndpoint: url, authorizer: () => authorizer({ name: 'a' }) }), { status: 403, message: 'channel 1: no a' });
  // What is no signature refuses the one channel, as of an application whose broadcasts go nowhere; so over pusher-js.
  for (const [body, reason] of [['', 'no JSON'], ['<html>', 'no JSON'], ['null', 'no signature'], ['"text"', 'no signature'], ['{"auth":"k:1","channel_data":"{"}', 'no channel_data']]) {
    await assert.rejects(sign({ authEndpoint: (await application(scope, () => [200, body])).url }, 'presence-a'), (error) => {
      assert.equal(error.status, 403, `${body}: ${error.message}`);
      assert.match(error.message, new RegExp(`^channel 1: .*${reason}`));
      return true;
    });
  }
  // Where a token opens channels nothing is signed.
  for (const nothing of [{ token: 'a.b.c', authEndpoint: url }, { authEndpoint: '' }, {}]) {
    new AskrPusher('key', nothing);
    assert.equal(clients.at(-1).options.authorize, undefined);
  }
  // But for encrypted channels, whose secret only the application has.
  new AskrPusher('key', { token: 'a.b.c', authEndpoint: url, nacl });
  assert.deepEqual(await clients.at(-1).options.authorize(['private-a'], '1.2'), {});
  await assert.rejects(clients.at(-1).options.authorize(['private-a', 'private-encrypted-a'], '1.2'), { status: 403, message: 'channel 2: the application gives no shared_secret' });
}));

test('encrypted events are read with the application\'s secret, and with a newer one', scoped(async (scope) => {
  const { AskrConnector, Echo, clients } = await load(scope);
  const base64 = (bytes) => Buffer.from(bytes).toString('base64');
  let key = nacl.randomBytes(32);
  const sealed = (text, by = key) => {
    const nonce = nacl.randomBytes(24);
    return { nonce: base64(nonce), ciphertext: base64(nacl.secretbox(new TextEncoder().encode(text), nonce, by)) };
  };
  let asked = 0;
  const customHandler = (_, callback) => { asked += 1; callback(null, { auth: 'k:1', shared_secret: base64(key) }); };
  const options = { broadcaster: AskrConnector, channelAuthorization: { customHandler }, withoutInterceptors: true };
  assert.throws(() => new Echo(options).encryptedPrivate('vault'), /need tweetnacl, as the option `nacl`/);
  const echo = new Echo({ ...options, nacl });
  const [heard, errors] = [[], []];
  echo.connector.pusher.connection.bind('error', ({ error }) => errors.push(error.message));
  echo.encryptedPrivate('vault').listen('.opened', (data) => heard.push(data));
  const client = clients.at(-1);
  const channel = client.channels.get('private-encrypted-vault');
  const signed = await client.options.authorize(['private-encrypted-vault'], '1.2');
  assert.deepEqual(signed, { 'private-encrypted-vault': { auth: 'k:1' } }, 'the secret stays here');
  channel.tell('opened', sealed('{"n":1}'));
  channel.tell('opened', sealed('no JSON'));
  // By a newer secret, which is asked for; the older one is gone then.
  const older = sealed('{"n":3}');
  key = nacl.randomBytes(32);
  channel.tell('opened', sealed('{"n":2}'));
  channel.tell('opened', sealed('{"n":4}'));
  await until('they are there', () => heard.length === 4);
  channel.tell('opened', older);
  await until('the older secret is gone', () => errors.length === 1);
  errors.length = 0;
  for (const bad of [sealed('x', nacl.randomBytes(32)), { nonce: 'x', ciphertext: '!' }, 'text', null, {}]) channel.tell('opened', bad);
  await until('none of these is', () => errors.length === 5);
  assert.deepEqual(heard, [{ n: 1 }, 'no JSON', { n: 2 }, { n: 4 }]);
  assert.equal(asked, 2, 'at first, and for the newer secret: not for what nobody can read');
  assert.ok(errors.every((error) => error === 'private-encrypted-vault: opened cannot be decrypted'));
  assert.throws(() => echo.connector.pusher.channel('private-encrypted-vault').trigger('client-x', 1), /not supported for encrypted/);
}));

test('what is told of a channel, and what is not taken', scoped(async (scope) => {
  const { AskrConnector, Echo, clients } = await load(scope);
  const echo = new Echo({ broadcaster: AskrConnector, authEndpoint: '', withoutInterceptors: true });
  const [client] = clients;
  const { pusher } = echo.connector;
  const seen = [];
  const note = (name) => (...values) => seen.push([name, ...values]);
  const team = echo.join('team').here(note('here')).joining(note('joining')).leaving(note('leaving')).error(note('error'))
    .subscribed(note('subscribed')).listen('.askr:gap', note('gap')).listenForWhisper('typing', note('whisper'));
  echo.connector.onGap(note('page gap'));
  pusher.connection.bind('error', note('not taken'));
  const below = client.channels.get('presence-team');
  below.call('askr:subscribed');
  below.call('askr:members', [{ id: '7', info: { name: 'Ada' } }, { id: '8' }]);
  below.call('askr:members', [{ id: '8' }, { id: '7', info: { name: 'Ada' } }]);
  below.call('askr:joined', { id: '9', info: { name: 'Bob' } });
  below.call('askr:left', { id: '8', info: undefined });
  below.call('askr:gap', { lost: 1, at_most: 1 });
  client.call('gap', { lost: 1, at_most: 1 });
  below.tell('client-typing', { n: 1 }, { user: '9' });
  below.call('askr:refused', { status: 401, reason: 'channel 12: the token has expired' });
  assert.deepEqual(seen, [
    ['here', [{ name: 'Ada' }, undefined]], ['subscribed'],
    ['joining', { name: 'Bob' }], ['leaving', undefined],
    ['gap', { lost: 1, at_most: 1 }, {}].slice(0, 2), ['page gap', { lost: 1, at_most: 1 }],
    ['whisper', { n: 1 }, { user_id: '9' }],
    ['error', { type: 'AuthError', error: 'the token has expired', status: 401 }],
  ]);
  // After a reconnect all is told anew; later only what is new.
  seen.length = 0;
  const all = [{ id: '7', info: { name: 'Ada' } }, { id: '9', info: { name: 'Bob' } }];
  below.call('askr:subscribed');
  for (const list of [all, all, [...all, { id: '8', info: null }], [...all, { id: '8', info: 1 }], all]) below.call('askr:members', list);
  assert.deepEqual(seen.filter(([what]) => what === 'here').map(([, list]) => list.length), [2, 3, 3, 2]);
  const { members } = pusher.channel('presence-team');
  assert.deepEqual([members.count, members.get('9'), members.get('8'), members.get('constructor')], [2, { id: '9', info: { name: 'Bob' } }, null, null]);
  // Whatever a user is called.
  for (const id of ['constructor', '__proto__', 'toString']) {
    below.call('askr:joined', { id, info: { id } });
    assert.deepEqual([members.count, members.get(id)], [3, { id, info: { id } }]);
    below.call('askr:left', { id });
    assert.deepEqual([members.count, members.get(id)], [2, null]);
    below.call('askr:left', { id });
    assert.equal(members.count, 2);
  }

  assert.equal(pusher.channel('presence-team').trigger('client-x', 1), false, 'there is no connection');
  client.to('connected', '1.2');
  seen.length = 0;
  team.whisper('typing', { n: 2 });
  assert.deepEqual(below.sent, [['client-typing', { n: 2 }]]);
  for (const status of [429, 403]) {
    below.refuses = Object.assign(new Error(`no ${status}`), { status });
    team.whisper('typing', 1);
  }
  await until('both are told', () => seen.length === 2);
  assert.deepEqual(seen.map(([, told]) => told.data), [{ code: 4301, message: 'no 429' }, { code: null, message: 'no 403' }]);
  assert.throws(() => pusher.channel('presence-team').trigger('typing', 1), /does not start with 'client-'/);
  assert.throws(() => echo.connector.signin(), /Pusher's protocol/);
  echo.leaveAllChannels();
  assert.deepEqual([client.channels.size, pusher.allChannels()], [0, []]);
}));
