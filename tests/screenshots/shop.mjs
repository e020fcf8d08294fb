// A shop and its magazine on two hosts: what the dashboard's pictures show. The same at each run, but for times.

import net from 'node:net';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { streams, withDashboard } from '../lib/dashboard.mjs';
import { untilMetric } from '../lib/faults.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { php, phpEnvironment, startPhp } from '../lib/php.mjs';
import { APP, rawPusher, rawSocket, serverLibrary } from '../lib/pusher.mjs';
import { Redis } from '../lib/redis.mjs';
import { eventsPath } from '../lib/sse.mjs';

const PEOPLE = ['Ada', 'Björn', 'Chloé', 'Dmitri', 'Emeka', 'Fatima', 'Giulia', 'Håkon', 'Ines', 'Jun', 'Katja', 'Liam', 'Mira', 'Noor'];
const ROOM = 'presence-support';
/** Channels that are published to, and how often beside each other. */
const SHOP = {
  'prices.eur-usd': 30, 'prices.eur-gbp': 17, orders: 9, 'stock.1041': 6, 'stock.2207': 4, 'stock.877': 3, 'stock.12': 2, 'private-cart.88': 2,
  [ROOM]: 2, 'private-cart.1204': 1, returns: 1,
};
const MAGAZINE = { live: 8, headlines: 1 };
const upTo = (count) => Array.from({ length: count }, (_, n) => n);

/** The first host; the second has the same applications, and nobody to look at it. */
async function hosts(scope) {
  const redis = await new Redis(scope, 'redis', { socketPath: scope.path('redis.sock') }).start();
  const settings = (name, port) => ({
    ring: { name: `${scope.shm}/${name}` },
    server: { listen: [`127.0.0.1:${port}`], connections_per_address: 0, outbox_bytes: '64KiB', write_timeout: 600, max_connections: 4000 },
    cluster: { url: `unix://${redis.where.socketPath}`, node: name },
    app: [
      { ...APP, id: 'shop', max_channels: 2000, members: 500, max_connections: 3000, ring: `${scope.shm}/${name}` },
      { id: 'magazine', ring: `${scope.shm}/${name}-magazine`, max_channels: 500 },
    ],
  });
  const [one, two] = [await withDashboard(scope, settings('web-1', await freePort()), 'web-1'), await withDashboard(scope, settings('web-2', await freePort()), 'web-2')];
  for (const askrd of [one, two]) await askrd.start();
  for (const askrd of [one, two]) await untilMetric(askrd, 'askr_cluster_nodes', (nodes) => nodes === 4);
  return [one, two];
}

/** Environment of PHP that says what it cannot publish. */
const environment = (scope, { ring, control }, other = ring) => phpEnvironment(scope, { ring: other }, { 'askr.control': control, 'askr.on_failure': 'silent' });

/** Who is set up wrongly. */
async function refused(scope, port) {
  for (const [times, url, headers] of [
    [3, eventsPath('orders', { app: 'shop' }), { Origin: 'https://preview.shop.example' }],
    [2, eventsPath('private-cart.88', { app: 'shop' }), {}],
    [2, '/events', {}],
  ]) {
    for (let n = 0; n < times; n += 1) await ask({ port }, url, { headers });
  }
  for (let n = 0; n < 4; n += 1) await (await rawSocket(scope, port, '/app/another-key?protocol=7')).end();
}

/** Some events that are too large. */
async function unpublished(scope, askrd) {
  const large = JSON.stringify([{ channel: 'orders', payload64: Buffer.alloc(4 << 20).toString('base64') }]);
  for (let n = 0; n < 3; n += 1) await php(scope, askrd, 'publish.php', [], { input: large, env: environment(scope, askrd) });
}

/** Connects everybody, and has PHP publish for so many seconds. Resolves to the askrd that is to be looked at. */
export async function openShop(scope, seconds) {
  const [askrd, other] = await hosts(scope);
  const { port } = askrd;
  await streams(scope, askrd, upTo(310).map((n) => ['prices.eur-usd', ...(n % 3 ? ['prices.eur-gbp'] : []), `stock.${[1041, 2207, 877, 12][n % 4]}`]), '&app=shop');
  await streams(scope, askrd, upTo(90).map(() => ['headlines', 'live']), '&app=magazine');
  await streams(scope, other, upTo(40).map(() => ['prices.eur-usd']), '&app=shop');
  const library = serverLibrary(port, { ...APP, id: 'shop' });
  for (const n of upTo(120)) {
    const socket = await rawPusher(scope, port);
    await socket.subscribe('orders');
    const name = PEOPLE[n];
    if (name) await socket.subscribe(ROOM, library.authorizeChannel(socket.socketId, ROOM, { user_id: `${41 + n}`, user_info: { name } }));
  }
  // A client that does not read.
  const lazy = net.connect({ port, host: '127.0.0.1' });
  lazy.on('error', () => {});
  scope.defer(() => lazy.destroy());
  lazy.write(`GET ${eventsPath('exports', { app: 'shop' })} HTTP/1.1\r\nHost: x\r\n\r\n`);
  lazy.pause();
  await refused(scope, port);
  await unpublished(scope, askrd);
  for (const [site, ring, channels, rate] of [['shop', askrd.ring, SHOP, 1], ['magazine', `${askrd.ring}-magazine`, MAGAZINE, 0.1]]) {
    const publisher = path.join(TESTS, 'screenshots/publisher.php');
    startPhp(scope, { ring }, site, publisher, [seconds, rate, JSON.stringify(channels)], { env: environment(scope, askrd, ring) });
  }
  return askrd;
}
