// A viewer that comes back to another node each time, with the cursor it has: over Server-Sent Events in both formats, and plain WebSockets.

import http from 'node:http';
import path from 'node:path';
import WebSocket from 'ws';
import { Parser, eventsPath } from '../lib/sse.mjs';
import { Hopper } from './hopper.mjs';
import { Ledger } from './ledger.mjs';

export const KINDS = ['raw', 'json', 'plain'];

export class Viewer extends Hopper {
  connections = 0;
  refused = 0;
  #cursor = '';

  constructor(kind, name, nodes, channels, options) {
    super(nodes, options);
    Object.assign(this, { kind, channels, ledger: new Ledger(`${kind} ${name}`) });
    this.connect();
  }

  /** Whether whatever comes from now on is for it. */
  get begun() {
    return this.#cursor !== '';
  }

  open(node, again) {
    this.at = path.basename(node.socketPath, '.sock');
    return this.kind === 'plain' ? this.plain(node, again) : this.sse(node, again);
  }

  sse(node, again) {
    const parser = new Parser((item) => {
      if (item.type !== 'event') return;
      if (item.event === 'askr:gap') this.ledger.gap(JSON.parse(item.data));
      else if (item.event.startsWith('askr:')) return;
      else this.ledger.event(this.kind === 'raw' ? item.data : JSON.parse(item.data).data);
    }, this.#cursor);
    const headers = this.#cursor ? { 'Last-Event-ID': this.#cursor } : {};
    const query = eventsPath(this.channels, { format: this.kind });
    const request = http.get({ ...node, path: query, headers, agent: false }, (response) => {
      if (response.statusCode !== 200) {
        this.refused += 1;
        response.resume();
        return request.destroy();
      }
      this.connections += 1;
      response.on('data', (bytes) => {
        parser.push(bytes);
        this.#cursor = parser.lastEventId;
      });
      response.on('error', () => {});
      response.on('close', again);
    });
    request.on('error', again);
    request.on('close', again);
    return () => request.destroy();
  }

  plain(node, again) {
    const query = new URLSearchParams();
    for (const channel of this.channels) query.append('channel', channel);
    if (this.#cursor) query.append('last_event_id', this.#cursor);
    const socket = new WebSocket(`ws+unix://${node.socketPath}:/askr/ws?${query}`);
    socket.on('open', () => { this.connections += 1; });
    socket.on('message', (bytes) => {
      const message = JSON.parse(bytes.toString());
      if (message.gap) this.ledger.gap(message.gap);
      else if (message.channel !== undefined && message.data !== undefined) this.ledger.event(message.data);
      if (message.cursor) this.#cursor = message.cursor;
    });
    socket.on('error', () => {});
    socket.on('close', again);
    return () => socket.terminate();
  }
}
