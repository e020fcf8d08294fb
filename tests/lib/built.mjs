// Where the things under test are, and which PHP they are for. ASKRD and ASKR_SO choose others.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const TESTS = path.join(ROOT, 'tests');

function built(variable, file) {
  const found = process.env[variable] ?? path.join(ROOT, 'target/release', file);
  if (!existsSync(found)) throw new Error(`${found} is missing: run 'make build' first`);
  return found;
}

export const ASKRD = built('ASKRD', 'askrd');
export const ASKR_SO = built('ASKR_SO', 'libaskr.so');

export const PHP = process.env.PHP ?? 'php';
export const PHP_VERSION = execFileSync(PHP, ['-n', '-r', 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;'], { encoding: 'utf8' });

/** Debian keeps servers where a plain user's PATH does not lead. */
export function server(name) {
  for (const dir of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    if (existsSync(path.join(dir, name))) return path.join(dir, name);
  }
  throw new Error(`${name} is missing: run 'make setup' first`);
}

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** Python with what tests/python/requirements.txt names, as `make setup` makes it. */
export const PYTHON = process.env.ASKR_TEST_PYTHON ?? path.join(ROOT, '.build/python/bin/python3');
