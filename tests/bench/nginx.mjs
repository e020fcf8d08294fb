// Debian's nginx for measurements: one worker, with room for a crowd.

import { writeFileSync } from 'node:fs';
import { server } from '../lib/built.mjs';
import { services } from '../lib/people.mjs';
import { nginxTemp } from '../lib/php.mjs';
import { until } from '../lib/scope.mjs';

/** Starts it with these lines of its `http` block, on `core` alone if one is given; resolves to its process once it `answers`. */
export async function startNginx(scope, name, { http, modules = '', core }, answers) {
  const conf = scope.path(`${name}.conf`);
  writeFileSync(conf, `
${modules}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${scope.path(`${name}.pid`)};
error_log stderr error;
events { worker_connections 19000; }
http {
${nginxTemp(scope, name)}
access_log off;
${http}
}
`);
  const { web } = services();
  const command = [...(core === undefined ? [] : ['taskset', '-c', String(core)]), server('nginx'), '-c', conf, '-e', 'stderr'];
  const started = scope.start(name, command[0], command.slice(1), { uid: web.uid, gid: web.gid });
  await until('nginx answers', () => {
    if (started.ended) throw new Error(`nginx ${started.state()}: ${started.output()}`);
    return answers(started);
  });
  return started;
}
