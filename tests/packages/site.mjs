// A shop on a clean Debian: nginx and PHP-FPM as Debian has them, two PHP scripts, and no word of Askr.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { ask } from '../lib/http.mjs';
import { until } from '../lib/scope.mjs';
import { System } from './system.mjs';

const site = (php) => `
server {
    listen 80 default_server;
    root /var/www/html;
    index index.php index.html;
    location ~ \\.php$ { include snippets/fastcgi-php.conf; fastcgi_pass unix:/run/php/php${php}-fpm.sock; }
}
`;

// What a page asks for, and what publishes events 1, 2, 3 ... every 20 ms until it is ended.
const PUBLISH = `<?php
header('Content-Type: application/json');
echo json_encode(['published' => askr_broadcast('orders', 'from FPM', event: 'order'), 'status' => askr_status()]);
`;
const STREAM = `<?php
for ($n = 1;; $n++) {
    while (!askr_broadcast('numbers', (string) $n)) usleep(1000);
    if ($n % 50 === 0) echo $n, "\\n";
    usleep(20000);
}
`;

export const RELEASES = { bookworm: '8.2', trixie: '8.4' };

/** The site on a booted Debian; `debs` is a directory whose folders hold packages, seen as /debs. */
export async function bootSite(scope, release, debs, more = {}) {
  const php = RELEASES[release];
  const system = await System.boot(scope, release, {
    ...more,
    files: {
      'etc/nginx/sites-available/default': site(php),
      'var/www/html/index.html': '<!doctype html><title>shop</title>',
      'var/www/html/publish.php': PUBLISH,
      'srv/stream.php': STREAM,
      ...more.files,
    },
    binds: debs ? [`--bind-ro=${debs}:/debs`, ...(more.binds ?? [])] : more.binds,
  });
  system.php = php;
  return system;
}

/** The packages of one version, as apt wants them: the daemon's and the extension's. */
export function packages(debs, version) {
  const names = readdirSync(path.join(debs, version)).filter((name) => name.endsWith('.deb'));
  assert.deepEqual(names.map((name) => name.replace(/_.*/, '').replace(/[\d.]/g, '')).sort(), ['askrd', 'php-askr']);
  return names.map((name) => `/debs/${version}/${name}`);
}

/** The one edit that an administrator makes. */
export async function includeSnippet(system) {
  const workers = async () => (await system.try('pgrep', '-f', 'nginx: worker process')).out.split('\n').filter(Boolean);
  const before = await workers();
  await system.sh(`
    sed -i 's|^    root |    include snippets/askr.conf;\\n    root |' /etc/nginx/sites-available/default
    nginx -t && nginx -s reload`);
  // nginx's old workers serve for a moment, each of them whoever comes to it.
  await until('nginx has the line', async () => {
    const now = await workers();
    return !before.some((one) => now.includes(one)) && (await ask({ port: 80 }, '/askr/up')).status === 200;
  });
}
