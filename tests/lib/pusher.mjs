// Pusher's world around an askrd: an application that authorizes its users with Pusher's own server
// library, and the clients as their makers ship them (pusher-js, Laravel Echo), unchanged.

import http from 'node:http';
import { chownSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import Echo from 'laravel-echo';
import PusherServer from 'pusher';
import PusherClient from 'pusher-js';
import WebSocket from 'ws';
import { Askrd } from './askrd.mjs';
import { freePort } from './http.mjs';
import { services } from './people.mjs';
import { until } from './scope.mjs';

export const APP = { id: '7', key: 'app-key', secret: randomBytes(24).toString('hex') };
/** What encrypted channels are encrypted with, by every server library. */
export const MASTER_KEY = randomBytes(32).toString('base64');

/** An askrd with one application, on a port that it has again after a restart. */
export async function startPusher(scope, { app, server, ...settings } = {}, name = 'askrd') {
  const port = await freePort();
  const askrd = new Askrd(scope, {
    app: { ...APP, presence_grace: 1.0, ...app },
    server: { listen: [`unix:${scope.path(`${name}.sock`)}`, `127.0.0.1:${port}`], ...server },
    ...settings,
  }, name);
  return askrd.start();
}

/** The file that PHP signs tokens with: the application's secret. */
export function secretFile(scope) {
  const file = scope.path('secret');
  writeFileSync(file, `${APP.secret}\n`, { mode: 0o640 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return file;
}

/** Pusher's server library for Node. */
export function serverLibrary(port, { id, key, secret } = APP) {
  return new PusherServer({ appId: id, key, secret, host: '127.0.0.1', port, useTLS: false, encryptionMasterKeyBase64: MASTER_KEY });
}

/**
 * The application: says who somebody is, by the header X-User. Nobody is let in without it, nor into a
 * channel with "-closed" in its name; X-Forged has it sign with another secret, and
 * X-Watch names the users on somebody's watchlist. Resolves to its address.
 */
export async function startApplication(scope, app = APP) {
  const [honest, forger] = [app, { ...app, secret: 'another secret, which askrd does not know' }].map((one) => serverLibrary(1, one));
  const server = http.createServer(async (request, response) => {
    // Pages of another origin ask, too.
    const headers = { 'Content-Type': 'application/json', 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' };
    const answer = (status, body) => response.writeHead(status, headers).end(JSON.stringify(body));
    if (request.method === 'OPTIONS') return answer(200, {});
    let body = '';
    for await (const part of request) body += part;
    const form = new URLSearchParams(body);
    const [socket, channel] = [form.get('socket_id'), form.get('channel_name')];
    const user = request.headers['x-user'];
    const library = request.headers['x-forged'] ? forger : honest;
    if (!user || channel?.includes('-closed')) return answer(403, { message: 'This action is unauthorized.' });
    if (request.url === '/broadcasting/user-auth') return answer(200, library.authenticateUser(socket, { id: user, name: user.toUpperCase(), watchlist: request.headers['x-watch']?.split(',') }));
    if (request.url !== '/broadcasting/auth') return answer(404, {});
    const data = channel.startsWith('presence-') ? { user_id: user, user_info: { name: user.toUpperCase() } } : undefined;
    return answer(200, library.authorizeChannel(socket, channel, data));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.defer(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));
  return { port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

/** What Laravel's own bootstrap.js gives to Echo for Reverb, with the values of these tests. */
export function echoOptions(port, application, user, headers = {}) {
  const shown = { 'X-User': user, ...headers };
  return {
    broadcaster: 'reverb',
    key: APP.key,
    wsHost: '127.0.0.1',
    wsPort: port,
    wssPort: port,
    forceTLS: false,
    enabledTransports: ['ws', 'wss'],
    authEndpoint: `${application.url}/broadcasting/auth`,
    auth: { headers: shown },
    userAuthentication: { endpoint: `${application.url}/broadcasting/user-auth`, headers: shown },
  };
}

/** Laravel Echo over pusher-js, connected. It ends with the scope. */
export async function startEcho(scope, port, application, user, { headers, ...options } = {}) {
  const echo = new Echo({ ...echoOptions(port, application, user, headers), Pusher: PusherClient, ...options });
  echo.errors = [];
  echo.states = [];
  const { connection } = echo.connector.pusher;
  const sockets = new Set();
  connection.bind('connected', () => sockets.add(connection.connection.transport.socket));
  scope.defer(() => {
    echo.disconnect();
    // Its WebSocket forgets a timer of 30 s where the server has closed it, and Node would wait for that.
    for (const socket of sockets) clearTimeout(socket._closeTimer);
  });
  connection.bind('error', (error) => echo.errors.push(error));
  connection.bind('state_change', ({ current }) => echo.states.push(current));
  await until(`${user} is connected`, () => connection.state === 'connected');
  return echo;
}

/** Resolves when Echo's channel is subscribed to; rejects with the error that Echo tells. */
export function subscribed(channel) {
  return new Promise((resolve, reject) => {
    channel.subscribed(() => resolve(channel));
    channel.error(reject);
  });
}

/** What arrives, in order: `{ event, data }`, from everything that the channel tells. */
export function recorded(channel) {
  const seen = [];
  channel.listenToAll((event, data) => seen.push({ event, data }));
  return seen;
}

/** The first `count` of what a list gets. */
export async function first(list, count) {
  await until(`${count} have arrived`, () => list.length >= count);
  return list.slice(0, count);
}

/** askrd, the application, and its server's library; `echo(user)` connects as somebody. */
export async function start(scope, settings) {
  const askrd = await startPusher(scope, settings);
  const application = await startApplication(scope);
  const { port } = askrd;
  return { askrd, application, port, server: serverLibrary(port), echo: (user, options) => startEcho(scope, port, application, user, options) };
}

/** A presence channel as a page shows it: who is here, and everybody who came and went since. */
export async function join(echo, name) {
  const room = { here: [], joined: [], left: [], snapshots: 0 };
  room.channel = echo.join(name)
    .here((members) => { room.here = members.map(({ name }) => name).sort(); room.snapshots += 1; })
    .joining(({ name }) => room.joined.push(name))
    .leaving(({ name }) => room.left.push(name));
  await subscribed(room.channel);
  await until('members are told', () => room.snapshots > 0);
  return room;
}

/** A bare WebSocket that keeps its frames as they came: what no client shows. */
export async function rawSocket(scope, port, path, headers = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  scope.defer(() => socket.terminate());
  const raw = { socket, texts: [], messages: [], closed: null };
  socket.on('message', (data) => {
    raw.texts.push(data.toString());
    raw.messages.push(JSON.parse(data));
  });
  socket.on('error', () => {});
  socket.on('close', (code, reason) => { raw.closed = { code, reason: reason.toString() }; });
  raw.send = (event, data) => socket.send(JSON.stringify({ event, data }));
  raw.next = (event, channel) => until(`${event} arrives`, () =>
    raw.messages.find((message) => message.event === event && (channel === undefined || message.channel === channel)));
  raw.end = () => until('the socket is closed', () => raw.closed);
  return raw;
}

/** The same, past Pusher's hello: `socketId` is set. */
export async function rawPusher(scope, port, query = 'protocol=7&client=test&version=1') {
  const raw = await rawSocket(scope, port, `/app/${APP.key}?${query}`);
  raw.socketId = JSON.parse((await raw.next('pusher:connection_established')).data).socket_id;
  raw.subscribe = async (channel, data = {}) => {
    raw.send('pusher:subscribe', { channel, ...data });
    return raw.next('pusher_internal:subscription_succeeded', channel);
  };
  return raw;
}
