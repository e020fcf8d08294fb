// 3. Pools without shares: five addresses take all channels, anonymous and false visitors keep the application
// busy, and unfinished requests sit in the control socket (of another user, if there is one).

import { setTimeout as pause } from 'node:timers/promises';
import { drain, forEver, stall } from '../clients.mjs';
import { events, get } from '../wire.mjs';

const LOOPERS = 70;
const ASKERS = 100;

export function attack(world) {
  for (let n = 0; n < 60; n += 1) {
    let round = 0;
    forEver(async () => {
      // Who is refused a hundred asks for ten, then for one.
      const channels = Array.from({ length: [100, 10, 1][round % 3] }, (_, k) => `hoard-${n}-${round}-${k}`);
      round += 1;
      const socket = world.connect(`127.0.0.${20 + n % 5}`);
      socket.write(events(channels));
      await drain(socket, 60_000);
      await pause(100);
    });
  }
  for (let n = 0; n < LOOPERS; n += 1) {
    let round = 0;
    forEver(async () => {
      const socket = world.connect(`127.0.0.${30 + n % 3}`);
      const shown = n % 2 ? `Cookie: false=${n}.${round}\r\n` : '';
      round += 1;
      socket.write(events([`private-${n}`], {}, `${shown}Connection: close\r\n`));
      await drain(socket, 10_000);
    });
  }
  for (let n = 0; n < ASKERS && world.control; n += 1) {
    forEver(async () => {
      const socket = world.connectTo({ path: world.control });
      socket.write(n % 2 ? 'GET /heal' : get('/disconnect', 'Content-Length: 100\r\n').replace('GET', 'POST'));
      await stall(socket, 20_000);
    });
  }
}
