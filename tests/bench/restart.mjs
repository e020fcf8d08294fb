// How long viewers are away at a planned restart: EventSources through nginx as packaging/ configures it, each coming
// back when it was told. From the end of a viewer's stream until it is open again.
//
//   BEFORE=path   another build's askrd, beside this one; VIEWERS=50,300,5000

import net from 'node:net';
import { Askrd, startHeld } from '../lib/askrd.mjs';
import { ASKRD } from '../lib/built.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { packagedNginx } from '../lib/php.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { median, table } from './figures.mjs';
import { startNginx } from './nginx.mjs';

const COUNTS = (process.env.VIEWERS ?? '50,300,5000').split(',').map(Number);
const OPENING_AT_ONCE = 200;

/** nginx before askrd's socket. */
async function packaged(scope, socket) {
  const port = await freePort();
  const http = `
${packagedNginx(scope, socket, 'nginx-http.conf', 'site')}
server {
  listen 127.0.0.1:${port} backlog=4096;
  location / { return 204; }
${packagedNginx(scope, socket, 'nginx.conf', 'site')}
}`;
  await startNginx(scope, 'site', { http }, () => ask({ port }, '/').catch(() => null));
  return port;
}

class Viewer {
  away = null;
  #retry = 3000;
  #ended = null;
  #stopped = false;

  constructor(port, opened) {
    Object.assign(this, { port, opened });
    this.connect();
  }

  stop() {
    this.#stopped = true;
    this.socket.destroy();
  }

  connect() {
    let text = '';
    let open = false;
    this.socket = net.connect({ port: this.port, host: '127.0.0.1' });
    this.socket.on('connect', () => this.socket.write('GET /askr/events?channel=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'));
    this.socket.on('data', (data) => {
      text += data;
      for (const [, ms] of text.matchAll(/retry: ([0-9]+)\n/g)) this.#retry = Number(ms);
      if (open || !text.includes('askr:connected')) return;
      open = true;
      text = '';
      if (this.#ended) this.away = performance.now() - this.#ended;
      this.opened();
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      if (open) this.#ended = performance.now();
      if (!this.#stopped) setTimeout(() => this.connect(), this.#retry);
    });
  }
}

async function row(name, program, held, count) {
  const scope = new Scope();
  const socket = scope.path('askrd.sock');
  const settings = { server: { listen: [`unix:${socket}`] } };
  let restart;
  if (held) ({ restart } = await startHeld(scope, settings, [socket], program));
  else {
    const askrd = await new Askrd(scope, settings, 'askrd', program).start();
    restart = async () => { await askrd.stop(); await askrd.start(); };
  }
  const port = await packaged(scope, socket);
  let opened = 0;
  const viewers = [];
  while (viewers.length < count) {
    const more = Math.min(OPENING_AT_ONCE, count - viewers.length);
    for (let n = 0; n < more; n += 1) viewers.push(new Viewer(port, () => { opened += 1; }));
    await until(`${viewers.length} are open`, () => opened === viewers.length);
  }
  await restart();
  await until('all are back', () => opened === 2 * count);
  const away = viewers.map((viewer) => viewer.away);
  for (const viewer of viewers) viewer.stop();
  await scope.close();
  return [name, count, Math.round(median(away)), Math.round(Math.max(...away))];
}

const builds = [...(process.env.BEFORE ? [['before', process.env.BEFORE]] : []), ['askrd', ASKRD]];
const rows = [];
for (const count of COUNTS) {
  for (const [build, program] of builds) {
    for (const held of [false, true]) rows.push(await row(`${build}, ${held ? 'socket held' : 'a socket of its own'}`, program, held, count));
  }
}
console.log(table(['', 'viewers', 'away, ms: median', 'longest'], rows));
process.exit(0);
