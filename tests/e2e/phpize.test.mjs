// `phpize && ./configure && make && sudo make install`, as PIE does it and docs/INSTALL.md says: with a cargo that notes
// its calls, and any program in place of the library.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, cpSync, readFileSync, utimesSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { run } from '../lib/process.mjs';
import { scoped } from '../lib/scope.mjs';

const LIMIT = 300_000;

test('what make has made is copied by make install, without a Rust of root\'s, and made again when a source is newer', scoped(async (scope) => {
  const source = scope.path('source');
  for (const name of ['ext/src', 'ext/Cargo.toml', 'ext/config.m4', 'ext/Makefile.frag', 'shared/src', 'shared/Cargo.toml', 'Cargo.toml', 'Cargo.lock']) {
    cpSync(path.join(ROOT, name), path.join(source, name), { recursive: true });
  }
  const bin = scope.path('bin');
  const calls = scope.path('calls');
  mkdirSync(bin);
  writeFileSync(calls, '');
  const cargo = (body) => {
    writeFileSync(path.join(bin, 'cargo'), `#!/bin/sh\n${body}\n`);
    chmodSync(path.join(bin, 'cargo'), 0o755);
  };
  const sh = async (script) => {
    const { code, out, err } = await run('sh', ['-euc', script],
      { cwd: path.join(source, 'ext'), env: { ...process.env, PATH: `${bin}:${process.env.PATH}` }, limit: LIMIT });
    assert.equal(code, 0, out + err);
  };
  const built = () => readFileSync(calls, 'utf8').split('\n').filter(Boolean);

  cargo(`echo "$*" >>${calls}; mkdir -p target/release; cp /bin/true target/release/libaskr.so`);
  await sh('phpize && ./configure && make');
  assert.equal(built().length, 1);
  assert.match(built()[0], /^build --release --locked /);
  cargo('echo "no Rust for this user" >&2; exit 1');
  await sh(`make install INSTALL_ROOT=${scope.path('installed')} && find ${scope.path('installed')} -name askr.so | grep .`);

  cargo(`echo "$*" >>${calls}`);
  const later = new Date(Date.now() + 60_000);
  for (const changed of ['ext/src/lib.rs', 'shared/src/lib.rs', 'Cargo.lock']) {
    const before = built().length;
    utimesSync(path.join(source, changed), later, later);
    await sh('make');
    assert.equal(built().length, before + 1, changed);
    utimesSync(path.join(source, changed), new Date(0), new Date(0));
  }
}));
