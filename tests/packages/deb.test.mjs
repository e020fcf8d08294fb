// The packages' life on a Debian with systemd, nginx and PHP-FPM: installed, upgraded, refused, downgraded, removed,
// purged. DEBS is a directory of tests/packages/build, with versions "current" and "0.2.0"; RELEASE its Debian.

import test from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { listen, openPage, seen } from '../lib/chromium.mjs';
import { ask } from '../lib/http.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { bootSite, includeSnippet, packages } from './site.mjs';

const { RELEASE = 'bookworm', DEBS } = process.env;
const VIEWERS = 200;
const SHOP = { port: 80 };

/** apt, as an administrator types it; what it printed last is what is left to do. */
const apt = (system, ...args) => system.in('apt-get', '-y', '-q', ...args);
const status = async (system, name) => (await system.try('dpkg-query', '-W', '-f', '${db:Status-Status} ${Version}', name)).out;

/** Viewers of `numbers` through nginx, who come back as browsers do. */
async function crowd(scope) {
  const viewers = Array.from({ length: VIEWERS }, () =>
    new Subscriber(SHOP, eventsPath('numbers'), { reconnect: 'told' }));
  scope.defer(() => viewers.forEach((viewer) => viewer.close()));
  for (const viewer of viewers) await viewer.open();
  return viewers;
}

/** Everybody had every number from their first on, once and in order. */
async function nothingLost(viewers, upTo) {
  for (const viewer of viewers) {
    await viewer.until(`number ${upTo}`, ({ events }) => events.some(({ data }) => Number(data) >= upTo));
    const numbers = viewer.events.map(({ event, data }) => (event === 'message' ? Number(data) : event));
    assert.deepEqual(numbers, numbers.map((_, n) => numbers[0] + n));
  }
}

test(`on ${RELEASE} the packages are installed, upgraded, downgraded, removed and purged`, scoped(async (scope, t) => {
  const system = await bootSite(scope, RELEASE, DEBS);
  const before = await system.inventory();
  const settings = '/etc/askr/askr.toml';
  const pid = (unit = 'askrd.service') => system.show(unit, 'MainPID');
  // What apt says goes there, too.
  const said = {};

  await t.test('after apt install nginx\'s line is what is left to do, and the last that is printed', async () => {
    said.install = await apt(system, 'install', ...packages(DEBS, 'current'));
    t.diagnostic(said.install.split('\n').slice(-6).join('\n'));
    assert.match(said.install, /askrd\.service runs askrd [0-9]/);
    assert.match(said.install, /\n +include snippets\/askr\.conf;$/);
    assert.equal(await system.in('systemctl', 'is-active', 'askrd.socket', 'askrd.service'), 'active\nactive');
    assert.equal(await system.in('systemctl', 'is-enabled', 'askrd.socket', 'askrd.service'), 'enabled\nenabled');
    assert.equal(await system.in('stat', '-c', '%a %U %G', settings), '640 root askr');
    await includeSnippet(system);
    const page = await openPage(scope, 'http://127.0.0.1/');
    await listen(page, '/askr/events?channel=orders', ['order', 'askr:gap']);
    const published = JSON.parse((await ask(SHOP, '/publish.php')).body);
    assert.equal(published.published, true, JSON.stringify(published));
    const events = await seen(page, 1);
    assert.equal(events[0].data, 'from FPM');
    assert.equal((await ask(SHOP, '/askr/up')).status, 200);
    for (const page of ['1 askrd', '1 askrd-check', '5 askr.toml']) {
      await system.sh(`zcat /usr/share/man/man${page.replace(' ', '/')}.${page[0]}.gz | grep -q '^.SH'`);
    }
  });

  for (const url of [[], ['--url', 'http://127.0.0.1/askr/events']]) {
    const doctor = await system.try('askrd', 'doctor', ...url);
    assert.deepEqual([doctor.code, doctor.out + doctor.err], [0, ''], 'askrd doctor says nothing');
  }

  const publisher = system.start(scope, 'publisher', 'setpriv', '--reuid=www-data', '--regid=www-data', '--init-groups', 'php', '/srv/stream.php');
  const published = () => Number(publisher.output().trim().split('\n').at(-1));
  const viewers = await crowd(scope);
  const onwards = async (count = 100) => {
    const end = published() + count;
    await until(`number ${end} is published`, () => published() >= end);
    await nothingLost(viewers, end);
  };

  await t.test('an upgrade restarts the daemon, tells its version, and no viewer misses an event', async () => {
    const [old, socket] = [await pid(), await system.show('askrd.socket', 'InvocationID')];
    const fpm = await system.show(`php${system.php}-fpm.service`, 'ExecMainStartTimestampMonotonic');
    said.upgrade = await apt(system, 'install', ...packages(DEBS, '0.2.0'));
    assert.match(await status(system, 'askrd'), /^installed 0\.2\.0\+deb/);
    assert.match(said.upgrade, /askrd\.service runs askrd [0-9]/);
    assert.notEqual(await pid(), old);
    assert.equal(await system.in('readlink', `/proc/${await pid()}/exe`), '/usr/bin/askrd');
    assert.equal(await system.show('askrd.socket', 'InvocationID'), socket, 'the socket went on listening');
    assert.notEqual(await system.show(`php${system.php}-fpm.service`, 'ExecMainStartTimestampMonotonic'), fpm, 'PHP-FPM has the new askr.so');
    assert.doesNotMatch(said.upgrade, /include snippets/);
    await onwards();
    assert.ok(viewers.every(({ connections }) => connections > 1), 'everybody came back');
    t.diagnostic(`${VIEWERS} viewers, ${viewers.reduce((sum, { events }) => sum + events.length, 0)} events delivered, none lost`);
  });

  await t.test('settings that the other version cannot use stop nothing, and dpkg says what to do', async () => {
    const [old, kept] = [await pid(), system.read(settings)];
    await system.sh(`echo '[server]\nlisten = 7\n[nonsense]' >${settings}`);
    const refused = await system.try('apt-get', '-y', '-q', '-o', 'Dpkg::Options::=--force-confold', '--allow-downgrades', 'install',
      ...packages(DEBS, 'current'));
    assert.notEqual(refused.code, 0);
    assert.match(refused.out + refused.err, /cannot use \/etc\/askr\/askr\.toml .*The one before goes on serving/);
    assert.match(refused.out + refused.err, /mend the file, then: dpkg --configure -a/);
    assert.equal(await pid(), old, 'the daemon was not touched');
    await onwards(20);
    await system.sh(`cat >${settings} <<'EOF'\n${kept}EOF`);
    assert.match(await system.in('dpkg', '--configure', '-a'), /askrd\.service runs askrd/);
    assert.notEqual(await pid(), old);
    assert.match(await status(system, 'askrd'), /^installed (?!0\.2\.0)/);
    await onwards();
  });

  await t.test('a daemon that was stopped stays stopped, an application of its own is restarted, and settings stay', async () => {
    await system.sh(`
      printf '[ring]\\nname = "/shop"\\n[server]\\nlisten = ["unix:/run/askr/shop.sock"]\\ncontrol = "/run/askr/shop-control.sock"\\n' >/etc/askr/shop.toml
      chgrp askr /etc/askr/shop.toml; chmod 0640 /etc/askr/shop.toml
      echo '# mine' >>${settings}
      systemctl start askrd@shop.service
      systemctl stop askrd.socket askrd.service`);
    const old = await pid('askrd@shop.service');
    await system.sh('systemctl disable --quiet askrd.socket');
    said.again = await apt(system, 'install', ...packages(DEBS, '0.2.0'));
    assert.notEqual(await pid('askrd@shop.service'), old);
    assert.match(said.again, /askrd@shop\.service runs askrd/);
    assert.equal((await system.try('systemctl', 'is-active', 'askrd.service')).out.trim(), 'inactive');
    assert.match(system.read(settings), /# mine\n$/);
    assert.equal(await system.in('stat', '-c', '%a %U %G', settings), '640 root askr');
    await system.sh('systemctl enable --quiet --now askrd.socket && systemctl start askrd.service');
    await onwards(20);
  });
  publisher.signal('SIGTERM');
  await publisher.exited;
  viewers.forEach((viewer) => viewer.close());

  await t.test('removed, no daemon, ring, unit or module is left, PHP has nothing to warn of, and settings are kept', async () => {
    await apt(system, 'remove', 'askrd', `php${system.php}-askr`);
    assert.equal((await system.try('pgrep', '-x', 'askrd')).out, '');
    assert.equal(await system.sh('ls -A /dev/shm; ls -d /run/askr 2>/dev/null || true'), '');
    const php = await system.try('php', '-r', 'var_dump(function_exists("askr_broadcast"));');
    assert.deepEqual([php.out.trim(), php.err], ['bool(false)', '']);
    assert.equal(await system.in('systemctl', 'is-active', `php${system.php}-fpm.service`, 'nginx.service'), 'active\nactive');
    // But for what systemctl enabled, which Debian keeps until a purge, as it does the settings.
    assert.equal(await system.sh('find / -xdev -xtype l -path "*askr*" ! -path "/etc/systemd/system/*.wants/*"'), '', 'no dangling link');
    assert.match(system.read(settings), /# mine\n$/);
    await system.in('nginx', '-t');
    // A browser comes back by itself later: nginx answers for the daemon.
    assert.match((await ask(SHOP, '/askr/events?channel=orders')).body, /^retry: /);
  });

  await t.test('installed again it starts, with the settings that were kept', async () => {
    said.back = await apt(system, 'install', ...packages(DEBS, 'current'));
    assert.match(said.back, /askrd\.service runs askrd/);
    assert.match(system.read(settings), /# mine\n$/);
    assert.equal(JSON.parse((await ask(SHOP, '/publish.php')).body).published, true);
  });

  await t.test('purged, nothing is left, and each line that a site still has is named', async () => {
    const snippets = (await system.sh('ls /etc/nginx/snippets')).split('\n').filter((name) => name.startsWith('askr'));
    assert.deepEqual(snippets, ['askr-mercure.conf', 'askr-pusher.conf', 'askr.conf']);
    await system.sh("sed -i 's|snippets/askr.conf;|& include /etc/nginx/snippets/askr-pusher.conf; # include snippets/askr-none.conf;\\n" +
      "    include  snippets/askr-mercure.conf;|' /etc/nginx/sites-available/default && nginx -t");
    const purge = await system.try('apt-get', '-y', '-q', 'purge', 'askrd', `php${system.php}-askr`);
    assert.equal(purge.code, 0, purge.out + purge.err);
    assert.deepEqual([...(purge.err + purge.out).matchAll(/still has 'include +(\S+)': take that out before nginx is reloaded/g)].map(([, name]) => path.basename(name)).sort(),
      snippets);
    await system.sh("sed -i '/snippets.askr/d' /etc/nginx/sites-available/default; nginx -t; nginx -s reload");
    await system.sh('rm -rf /var/www/html/none');
    const after = await system.inventory();
    assert.deepEqual([...after].filter((line) => !before.has(line)), [], 'more than before');
    assert.deepEqual([...before].filter((line) => !after.has(line)), [], 'less than before');
  });
}));
