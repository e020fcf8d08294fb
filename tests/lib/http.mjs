// Plain HTTP requests, well-formed and not: `ask` speaks through node:http, `raw` writes the bytes it
// is given and returns all that comes back.

import http from 'node:http';
import net from 'node:net';
import { PATIENCE } from './scope.mjs';

/** `where` is `{ port }` or `{ socketPath }`. Resolves to `{ status, headers, body }`. */
export function ask(where, path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', ...where, path, method, headers, agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({
        status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString(),
      }));
      response.on('error', reject);
    });
    request.setTimeout(PATIENCE, () => request.destroy(new Error(`no answer to ${method} ${path}`)));
    request.on('error', reject);
    request.end(body);
  });
}

export class RawConnection {
  received = '';
  closed = false;
  #waiting = new Set();

  constructor(where) {
    this.socket = net.connect({ host: '127.0.0.1', ...where, path: where.socketPath });
    this.socket.setNoDelay(true);
    this.socket.on('data', (data) => { this.received += data.toString('latin1'); this.#tell(); });
    this.socket.on('error', () => {});
    this.socket.on('close', () => { this.closed = true; this.#tell(); });
  }

  #tell() {
    for (const check of this.#waiting) check();
  }

  write(bytes) {
    if (!this.socket.destroyed) this.socket.write(bytes);
    return this;
  }

  until(what, condition, patience = PATIENCE) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(new Error(`waited in vain until ${what}; received: ${this.received.slice(0, 500)}`));
      }, patience);
      const check = () => {
        if (!condition(this)) return;
        this.#waiting.delete(check);
        clearTimeout(timer);
        resolve(this);
      };
      this.#waiting.add(check);
      check();
    });
  }

  end() {
    return this.until('the server closes the connection', () => this.closed);
  }
}

/** Opens a raw connection that ends with the scope. */
export function rawConnection(scope, where) {
  const connection = new RawConnection(where);
  scope.defer(() => connection.socket.destroy());
  return connection;
}

/** A TCP port that was free a moment ago, for servers that cannot say which one they took. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
