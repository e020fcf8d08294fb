// A Mercure hub behind the packaged nginx, over TLS: its keys, tokens of both versions, and what publishers post.

import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from './built.mjs';
import { startAskrd } from './askrd.mjs';
import { ask, freePort } from './http.mjs';
import { services } from './people.mjs';
import { packagedNginx, startSite } from './php.mjs';

export const P = '/.well-known/mercure';
/** As in docs/MERCURE.md. */
export const ISSUER = 'https://example.com';
const DETAIL = 'https://mercure.rocks/authorization-detail';
const KEY = '0123456789abcdef0123456789abcdef';
const LEGACY_KEY = 'fedcba9876543210fedcba9876543210';

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function sign(key, typ, claims) {
  const signed = `${base64({ alg: 'HS256', typ })}.${base64(claims)}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/** A file that only askrd reads. */
function closedFile(scope, name, content) {
  const file = scope.path(name);
  writeFileSync(file, content, { mode: 0o600 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return file;
}

/** A certificate of `localhost` and its key, in one file. */
function certificate(scope) {
  const file = scope.path('site.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext',
    'subjectAltName=DNS:localhost', '-keyout', file, '-out', `${file}.crt`], { stdio: 'ignore' });
  writeFileSync(file, readFileSync(file, 'utf8') + readFileSync(`${file}.crt`, 'utf8'));
  chmodSync(file, 0o644);
  return file;
}

export class Hub {
  key = KEY;
  legacyKey = LEGACY_KEY;

  /** A hub without a site, which pages would know at this origin. `app`: more settings of its application. */
  static async alone(scope, origin, app = {}) {
    const hub = new Hub();
    hub.origin = origin;
    hub.url = `${origin}${P}`;
    hub.askrd = await startAskrd(scope, {
      app: {
        mercure_url: hub.url,
        mercure_issuers: [`${ISSUER} ${closedFile(scope, 'mercure.keys', `HS256 ${KEY}\n`)}`],
        mercure_legacy_key_file: closedFile(scope, 'mercure-0x.keys', `HS256 ${LEGACY_KEY}\n`),
        mercure_anonymous: true,
        ...app,
      },
    });
    return hub;
  }

  /** The same behind nginx. `files`: pages of the site, whose PHP is tests/php/mercure.php. */
  static async start(scope, { app, files = {} } = {}) {
    const port = await freePort();
    const hub = await Hub.alone(scope, `https://localhost:${port}`, app);
    const pem = certificate(scope);
    hub.site = await startSite(scope, hub.askrd, {
      front: path.join(TESTS, 'php/mercure.php'),
      files,
      env: { MERCURE_PUBLIC_URL: hub.url, MERCURE_JWT_SECRET: KEY, MERCURE_JWT_ISSUER: ISSUER },
      // Over HTTP/2 one browser has more than six streams.
      directives: `listen 127.0.0.1:${port} ssl http2; ssl_certificate ${pem}; ssl_certificate_key ${pem};
${packagedNginx(scope, hub.askrd.socket, 'nginx-mercure.conf', 'site')}`,
    });
    return hub;
  }

  /** Plain HTTP through nginx, for programs. */
  get plain() {
    return `${this.site.url}${P}`;
  }

  /** A token of 1.0. `topics`: text of exact topics, or `{ match, match_type }`. */
  token(actions, topics, more = {}) {
    const all = topics.map((topic) => (typeof topic === 'string' ? { match: topic } : topic));
    return sign(KEY, 'at+jwt', {
      iss: ISSUER, aud: this.url, exp: Math.floor(Date.now() / 1000) + 600,
      authorization_details: [{ type: DETAIL, actions, topics: all }], ...more,
    });
  }

  /** A token of 0.x. */
  legacyToken(publish, subscribe) {
    return sign(LEGACY_KEY, 'JWT', { mercure: { publish, subscribe } });
  }

  /** Posts an update, through nginx if there is one; the id. */
  async post(fields, token = this.token(['publish'], ['*'])) {
    const { status, body } = await this.try(fields, { Authorization: `Bearer ${token}` });
    if (status !== 200) throw new Error(`POST ${P}: ${status} ${body}`);
    return body;
  }

  try(fields, headers) {
    const form = { 'Content-Type': 'application/x-www-form-urlencoded', ...headers };
    return ask(this.site ?? this.askrd.tcp, P, { method: 'POST', headers: form, body: new URLSearchParams(fields).toString() });
  }

  /** Publishes by `mercure_publish()` in PHP-FPM; the id. */
  async publish(topics, data, more = {}) {
    const { status, body } = await ask(this.site, '/publish', { method: 'POST', body: JSON.stringify({ topics, data, ...more }) });
    if (status !== 200) throw new Error(`POST /publish: ${status} ${body}`);
    return JSON.parse(body).id;
  }

  /** The subscriptions of one topic, as who may see them. */
  async subscriptions(topic, type = 'exact') {
    const at = `${P}/subscriptions/${type}/${encodeURIComponent(topic)}`;
    const headers = { Authorization: `Bearer ${this.token(['subscribe'], [at])}` };
    const { status, body } = await ask(this.site, at, { headers });
    if (status !== 200) throw new Error(`GET ${at}: ${status} ${body}`);
    return JSON.parse(body).subscriptions;
  }
}
