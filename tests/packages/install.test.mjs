// README's "Install" without packages, by the letter, on a clean Debian; a pool of another user; askrd.socket on a daemon
// that runs; Reverb's settings; and make uninstall. This machine's Rust is there, as it is when somebody has one; RELEASE as in deb.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { ask } from '../lib/http.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { RELEASES, bootSite, includeSnippet } from './site.mjs';
import { CHROOTS, mount, overlay } from './system.mjs';

const { RELEASE = 'bookworm' } = process.env;
const SHOP = { port: 80 };

/** Blocks of this language in the README's section. */
function blocks(section, language) {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const [text] = readme.split(`\n## ${section}\n`)[1].split('\n## ');
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(([, block]) => block);
}

/** The sources as of now, to write into, with what tests/packages/build keeps of the last build. */
function sources(scope) {
  const root = overlay(scope, ROOT);
  mkdirSync(path.join(root, 'target'), { recursive: true });
  mount('--bind', path.join(CHROOTS, RELEASE, 'target'), path.join(root, 'target'));
  return root;
}

test(`on ${RELEASE} README's commands install, and make uninstall leaves only settings`, scoped(async (scope, t) => {
  const rust = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  const php = RELEASES[RELEASE];
  const system = await bootSite(scope, RELEASE, undefined, {
    layer: 'build',
    binds: [`--bind=${sources(scope)}:/src`, `--bind-ro=${rust}:/opt/rust`, `--bind-ro=${homedir()}/.cargo/registry:/root/.cargo/registry`],
    files: {
      'etc/nginx/conf.d/shop.conf': `server { listen 81; root /var/www/html;
        location ~ \\.php$ { include snippets/fastcgi-php.conf; fastcgi_pass 127.0.0.1:9001; } }\n`,
    },
  });
  // A pool of a user of its own, at a port of its own.
  system.write(`etc/php/${php}/fpm/pool.d/shop.conf`,
    '[shop]\nuser = shop\ngroup = shop\nlisten = 127.0.0.1:9001\npm = static\npm.max_children = 1\n');
  await system.sh(`useradd --system --user-group shop; systemctl restart php${php}-fpm`);
  const before = await system.inventory();
  // There is no sudo where root is, and no network here: apt finds all there.
  const profile = Object.entries(process.env).filter(([key]) => key.startsWith('CARGO_PROFILE_')).map((pair) => pair.join('=')).join(' ');
  const shell = (script) => system.sh(`
    export PATH=/opt/rust/bin:$PATH CARGO_NET_OFFLINE=true ${profile}
    sudo() { "$@"; }
    cd /src
    ${script}`);

  await t.test('README\'s commands, one block, and nginx\'s line', async () => {
    const byHand = blocks('Install', 'sh').at(-1);
    assert.match(byHand, /make setup-build && make build/);
    await shell(byHand);
    await includeSnippet(system);
    const viewer = new Subscriber(SHOP, eventsPath('orders'), { reconnect: false });
    scope.defer(() => viewer.close());
    await viewer.open();
    assert.equal(JSON.parse((await ask(SHOP, '/publish.php')).body).published, true);
    assert.equal((await viewer.take(1))[0].data, 'from FPM');
    viewer.close();
    assert.equal(await system.in('systemctl', 'is-active', 'askrd.socket', 'askrd.service'), 'active\nactive');
  });

  await t.test('a pool of another user publishes when the user is in the group', async () => {
    const published = async () => JSON.parse((await ask({ port: 81 }, '/publish.php')).body);
    const refused = await published();
    assert.equal(refused.published, false);
    assert.match(refused.status.reason, /group/);
    await shell(`sudo usermod -aG askr shop && systemctl restart php${php}-fpm`);
    assert.equal((await published()).published, true);
    const doctor = await system.try('askrd', 'doctor');
    assert.deepEqual([doctor.code, doctor.out + doctor.err], [0, ''], 'askrd doctor says nothing');
  });

  // What the first lines of the unit say to do on a daemon that runs.
  const [, heldBySystemd] = /^# +(systemctl daemon-reload .*)$/m.exec(readFileSync(path.join(ROOT, 'packaging/askrd.socket'), 'utf8'));
  /** What askrd said of its sockets since it was started. */
  const held = async () => (await system.sh('journalctl --no-pager --output=cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID askrd.service)'))
    .split('\n').flatMap((line) => /the service manager holds ([^ ,]+)/.exec(line)?.[1] ?? []).sort();

  await t.test('askrd.socket is had on a daemon that runs, as its first lines say, and no viewer misses an event', async () => {
    await system.sh('systemctl disable --quiet --now askrd.socket; systemctl restart askrd');
    assert.deepEqual(await held(), []);
    const viewer = new Subscriber(SHOP, eventsPath('orders'), { reconnect: 'told' });
    scope.defer(() => viewer.close());
    await viewer.open();
    const early = await system.try('systemctl', 'enable', '--now', 'askrd.socket');
    assert.notEqual(early.code, 0, 'systemd starts no socket of a service that is active');
    await system.sh(heldBySystemd);
    assert.deepEqual(await held(), ['unix:/run/askr/askrd.sock']);
    assert.equal(JSON.parse((await ask(SHOP, '/publish.php')).body).published, true);
    assert.equal((await viewer.take(1))[0].data, 'from FPM');
    viewer.close();
    assert.equal(await system.in('systemctl', 'is-enabled', 'askrd.socket'), 'enabled');
  });

  await t.test('Reverb\'s settings go into the sections that are there, beside the socket', async () => {
    const [toml] = blocks('Moving from Reverb', 'toml');
    const [, listen] = /^(listen = .*)$/m.exec(toml);
    const app = toml.split('[app]\n')[1];
    const settings = system.read('etc/askr/askr.toml');
    const configure = async (text) => {
      await system.in('sh', '-c', 'printf %s "$1" >/etc/askr/askr.toml && systemctl restart askrd', 'sh', text);
    };
    await configure(settings.replace(/^listen = .*$/m, () => listen).replace(/^\[app\]\n/m, () => `[app]\n${app}`));
    assert.equal((await ask({ port: 8090 }, '/up')).status, 200);
    assert.equal((await ask(SHOP, '/askr/up')).status, 200);
    // Its port in the socket, too: who comes while no askrd runs waits for it.
    system.write('etc/systemd/system/askrd.socket.d/override.conf', '[Socket]\nListenStream=127.0.0.1:8090\n');
    await system.sh(heldBySystemd);
    assert.deepEqual(await held(), ['http://127.0.0.1:8090', 'unix:/run/askr/askrd.sock']);
    await system.in('systemctl', 'stop', 'askrd.service');
    assert.equal((await ask({ port: 8090 }, '/up')).status, 200);
    assert.equal(await system.in('systemctl', 'is-active', 'askrd.service'), 'active');
    await system.sh(`rm -r /etc/systemd/system/askrd.socket.d; ${heldBySystemd}`);
    await configure(settings);
  });

  await t.test('make uninstall leaves settings, and no daemon, link, warning, ring or user', async () => {
    assert.match(await shell('sudo make uninstall'), /Kept: /);
    await system.sh("sed -i '/snippets.askr.conf/d' /etc/nginx/sites-available/default; nginx -t; nginx -s reload");
    assert.equal((await system.try('pgrep', '-x', 'askrd')).out, '');
    const cli = await system.try('php', '-r', 'var_dump(function_exists("askr_broadcast"));');
    assert.deepEqual([cli.out.trim(), cli.err], ['bool(false)', '']);
    await until('PHP-FPM runs without it', async () => (await ask(SHOP, '/publish.php')).status === 500);
    const after = await system.inventory();
    const kept = [...after].filter((line) => !before.has(line)).map((line) => /(\/\S*)/.exec(line)?.[1] ?? line);
    assert.deepEqual([...new Set(kept)].filter((name) => !name.startsWith('/src/') && !name.startsWith('/var/lib/askr/') && !name.startsWith('/var/lib/php/modules/')).sort(), [
      '/etc/askr', '/etc/askr/askr.toml', '/etc/nginx/conf.d/askr.conf', '/etc/nginx/snippets/askr-mercure.conf', '/etc/nginx/snippets/askr-pusher.conf',
      '/etc/nginx/snippets/askr.conf', `/etc/php/${php}/mods-available/askr.ini`, '/var/lib/askr',
    ].sort());
  });
}));
