// The layout of packaging/docker without Docker: askrd, PHP and nginx in roots and process namespaces of their own, whose
// users have nothing in common but a group's number, and which share one tmpfs. RELEASE and DEBS as in deb.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, lstatSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { ask } from '../lib/http.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { chroot, mount, overlay } from './system.mjs';

const { RELEASE = 'bookworm', DEBS } = process.env;
const docker = (name) => readFileSync(path.join(ROOT, 'packaging/docker', name), 'utf8');
const debs = path.join(DEBS, 'current');

class Container {
  constructor(scope, volume) {
    this.root = overlay(scope, chroot(RELEASE, 'site'));
    mkdirSync(path.join(this.root, 'run/askr'));
    mount('--bind', volume, path.join(this.root, 'run/askr'));
    mount('--bind', '/dev', path.join(this.root, 'dev'));
  }

  unpack(name) {
    const deb = readdirSync(debs).find((file) => file.startsWith(name));
    // The images have no settings of the package.
    return run('sh', ['-c', 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr', 'sh', path.join(debs, deb), this.root]);
  }

  #command(who, command) {
    const [user, ...groups] = who;
    return ['unshare', ['--pid', '--ipc', '--uts', '--fork', '--kill-child', `--mount-proc=${this.root}/proc`,
      'chroot', `--userspec=${user}:${user}`, `--groups=${groups}`, this.root, ...command]];
  }

  run(who, ...command) {
    return run(...this.#command(who, command));
  }

  start(scope, name, who, ...command) {
    return scope.start(name, ...this.#command(who, command));
  }
}

test('askrd, PHP and nginx in containers, which share a volume and a group', scoped(async (scope, t) => {
  // As compose.yaml has it.
  const [, options] = /o: "([^"]+)"/.exec(docker('compose.yaml'));
  const volume = scope.path('volume');
  mkdirSync(volume);
  mount('-t', 'tmpfs', '-o', options, 'askr', volume);
  scope.defer(() => run('umount', ['-l', volume]));
  const gid = /group_add: \["(\d+)"\]/.exec(docker('compose.yaml'))[1];
  const [askrd, php, nginx] = [0, 1, 2].map(() => new Container(scope, volume));
  await askrd.unpack('askrd_');
  await php.unpack('php');
  // As its Dockerfile has it.
  const environment = [...docker('askrd.Dockerfile').matchAll(/(ASKR_\w+=\S+)/g)].map(([, pair]) => pair)
    .filter((pair) => !pair.startsWith('ASKR_SERVER_STATE_DIRECTORY'));
  const daemon = askrd.start(scope, 'askrd', [gid, gid], 'env', ...environment, 'askrd', 'serve');
  const healthy = async () => (await askrd.run([gid, gid], 'env', ...environment, 'askrd', 'health')).code === 0;
  await until('askrd is healthy', async () => {
    if (daemon.ended) throw new Error(daemon.output());
    return healthy();
  });

  const ini = docker('askr.ini').split('\n').filter((line) => /^\w[\w.]* *=/.test(line));
  const publish = (who, settings = ini) => php.run(who, 'php', '-n',
    ...settings.flatMap((line) => ['-d', line.replace(/ *= */, '=').replaceAll('"', '')]),
    '-r', 'echo json_encode([askr_broadcast("orders", "from a container"), askr_status()["reason"]]);');

  await t.test('PHP believes the ring by its group, as a user that has no name on either side', async () => {
    const { out, err } = await publish(['82', gid]);
    assert.deepEqual(JSON.parse(out || 'null'), [true, null], err);
  });

  await t.test('without the setting it is refused, and without the group it cannot be opened', async () => {
    const [, why] = JSON.parse((await publish(['82', gid], ini.filter((line) => !line.startsWith('askr.ring_group')))).out);
    assert.match(why, /belongs to uid 990, which is not trusted/);
    const [published] = JSON.parse((await publish(['82', '82'])).out);
    assert.equal(published, false);
  });

  await t.test('a ring that a stranger made under the name is not believed', async () => {
    // In a volume that everybody may write, as somebody without the group could have.
    const open = scope.path('open');
    mkdirSync(open);
    mount('-t', 'tmpfs', '-o', 'mode=3777,gid=990', 'askr', open);
    scope.defer(() => run('umount', ['-l', open]));
    const strange = new Container(scope, open);
    await strange.unpack('php');
    await strange.unpack('askrd_');
    const other = strange.start(scope, 'stranger', ['666', '666'], 'env', ...environment, 'ASKR_RING_GROUP=', 'askrd', 'serve');
    await until('the stranger serves', async () => {
      if (other.ended) throw new Error(other.output());
      return (await strange.run(['666', '666'], 'env', ...environment, 'askrd', 'health')).code === 0;
    });
    await strange.run(['666', '666'], 'sh', '-c', 'chmod 0660 /run/askr/ring; ls -ln /run/askr');
    const there = php.root;
    php.root = strange.root;
    const { out } = await publish(['82', gid]);
    php.root = there;
    assert.equal(JSON.parse(out)[0], false, out);
  });

  // As the command of compose.yaml has it, for Debian's nginx.
  const [, command] = /command: \["sh", "-c", "(groupadd[^"]+)"\]/.exec(docker('compose.yaml'));
  const front = `${command.replace('askr nginx', 'askr www-data').replace("'daemon off;'", "'user www-data;'")}`;

  await t.test('nginx with the snippets brings it to a browser', async () => {
    const etc = path.join(nginx.root, 'etc/nginx');
    mkdirSync(path.join(etc, 'askr'));
    // ".." of compose.yaml.
    for (const name of readdirSync(path.join(ROOT, 'packaging')).filter((name) => name.endsWith('.conf'))) {
      copyFileSync(path.join(ROOT, 'packaging', name), path.join(etc, 'askr', name));
    }
    writeFileSync(path.join(etc, 'conf.d/default.conf'), docker('nginx.conf').replace('php:9000', '127.0.0.1:9000'));
    writeFileSync(path.join(etc, 'nginx.conf'), 'daemon off;\nevents {}\nhttp { include /etc/nginx/conf.d/*.conf; }\n');
    const started = nginx.start(scope, 'nginx', ['0', '0'], 'sh', '-c', front);
    const viewer = new Subscriber({ port: 80 }, eventsPath('orders'), { reconnect: 100 });
    scope.defer(() => viewer.close());
    await until('nginx serves', () => started.ended || viewer.connected.length > 0);
    await publish(['82', gid]);
    assert.equal((await viewer.take(1))[0].data, 'from a container');
  });

  await t.test('the pool of PHP-FPM publishes, whose workers have the groups of their user alone', async () => {
    // As the image has it: the first process is root, and the pool is of www-data.
    const [, group] = /^RUN (groupadd .*)$/m.exec(docker('php.Dockerfile'));
    await php.run(['0', '0'], 'sh', '-euc', group);
    const [version] = readdirSync(path.join(php.root, 'etc/php'));
    const fpm = path.join(php.root, 'etc/php', version, 'fpm');
    copyFileSync(path.join(ROOT, 'packaging/docker/askr.ini'), path.join(fpm, 'conf.d/askr.ini'));
    writeFileSync(path.join(fpm, 'pool.d/www.conf'), '[www]\nuser = www-data\ngroup = www-data\nlisten = 9000\npm = static\npm.max_children = 1\n');
    for (const name of ['run/php', 'var/www/html']) mkdirSync(path.join(php.root, name), { recursive: true });
    writeFileSync(path.join(php.root, 'var/www/html/publish.php'),
      '<?php echo json_encode([askr_broadcast("orders", "from a page"), askr_status()["reason"]]);');
    const pool = php.start(scope, 'php-fpm', ['0', gid], `php-fpm${version}`, '--nodaemonize');
    const site = { port: 80 };
    await until('PHP-FPM listens', async () => {
      if (pool.ended) throw new Error(pool.output());
      return (await ask(site, '/publish.php')).status !== 502;
    });
    const viewer = new Subscriber(site, eventsPath('orders'), { reconnect: 100 });
    scope.defer(() => viewer.close());
    await until('the viewer is there', () => viewer.connected.length > 0);
    assert.deepEqual(JSON.parse((await ask(site, '/publish.php')).body), [true, null]);
    assert.equal((await viewer.take(1))[0].data, 'from a page');
  });

  await t.test('each protocol comes through to askrd, and no log of it stays in the container', async () => {
    const from = async (url) => (await ask({ port: 80 }, url)).body;
    assert.match(await from('/askr/up'), /"health"/);
    // askrd's own refusals: it has neither a hub nor keys.
    assert.doesNotMatch(await from('/.well-known/mercure?match=a'), /nginx/);
    assert.doesNotMatch(await from('/apps/1/channels'), /nginx/);
    assert.equal(lstatSync(path.join(nginx.root, 'var/log/nginx/askr.log')).isSymbolicLink(), true);
  });

  await t.test('a daemon that is replaced finds the ring again, and the health check fails meanwhile', async () => {
    daemon.signal('SIGKILL');
    await daemon.exited;
    daemon.killGroup();
    await until('it is not healthy', async () => !await healthy());
    const { out } = await publish(['82', gid]);
    assert.equal(JSON.parse(out)[0], true, 'publishing goes on');
    askrd.start(scope, 'askrd-again', [gid, gid], 'env', ...environment, 'askrd', 'serve');
    await until('another one is', healthy);
  });
}));
