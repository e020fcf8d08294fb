// nginx resolves dot segments to choose a location, and passes the path on as it came: what is not opened must not be
// reached through what is.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { startAskrd } from '../lib/askrd.mjs';
import { rawConnection } from '../lib/http.mjs';
import { startSite } from '../lib/php.mjs';
import { APP } from '../lib/pusher.mjs';
import { scoped } from '../lib/scope.mjs';

const FRONT = path.join(TESTS, 'php/front.php');

/** Status and body of the answer to a path as it is. */
async function answer(scope, site, target, headers = '') {
  const connection = rawConnection(scope, { port: site.port });
  connection.write(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${site.port}\r\nConnection: close\r\n${headers}\r\n`);
  await connection.end();
  const [head, body] = connection.received.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), body };
}

test('the HTTP API is not reached through the location of /askr/, however the path is written', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { app: APP });
  const site = await startSite(scope, askrd, { front: FRONT, pusher: false });
  const api = `/apps/${APP.id}/channels`;
  // Not open, as nginx was told: the site's own.
  assert.doesNotMatch((await answer(scope, site, api)).body, /auth_|signature/);
  for (const target of [
    `${api}/../../../askr/x`,
    `${api}/%2e%2e/%2e%2e/%2e%2e/askr/x`,
    `${api}/.%2e/%2E./..%2faskr/x`,
    `${api}/..%2f..%2f..%2faskr%2fx`,
    `${api}/./../../../askr/events`,
    `${api}//../../../askr/events?channel=a`,
    `${api}/../../../askr/ws`,
    `/up/../askr/events`,
    `/app/${APP.key}/../../askr/ws?protocol=7`,
    `/askr/x/../events?channel=a`,
    `/askr//events?channel=a`,
    `/askr/./events?channel=a`,
    `/askr/%2e/events?channel=a`,
  ]) {
    const { status, body } = await answer(scope, site, target);
    assert.equal(status, 400, `${target}: ${body}`);
    assert.match(body, /dot segment/, target);
  }
  // Nginx resolves these to where they lead.
  for (const target of [`/askr/..${api}`, `/askr/%2e%2e${api}`, `/askr/..%2fapps/${APP.id}/channels`]) {
    assert.doesNotMatch((await answer(scope, site, target)).body, /auth_|signature/, target);
  }
}));
