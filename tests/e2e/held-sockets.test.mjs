// Sockets that the service manager holds, several of them: each is found in server.listen by what it takes connections
// for, and over restarts of askrd nobody is refused at any of them.

import test from 'node:test';
import assert from 'node:assert/strict';
import { startHeld } from '../lib/askrd.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { scoped } from '../lib/scope.mjs';

const said = ({ holder }, what) => [...holder.output().matchAll(new RegExp(` ${what} ((?:unix|http):\\S+?),?(?: |$)`, 'gm'))].map(([, name]) => name);

test('a Unix socket and a TCP socket are held, and neither refuses anybody while askrd restarts', scoped(async (scope) => {
  const [port, socketPath] = [await freePort(), scope.path('askrd.sock')];
  // The third one is askrd's own.
  const own = scope.path('own.sock');
  const held = await startHeld(scope, { server: { listen: [`127.0.0.1:${port}`, `unix:${own}`, `unix:${socketPath}`] } }, [socketPath, port]);
  assert.deepEqual(said(held, 'the service manager holds'), [`unix:${socketPath}`, `http://127.0.0.1:${port}`]);
  assert.deepEqual(said(held, 'listening on').sort(), [`http://127.0.0.1:${port}`, `unix:${socketPath}`, `unix:${own}`].sort());
  assert.doesNotMatch(held.holder.output(), /WARN/);

  let restarting = true;
  const asking = [{ port }, { socketPath }].map(async (where) => {
    let answers = 0;
    while (restarting) {
      // Not /up, which says 503 in the moment in which it stops.
      const answer = await ask(where, '/elsewhere', { headers: { Host: 'localhost' } }).catch((error) => error);
      // Accepted by an askrd that stopped before the request came: HTTP has no remedy for it. Refused it is never.
      if (answer.code === 'ECONNRESET') continue;
      assert.equal(answer.status, 404, String(answer.code));
      answers += 1;
    }
    return answers;
  });
  for (let n = 0; n < 3; n += 1) await held.restart();
  restarting = false;
  for (const answers of await Promise.all(asking)) assert.ok(answers > 3);
  assert.equal(held.pids().length, 4);
}));

test('a socket that is held and not in server.listen is served all the same, and that is said', scoped(async (scope) => {
  const [port, socketPath] = [await freePort(), scope.path('askrd.sock')];
  const held = await startHeld(scope, { server: { listen: [`unix:${socketPath}`] } }, [socketPath, port]);
  assert.match(held.holder.output(), new RegExp(`WARN the service manager holds http://127\\.0\\.0\\.1:${port}, which is not in server\\.listen`));
  for (const where of [{ port }, { socketPath }]) assert.equal((await ask(where, '/up', { headers: { Host: 'localhost' } })).status, 200);
}));
