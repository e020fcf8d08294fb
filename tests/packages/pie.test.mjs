// What PIE does to install the extension: phpize, configure, make, and sudo make install, by the letter of docs/INSTALL.md, in
// a Debian of its own. RELEASE as in deb.test.mjs; what tests/packages/build keeps of the last build is built upon.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { run } from '../lib/process.mjs';
import { CHROOTS } from './system.mjs';

const { RELEASE = 'bookworm' } = process.env;

test(`on ${RELEASE} phpize's make and make install leave an askr.so that PHP loads, without symbols`, async (t) => {
  const [, byHand] = /`(cd ext && phpize[^`]+)`/.exec(readFileSync(path.join(ROOT, 'docs/INSTALL.md'), 'utf8'));
  // As PIE runs them: what sudo runs has no Rust.
  const script = `
    sudo() { PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
    export MAKEFLAGS='ASKR_TARGET=/src/target'
    { ${byHand}; } >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    so=$(php-config --extension-dir)/askr.so
    php -n -d extension=askr -r 'echo phpversion("askr"), "\n";'
    stat -c %s "$so"
    readelf --section-headers --wide "$so"`;
  const { code, out, err } = await run(path.join(ROOT, 'tests/packages/inside'),
    [RELEASE, 'build', `${path.join(CHROOTS, RELEASE, 'target')}:/src/target`, '--', 'bash', '-euc', script], { limit: 1_800_000 });
  assert.equal(code, 0, out + err);
  const [version, size, ...sections] = out.trim().split('\n');
  assert.match(version, /^\d+\.\d+\.\d+$/);
  t.diagnostic(`askr.so has ${size} bytes`);
  const named = sections.flatMap((line) => /^ +\[ *\d+\] (\.\S+)/.exec(line)?.[1] ?? []);
  assert.ok(named.includes('.dynsym'), sections.join('\n'));
  assert.deepEqual(named.filter((name) => name === '.symtab' || name.startsWith('.debug')), []);
});
