// The layout of packaging/docker without Docker: askrd, PHP and nginx in roots and process namespaces of their own, whose
// users have nothing in common but a group's number, and which share one tmpfs. RELEASE and DEBS as in deb.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
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

  await t.test('nginx with the snippets brings it to a browser', async () => {
    const etc = path.join(nginx.root, 'etc/nginx');
    mkdirSync(path.join(etc, 'askr'));
    for (const name of ['nginx-http.conf', 'nginx.conf', 'nginx-pusher.conf']) copyFileSync(path.join(ROOT, 'packaging', name), path.join(etc, 'askr', name));
    writeFileSync(path.join(etc, 'conf.d/default.conf'), docker('nginx.conf').replace('php:9000', '127.0.0.1:9000'));
    writeFileSync(path.join(etc, 'nginx.conf'), 'daemon off;\nevents {}\nhttp { include /etc/nginx/conf.d/*.conf; }\n');
    const front = nginx.start(scope, 'nginx', ['0', '0'], 'sh', '-c', `groupadd --gid ${gid} askr && usermod -aG askr www-data && exec nginx -g 'user www-data;'`);
    const viewer = new Subscriber({ port: 80 }, eventsPath('orders'), { reconnect: 100 });
    scope.defer(() => viewer.close());
    await until('nginx serves', () => front.ended || viewer.connected.length > 0);
    await publish(['82', gid]);
    assert.equal((await viewer.take(1))[0].data, 'from a container');
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
