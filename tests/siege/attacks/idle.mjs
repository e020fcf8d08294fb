// 2. A global budget without shares: 420 readers of the channel of large events take the head of their stream,
// and nothing after it.

import { forEver, stall } from '../clients.mjs';
import { events } from '../wire.mjs';

const READERS = 420;
const EACH = 6000;

export function attack(world) {
  for (let n = 0; n < READERS; n += 1) {
    forEver(async () => {
      const socket = world.connect(`127.0.0.${10 + n % 4}`);
      socket.write(events(['big']));
      await stall(socket, EACH);
    });
  }
}
