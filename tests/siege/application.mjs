// The application that askrd asks who may listen: whoever brings a cookie `user=…` may, nobody else. It
// takes its time, as applications do.

import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

const MILLISECONDS = 50;

/** Resolves to `{ url, asked }`. */
export async function startApplication(scope) {
  const application = { asked: 0 };
  const server = http.createServer(async (request, response) => {
    application.asked += 1;
    let body = '';
    for await (const part of request) body += part;
    await pause(MILLISECONDS);
    const known = /(^|; )user=/.test(request.headers.cookie ?? '');
    const channels = Object.fromEntries(JSON.parse(body).channels.map((name) => [name, known]));
    response.writeHead(known ? 200 : 403, { 'Content-Type': 'application/json' }).end(JSON.stringify({ channels }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', 1024, resolve));
  scope.defer(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));
  application.url = `http://127.0.0.1:${server.address().port}`;
  return application;
}
