// 1. A bound counts the input while the memory is its derived forms: everybody may ask for the whole past of 20
// channels in each format, and for the last events of cache channels. Whatever comes is read and thrown away.

import { drain, forEver } from '../clients.mjs';
import { events, message, plainPath, pusherPath, upgrade } from '../wire.mjs';

const WIDE = Array.from({ length: 20 }, (_, k) => `wide-${k}`);
const EACH = 3000;

export function attack(world) {
  const asks = [
    events(WIDE, {}, 'Last-Event-ID: x\r\n'),
    events(WIDE, { format: 'json' }, 'Last-Event-ID: x\r\n'),
    upgrade(plainPath(WIDE, { last_event_id: 'x' })),
  ];
  // Twice each, so that every worker has to answer each of them.
  [...asks, ...asks].forEach((ask, n) => forEver(async () => {
    const socket = world.connect(`127.0.0.${2 + n % 3}`);
    socket.write(ask);
    await drain(socket, EACH);
  }));
  forEver(async () => {
    const socket = world.connect('127.0.0.5');
    socket.write(upgrade(pusherPath()));
    for (let n = 0; n < 40; n += 1) {
      for (let k = 0; k < 5; k += 1) socket.write(message('pusher:subscribe', { channel: `cache-${n}-${k}` }));
    }
    await drain(socket, EACH);
  });
}
