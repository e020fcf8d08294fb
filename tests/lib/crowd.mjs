// A crowd of subscribers in a process of its own, since descriptors are limited per process:
//   node crowd.mjs '{"port":…, "path":…, "count":…}'
// Prints one JSON line when all are connected and have the first bytes, one when each has had
// "first", and one when each has had "second"; the lines hold counts, never times.

import net from 'node:net';

const { port, path, count } = JSON.parse(process.argv[2]);
const CONNECTING_AT_ONCE = 200;

let open = 0;
let failed = 0;
let started = 0;
const had = { first: 0, second: 0 };

const tell = (what) => process.stdout.write(`${JSON.stringify({ what, open, failed, ...had })}\n`);

function connectOne() {
  if (started === count) return;
  started += 1;
  let text = '';
  let state = 'opening';
  const socket = net.connect({ port, host: '127.0.0.1' });
  socket.on('connect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`));
  socket.on('data', (data) => {
    text += data.toString();
    if (state === 'opening' && /^HTTP\/1\.1 200 [^]*\r\n\r\n[^]*\n\n/.test(text)) {
      state = 'open';
      open += 1;
      connectOne();
      if (open === count) tell('open');
    }
    for (const name of ['first', 'second']) {
      const line = `data: ${name}\n`;
      const at = text.indexOf(line);
      if (state === 'open' && at >= 0) {
        had[name] += 1;
        // A second copy of the same event would be counted again.
        text = text.slice(at + line.length);
        if (had[name] === count) tell(name);
      }
    }
  });
  const lost = (why) => {
    if (state === 'lost') return;
    state = 'lost';
    failed += 1;
    process.stdout.write(`${JSON.stringify({ what: 'lost', why, open, failed })}\n`);
  };
  socket.on('error', (error) => lost(error.message));
  socket.on('close', () => lost('closed'));
}

for (let i = 0; i < CONNECTING_AT_ONCE; i += 1) connectOne();
process.on('SIGTERM', () => process.exit(0));
