// Every kind of connection, and every way in which one ends. Each is a function that ends when its connection is
// gone, and throws if it did not get as far as it should have.

import net from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { api, closeFrame, events, frame, get, message, plainPath, post, pusherPath, signedChannel, token, upgrade } from './wire.mjs';

/** Nothing that works takes this long. */
const PATIENCE = 60_000;

class Client {
  text = '';
  closed = false;
  #wake = () => {};

  constructor(where) {
    this.socket = net.connect({ host: '127.0.0.1', ...where });
    this.socket.on('data', (bytes) => { this.text += bytes.toString('latin1'); this.#wake(); });
    this.socket.on('error', () => {});
    this.socket.on('close', () => { this.closed = true; this.#wake(); });
    this.socket.setTimeout(PATIENCE, () => this.socket.destroy());
  }

  send(bytes) {
    this.socket.write(bytes);
    return this;
  }

  /** Until this has come. */
  async get(pattern) {
    for (;;) {
      const found = pattern.exec(this.text);
      if (found) return found;
      if (this.closed) throw new Error(`closed before ${pattern} came: ${this.text.slice(0, 300)}`);
      await new Promise((resolve) => { this.#wake = resolve; });
    }
  }

  /** Until the server has closed it. */
  async ended() {
    while (!this.closed) await new Promise((resolve) => { this.#wake = resolve; });
  }

  // The ways to leave.
  async bye() { this.socket.end(); await this.ended(); }
  async gone() { this.socket.destroy(); await this.ended(); }
  async reset() { this.socket.resetAndDestroy(); await this.ended(); }
}

const LEAVE = ['bye', 'gone', 'reset'];
const leave = (client, n) => client[LEAVE[n % 3]]();

const stream = (query = {}, headers = '', channels = ['churn']) => async ({ tcp }, n) => {
  const client = new Client(tcp).send(events(channels, query, headers));
  await client.get(/askr:connected/);
  await leave(client, n);
};

/** Answered with this status, whoever closes. */
const answered = (bytes, status) => async ({ tcp }, n) => {
  const client = new Client(tcp).send(bytes());
  await client.get(new RegExp(`^HTTP/1.1 ${status} `));
  await leave(client, n);
};

/** Left in the middle of something. */
const half = (bytes) => async ({ tcp }, n) => {
  const client = new Client(tcp).send(bytes());
  await new Promise((resolve) => { client.socket.once('connect', resolve); client.socket.once('close', resolve); });
  await turn();
  await leave(client, n);
};

async function pusher({ tcp }) {
  const client = new Client(tcp).send(upgrade(pusherPath()));
  const [, id] = await client.get(/socket_id\\":\\"([0-9.]+)/);
  return { client, id };
}

const subscribed = (subscription, last) => async (world, n) => {
  const { client, id } = await pusher(world);
  client.send(message('pusher:subscribe', subscription(id, n)));
  await client.get(/subscription_succeeded/);
  if (last) {
    client.send(last);
    await client.ended();
  } else await leave(client, n);
};

const local = (bytes, status) => async ({ control, ring }, n) => {
  const client = new Client({ path: control }).send(bytes(encodeURIComponent(ring)));
  if (status) await client.get(new RegExp(`^HTTP/1.1 ${status} `));
  else await turn();
  // A Unix socket knows no reset.
  await client[LEAVE[n % 2]]();
};

export const KINDS = {
  'SSE raw': stream(),
  'SSE json by the Unix socket': ({ unix }, n) => stream({ format: 'json' }, 'X-Real-IP: 192.0.2.7\r\n')({ tcp: unix }, n % 2),
  'SSE of a user': (world, n) => stream({ token: token(['private-churn'], `user-${n % 50}`) }, '', ['private-churn'])(world, n),
  'SSE by auth_url': (world, n) => stream({}, `Cookie: user=${n % 50}\r\n`, ['private-churn'])(world, n),
  'SSE with a channel of its own': (world, n) => stream({}, '', [`churn-${n}`])(world, n),
  'SSE that wants all of the past': stream({}, 'Last-Event-ID: x\r\n', ['churn', 'large']),
  'SSE that leaves before all of it is there': async ({ tcp }, n) => {
    const client = new Client(tcp).send(events(['large'], { format: 'json' }, 'Last-Event-ID: x\r\n'));
    await client.get(/large/);
    await client[n % 2 ? 'gone' : 'reset']();
  },
  'SSE that is changed': async (world, n) => {
    const client = new Client(world.tcp).send(events(['churn']));
    const [, json] = await client.get(/askr:connected\n(?:id: .*\n)?data: (.*)\n/);
    await answered(() => post('/askr/subscribe', JSON.stringify({ ...JSON.parse(json), channels: [`more-${n}`] })), 200)(world, n);
    await leave(client, n);
  },
  'SSE that an operator ends': async (world, n) => {
    const client = new Client(world.tcp).send(events(['churn']));
    const [, id] = await client.get(/"socket_id":"([0-9.]+)"/);
    await local((ring) => post(`/disconnect?ring=${ring}`, JSON.stringify({ socket_id: id })), 200)(world, n);
    await client.ended();
  },
  'plain WebSocket, closed in due form': async ({ tcp }) => {
    const client = new Client(tcp).send(upgrade(plainPath(['churn'])));
    await client.get(/"subscribed"/);
    await client.send(closeFrame()).ended();
  },
  'plain WebSocket that subscribes and goes': async ({ tcp }, n) => {
    const client = new Client(tcp).send(upgrade('/askr/ws'));
    await client.get(/"connected"/);
    await client.send(frame(JSON.stringify({ subscribe: [`churn-${n}`, 'churn'] }))).get(/"subscribed"/);
    await leave(client, n);
  },
  'plain WebSocket, in the middle of a message': async ({ tcp }, n) => {
    const client = new Client(tcp).send(upgrade(plainPath(['churn'])));
    await client.get(/"subscribed"/);
    client.send(frame('x'.repeat(12_000)).subarray(0, 9000));
    await turn();
    await leave(client, n);
  },
  'plain WebSocket, broken frames': async ({ tcp }) => {
    const client = new Client(tcp).send(upgrade(plainPath(['churn'])));
    await client.get(/"subscribed"/);
    await client.send(Buffer.alloc(64, 0xff)).ended();
  },
  'Pusher': subscribed(() => ({ channel: 'churn' })),
  'Pusher, closed in due form': subscribed(() => ({ channel: 'churn' }), closeFrame()),
  'Pusher, private': subscribed((id) => signedChannel(id, 'private-churn')),
  'Pusher, presence': subscribed((id, n) => signedChannel(id, `presence-${n % 20}`, `user-${n % 50}`)),
  'Pusher, too large a message': subscribed(() => ({ channel: 'cache-churn' }), frame('x'.repeat(60_000))),
  'Pusher, refused a channel': async (world, n) => {
    const { client } = await pusher(world);
    await client.send(message('pusher:subscribe', { channel: 'private-churn', auth: 'siege:00' })).get(/subscription_error/);
    await leave(client, n);
  },
  'Pusher, no such key': async ({ tcp }) => {
    const client = new Client(tcp).send(upgrade(pusherPath('nobody')));
    await client.get(/4001/);
    await client.ended();
  },
  'API, signed': answered(() => api('event', 'x'.repeat(500)), 200),
  'API, forged': answered(() => api('event', 'x'.repeat(5000), 'another-secret-of-nobody'), 401),
  'refused: no channel': answered(() => get('/askr/events'), 400),
  'refused: not granted': answered(() => events(['private-churn']), '40[13]'),
  'refused: no such path': answered(() => get('/nothing'), 404),
  'refused: method': answered(() => get('/askr/events').replace('GET', 'PUT'), 405),
  'refused: a long body': answered(() => post('/askr/subscribe', 'x'.repeat(70_000)), 413),
  'refused: long headers': answered(() => get('/askr/events', `X-Long: ${'x'.repeat(20_000)}\r\n`), 431),
  'refused: no WebSocket': answered(() => upgrade(pusherPath()).replace('13', '12'), '4..'),
  'nothing at all': half(() => ''),
  'no HTTP': half(() => '\x16\x03\x01\x02\x00\x01\x00'),
  'half a head': half(() => get('/askr/events', `X-Long: ${'x'.repeat(9000)}`).slice(0, 8000)),
  'half a body': half(() => post('/askr/subscribe', 'x'.repeat(60_000)).slice(0, 50_000)),
  'half a body for the API': half(() => api('event', 'x'.repeat(50_000)).slice(0, 40_000)),
  'control: health': local(() => get('/healthz'), 200),
  'control: metrics': local(() => get('/metrics'), 200),
  'control: channels': local((ring) => get(`/channels?ring=${ring}`), 200),
  'control: half a request': local(() => 'GET /heal'),
};
