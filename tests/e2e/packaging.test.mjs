// What an operator receives: the units, the nginx snippets, php.ini, and `make install`.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ASKRD, ASKR_SO, PHP, PHP_VERSION, ROOT, server } from '../lib/built.mjs';
import { services } from '../lib/people.mjs';
import { nginxTemp, packagedNginx } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';

const packaging = (file) => path.join(ROOT, 'packaging', file);

/** Every file below a directory, relative to it. */
function tree(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? tree(path.join(dir, entry.name)).map((file) => path.join(entry.name, file)) : [entry.name]);
}

test('make install puts every file under DESTDIR and PREFIX, keeps settings, and uninstall removes the rest', scoped(async (scope) => {
  const dest = scope.path('dest');
  const make = async (...args) => {
    const done = await run('make', ['-s', ...args, `DESTDIR=${dest}`, 'PREFIX=/opt/askr'], { cwd: ROOT });
    assert.equal(done.code, 0, done.out + done.err);
    return done.out;
  };
  const said = await make('install');
  const extensions = (await run(`php-config${PHP_VERSION}`, ['--extension-dir'])).out.trim().slice(1);
  assert.deepEqual(tree(dest).sort(), [
    'etc/askr/askr.toml',
    'etc/nginx/conf.d/askr.conf',
    'etc/nginx/snippets/askr-mercure.conf',
    'etc/nginx/snippets/askr-pusher.conf',
    'etc/nginx/snippets/askr.conf',
    `etc/php/${PHP_VERSION}/mods-available/askr.ini`,
    'opt/askr/bin/askrd',
    'opt/askr/lib/systemd/system/askrd.service',
    'opt/askr/lib/systemd/system/askrd.socket',
    'opt/askr/lib/systemd/system/askrd@.service',
    'opt/askr/lib/sysusers.d/askr.conf',
    'opt/askr/share/bash-completion/completions/askrd',
    'opt/askr/share/fish/vendor_completions.d/askrd.fish',
    'opt/askr/share/zsh/vendor-completions/_askrd',
    ...readdirSync(packaging('man')).map((page) => `opt/askr/share/man/man${page.at(-1)}/${page}`),
    `${extensions}/askr.so`,
  ].sort());
  assert.match((await run(path.join(dest, 'opt/askr/bin/askrd'), ['--version'])).out, /^askrd [0-9]/);
  const loaded = await run(PHP, ['-n', '-d', `extension=${path.join(dest, extensions, 'askr.so')}`, '-r', 'echo (int) function_exists("askr_broadcast");']);
  assert.equal(loaded.out, '1', loaded.err);
  assert.match(readFileSync(path.join(dest, 'opt/askr/lib/systemd/system/askrd.service'), 'utf8'), /ExecStart=\/opt\/askr\/bin\/askrd serve/);

  const settings = path.join(dest, 'etc/askr/askr.toml');
  assert.equal(statSync(settings).mode & 0o777, 0o640, 'a secret may be put into it');
  assert.match(said, /systemd-sysusers && chgrp askr \/etc\/askr\/askr\.toml\n/);
  writeFileSync(settings, '# changed\n');
  assert.match(await make('install'), /kept .*askr\.toml/);
  assert.equal(readFileSync(settings, 'utf8'), '# changed\n');

  await make('uninstall');
  assert.deepEqual(tree(dest).sort(), [
    'etc/askr/askr.toml', 'etc/nginx/conf.d/askr.conf', 'etc/nginx/snippets/askr-mercure.conf',
    'etc/nginx/snippets/askr-pusher.conf', 'etc/nginx/snippets/askr.conf',
    `etc/php/${PHP_VERSION}/mods-available/askr.ini`,
  ]);
}));

test('an asset of a release has the name by which PIE finds it, and an askr.so that loads', scoped(async (scope) => {
  const assets = scope.path('assets');
  const bin = scope.path('bin');
  mkdirSync(bin);
  // The strip of another architecture, which need not be here.
  writeFileSync(path.join(bin, 'aarch64-linux-gnu-strip'), '#!/bin/sh\ncp "$4" "$3"\n');
  chmodSync(path.join(bin, 'aarch64-linux-gnu-strip'), 0o755);
  const names = async (so) => {
    const made = await run(packaging('assets'), [assets], { env: { PATH: `${bin}:${process.env.PATH}`, PHP, ASKR_SO: so } });
    assert.equal(made.code, 0, made.out + made.err);
    return made.out.split('\n');
  };
  const version = /^version = "(.*)"$/m.exec(readFileSync(path.join(ROOT, 'Cargo.toml'), 'utf8'))[1];
  const zip = (named) => `php_askr-${version}_php${PHP_VERSION}-${named}-linux-glibc.zip`;
  assert.ok((await names(ASKR_SO)).includes(zip('x86_64')));
  const unpacked = await run('python3', ['-m', 'zipfile', '-e', path.join(assets, zip('x86_64')), scope.path('unpacked')]);
  assert.equal(unpacked.code, 0, unpacked.err);
  const loaded = await run(PHP, ['-n', '-d', `extension=${path.join(scope.path('unpacked'), 'askr.so')}`, '-r', 'echo (int) function_exists("askr_broadcast");']);
  assert.equal(loaded.out, '1', loaded.err);
  // The name is by what the file says that it is for (e_machine), in PIE's words (Php\Pie\Platform\Architecture).
  const other = readFileSync(ASKR_SO);
  other.writeUInt16LE(183, 18);
  writeFileSync(scope.path('arm64.so'), other);
  assert.ok((await names(scope.path('arm64.so'))).includes(zip('arm64')));
  const sums = await run('sha256sum', ['--check', '--quiet', '--ignore-missing', 'SHA256SUMS'], { cwd: assets });
  assert.equal(sums.code, 0, sums.out + sums.err);
}));

test('settings that make install puts on this machine are for root and the group of the daemon', scoped(async (scope) => {
  const { group } = services();
  const at = scope.path('root');
  const install = (name) => run('make', ['-s', 'install', 'DESTDIR=', `PREFIX=${at}`, `SYSCONFDIR=${at}/etc`, `PHP_DIR=${at}/php`,
    `GROUP=${name}`], { cwd: ROOT });
  const settings = path.join(at, 'etc/askr/askr.toml');
  // systemd-sysusers may not have made the group yet.
  const early = await install('no-such-group');
  assert.equal(early.code, 0, early.out + early.err);
  assert.equal(statSync(settings).mode & 0o777, 0o640);
  rmSync(settings);
  const done = await install(group ?? 'root');
  assert.equal(done.code, 0, done.out + done.err);
  const { mode, uid, gid } = statSync(settings);
  assert.deepEqual([mode & 0o777, uid], [0o640, process.getuid()]);
  if (group) assert.equal((await run('stat', ['-c', '%G', settings])).out.trim(), group, `gid ${gid}`);
}));

test('a release has nothing of the faults on demand that a debug build has for its tests', () => {
  assert.ok(readFileSync(ASKRD).includes('RUST_LOG'), 'names of the environment can be found');
  assert.ok(!readFileSync(ASKRD).includes('ASKR_FAULT'));
});

test('nginx accepts the snippets', scoped(async (scope) => {
  writeFileSync(scope.path('nginx.conf'), `
pid ${scope.path('nginx.pid')};
events { worker_connections 16; }
http {
access_log off;
${nginxTemp(scope, 'n')}
${packagedNginx(scope, '/run/askr/askrd.sock', 'nginx-http.conf', 'n')}
server {
listen unix:${scope.path('nginx.sock')};
${packagedNginx(scope, '/run/askr/askrd.sock', 'nginx.conf', 'n')}
${packagedNginx(scope, '/run/askr/askrd.sock', 'nginx-pusher.conf', 'n')}
${packagedNginx(scope, '/run/askr/askrd.sock', 'nginx-mercure.conf', 'n')}
}
# A host name of its own for Pusher's paths.
server {
listen unix:${scope.path('nginx-pusher.sock')};
${packagedNginx(scope, '/run/askr/askrd.sock', 'nginx-pusher.conf', 'n')}
}
}`);
  const { code, err } = await run(server('nginx'), ['-t', '-c', scope.path('nginx.conf'), '-e', scope.path('error.log')]);
  assert.equal(code, 0, err);
  assert.doesNotMatch(err, /warn/);
}));

test('no query argument reaches the logs of the snippets', () => {
  const http = readFileSync(packaging('nginx-http.conf'), 'utf8').replace(/^\s*#.*$/gm, '');
  const format = /log_format askr ([^;]+);/.exec(http)[1];
  assert.doesNotMatch(format, /\$(request|request_uri|args|query_string|http_referer)\b/);
  for (const file of ['nginx.conf', 'nginx-pusher.conf', 'nginx-mercure.conf']) {
    const snippet = readFileSync(packaging(file), 'utf8');
    for (const [, used] of snippet.matchAll(/access_log \S+ (\S+);/g)) assert.equal(used, 'askr');

    // Each location that is passed on has the log of its own.
    assert.equal(snippet.match(/access_log /g).length, snippet.match(/^location /gm).length, file);
    // And none of them tells the error log, which quotes requests with their query, but for one without any.
    const loud = snippet.split(/^location /m).slice(1).filter((location) => !location.includes('error_log /var/log/nginx/error.log emerg;'));
    assert.deepEqual(loud.map((location) => location.split(' {')[0]), file === 'nginx.conf' ? ['= /askr/up'] : []);
  }
});

test('systemd accepts the units and finds them well confined', scoped(async (scope) => {
  for (const [unit, as] of [['askrd.service', 'askrd.service'], ['askrd@.service', 'askrd@shop.service']]) {
    const file = scope.path(as);
    // verify wants the program to be there.
    const content = readFileSync(packaging(unit), 'utf8');
    writeFileSync(file, content.replaceAll('/usr/bin/askrd', '/bin/true'));
    const verified = await run('systemd-analyze', ['verify', '--man=no', file]);
    assert.equal(verified.code, 0, verified.err);
    // Other units of the machine may be complained about; ours may not.
    assert.deepEqual(verified.err.split('\n').filter((line) => line.includes('askrd')), []);
    const security = await run('systemd-analyze', ['security', '--offline=true', '--threshold=15', file]);
    assert.equal(security.code, 0, security.out);
    // What remains is explained.
    const rows = JSON.parse((await run('systemd-analyze', ['security', '--offline=true', '--json=short', file])).out);
    const explained = readFileSync(path.join(ROOT, 'docs/HARDENING.md'), 'utf8').replaceAll('\\|', '|');
    const open = rows.filter(({ exposure }) => exposure).map(({ name }) => name);
    assert.ok(open.length > 0);
    assert.deepEqual(open.filter((name) => !explained.includes(`\n| \`${name}\` |`)), []);
  }
}));

test('both units are confined alike, and nothing is allowed again that was taken away by mistake', () => {
  const confined = (unit) => readFileSync(packaging(unit), 'utf8').split('\n')
    .filter((line) => /^(?!ExecStart=|ExecReload=|Description=|StateDirectory=)[A-Za-z]+=/.test(line));
  assert.deepEqual(confined('askrd@.service'), confined('askrd.service'));
  const all = confined('askrd.service');
  // systemd adds and takes away in this order.
  assert.deepEqual(all.filter((line) => line.startsWith('SystemCallFilter=')), [
    'SystemCallFilter=@system-service',
    'SystemCallFilter=~@privileged @resources @keyring @setuid @ipc @memlock userfaultfd vmsplice',
    'SystemCallFilter=@chown prlimit64',
  ]);
  for (const line of ['DevicePolicy=closed', 'TasksMax=512', 'LimitCORE=0',
    'NoExecPaths=/ -/dev/shm -/run/askr -/var/lib/askr -/tmp -/var/tmp', 'ExecPaths=/usr/bin/askrd -/lib -/lib64 -/usr/lib -/usr/lib64']) {
    assert.ok(all.includes(line), line);
  }
  assert.deepEqual(all.filter((line) => line.startsWith('Memory') && !line.startsWith('MemoryDeny')), []);
});

test('php.ini names each setting with its default', async () => {
  const shown = await run(PHP, ['-n', '-d', `extension=${ASKR_SO}`, '-r',
    'echo json_encode(ini_get_all("askr", false));']);
  const settings = JSON.parse(shown.out);
  const shipped = readFileSync(packaging('askr.ini'), 'utf8');
  const named = Object.fromEntries([...shipped.matchAll(/^;(askr\.\w+) = "?([^"\n]*)"?$/gm)].map(([, key, value]) => [key, value]));
  assert.deepEqual(named, settings);
});

test('the scripts of the repository are executable', () => {
  for (const script of ['.ci/run', '.ci/setup', '.ci/chroot', 'demo/run', 'packaging/leave', 'packaging/debian/pack', 'tests/packages/build', 'tests/phpt']) {
    assert.ok(statSync(path.join(ROOT, script)).mode & 0o100, script);
  }
});

test('the demo shows events and leaves nothing behind', scoped(async (scope) => {
  // Its directories are made in a place of their own, so that what stays is seen.
  const tmp = scope.path('tmp');
  mkdirSync(tmp);
  chmodSync(scope.dir, 0o755);
  chmodSync(tmp, 0o755);
  const rings = () => readdirSync('/dev/shm').filter((name) => name.startsWith('askr-demo-'));
  const before = rings();
  const { code, out, err } = await run(path.join(ROOT, 'demo/run'), [], { env: { DEMO_SECONDS: '6', TMPDIR: tmp, PHP } });
  assert.equal(code, 0, out + err);
  assert.match(out, /http:\/\/127\.0\.0\.1:[0-9]+\//);
  assert.match(out, /Hello from PHP, number 1/);
  assert.match(out, /[1-9][0-9]* events arrived/);
  assert.deepEqual(readdirSync(tmp), []);
  assert.deepEqual(rings(), before);
}));

/** The processes that were started with this directory in their environment or among their arguments. */
function processesOf(dir) {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && ['cmdline', 'environ'].some((what) => {
    try {
      return readFileSync(`/proc/${pid}/${what}`, 'latin1').includes(dir);
    } catch {
      // It has ended, or is another user's.
      return false;
    }
  }));
}

test('the demo of two hosts shows on one what is published on the other, and leaves nothing behind', scoped(async (scope) => {
  const tmp = scope.path('tmp');
  mkdirSync(tmp);
  chmodSync(scope.dir, 0o755);
  chmodSync(tmp, 0o755);
  const demo = scope.start('demo', path.join(ROOT, 'demo/run'), ['2'], { env: { TMPDIR: tmp, PHP } });
  // With a cursor that is of both hosts.
  await until('an event arrives', () => {
    if (demo.ended) throw new Error(`the demo ${demo.state()}: ${demo.output()}`);
    return /  ~[\w-]+  .*Hello from PHP, number [1-9]/.test(demo.output());
  });
  const [one, two] = demo.output().match(/http:\/\/127\.0\.0\.1:[0-9]+\//g);
  assert.notEqual(one, two, 'each host has a page');
  assert.ok(processesOf(tmp).length >= 7, 'redis, and twice askrd, php-fpm and nginx');
  const [directory] = readdirSync(tmp);
  const [, ring] = readFileSync(path.join(tmp, directory, 'two/askr.toml'), 'utf8').match(/^name = "(.+)"$/m);
  assert.ok(existsSync(ring), ring);
  // Ctrl-C.
  demo.signal('SIGINT');
  assert.deepEqual(await demo.exited, { code: 0, signal: null }, demo.output());
  await until('nothing it started is left', () => processesOf(tmp).length === 0);
  assert.deepEqual(readdirSync(tmp), []);
  assert.ok(!existsSync(path.dirname(ring)), ring);
}));

test('the demo ends with 1 when no event arrives, and with 2 when its settings are wrong', scoped(async (scope) => {
  const tmp = scope.path('tmp');
  mkdirSync(tmp);
  chmodSync(scope.dir, 0o755);
  chmodSync(tmp, 0o755);
  // An askrd that is sent to another ring than the site's PHP hears nothing of it.
  const elsewhere = { ASKR_RING_NAME: path.join(scope.shm, 'elsewhere') };
  chmodSync(scope.shm, 0o777);
  const demo = (env) => run(path.join(ROOT, 'demo/run'), [], { env: { TMPDIR: tmp, PHP, ...env } });
  const deaf = await demo({ DEMO_SECONDS: '4', ...elsewhere });
  assert.equal(deaf.code, 1, deaf.out + deaf.err);
  assert.match(deaf.err, /no event arrived/);
  const wrong = await demo({ DEMO_SECONDS: 'ten' });
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /DEMO_SECONDS/);
  assert.deepEqual(readdirSync(tmp), []);
}));
