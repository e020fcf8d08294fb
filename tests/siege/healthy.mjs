// One healthy reader on each transport, of public and of private channels. Each takes what comes at once, and
// comes back if it is disconnected, so that a report can say how often it was.

import WebSocket from 'ws';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { Account } from './account.mjs';
import { plainPath, pusherPath, signedChannel, token } from './wire.mjs';

export const CHANNELS = ['news', 'private-news', 'big'];
const BACK = 100;

/** `where`: `{ port }` or `{ socketPath }`. `ready()` once it is subscribed. */
function sse(name, where, { query = {}, headers = {} }, ready) {
  const account = new Account(name);
  const subscriber = new Subscriber(where, eventsPath(CHANNELS, query), {
    headers,
    reconnect: BACK,
    onEvent: ({ event, data }) => {
      subscriber.events.length = 0;
      if (event === 'askr:gap') return account.gap(JSON.parse(data));
      if (query.format !== 'json') return account.take(/x$/.test(data) ? 'big' : 'news', data);
      const { channel, data: payload } = JSON.parse(data);
      account.take(channel, payload);
    },
  });
  let [open, ended] = [0, 0];
  // The subscriber counts; the account learns of it as it happens.
  subscriber.until('it is over', ({ connected, ended: ends, problem }) => {
    if (connected.length > open) { open = connected.length; account.connected(); ready(); }
    if (ends > ended) { ended = ends; account.disconnected(`the stream ended, ${connected.length ? 'it was open' : 'unanswered'}`); }
    return Boolean(problem);
  }, 1 << 30).then(() => account.disconnected(`refused: ${subscriber.problem.message}`), (why) => account.disconnected(`refused: ${why.message}`));
  return account;
}

/** `path()`: where it connects to, each time. */
function webSocket(name, port, path, onOpen, onMessage) {
  const account = new Account(name);
  const connect = () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path()}`, { perMessageDeflate: false });
    socket.on('open', () => account.connected());
    socket.on('message', (text) => onMessage(account, JSON.parse(text), socket));
    socket.on('error', () => {});
    socket.on('close', (code, reason) => {
      account.disconnected(`${code} ${reason}`);
      setTimeout(connect, BACK);
    });
  };
  connect();
  return account;
}

function plain(port, ready) {
  let cursor;
  const path = () => plainPath(CHANNELS, { token: token(CHANNELS), ...(cursor && { last_event_id: cursor }) });
  return webSocket('plain WebSocket, token', port, path, null, (account, message) => {
    cursor = message.cursor ?? cursor;
    if (message.subscribed) ready();
    else if (message.gap) account.gap(message.gap);
    else if (message.channel) account.take(message.channel, message.data);
    else if (message.error) account.disconnected(`error ${JSON.stringify(message.error)}`);
  });
}

function pusher(port, ready) {
  return webSocket('Pusher WebSocket, signature', port, () => pusherPath(), null, (account, message, socket) => {
    const subscribe = (data) => socket.send(JSON.stringify({ event: 'pusher:subscribe', data }));
    if (message.event === 'pusher:connection_established') {
      const { socket_id: id } = JSON.parse(message.data);
      for (const channel of CHANNELS) subscribe(channel.startsWith('private-') ? signedChannel(id, channel) : { channel });
    } else if (message.event === 'pusher:ping') socket.send('{"event":"pusher:pong","data":{}}');
    else if (message.event === 'pusher:error' || message.event === 'pusher:subscription_error') account.disconnected(JSON.stringify(message));
    else if (message.event === 'askr:gap') account.gap(message.data);
    else if (message.event === 'pusher_internal:subscription_succeeded') {
      if (message.channel === CHANNELS.at(-1)) ready();
    } else if (CHANNELS.includes(message.channel)) account.take(message.channel, typeof message.data === 'string' ? message.data : JSON.stringify(message.data));
  });
}

/** Resolves to their accounts once all are subscribed. */
export async function healthyReaders({ port, socket }) {
  const accounts = [];
  await Promise.all([
    (ready) => sse('SSE raw, token', { port }, { query: { token: token(CHANNELS) } }, ready),
    (ready) => sse('SSE json, Unix socket, auth_url', { socketPath: socket },
      { query: { format: 'json' }, headers: { Cookie: 'user=1', 'X-Real-IP': '192.0.2.1' } }, ready),
    (ready) => plain(port, ready),
    (ready) => pusher(port, ready),
  ].map((start) => new Promise((resolve) => accounts.push(start(resolve)))));
  return accounts;
}

