// 4. Requests in progress: 1,500 heads and bodies that are never finished, streams that are never read, and
// requests one after the other whose answers are never read.

import { setTimeout as pause } from 'node:timers/promises';
import { drain, forEver } from '../clients.mjs';
import { APP } from '../settings.mjs';
import { events, get } from '../wire.mjs';

const PARTIAL = 1500;
const UNREAD = 20;
/** Whose requests are pipelined; the first of them stay for as long as the siege. */
export const PIPELINERS = '127.0.0.49';

const HEAD = `GET /askr/events?channel=a HTTP/1.1\r\nHost: siege\r\nX-Long: ${'x'.repeat(60_000)}`;
const change = `POST /askr/subscribe HTTP/1.1\r\nHost: siege\r\nContent-Length: 65536\r\n\r\n${'x'.repeat(60_000)}`;
const api = `POST /apps/${APP.id}/events HTTP/1.1\r\nHost: siege\r\nContent-Length: 65536\r\n\r\n${'x'.repeat(60_000)}`;

export function attack(world) {
  for (let n = 0; n < PARTIAL; n += 1) {
    forEver(async () => {
      const socket = world.connect(`127.0.0.${40 + n % 5}`);
      socket.write([HEAD, change, api][n % 3]);
      await drain(socket, 8000);
    });
  }
  for (let n = 0; n < UNREAD; n += 1) {
    forEver(async () => {
      const socket = world.connect('127.0.0.48', { reads: false });
      socket.write(events(['big', 'wide-0'], n % 2 ? { format: 'json' } : {}, 'Last-Event-ID: x\r\n'));
      await pause(8000);
      socket.destroy();
    });
  }
  for (let n = 0; n < UNREAD; n += 1) {
    const socket = world.connect(PIPELINERS, { reads: false });
    const more = () => {
      // Until the kernel takes no more of them.
      while (!socket.destroyed && socket.write(get('/nothing').repeat(100)));
    };
    socket.on('drain', more);
    more();
  }
}
