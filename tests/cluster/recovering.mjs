// A viewer that is pusher-js as npm has it with clients/pusher-recovery: it comes back by itself, to another node each time.

import path from 'node:path';
import Pusher from 'pusher-js';
import WebSocket from 'ws';
import { withRecovery } from '../../clients/pusher-recovery/index.js';
import { Ledger } from './ledger.mjs';

/** By the name in the address that pusher-js connects to. */
const viewers = new Map();
// Where pusher-js makes sockets they are led to a node.
Pusher.Runtime.createWebSocket = (address) => {
  const { hostname, pathname, search } = new URL(address);
  return viewers.get(hostname).socket(`${pathname}${search}`);
};
const Recovering = withRecovery(Pusher, { cursor: null });

export class RecoveringViewer {
  connections = 0;
  #socket = null;
  #settled = false;

  /** As `Hopper` has them: `nodes`, and of the options `pick` and `stay`. */
  constructor(name, nodes, channels, { key, pick, stay }) {
    Object.assign(this, { nodes, pick, stay, ledger: new Ledger(`recovery ${name}`) });
    const wsHost = `viewer-${name}`;
    viewers.set(wsHost, this);
    this.pusher = new Recovering(key, { cluster: '', wsHost, forceTLS: false, enabledTransports: ['ws'], disableStats: true });
    this.pusher.bind_global((event, data) => {
      if (event === 'askr:gap') this.ledger.gap(data);
      else if (!event.startsWith('pusher')) this.ledger.event(JSON.stringify(data));
    });
    for (const channel of channels) this.pusher.subscribe(channel);
  }

  /** Whether whatever comes from now on is for it. */
  get begun() {
    return this.pusher.allChannels().every((channel) => channel.subscribed);
  }

  socket(target) {
    const { socketPath } = this.pick(this.nodes);
    const socket = new WebSocket(`ws+unix://${socketPath}:${target}`);
    this.#socket = socket;
    this.at = path.basename(socketPath, '.sock');
    const timer = setTimeout(() => this.#settled || socket.terminate(), this.stay());
    socket.on('open', () => { this.connections += 1; });
    socket.on('close', () => clearTimeout(timer));
    return socket;
  }

  /** Stays where it is from now on. */
  settle() {
    this.#settled = true;
  }

  stop() {
    this.pusher.disconnect();
    this.#socket.terminate();
  }
}
