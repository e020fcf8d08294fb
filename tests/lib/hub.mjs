// A Mercure hub's settings, and tokens for it.

import { createHmac, randomBytes } from 'node:crypto';
import { chownSync, writeFileSync } from 'node:fs';
import { services } from './people.mjs';

export const P = '/.well-known/mercure';
export const HUB = `https://example.com${P}`;
const ISSUER = 'https://example.com';
const DETAIL = 'https://mercure.rocks/authorization-detail';

/** A file of keys that askrd may read, and its secret. */
function key(scope, name) {
  const [file, secret] = [scope.path(name), randomBytes(32).toString('hex')];
  writeFileSync(file, `HS256 ${secret}\n`, { mode: 0o600 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return { file, secret };
}

function sign(secret, typ, claims) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ alg: 'HS256', typ })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** `app`: what askrd is given; `token(actions, topics, user)`: one of 1.0 for an hour. */
export function hub(scope) {
  const [one, old] = [key(scope, 'mercure.keys'), key(scope, 'mercure-0x.keys')];
  const token = (actions, topics, user = '') => sign(one.secret, 'at+jwt', {
    iss: ISSUER, aud: HUB, exp: Math.floor(Date.now() / 1000) + 3600, sub: `user-${user}`,
    authorization_details: [{ type: DETAIL, actions, topics, payload: { user_id: `${user}`, user_info: { name: `user-${user}` } } }],
  });
  return { app: { mercure_url: HUB, mercure_issuers: [`${ISSUER} ${one.file}`], mercure_legacy_key_file: old.file }, token };
}
