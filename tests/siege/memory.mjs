// What a process holds: anonymous memory, descriptors, and what the kernel holds for its TCP connections.

import { readFileSync, readdirSync } from 'node:fs';
import { run } from '../lib/process.mjs';

/** Bytes of anonymous memory: its own, without the ring and the binary. 0 once it has ended. */
export function anonymous(pid) {
  try {
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Seconds of processor time that it has used. */
export function processor(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

/** Bytes that the kernel holds for the connections that were accepted on this port: unread, unsent, unacknowledged. */
export async function kernel(port) {
  const { code, out, err } = await run('ss', ['-tmnH', 'state', 'connected', `sport = :${port}`]);
  if (code !== 0) throw new Error(`ss: ${err}`);
  let bytes = 0;
  for (const [, received, forward, queued] of out.matchAll(/skmem:\(r(\d+),.*?,f(\d+),w(\d+),/g)) {
    bytes += Number(received) + Number(forward) + Number(queued);
  }
  return bytes;
}

/** Connections to this port from this address that the server still has. */
export async function connected(port, address) {
  const { code, out, err } = await run('ss', ['-tnH', 'state', 'connected', `sport = :${port} and dst ${address}`]);
  if (code !== 0) throw new Error(`ss: ${err}`);
  return out.split('\n').filter(Boolean).length;
}

export const MiB = (bytes) => `${(bytes / (1 << 20)).toFixed(1)} MiB`;
