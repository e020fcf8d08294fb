// "Moving from Reverb" of the README, as it is written there: its diff is applied to an .env, askrd is started
// with its settings, and Laravel's own ways to use the values are followed.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import WebSocket from 'ws';
import { Askrd } from '../lib/askrd.mjs';
import { ROOT } from '../lib/built.mjs';
import { freePort } from '../lib/http.mjs';
import { first, recorded, serverLibrary, startApplication, startEcho, subscribed } from '../lib/pusher.mjs';
import { scoped } from '../lib/scope.mjs';

/** The first block of this language in the README's section. */
function block(language) {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const section = readme.slice(readme.indexOf('## Moving from Reverb\n')).split(/\n## /)[0];
  return new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(section)[1];
}

/** The .env before and after a diff. */
function sides(diff) {
  const lines = diff.trimEnd().split('\n');
  for (const line of lines) assert.match(line, /^[ +-]/);
  const side = (sign) => lines.filter((line) => line[0] === ' ' || line[0] === sign).map((line) => line.slice(1));
  return { before: side('-'), after: side('+') };
}

/** As Laravel and Vite read it: quotes, and ${NAME} of a line above. */
function environment(lines) {
  const env = {};
  for (const line of lines) {
    const [, name, value] = /^([A-Z_]+)="?(.*?)"?$/.exec(line);
    env[name] = value.replace(/\$\{(\w+)\}/g, (_, other) => env[other]);
  }
  return env;
}

/** What a browser's WebSocket from a page of this origin is told first. */
const opened = (env, origin) => new Promise((resolve, reject) => {
  const socket = new WebSocket(`ws://${env.VITE_REVERB_HOST}:${env.VITE_REVERB_PORT}/app/${env.VITE_REVERB_APP_KEY}?protocol=7`, { origin });
  socket.on('message', (text) => { resolve(JSON.parse(text)); socket.terminate(); });
  socket.on('error', reject);
});

test('the README\'s diff of .env and its askr.toml move Laravel Echo and Laravel\'s publishing to askrd', scoped(async (scope) => {
  // Another port, which may be taken here, and the paths of this test; nothing else is changed.
  const port = String(await freePort());
  const { before, after } = sides(block('diff').replaceAll('8090', port));
  const [old, env] = [environment(before), environment(after)];
  assert.deepEqual(Object.keys(old), Object.keys(env), 'no setting comes or goes');
  assert.deepEqual(Object.keys(env).filter((key) => old[key] !== env[key]),
    ['REVERB_HOST', 'REVERB_PORT', 'VITE_REVERB_HOST', 'VITE_REVERB_PORT'], 'only where it is');
  assert.equal(env.BROADCAST_CONNECTION, 'reverb');

  const askrd = new Askrd(scope, { app: { secret: 'to be overwritten, but closed to others' } });
  const settings = block('toml').replaceAll('8090', port).replace('/run/askr/askrd.sock', askrd.socket)
    .replace('[server]\n', `[server]\ncontrol = ${JSON.stringify(askrd.control)}\n`);
  const { group } = askrd.settings.ring;
  writeFileSync(askrd.config, `${settings}\n[ring]\nname = ${JSON.stringify(askrd.ring)}\n${group ? `group = "${group}"\n` : ''}`);
  await askrd.start();

  // bootstrap.js of Laravel, for Reverb.
  const app = { id: env.REVERB_APP_ID, key: env.REVERB_APP_KEY, secret: env.REVERB_APP_SECRET };
  const application = await startApplication(scope, app);
  const echo = await startEcho(scope, port, application, 'ada', {
    broadcaster: 'reverb',
    key: env.VITE_REVERB_APP_KEY,
    wsHost: env.VITE_REVERB_HOST,
    wsPort: env.VITE_REVERB_PORT ?? 80,
    wssPort: env.VITE_REVERB_PORT ?? 443,
    forceTLS: (env.VITE_REVERB_SCHEME ?? 'https') === 'https',
    enabledTransports: ['ws', 'wss'],
  });
  const seen = [recorded(await subscribed(echo.channel('orders'))), recorded(await subscribed(echo.private('orders.1')))];

  // config/broadcasting.php: the connection "reverb" is the driver of Pusher's library with these values.
  assert.equal(env.REVERB_SCHEME, 'http');
  const server = serverLibrary(Number(env.REVERB_PORT), app);
  server.config.host = env.REVERB_HOST;
  await server.trigger(['orders', 'private-orders.1'], 'App\\Events\\OrderPaid', { order: 1 });
  for (const list of seen) assert.deepEqual(await first(list, 1), [{ event: 'OrderPaid', data: { order: 1 } }]);

  // `artisan serve` prints one of them, APP_URL has the other.
  for (const origin of [env.APP_URL, 'http://127.0.0.1:8000', 'http://localhost:8000']) {
    assert.equal((await opened(env, origin)).event, 'pusher:connection_established', origin);
  }
  const refused = await opened(env, 'https://elsewhere.example');
  assert.deepEqual([refused.event, refused.data.code], ['pusher:error', 4009]);
}));

test('docs/REVERB.md names settings that there are', () => {
  const page = readFileSync(path.join(ROOT, 'docs/REVERB.md'), 'utf8');
  const settings = readFileSync(path.join(ROOT, 'packaging/askr.toml'), 'utf8');
  const sections = new Map();
  let section;
  for (const line of settings.split('\n')) {
    section = /^\[(\w+)\]/.exec(line)?.[1] ?? section;
    const key = /^#?(\w+) = /.exec(line)?.[1];
    if (key) sections.set(section, (sections.get(section) ?? new Set()).add(key));
  }
  const named = [...page.matchAll(/`(server|app)\.(\w+)`/g)];
  assert.ok(named.length > 15);
  for (const [, where, key] of named) assert.ok(sections.get(where).has(key), `${where}.${key}`);
});
