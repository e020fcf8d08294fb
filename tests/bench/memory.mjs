// What one of each costs in askrd's own memory, for the constants in daemon/src/server/ceiling.rs. Each row is a
// daemon of its own: anonymous memory before and after COUNT of something, of which COUNT is just past a power
// of two, where tables and lists have just doubled. Names, users and their info are as long as they may be.

import path from 'node:path';
import { Askrd } from '../lib/askrd.mjs';
import { TESTS } from '../lib/built.mjs';
import { metrics } from '../lib/faults.mjs';
import { publishAll } from '../lib/php.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { World } from '../siege/clients.mjs';
import { anonymous } from '../siege/memory.mjs';
import { APP } from '../siege/settings.mjs';
import { events, get, message, plainPath, pusherPath, signedChannel, token, upgrade } from '../siege/wire.mjs';
import { freePort } from '../lib/http.mjs';
import { table } from './figures.mjs';
import { hub, P } from '../lib/hub.mjs';

const COUNT = 4200;
const LONG = (n) => `${n}-`.padEnd(200, 'n');
const PUSHER = (n) => `${n}-`.padEnd(164, 'n');
const user = (n) => `${n}-`.padEnd(128, 'u');
const info = 'i'.repeat(1000);
const upTo = (count) => Array.from({ length: count }, (_, n) => n);

/** Opens COUNT connections, each with what `bytes(n)` says, and waits until `row` has counted them. */
async function crowd({ askrd, world }, row, bytes, onText) {
  for (let n = 0; n < COUNT; n += 1) {
    const socket = world.connect(`127.0.${n >> 8}.2`);
    socket.on('connect', () => socket.write(bytes(n)));
    socket.on('data', (text) => onText?.(n, socket, text.toString('latin1')));
    if (n % 100 === 99) await until('they are accepted', async () => (await metrics(askrd)).askr_accepted_total >= n);
  }
  await until(`${row} are counted`, async () => {
    const all = await metrics(askrd);
    return all.askr_accepted_total >= COUNT && (!row || row(all) >= COUNT);
  });
}

const streams = (all) => all.askr_streams;
const published = (channels, payload = 'x') => ({ askrd, scope }) => publishAll(scope, askrd, upTo(COUNT).map((n) => ({ channel: channels(n), payload })));

const subscribing = (data) => (n, socket, text) => {
  const id = /"socket_id\\?":\\?"([0-9.]+)/.exec(text)?.[1];
  if (id) socket.write(message('pusher:subscribe', data(n, id)));
};

/** A subscriber of the hub, with a token of its own if it is to be granted something. */
const subscriber = (query, topics) => ({ of }, n) => get(`${P}?${query(n)}`, topics ? `Authorization: Bearer ${of.token(['subscribe'], topics(n), n)}\r\n` : '');
const topic = (n) => `https://example.com/${n}`.padEnd(200, 'n');
/** As Echo's connector has it, of a presence channel. */
const watched = (n) => `${P}/subscriptions/:match_type/${encodeURIComponent(`https://laravel.alt/echo/channel/presence-room.${n}`)}/:subscriber`;
const echo = (n) => [{ match: topic(0) }, { match: watched(n), match_type: 'urlpattern' }];
const asked = (n) => `match=${topic(0)}&match_urlpattern=${encodeURIComponent(watched(n))}`;
const subscribers = (bytes) => (t) => crowd(t, streams, (n) => bytes(t, n));

const ROWS = {
  'a connection that says nothing': (t) => crowd(t, null, () => ''),
  'a request that has begun': (t) => crowd(t, null, () => 'GET /askr/events?channel=a HTTP/1.1\r\n'),
  'a stream (SSE)': (t) => crowd(t, streams, () => events(['a'])),
  'a stream (SSE) of a user': (t) => crowd(t, streams, (n) => events(['a'], { token: token(['*'], user(n)) })),
  'a plain WebSocket of a user': (t) => crowd(t, streams, (n) => upgrade(plainPath(['a'], { token: token(['*'], user(n)) }))),
  'a Pusher WebSocket on one channel': (t) => crowd(t, (all) => all.askr_subscriptions, () => upgrade(pusherPath()), subscribing(() => ({ channel: 'a' }))),
  'a stream (SSE) on 100 channels of all': (t) => crowd(t, streams, () => events(upTo(100).map(String))),
  'a stream (SSE) on a channel of its own': (t) => crowd(t, streams, (n) => events([LONG(n)])),
  'a member of a channel of its own': (t) => crowd(t, (all) => all.askr_presence_members, () => upgrade(pusherPath()),
    subscribing((n, id) => signedChannel(id, `presence-${n}-`.padEnd(164, 'n'), user(n), info))),
  'a subscriber (Mercure) of one topic of all': subscribers(subscriber(() => `match=${topic(0)}`)),
  'a subscriber with a token of its own': subscribers(subscriber(() => `match=${topic(0)}`, (n) => [{ match: topic(n) }])),
  'a subscriber of a pattern of all': subscribers(subscriber(() => 'match_urlpattern=/books/:id')),
  'a subscriber of a pattern of its own': subscribers(subscriber((n) => `match_urlpattern=/${n}/:id`)),
  'a subscriber of a pattern of its own with an expression': subscribers(subscriber((n) => `match_urlpattern=/${n}/:id([a-z0-9]%2B)`)),
  'a member of a presence channel of all (Echo)': subscribers(subscriber(() => asked(0), () => echo(0))),
  'a member of a presence channel of its own (Echo)': subscribers(subscriber(asked, echo)),
  'a position of the index': published(() => 'a'),
  'a position of the index, and its channel': published(LONG),
  'a position, its channel, the last event': published((n) => `cache-${LONG(n)}`.slice(0, 200), 'x'.repeat(100)),
};

async function row(name, act) {
  const scope = new Scope();
  try {
    const port = await freePort();
    const of = hub(scope);
    const askrd = new Askrd(scope, {
      ring: { slots: 32768 },
      server: { listen: [`unix:${scope.path('askrd.sock')}`, `127.0.0.1:${port}`], workers: 1, connections_per_address: 0, header_timeout: 300, header_bytes: '64KiB' },
      app: { ...APP, members: 100_000, ...of.app, mercure_anonymous: true, mercure_patterns_per_address: 100_000 },
    });
    await askrd.start();
    const before = anonymous(askrd.process.pid);
    await act({ scope, askrd, of, world: new World({ port }) });
    await until('askrd has read everything', async () => (await metrics(askrd)).askr_ring_lag_positions === 0);
    const after = anonymous(askrd.process.pid);
    return [name, before, Math.round((after - before) / COUNT)];
  } finally {
    await scope.close();
  }
}

const rows = [];
for (const [name, act] of Object.entries(ROWS)) if (name.includes(process.env.ONLY ?? '')) rows.push(await row(name, act));
console.log(table(['', 'bytes before', 'bytes each'], rows));
process.exit(0);
