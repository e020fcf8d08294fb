// 5. Old cursors on quiet channels, which an index that is full no longer knows.

import { drain, forEver } from '../clients.mjs';
import { events } from '../wire.mjs';

const LOOPERS = 8;

export function attack(world) {
  for (let n = 0; n < LOOPERS; n += 1) {
    let round = 0;
    forEver(async () => {
      const socket = world.connect(`127.0.0.${60 + n % 2}`);
      socket.write(events([`quiet-${n}-${round}`], {}, `Last-Event-ID: ${world.epoch}-1\r\n`));
      round += 1;
      await drain(socket, 50);
    });
  }
}
