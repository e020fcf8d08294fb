// PHP with askr.so: the command line, and PHP-FPM behind nginx.

import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ASKR_SO, PHP, PHP_VERSION, ROOT, TESTS, server } from './built.mjs';
import { ask, freePort } from './http.mjs';
import { run } from './process.mjs';
import { services } from './people.mjs';
import { until } from './scope.mjs';

/** Settings of PHP as this machine has them, without an askr.so that may be installed, and with ours. */
function iniDirectory(scope, sapi, ring, ini) {
  const dir = scope.path(`conf-${sapi}-${path.basename(ring)}`);
  if (existsSync(dir)) return dir;
  mkdirSync(dir);
  const system = `/etc/php/${PHP_VERSION}/${sapi}/conf.d`;
  for (const file of existsSync(system) ? readdirSync(system) : []) {
    if (!file.includes('askr')) symlinkSync(path.join(system, file), path.join(dir, file));
  }
  const so = scope.path('askr.so');
  if (!existsSync(so)) copyFileSync(ASKR_SO, so);
  const settings = { extension: so, 'askr.ring': ring, 'askr.on_failure': 'exception', 'askr.ring_owner': services().daemon.name ?? '', ...ini };
  writeFileSync(path.join(dir, '99-askr.ini'), Object.entries(settings).map(([key, value]) => `${key}="${value}"\n`).join(''));
  return dir;
}

/** Environment that makes `php` load askr.so for this ring. */
export function phpEnvironment(scope, askrd, ini = {}) {
  return { PHP_INI_SCAN_DIR: iniDirectory(scope, 'cli', askrd.ring, ini) };
}

/** Runs a script of tests/php as the web's user. `input` goes to its standard input. */
export function php(scope, askrd, script, args = [], options = {}) {
  const { web } = services();
  return run(PHP, [path.join(TESTS, 'php', script), ...args.map(String)],
    { uid: web.uid, gid: web.gid, ...options, env: { ...phpEnvironment(scope, askrd), ...options.env } });
}

/** The same, left running. */
export function startPhp(scope, askrd, name, script, args = [], options = {}) {
  const { web } = services();
  return scope.start(name, PHP, [script, ...args.map(String)],
    { uid: web.uid, gid: web.gid, ...options, env: { ...phpEnvironment(scope, askrd), ...options.env } });
}

/** Runs a PHP script that must end well, and gives its output as JSON. */
export async function phpJson(...args) {
  const { code, signal, out, err } = await php(...args);
  if (code !== 0) throw new Error(`php ended with ${code ?? signal}: ${out}${err}`);
  return JSON.parse(out);
}

/** One publish from the command line. */
export function publish(scope, askrd, channel, payload, more = {}) {
  return phpJson(scope, askrd, 'publish.php', [], { input: JSON.stringify([{ channel, payload64: Buffer.from(payload).toString('base64'), ...more }]) });
}

/** Many publishes of one PHP process, in order. */
export function publishAll(scope, askrd, events) {
  return phpJson(scope, askrd, 'publish.php', [], {
    input: JSON.stringify(events.map(({ payload, ...event }) => ({ ...event, payload64: Buffer.from(payload).toString('base64') }))),
  });
}

/**
 * nginx before PHP-FPM and askrd, as packaging/ ships it. `front` is the PHP file that answers every
 * path outside `files`; files in `files` are served as they are. `pool`: more lines of FPM's pool. `origins`: those that nginx may answer while
 * askrd is away; `patterns`: which of the examples of patterns there count; `pusher`:
 * whether Pusher's paths are open; `directives`: the site's own. Resolves to `{ port, url, askrd }`.
 */
export async function startSite(scope, askrd, { front, files = {}, workers = 4, env = {}, ini = {}, pool = '', name = 'site', origins = [], patterns = [], pusher = true, directives = '' }) {
  const { web, group } = services();
  const port = await freePort();
  const htdocs = scope.path(`${name}-htdocs`);
  mkdirSync(htdocs);
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(htdocs, file)), { recursive: true });
    writeFileSync(path.join(htdocs, file), content);
  }

  const fpmSocket = scope.path(`${name}-fpm.sock`);
  writeFileSync(scope.path(`${name}-fpm.conf`), `
[global]
error_log = ${scope.path(`${name}-fpm-error.log`)}
daemonize = no
[site]
listen = ${fpmSocket}
pm = static
pm.max_children = ${workers}
catch_workers_output = yes
clear_env = no
${pool}
`);
  scope.start(`${name}-fpm`, server(`php-fpm${PHP_VERSION}`), ['--nodaemonize', '--fpm-config', scope.path(`${name}-fpm.conf`)],
    { uid: web.uid, gid: web.gid, env: { ...env, PHP_INI_SCAN_DIR: iniDirectory(scope, 'fpm', askrd.ring, ini) } });

  const temp = nginxTemp(scope, name);
  writeFileSync(scope.path(`${name}-nginx.conf`), `
daemon off;
worker_processes 1;
pid ${scope.path(`${name}-nginx.pid`)};
error_log ${scope.path(`${name}-tmp`)}/nginx-error.log;
events { worker_connections 4096; }
http {
${temp}
access_log off;
types { text/html html; text/css css; text/javascript js; }
${withOrigins(packagedNginx(scope, askrd.socket, 'nginx-http.conf', name), origins, patterns)}
server {
  listen 127.0.0.1:${port};
  root ${htdocs};
  ${directives}
${packagedNginx(scope, askrd.socket, 'nginx.conf', name)}
${pusher ? packagedNginx(scope, askrd.socket, 'nginx-pusher.conf', name) : ''}
  location / {
    try_files $uri @php;
  }
  location @php {
    client_max_body_size 4m;
    client_body_buffer_size 4m;
    include /etc/nginx/fastcgi_params;
    fastcgi_param SCRIPT_FILENAME ${front};
    fastcgi_param SCRIPT_NAME /index.php;
    fastcgi_pass unix:${fpmSocket};
  }
}
}
`);
  const nginx = scope.start(`${name}-nginx`, server('nginx'),
    ['-c', scope.path(`${name}-nginx.conf`), '-e', `${scope.path(`${name}-tmp`)}/nginx-error.log`], { uid: web.uid, gid: web.gid });
  await until('nginx answers and PHP-FPM listens', async () => {
    if (nginx.ended) throw new Error(`nginx ${nginx.state()}: ${nginx.output()}`);
    return existsSync(fpmSocket) && (await ask({ port }, '/askr-test-front').catch(() => null));
  });
  const log = (file) => readFileSync(scope.path(`${name}-tmp`, file), 'utf8');
  return { port, url: `http://127.0.0.1:${port}`, askrd, group, errorLog: () => log('nginx-error.log'), accessLog: () => log('askr-access.log') };
}

/** Directives that give an nginx its temporary files in the scope's NAME-tmp. */
export function nginxTemp(scope, name) {
  const dir = scope.path(`${name}-tmp`);
  mkdirSync(dir);
  chmodSync(dir, 0o777);
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join('\n');
}

/** The example in packaging/nginx-http.conf, made an entry for each of these origins; those of these patterns as they are. */
function withOrigins(conf, origins, patterns) {
  for (const pattern of patterns) {
    if (!conf.includes(`    #${pattern} "*";`)) throw new Error(`nginx-http.conf has no example ${pattern}`);
    conf = conf.replace(`    #${pattern} "*";`, `    ${pattern} "*";`);
  }
  if (origins.length === 0) return conf;
  const example = /^( *)#("https:\/\/app\.example")( .*)$/m;
  if (!example.test(conf)) throw new Error('nginx-http.conf has no example of an allowed origin');
  return conf.replace(example, (_, indent, __, rest) => origins.map((origin) => `${indent}"${origin}"${rest}`).join('\n'));
}

/** A file of packaging/ with the paths of this scope in it. */
export function packagedNginx(scope, socket, file, name) {
  return readFileSync(path.join(ROOT, 'packaging', file), 'utf8')
    .replaceAll('unix:/run/askr/askrd.sock', `unix:${socket}`)
    .replaceAll('/var/log/nginx/askr.log', `${scope.path(`${name}-tmp`)}/askr-access.log`)
    .replaceAll('/var/log/nginx/error.log', `${scope.path(`${name}-tmp`)}/nginx-error.log`);
}
