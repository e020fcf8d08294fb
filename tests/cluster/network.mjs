// Two sides of a network, each a namespace of its own, with a cable between them that can be cut. Only what is started in them speaks over it:
// viewers and publishers come by Unix sockets and shared memory.

import { execFileSync } from 'node:child_process';

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** Without root there are no namespaces, and no cable. */
export class OneSide {
  addresses = { left: '127.0.0.1', right: '127.0.0.1' };

  on() {
    return [];
  }
}

export class Network {
  /** `left` and `right` are their addresses. They go with the scope. */
  constructor(scope, { left = '10.213.77.1', right = '10.213.77.2' } = {}) {
    const tag = process.pid.toString(36);
    Object.assign(this, { names: { left: `askr-l-${tag}`, right: `askr-r-${tag}` }, addresses: { left, right }, cut: false });
    const { names } = this;
    const remove = () => {
      for (const name of Object.values(names)) {
        try {
          ip('netns', 'del', name);
        } catch {
          // It was not made, or is gone already.
        }
      }
    };
    scope.defer(remove);
    // A run that fails leaves nothing behind either.
    process.on('exit', remove);
    for (const name of Object.values(names)) ip('netns', 'add', name);
    ip('link', 'add', `al-${tag}`, 'netns', names.left, 'type', 'veth', 'peer', 'name', `ar-${tag}`, 'netns', names.right);
    for (const [side, link] of [['left', `al-${tag}`], ['right', `ar-${tag}`]]) {
      ip('-n', names[side], 'addr', 'add', `${this.addresses[side]}/24`, 'dev', link);
      ip('-n', names[side], 'link', 'set', link, 'up');
      ip('-n', names[side], 'link', 'set', 'lo', 'up');
    }
    this.link = `al-${tag}`;
  }

  /** The words before a command that run it on one side. */
  on(side) {
    return ['ip', 'netns', 'exec', this.names[side]];
  }

  part() {
    ip('-n', this.names.left, 'link', 'set', this.link, 'down');
    this.cut = true;
  }

  join() {
    ip('-n', this.names.left, 'link', 'set', this.link, 'up');
    this.cut = false;
  }
}
