// What a page or a test imports, as one module: the packages of clients/ by their names, and npm's of tests/.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ROOT, TESTS } from './built.mjs';

const client = (file) => path.join(ROOT, 'clients', file);

/** `@askr/echo/pusher` before `@askr/echo`, which would be its beginning. */
const PACKAGES = {
  '@askr/client': client('js/index.js'),
  '@askr/echo/pusher': client('echo/pusher.js'),
  '@askr/echo': client('echo/index.js'),
  '@askr/pusher-recovery': client('pusher-recovery/index.js'),
  '@askr/pusher-token': client('pusher-token/index.js'),
};

/** The bundle of a module's text. `packages`: others than those of clients/. */
export async function bundle(source, { platform = 'browser', packages = {} } = {}) {
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents: source, resolveDir: TESTS, loader: 'jsx' },
    alias: { ...PACKAGES, ...packages },
    nodePaths: [path.join(TESTS, 'node_modules')],
    bundle: true,
    write: false,
    format: 'esm',
    platform,
    define: { 'process.env.NODE_ENV': '"production"', 'import.meta.env': '{}', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false' },
    logLevel: 'error',
  });
  return text;
}

/** The exports of a module, in this process. */
export async function imported(scope, source, options) {
  const file = scope.path(`bundle-${scope.bundles = (scope.bundles ?? 0) + 1}.mjs`);
  writeFileSync(file, await bundle(source, { platform: 'node', ...options }));
  return import(pathToFileURL(file));
}
