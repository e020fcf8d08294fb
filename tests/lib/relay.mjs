// A TCP relay that passes what the server says in pieces of its choosing, each in a segment of its
// own, so that a client meets every way the network may cut a stream.

import net from 'node:net';

/**
 * Listens on a free port. `cut(length)` gives the size of the next piece. Resolves to `{ port, break }`:
 * `break()` cuts what is connected.
 */
export async function relay(scope, target, cut) {
  const sockets = new Set();
  const keep = (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = net.createServer((client) => {
    const upstream = net.connect({ host: '127.0.0.1', ...target, path: target.socketPath });
    keep(client);
    keep(upstream);
    client.pipe(upstream);
    upstream.on('data', async (data) => {
      upstream.pause();
      for (let at = 0; at < data.length && !client.destroyed;) {
        const end = Math.min(data.length, at + cut(data.length - at));
        // The callback comes when the kernel has it; another turn of the loop lets a reader in.
        await new Promise((resolve) => client.write(data.subarray(at, end), resolve));
        await new Promise(setImmediate);
        at = end;
      }
      upstream.resume();
    });
    upstream.on('close', () => client.end());
    client.on('close', () => upstream.destroy());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cutAll = () => { for (const socket of sockets) socket.destroy(); };
  scope.defer(() => {
    cutAll();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: server.address().port, break: cutAll };
}
