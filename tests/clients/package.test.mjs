// What is shipped of clients/js: the files, the types, and how large it is.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const TESTS = fileURLToPath(new URL('..', import.meta.url));
const CLIENT = path.join(TESTS, '../clients/js');

test('the package has its modules, types, a readme, a changelog and both licences, and nothing else', () => {
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--offline'], { cwd: CLIENT, encoding: 'utf8' }));
  assert.deepEqual(packed.files.map((file) => file.path).sort(), [
    'CHANGELOG.md', 'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'index.d.ts', 'index.js', 'machine.js', 'package.json', 'sse.js',
    'subscription.js', 'websocket.js',
  ]);
  const { dependencies, peerDependencies, exports: entries, files } = JSON.parse(readFileSync(path.join(CLIENT, 'package.json')));
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined]);
  assert.deepEqual(entries['.'], { types: './index.d.ts', default: './index.js' });
  assert.ok(files.every((file) => packed.files.some((one) => one.path === file)), 'all that is named is there');
});

test('it is at most 10 KB minified and 4 KB gzipped', async () => {
  const { outputFiles } = await build({
    entryPoints: [path.join(CLIENT, 'index.js')], bundle: true, splitting: true, minify: true, format: 'esm', outdir: 'out', write: false,
  });
  const sizes = outputFiles.map(({ path: file, contents }) => [path.basename(file), contents.length, gzipSync(contents, { level: 9 }).length]);
  const [, minified, gzipped] = sizes.find(([name]) => name === 'index.js');
  assert.ok(minified <= 10 * 1024, `${minified} bytes`);
  assert.ok(gzipped <= 4 * 1024, `${gzipped} bytes`);
  // What a WebSocket needs is loaded when one is asked for.
  assert.equal(sizes.length, 2);
  assert.ok(sizes.every(([, bytes]) => bytes <= 10 * 1024));
});

test('the types allow what is documented, and nothing else', () => {
  const tsc = path.join(TESTS, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022', '--lib', 'es2022'];
  execFileSync(process.execPath, [tsc, ...options, path.join(TESTS, 'clients/types.ts')], { encoding: 'utf8' });
});
