// What is in the packages of clients/echo, clients/pusher-token and clients/pusher-recovery, and whether their types hold.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, TESTS } from '../lib/built.mjs';
import { run } from '../lib/process.mjs';
import { scoped } from '../lib/scope.mjs';

const client = (name, file = '') => path.join(ROOT, 'clients', name, file);
const ALWAYS = ['CHANGELOG.md', 'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json'];

for (const [name, files] of Object.entries({
  echo: ['authorization.js', 'channel.js', 'connection.js', 'dispatcher.js', 'encryption.js', 'index.d.ts', 'index.js', 'pusher.d.ts', 'pusher.js'],
  'pusher-token': ['index.d.ts', 'index.js'],
  'pusher-recovery': ['cursor.js', 'index.d.ts', 'index.js'],
})) {
  test(`the package of clients/${name} has what it needs, and nothing else`, async () => {
    const { code, out, err } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: client(name) });
    assert.equal(code, 0, err);
    const [packed] = JSON.parse(out);
    assert.equal(packed.name, `@askr/${name}`);
    assert.deepEqual(packed.files.map(({ path }) => path).sort(), [...ALWAYS, ...files].sort());
    // Whatever is imported from beside it is in the package.
    for (const file of files.filter((file) => file.endsWith('.js'))) {
      const imported = [...readFileSync(client(name, file), 'utf8').matchAll(/from '\.\/([^']+)'/g)].map(([, beside]) => beside);
      assert.deepEqual(imported.filter((beside) => !files.includes(beside)), [], file);
    }
    const { exports, types, license } = JSON.parse(readFileSync(client(name, 'package.json'), 'utf8'));
    const targets = Object.values(exports).flatMap((way) => Object.values(way)).concat(types).map((target) => path.basename(target));
    assert.deepEqual(targets.filter((target) => !files.includes(target)), []);
    assert.equal(license, 'MIT OR Apache-2.0');
  });
}

test('the types hold: what they allow compiles, and what they do not does not', scoped(async (scope) => {
  const paths = {
    '@askr/client': [client('js', 'index.d.ts')],
    '@askr/echo': [client('echo', 'index.d.ts')],
    '@askr/echo/pusher': [client('echo', 'pusher.d.ts')],
    '@askr/pusher-token': [client('pusher-token', 'index.d.ts')],
    '@askr/pusher-recovery': [client('pusher-recovery', 'index.d.ts')],
    'laravel-echo': [path.join(TESTS, 'node_modules/laravel-echo/dist/echo.d.ts')],
  };
  const project = scope.path('tsconfig.json');
  writeFileSync(project, JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, module: 'esnext', moduleResolution: 'bundler', target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'], types: [],
      esModuleInterop: true, skipLibCheck: false, skipDefaultLibCheck: true, paths,
    },
    files: [path.join(TESTS, 'clients/echo-types.ts')],
  }));
  const { out } = await run(process.execPath, [path.join(TESTS, 'node_modules/typescript/bin/tsc'), '-p', project], { cwd: TESTS });
  // The types of others are theirs.
  const ours = out.split('\n').filter((line) => line && !line.includes('node_modules/'));
  assert.deepEqual(ours, []);
}));
