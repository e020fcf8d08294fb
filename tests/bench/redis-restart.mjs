// Redis is killed under load and comes back empty: what a viewer of host B has in the end of what was published on host A; Askr, nginx with
// nchan, and soketi, whose servers share messages by Redis as well.

import http from 'node:http';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import PusherServer from 'pusher';
import PusherClient from 'pusher-js';
import { Askrd } from '../lib/askrd.mjs';
import { PHP, TESTS, server } from '../lib/built.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { nginxTemp, phpEnvironment } from '../lib/php.mjs';
import { services } from '../lib/people.mjs';
import { Redis } from '../lib/redis.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { table } from './figures.mjs';

const SECONDS = Number(process.env.SECONDS ?? 12);
const AWAY = Number(process.env.AWAY ?? 3);
const RATE = 100;
const scope = new Scope();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Kills Redis in the middle and starts it again, empty, while `publishing` goes on. */
async function restart(redis) {
  await sleep((SECONDS / 3) * 1000);
  await redis.kill();
  await sleep(AWAY * 1000);
  await redis.start();
  await sleep((SECONDS - SECONDS / 3 - AWAY) * 1000);
}

/** Of `accepted` numbers, those that the viewer has; and those it has more than once. */
function judge(viewer, offered, accepted, number) {
  const had = viewer.events.map(({ event, data }) => (event.startsWith('askr:') ? 0 : number(data))).filter(Boolean);
  return { ...counted(had, offered, accepted), gaps: viewer.events.filter(({ event }) => event === 'askr:gap').length };
}

/** The same of the numbers that it has. */
function counted(had, offered, accepted) {
  const once = new Set(had);
  return { offered, accepted: accepted.length, lost: accepted.filter((n) => !once.has(n)).length, twice: had.length - once.size, gaps: 0 };
}

/** Publishes numbers until `stop()`, by `accepts(n)`: whether it was accepted. What was not is nobody's loss. */
function numbers(accepts) {
  const accepted = [];
  let [offered, publishing] = [0, true];
  const publish = (async () => {
    for (let n = 1; publishing; n += 1) {
      offered = n;
      if (await accepts(n)) accepted.push(n);
      await sleep(1000 / RATE);
    }
  })();
  return {
    stop: async () => {
      publishing = false;
      await publish;
      return { offered, accepted };
    },
  };
}

async function askr() {
  const redis = await new Redis(scope, 'askr-redis', { socketPath: scope.path('askr-redis.sock') }).start();
  const node = (name) => new Askrd(scope, { ring: { name: `${scope.shm}/${name}` }, cluster: { url: `unix://${redis.where.socketPath}` } }, name);
  const [a, b] = [await node('a').start(), await node('b').start()];
  const viewer = new Subscriber(b.tcp, eventsPath('t'), { reconnect: 'told' });
  await viewer.open();
  const { uid, gid } = services().web;
  const publisher = scope.start('publisher', PHP, [path.join(TESTS, 'cluster/publisher.php'), 'p', 't', String(RATE)], { uid, gid, env: phpEnvironment(scope, a) });
  await restart(redis);
  await publisher.kill();
  const accepted = publisher.output().trim().split('\n').map(Number);
  await until('the last event is here', () => viewer.events.some(({ data }) => data.includes(`"n":${accepted.at(-1)},`)), 20_000).catch(() => {});
  await sleep(1000);
  viewer.close();
  return judge(viewer, accepted.length, accepted, (data) => JSON.parse(data).n);
}

async function nchan() {
  const port = await freePort();
  const redis = await new Redis(scope, 'nchan-redis', { port }).start();
  const { web } = services();
  const sites = [];
  for (const name of ['nchan-a', 'nchan-b']) {
    const site = await freePort();
    writeFileSync(scope.path(`${name}.conf`), `
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
${web.name ? `user ${web.name};` : ''}
daemon off;
worker_processes 1;
pid ${scope.path(`${name}.pid`)};
error_log ${scope.path(`${name}-tmp`)}/error.log;
events { worker_connections 1024; }
http {
${nginxTemp(scope, name)}
access_log off;
upstream store { nchan_redis_server redis://127.0.0.1:${port}; }
server {
  listen 127.0.0.1:${site};
  location /pub { nchan_publisher; nchan_channel_id t; nchan_redis_pass store; nchan_message_buffer_length 10000; nchan_message_timeout 10m; }
  location /sub { nchan_subscriber eventsource; nchan_channel_id t; nchan_redis_pass store; nchan_subscriber_first_message newest; }
}
}
`);
    // Started as it is by Debian: with nchan's Redis it wants its directories, whatever is configured.
    const started = scope.start(name, server('nginx'), ['-c', scope.path(`${name}.conf`), '-e', `${scope.path(`${name}-tmp`)}/error.log`]);
    await until(`${name} answers`, async () => {
      if (started.ended) throw new Error(started.output());
      return ask({ port: site }, '/').catch(() => null);
    });
    sites.push(site);
  }
  await sleep(1000);
  const viewer = new Subscriber({ port: sites[1] }, '/sub', { reconnect: 300 });
  await viewer.until('the stream is open', () => viewer.connections > 0);
  const publisher = numbers((n) => new Promise((resolve) => {
    const request = http.request({ host: '127.0.0.1', port: sites[0], path: '/pub', method: 'POST', timeout: 2000 }, (response) => {
      response.resume();
      response.on('close', () => resolve(response.statusCode < 300));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
    request.end(`e${n}.`);
  }));
  await restart(redis);
  const { offered, accepted } = await publisher.stop();
  await sleep(3000);
  viewer.close();
  return judge(viewer, offered, accepted, (data) => Number(data.match(/^e(\d+)\./)?.[1]));
}

async function soketi() {
  const redis = await new Redis(scope, 'soketi-redis', { port: await freePort() }).start();
  const ports = [];
  for (const name of ['soketi-a', 'soketi-b']) {
    const [port, metrics] = [await freePort(), await freePort()];
    const env = { SOKETI_PORT: port, SOKETI_METRICS_SERVER_PORT: metrics, SOKETI_ADAPTER_DRIVER: 'redis', SOKETI_DB_REDIS_HOST: '127.0.0.1', SOKETI_DB_REDIS_PORT: redis.where.port };
    const program = path.join(TESTS, 'bench/soketi/node_modules/@soketi/soketi/bin/server.js');
    const started = scope.start(name, process.execPath, [program, 'start'], { env: Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)])) });
    await until(`${name} answers`, async () => {
      if (started.ended) throw new Error(started.output());
      return (await ask({ port }, '/').catch(() => null))?.status === 200;
    });
    ports.push(port);
  }
  // Its default application.
  const [appId, key, secret] = ['app-id', 'app-key', 'app-secret'];
  const client = new PusherClient(key, { cluster: '', wsHost: '127.0.0.1', wsPort: ports[1], forceTLS: false, enabledTransports: ['ws'], disableStats: true });
  const had = [];
  const channel = client.subscribe('t');
  channel.bind('e', ({ n }) => had.push(n));
  await until('the viewer has subscribed', () => channel.subscribed);
  const server = new PusherServer({ appId, key, secret, host: '127.0.0.1', port: String(ports[0]), useTLS: false, timeout: 2000 });
  const publisher = numbers((n) => server.trigger('t', 'e', { n }).then(({ status }) => status === 200, () => false));
  await restart(redis);
  const { offered, accepted } = await publisher.stop();
  await sleep(3000);
  client.disconnect();
  return counted(had, offered, accepted);
}

try {
  const rows = [['Askr', await askr()], ['nginx with nchan', await nchan()], ['soketi', await soketi()]];
  console.log(`\nRedis away for ${AWAY} s and back empty, ${RATE} events a second on host A, a viewer of host B\n`);
  console.log(table(['', 'offered', 'accepted', 'lost', 'twice', 'gaps reported'], rows.map(([name, r]) => [name, r.offered, r.accepted, r.lost, r.twice, r.gaps])));
} finally {
  await scope.close();
}
