// A Debian that boots: systemd, nginx and PHP-FPM in a container of systemd-nspawn, over layers that nobody writes into
// (.ci/chroot). Network and process ids are this test's own (make test-deb says how); the ports of the container are
// those of 127.0.0.1 here.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { run } from '../lib/process.mjs';
import { until } from '../lib/scope.mjs';

export const CHROOTS = process.env.ASKR_CHROOTS ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'askr/chroots');

// Booting beside other work takes its time.
const BOOT = 300_000;

export const chroot = (release, layer) =>
  execFileSync(path.join(ROOT, '.ci/chroot'), [release, layer], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();

/** systemd-nspawn of a Debian of its own: this machine need not have it. */
function nspawn() {
  const [directory, site] = chroot('bookworm', 'nspawn').split(':');
  const libraries = [directory, site].flatMap((root) =>
    ['usr/lib/x86_64-linux-gnu/systemd', 'usr/lib/x86_64-linux-gnu'].map((lib) => path.join(root, lib)));
  return [path.join(site, 'usr/lib64/ld-linux-x86-64.so.2'), '--library-path', libraries.join(':'),
    path.join(directory, 'usr/bin/systemd-nspawn')];
}

export const mount = (...args) => execFileSync('mount', args);

/** What is below, to be written into until the scope ends. */
export function overlay(scope, lower) {
  // Not in the scope's directory, which is removed with all that is in it.
  const top = mkdtempSync(path.join(tmpdir(), 'askr-system-'));
  mount('-t', 'tmpfs', 'askr', top);
  for (const name of ['root', 'upper', 'work']) mkdirSync(path.join(top, name));
  mount('-t', 'overlay', 'askr', '-o', `lowerdir=${lower},upperdir=${top}/upper,workdir=${top}/work`, path.join(top, 'root'));
  scope.defer(() => {
    execFileSync('umount', ['-R', '-l', top]);
    rmdirSync(top);
  });
  return path.join(top, 'root');
}

export class System {
  /** `files`: path and content of what is there before it boots. `binds`: nspawn's options for directories. */
  static async boot(scope, release, { layer = 'site', files = {}, binds = [] } = {}) {
    const system = new System();
    system.root = overlay(scope, chroot(release, layer));
    rmSync(path.join(system.root, 'usr/sbin/policy-rc.d'));
    for (const [name, content] of Object.entries(files)) system.write(name, content);
    const [command, ...args] = nspawn();
    system.container = scope.start('nspawn', command, [...args, '--directory', system.root, '--boot', '--quiet', '--register=no',
      '--keep-unit', '--link-journal=no', '--resolv-conf=off', '--timezone=off', '--console=pipe', ...binds], { env: { SYSTEMD_NSPAWN_LOCK: '0' } });
    await until('the container has a first process', () => system.#leader() || system.container.ended, BOOT);
    await until('the container has booted', async () => {
      if (system.container.ended) throw new Error(system.container.output());
      return /^(running|degraded)/.test((await system.try('systemctl', 'is-system-running')).out);
    }, BOOT);
    return system;
  }

  #leader() {
    // The first process of the container is nspawn's child with a process id namespace of its own.
    const children = `/proc/${this.container.pid}/task/${this.container.pid}/children`;
    if (!existsSync(children)) return undefined;
    for (const pid of readFileSync(children, 'utf8').split(' ').filter(Boolean)) {
      try {
        const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        if (inside === '1' && /systemd|init/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))) return pid;
      } catch { /* it has ended */ }
    }
    return undefined;
  }

  #inside(command) {
    return ['nsenter', ['--target', this.#leader(), '--mount', '--uts', '--ipc', '--pid', '--cgroup', '--root', '--wd', '--',
      'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive', ...command]];
  }

  /** Runs a command in it, whatever comes of it. */
  try(...command) {
    return run(...this.#inside(command), { limit: 600_000 });
  }

  /** Runs a command that must end well; what it printed. */
  async in(...command) {
    const { code, signal, out, err } = await this.try(...command);
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code ?? signal}:\n${out}${err}`);
    return out.trim();
  }

  sh(script) {
    return this.in('sh', '-euc', script);
  }

  /** Leaves a command running. */
  start(scope, name, ...command) {
    return scope.start(name, ...this.#inside(command));
  }

  write(name, content) {
    const file = path.join(this.root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  read(name) {
    return readFileSync(path.join(this.root, name), 'utf8');
  }

  /** A property of a unit. */
  show(unit, property) {
    return this.in('systemctl', 'show', '--property', property, '--value', unit);
  }

  /** Everything that may be left of a package: paths, content of /etc, shared memory, users. */
  async inventory() {
    const out = await this.sh(`
      find / -xdev \\( -path /proc -o -path /sys -o -path /tmp -o -path /var/tmp -o -path /var/log/journal -o -path /var/cache -o \
        -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/log/apt -o -path /root -o -path /var/lib/systemd \\) -prune -o \
        -printf '%y %m %u:%g %p %l\\n' | grep -Ev ' /var/log/[^ ]*\\.log(\\.[0-9])? | /etc/[a-z]+- '
      find /var/lib/systemd -name '*askr*'
      find /etc -type f ! -name '*-' ! -name ld.so.cache -exec sha256sum {} +
      find /dev/shm /run/askr* /run/systemd/system /run/systemd/units -name '*askr*' 2>/dev/null || true
      ls /var/lib/dpkg/info | grep askr || true
      getent passwd; getent group`);
    return new Set(out.split('\n'));
  }
}
