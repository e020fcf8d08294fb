// `askrd doctor` with the real nginx, PHP-FPM and PHP: silent where nothing is wrong, and for each fault, made on
// purpose, its sentence and its exit code.

import test from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startAskrd } from '../lib/askrd.mjs';
import { ASKR_SO, PHP, PHP_VERSION, server } from '../lib/built.mjs';
import { ask, freePort } from '../lib/http.mjs';
import { services } from '../lib/people.mjs';
import { nginxTemp, packagedNginx } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';

const ROOT = process.getuid?.() === 0;
const APP_ORIGIN = 'https://app.example';
const OTHER_ORIGIN = 'https://other.example';

/** A machine: askrd, and below `root` PHP as Debian lays it out. */
class Machine {
  static async start(scope) {
    const askrd = await startAskrd(scope, { server: { ping: 2, allowed_origins: [APP_ORIGIN] } });
    return new Machine(scope, askrd);
  }

  constructor(scope, askrd) {
    Object.assign(this, { scope, askrd, root: scope.path('root'), so: scope.path('askr.so'), count: 0 });
    this.etc = path.join(this.root, 'etc/php', PHP_VERSION);
    copyFileSync(ASKR_SO, this.so);
    for (const sapi of ['cli', 'fpm']) {
      mkdirSync(this.conf(sapi), { recursive: true });
      const system = `/etc/php/${PHP_VERSION}/${sapi}/conf.d`;
      for (const file of existsSync(system) ? readdirSync(system) : []) {
        if (!file.includes('askr')) symlinkSync(path.join(system, file), this.conf(sapi, file));
      }
      this.ini(sapi);
    }
    mkdirSync(path.join(this.etc, 'fpm/pool.d'));
    for (const file of [`usr/bin/php${PHP_VERSION}`, `usr/sbin/php-fpm${PHP_VERSION}`, `etc/php/${PHP_VERSION}/mods-available/askr.ini`]) {
      mkdirSync(path.dirname(path.join(this.root, file)), { recursive: true });
      writeFileSync(path.join(this.root, file), '');
    }
    this.pool();
  }

  conf(sapi, file = '') {
    return path.join(this.etc, sapi, 'conf.d', file);
  }

  /** askr.ini of `cli` or `fpm`. */
  ini(sapi, more = {}) {
    const settings = {
      extension: this.so, 'askr.ring': this.askrd.ring, 'askr.control': this.askrd.control,
      ...(services().daemon.name ? { 'askr.ring_owner': services().daemon.name } : {}), ...more,
    };
    writeFileSync(this.conf(sapi, '20-askr.ini'), Object.entries(settings).map(([key, value]) => `${key} = "${value}"\n`).join(''));
  }

  /** The pool `www`. */
  pool({ user = services().web.name ?? os.userInfo().username, group = services().group ?? '', lines = '' } = {}) {
    const socket = this.scope.path('doctor-fpm.sock');
    writeFileSync(path.join(this.etc, 'fpm/pool.d/www.conf'), `[www]
user = ${user}
${group ? `group = ${group}` : ''}
listen = ${socket}
pm = static
pm.max_children = 1
${lines}
`);
  }

  /** PHP-FPM, whose pool is there when it returns. */
  async fpm() {
    const conf = path.join(this.etc, 'fpm/php-fpm.conf');
    writeFileSync(conf, `[global]\nerror_log = ${this.scope.path('doctor-fpm-error.log')}\ndaemonize = no\ninclude = ${this.etc}/fpm/pool.d/*.conf\n`);
    const fpm = this.scope.start('doctor-fpm', server(`php-fpm${PHP_VERSION}`), ['--nodaemonize', '--fpm-config', conf],
      { env: { PHP_INI_SCAN_DIR: this.conf('fpm') } });
    const title = (pid) => { try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(); } catch { return ''; } };
    const children = () => readFileSync(`/proc/${fpm.pid}/task/${fpm.pid}/children`, 'utf8').split(' ').filter(Boolean);
    await until('the pool runs', () => {
      if (fpm.ended) throw new Error(`php-fpm ${fpm.state()}: ${fpm.output()}`);
      return children().some((pid) => title(pid) === 'php-fpm: pool www');
    });
    return fpm;
  }

  /** nginx as packaging/ ships it, its snippet changed by `change`; `site`: directives of its own; `listed`: with the origin of the example. */
  async nginx({ change = (snippet) => snippet, site = '', listed = false, tls = false, http2 = '' } = {}) {
    const { web } = services();
    const name = `doctor-nginx-${this.count += 1}`;
    const port = await freePort();
    const temp = nginxTemp(this.scope, name);
    const log = `${this.scope.path(`${name}-tmp`)}/nginx-error.log`;
    const of = (file) => packagedNginx(this.scope, this.askrd.socket, file, name);
    writeFileSync(this.scope.path(`${name}.conf`), `
daemon off;
worker_processes 1;
pid ${this.scope.path(`${name}.pid`)};
error_log ${log};
events { worker_connections 512; }
http {
${temp}
access_log off;
${listed ? of('nginx-http.conf').replace('#"https://app.example"', '"https://app.example"') : of('nginx-http.conf')}
server {
  listen 127.0.0.1:${port} ${tls ? `ssl ${http2}` : ''};
  ${tls ? `ssl_certificate ${tls}; ssl_certificate_key ${tls};` : ''}
  ${site}
${change(of('nginx.conf'))}
}
}
`);
    const nginx = this.scope.start(name, server('nginx'), ['-c', this.scope.path(`${name}.conf`), '-e', log], { uid: web.uid, gid: web.gid });
    await until('nginx listens', async () => {
      if (nginx.ended) throw new Error(`nginx ${nginx.state()}: ${nginx.output()}`);
      // With TLS it answers 400 to this.
      return ask({ port }, '/nowhere').catch(() => null);
    });
    return `http${tls ? 's' : ''}://127.0.0.1:${port}/askr/events`;
  }

  /** `{ code, findings, text }`: as JSON and as text, which say the same. */
  async doctor(args = [], env = {}) {
    const all = ['doctor', '--config', this.askrd.config, '--root', this.root, '--php', PHP, ...args];
    // What sets the clock is of the machine that runs this.
    const bin = this.scope.path('bin');
    if (!existsSync(bin)) {
      mkdirSync(bin);
      writeFileSync(path.join(bin, 'timedatectl'), '#!/bin/sh\necho yes\n', { mode: 0o755 });
    }
    const options = { env: { PHP_INI_SCAN_DIR: this.conf('cli'), PATH: `${bin}:${process.env.PATH}`, ...env } };
    const { code, out, err } = await run(this.askrd.binary, [...all, '--json'], options);
    assert.equal(err, '');
    const { findings } = JSON.parse(out);
    return { code, findings, text: findings.map(({ severity, part, what, mend }) => `${severity}: ${part}: ${what} | ${mend}`).join('\n') };
  }

  /** What it finds is this alone. */
  async finds(code, sentence, mend, args, env) {
    const found = await this.doctor(args, env);
    assert.ok(found.text.includes(sentence) && found.text.includes(mend), `${sentence}: ${found.text}`);
    assert.equal(found.findings.length, 1, found.text);
    assert.equal(found.code, code, found.text);
  }

  async finds_nothing(args, env) {
    const { code, text } = await this.doctor(args, env);
    assert.deepEqual([code, text], [0, '']);
  }
}

/** Without the location that begins so. */
const without = (location) => (snippet) => {
  const at = snippet.indexOf(`location ${location} {`);
  assert.ok(at >= 0, location);
  return snippet.slice(0, at) + snippet.slice(snippet.indexOf('\n}', at) + 2);
};

/** With more directives in `location /askr/`, in place of those of the same names. */
const within = (directives) => (snippet) => {
  const names = directives.split(';').map((one) => one.trim().split(' ')[0]).filter(Boolean);
  const [head, rest] = snippet.split('location /askr/ {\n');
  const [body, ...more] = rest.split('\n}');
  const kept = body.split('\n').filter((line) => !names.some((name) => line.trim().startsWith(`${name} `)));
  return [`${head}location /askr/ {\n${kept.join('\n')}\n${directives}`, ...more].join('\n}');
};

test('nothing is said of a machine on which nothing is wrong, and a real event comes through all of it', scoped(async (scope) => {
  const machine = await Machine.start(scope);
  await machine.fpm();
  const url = await machine.nginx();
  await machine.finds_nothing();
  await machine.finds_nothing(['--url', url, '--origin', APP_ORIGIN]);
}));

test('what is wrong with PHP and its pools', scoped(async (scope) => {
  const machine = await Machine.start(scope);
  const restart = `systemctl restart php${PHP_VERSION}-fpm`;

  machine.ini('cli', { extension: '/nowhere/askr.so' });
  await machine.finds(2, 'cannot load askr.so: ', `php${PHP_VERSION}-askr`);
  machine.ini('cli', { 'askr.ring': '/shop' });
  await machine.finds(2, 'writes the ring "/shop"', '20-askr.ini');
  machine.ini('cli', { 'askr.enabled': '0' });
  await machine.finds(1, 'publishes nothing: askr.enabled is off', 'askr.enabled = 1', ['--no-event']);
  rmSync(machine.conf('cli', '20-askr.ini'));
  await machine.finds(1, 'does not load askr.so', `phpenmod -v ${PHP_VERSION} -s cli askr`, ['--no-event']);
  machine.ini('cli');
  machine.pool({ lines: 'php_admin_value[askr.ring] = /shop' });
  await machine.finds(2, 'writes the ring "/shop"', 'www.conf');
  machine.pool();
  await machine.finds_nothing();
  if (!ROOT) return;

  // Who may do what is only seen by root.
  machine.ini('cli', { 'askr.ring_owner': '' });
  await machine.finds(2, 'cannot publish: ', 'askr_status');
  machine.ini('cli');
  machine.ini('fpm', { 'askr.ring_owner': '' });
  await machine.finds(2, 'does not believe the ring', `askr.ring_owner = ${services().daemon.name}`);
  machine.ini('fpm');
  machine.pool({ user: 'daemon', group: 'daemon' });
  await machine.finds(2, 'runs as daemon, who may not write the ring', `usermod -aG ${services().group} daemon && ${restart}`);
  // It runs since before its user was put into the group.
  const before = await machine.fpm();
  machine.pool({ user: 'daemon' });
  await machine.finds(2, 'was started before daemon was put into the group', restart);
  await before.end();
  machine.pool();
  await machine.fpm();
  await machine.finds_nothing();
  // A worker of a queue, and PHP-FPM, after an upgrade.
  const worker = scope.start('worker', PHP, ['-n', '-d', `extension=${machine.so}`, '-r', 'echo "works"; sleep(600);']);
  await until('the worker runs', () => worker.output().includes('works'));
  copyFileSync(ASKR_SO, `${machine.so}.new`);
  renameSync(`${machine.so}.new`, machine.so);
  const { code, text } = await machine.doctor();
  assert.equal(code, 1, text);
  assert.match(text, /pool www of PHP [\d.]+ still runs the askr\.so of before the upgrade/);
  assert.ok(text.includes(restart), text);
  assert.ok(text.includes(`(${worker.pid}) still runs the askr.so of before the upgrade | restart it`), text);
}));

test('what is wrong with the proxy', scoped(async (scope) => {
  const machine = await Machine.start(scope);
  const by = (url) => ['--url', url, '--no-event'];
  const found = async (code, sentence, mend, nginx) => machine.finds(code, sentence, mend, by(await machine.nginx(nginx)));
  const buffers = 'proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;';

  await found(2, 'answers with status 404', 'include snippets/askr.conf', { change: () => '' });
  await found(2, 'holds events back', 'proxy_buffering off', { change: within(buffers) });
  await found(2, 'compresses events (gzip)', 'gzip off', { change: within('gzip on; gzip_proxied any; gzip_types text/event-stream; gzip_min_length 0;') });
  await found(2, 'is quiet for less than the 2 seconds between two pings', 'proxy_read_timeout', { change: within('proxy_read_timeout 1500ms;') });
  await found(1, 'does not become a WebSocket', 'proxy_set_header Upgrade', { change: without('= /askr/ws') });
  await found(1, 'does not say whether askrd is there', 'snippets/askr.conf', { site: 'location ^~ /askr/up { return 404; }', change: without('= /askr/up') });

  const url = await machine.nginx();
  await machine.finds(2, `pages of ${OTHER_ORIGIN} are refused`, 'server.allowed_origins', [...by(url), '--origin', OTHER_ORIGIN]);
  const hides = await machine.nginx({ change: within('proxy_hide_header Access-Control-Allow-Origin;') });
  await machine.finds(2, `pages of ${APP_ORIGIN} may not read events`, 'proxy_hide_header', [...by(hides), '--origin', APP_ORIGIN]);

  // Over TLS, where browsers would speak HTTP/2.
  const certificate = scope.path('site.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=site', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', certificate, '-out', `${certificate}.crt`], { stdio: 'ignore' });
  writeFileSync(certificate, readFileSync(certificate, 'utf8') + readFileSync(`${certificate}.crt`, 'utf8'));
  chmodSync(certificate, 0o644);
  const env = { SSL_CERT_FILE: `${certificate}.crt` };
  await machine.finds(1, 'it speaks HTTP/1.1 only', 'http2 on;', by(await machine.nginx({ tls: certificate })), env);
  await machine.finds_nothing(by(await machine.nginx({ tls: certificate, http2: 'http2' })), env);

  // nginx's user may not open the socket: nginx answers in the place of askrd.
  if (ROOT) {
    chownSync(machine.askrd.socket, 0, 0);
    await found(2, 'the proxy answers in the place of askrd: nginx runs as ', `usermod -aG root ${services().web.name}`);
    chmodSync(machine.askrd.socket, 0o600);
    await found(2, 'no group may connect to', `chmod 0660 ${machine.askrd.socket}`);
  }
}));

test('an nginx without a line for askrd is named while it runs, and not where it is only installed', scoped(async (scope) => {
  const machine = await Machine.start(scope);
  const conf = path.join(machine.root, 'etc/nginx/nginx.conf');
  // What it writes is named from here: the path of the tests has the word that is looked for.
  const prefix = scope.path('bare');
  for (const directory of [prefix, path.dirname(conf)]) mkdirSync(directory, { recursive: true });
  const port = await freePort();
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${kind};`).join(' ');
  const write = (lines) => writeFileSync(conf, `daemon off; pid nginx.pid;
events {}
http { ${temp} access_log off; server { listen 127.0.0.1:${port}; ${lines} } }
`);
  write('');
  await machine.finds_nothing(['--no-event']);
  const nginx = scope.start('bare-nginx', server('nginx'), ['-p', prefix, '-c', conf, '-e', 'error.log']);
  await until('nginx listens', async () => {
    if (nginx.ended) throw new Error(`nginx ${nginx.state()}: ${nginx.output()}`);
    return ask({ port }, '/').catch(() => null);
  });
  await machine.finds(1, 'no site of nginx passes anything on to askrd', 'include snippets/askr.conf;', ['--no-event']);
  write('location /askr/ { proxy_pass http://127.0.0.1:1; }');
  await machine.finds_nothing(['--no-event']);
}));

test('askrd is away: it is said once, what the proxy answers is looked at, and monitors see it', scoped(async (scope) => {
  const machine = await Machine.start(scope);
  // As an operator lists an origin in conf.d/askr.conf.
  const url = await machine.nginx({ listed: true });
  const up = () => ask({ port: Number(new URL(url).port) }, '/askr/up');
  assert.equal((await up()).status, 200);
  const { code } = await machine.askrd.cli(['drain', '--over', '0', '--notice', '0', '--config', machine.askrd.config]);
  assert.equal(code, 0);
  assert.deepEqual(await up().then(({ status, body }) => [status, body]), [503, '{"health":"not ready"}']);
  assert.equal((await machine.askrd.cli(['drain', '--stop', '--config', machine.askrd.config])).code, 0);
  assert.equal((await up()).status, 200);
  await machine.askrd.stop();
  assert.equal((await up()).status, 503);
  await machine.finds(2, 'askrd: it does not run', 'systemctl start askrd');
  await machine.finds(2, 'askrd: it does not run', 'systemctl start askrd', ['--url', url, '--origin', APP_ORIGIN]);
  const found = await machine.doctor(['--url', url, '--origin', OTHER_ORIGIN]);
  assert.match(found.text, /warning: proxy: pages of https:\/\/other\.example do not come back/);
  // An answer that ends an EventSource for good.
  const bare = await machine.nginx({ change: within('error_page 418 /nowhere;') });
  const ends = await machine.doctor(['--url', bare]);
  assert.equal(ends.code, 2);
  assert.match(ends.text, /answers with status 502, at which an EventSource gives up for good/);
}));
