// Requests and frames as bytes, for clients that keep to the protocol as long as it suits them.

import { createHmac, createHash, randomBytes } from 'node:crypto';
import { eventsPath } from '../lib/sse.mjs';
import { APP } from './settings.mjs';

export const get = (path, headers = '') => `GET ${path} HTTP/1.1\r\nHost: siege\r\n${headers}\r\n`;

export const post = (path, body, headers = '') =>
  `POST ${path} HTTP/1.1\r\nHost: siege\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

export const events = (channels, query = {}, headers = '') => get(eventsPath(channels, query), headers);

export const upgrade = (path) => get(path,
  `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n`);

export const plainPath = (channels, query = {}) => eventsPath(channels, query).replace('/askr/events', '/askr/ws');

export const pusherPath = (key = APP.key) => `/app/${key}?protocol=7&client=siege&version=1`;

/** A client's frame: masked, whole. */
export function frame(text, opcode = 1) {
  const payload = Buffer.from(text);
  const long = payload.length > 125;
  const head = Buffer.from([0x80 | opcode, 0x80 | (long ? 126 : payload.length), ...(long ? [payload.length >> 8, payload.length & 255] : [])]);
  // A mask of zeros is a mask.
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

export const closeFrame = (code = 1000) => frame(Buffer.from([code >> 8, code & 255]), 8);

export const message = (event, data) => frame(JSON.stringify({ event, data }));

const hmac = (text, secret) => createHmac('sha256', secret).update(text);

/** A token as `askr_token()` makes it. */
export function token(channels, user) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256' })}.${part({ channels, iat: now, exp: now + 86_400, ...(user ? { sub: user } : {}) })}`;
  return `${signed}.${hmac(signed, APP.secret).digest('base64url')}`;
}

/** The data of `pusher:subscribe` for a private or presence channel. */
export function signedChannel(socketId, channel, user, info) {
  const data = user ? { channel_data: JSON.stringify({ user_id: user, user_info: info }) } : {};
  const text = [socketId, channel, ...Object.values(data)].join(':');
  return { channel, auth: `${APP.key}:${hmac(text, APP.secret).digest('hex')}`, ...data };
}

/** A request to the HTTP API, signed by `secret`; on a channel that nobody replays, so that no cache fills. */
export function api(name, data, secret = APP.secret) {
  const body = JSON.stringify({ name, channels: ['api'], data });
  const path = `/apps/${APP.id}/events`;
  const query = `auth_key=${APP.key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&body_md5=${
    createHash('md5').update(body).digest('hex')}`;
  const signature = hmac(`POST\n${path}\n${query}`, secret).digest('hex');
  return post(`${path}?${query}&auth_signature=${signature}`, body, 'Content-Type: application/json\r\n');
}
