// What attacks are made of: connections from an address of one's choosing, that read, or do not.

import net from 'node:net';

/** Does it again and again; `act` paces itself by waiting. */
export async function forEver(act) {
  for (;;) {
    await act();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const closed = (socket) => new Promise((resolve) => socket.on('close', resolve));

async function destroyLater(socket, milliseconds) {
  const timer = setTimeout(() => socket.destroy(), milliseconds);
  await closed(socket);
  clearTimeout(timer);
}

/** Reads and throws away until the server ends it, or for so long. */
export function drain(socket, milliseconds) {
  socket.on('data', () => {});
  return destroyLater(socket, milliseconds);
}

/** Reads the first piece, and no more; gone after so long. */
export function stall(socket, milliseconds) {
  socket.once('data', () => socket.pause());
  return destroyLater(socket, milliseconds);
}

export class World {
  constructor(place) {
    Object.assign(this, place);
  }

  connectTo(where, { reads = true } = {}) {
    const socket = net.connect(where);
    socket.on('error', () => {});
    if (!reads) socket.pause();
    return socket;
  }

  /** From this address. */
  connect(localAddress, options) {
    return this.connectTo({ host: '127.0.0.1', port: this.port, localAddress }, options);
  }
}
