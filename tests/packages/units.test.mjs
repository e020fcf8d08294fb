// The shipped units under a real systemd: what they are confined to, activation by the socket, reload, watchdog, limits
// of restarts. DEBS and RELEASE are those of deb.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { ask } from '../lib/http.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { Subscriber, eventsPath } from '../lib/sse.mjs';
import { bootSite, includeSnippet, packages } from './site.mjs';

const { RELEASE = 'bookworm', DEBS } = process.env;
const SHOP = { port: 80 };
const UNIT = 'askrd.service';

test(`the units under systemd of ${RELEASE}`, scoped(async (scope, t) => {
  const system = await bootSite(scope, RELEASE, DEBS);
  await system.in('apt-get', '-y', '-q', 'install', ...packages(DEBS, 'current'));
  await includeSnippet(system);
  const pid = () => system.show(UNIT, 'MainPID');
  const active = () => system.show(UNIT, 'ActiveState');
  const publish = async () => JSON.parse((await ask(SHOP, '/publish.php')).body);
  const journal = (...args) => system.in('journalctl', '--no-pager', '--output=cat', '--unit', UNIT, ...args);
  /** Another daemon than `old` serves. */
  const next = (old) => until('another daemon serves', async () =>
    await active() === 'active' && await pid() !== old && (await ask(SHOP, '/askr/up')).status === 200);
  const dropIn = async (lines) => {
    await system.sh(`mkdir -p /etc/systemd/system/${UNIT}.d; printf '[Service]\\n${lines}\\n' >/etc/systemd/system/${UNIT}.d/test.conf; systemctl daemon-reload`);
  };
  const settings = system.read('etc/askr/askr.toml');
  const configure = (text) => system.sh(`cat >/etc/askr/askr.toml <<'EOF'\n${text}EOF`);

  await t.test('what systemd-analyze finds exposed is what docs/HARDENING.md explains', async () => {
    const analysed = await system.in('systemd-analyze', 'security', '--no-pager', UNIT);
    const exposure = Number(/Overall exposure level for askrd\.service: ([\d.]+)/.exec(analysed)[1]);
    t.diagnostic(`systemd ${await system.sh('systemctl --version | head -1')}: exposure ${exposure}`);
    assert.ok(exposure <= 1.5, analysed);
    const explained = readFileSync(path.join(ROOT, 'docs/HARDENING.md'), 'utf8').replaceAll('\\|', '|');
    const rows = JSON.parse(await system.in('systemd-analyze', 'security', '--json=short', UNIT));
    assert.deepEqual(rows.filter(({ exposure }) => exposure).map(({ name }) => name).filter((name) => !explained.includes(`\n| \`${name}\` |`)), []);
  });

  await t.test('the confinement is in force in the process', async () => {
    const of = await system.in('cat', `/proc/${await pid()}/status`);
    assert.match(of, /^NoNewPrivs:\t1$/m);
    assert.match(of, /^Seccomp:\t2$/m);
    assert.match(of, /^CapEff:\t0+$/m);
    assert.match(of, /^CapBnd:\t0+$/m);
    assert.equal(await system.in('ps', '-o', 'user=', '-p', await pid()), 'askr');
    // A container has what its host was given.
    const given = Number((/^Max open files +\d+ +(\d+)/m).exec(await system.in('cat', '/proc/1/limits'))[1]);
    const limit = Math.min(1048576, given);
    assert.match(await system.in('cat', `/proc/${await pid()}/limits`), new RegExp(`^Max open files +${limit} +${limit} `, 'm'));
    // In its own view of the file system nothing can be written but what it needs.
    const seen = `/proc/${await pid()}/root`;
    const refused = async (script) => (await system.try('sh', '-c', script)).err;
    assert.match(await refused(`: >>${seen}/etc/askr/askr.toml`), /Read-only file system/);
    assert.match(await refused(`: >${seen}/usr/bin/x`), /Read-only file system/);
    assert.equal(await system.sh(`ls -A ${seen}/home`), '');
    assert.match(await refused(`${seen}/bin/true`), /Permission denied/, 'no other program');
    assert.equal(await refused(`${seen}/usr/bin/askrd --version`), '');
    assert.equal(await refused(`: >${seen}/run/askr/probe && rm ${seen}/run/askr/probe`), '', 'sockets');
    // Whether io_uring is allowed is this kernel's affair, too; the daemon says which it has.
    t.diagnostic((await journal()).split('\n').find((line) => /io_uring|uring/.test(line)) ?? 'no word of io_uring');
    assert.equal((await publish()).published, true);
  });

  await t.test('who comes while no daemon runs starts it, and waits for it', async () => {
    await system.in('systemctl', 'stop', UNIT);
    assert.equal(await active(), 'inactive');
    assert.equal(await system.show('askrd.socket', 'ActiveState'), 'active');
    const viewer = new Subscriber(SHOP, eventsPath('orders'), { reconnect: false });
    scope.defer(() => viewer.close());
    await viewer.open();
    assert.equal(viewer.heads[0].status, 200);
    assert.equal(await active(), 'active');
    await publish();
    assert.equal((await viewer.take(1))[0].event, 'order');
    viewer.close();
  });

  await t.test('a reload takes over what it can, refuses a bad file, and nobody is disconnected', async () => {
    const old = await pid();
    const viewer = new Subscriber(SHOP, eventsPath('orders'), { reconnect: false });
    scope.defer(() => viewer.close());
    await viewer.open();
    await configure(settings.replace(/^#retry = .*$/m, 'retry = 3000'));
    await system.in('systemctl', 'reload', UNIT);
    assert.match(await journal(), /server\.retry/);
    await configure('[server]\nretry = "soon"\n');
    assert.notEqual((await system.try('systemctl', 'reload', UNIT)).code, 0, 'a file that cannot be used fails');
    assert.equal(await pid(), old);
    await publish();
    await viewer.take(1);
    assert.equal(viewer.ended, 0);
    viewer.close();
    await configure(settings);
    await system.in('systemctl', 'reload', UNIT);
  });

  await t.test('a daemon that hangs is ended by the watchdog, and another one serves', async () => {
    await dropIn('WatchdogSec=3');
    await system.in('systemctl', 'restart', UNIT);
    const old = await pid();
    await system.in('kill', '-STOP', old);
    await next(old);
    assert.equal(await system.show(UNIT, 'NRestarts'), '1');
    assert.match(await journal(), /[Ww]atchdog timeout/);
    assert.equal((await publish()).published, true);
  });

  await t.test('a daemon that is killed comes back, and with it what was published meanwhile', async () => {
    const viewer = new Subscriber(SHOP, eventsPath('orders'), { reconnect: 'told' });
    scope.defer(() => viewer.close());
    await viewer.open();
    const old = await pid();
    await system.in('kill', '-KILL', old);
    assert.equal((await publish()).published, true, 'publishing goes on');
    await next(old);
    assert.equal((await viewer.take(1)).length, 1);
    viewer.close();
  });

  await t.test('exit code 2, a settings error, is not tried again', async () => {
    await configure('[server]\nretry = "soon"\n');
    const at = Number(await system.show(UNIT, 'NRestarts'));
    await system.sh(`systemctl stop askrd.socket; systemctl reset-failed; systemctl restart ${UNIT} || true`);
    assert.equal(await active(), 'failed');
    assert.equal(await system.show(UNIT, 'ExecMainStatus'), '2');
    assert.equal(await system.show(UNIT, 'NRestarts'), '0', `${at} before`);
    const errors = await journal('--priority=err');
    await configure(settings);
    await system.sh(`systemctl reset-failed; systemctl start askrd.socket ${UNIT}`);
    assert.match(errors, /retry/);
    assert.equal((await publish()).published, true);
  });

  await t.test('after ten starts in a minute systemd gives up, and says so', async () => {
    // Ten as shipped; the minute is a longer one where everything takes longer.
    assert.deepEqual([await system.show(UNIT, 'StartLimitBurst'), await system.show(UNIT, 'StartLimitIntervalUSec')], ['10', '1min']);
    await dropIn('[Unit]\\nStartLimitIntervalSec=600');
    await system.sh(`systemctl stop askrd.socket ${UNIT}; systemctl reset-failed; systemctl start ${UNIT}`);
    const killed = new Set();
    await until('systemd gives up', async () => {
      const now = await pid();
      if (now !== '0' && !killed.has(now)) {
        killed.add(now);
        await system.try('kill', '-KILL', now);
      }
      return await active() === 'failed';
    }, 300_000);
    assert.match(await journal(), /Start request repeated too quickly/);
    assert.equal(killed.size, 10);
    await system.sh(`rm -r /etc/systemd/system/${UNIT}.d; systemctl daemon-reload; systemctl reset-failed; systemctl start askrd.socket ${UNIT}`);
    assert.equal((await publish()).published, true);
    assert.equal((await ask(SHOP, '/askr/up')).status, 200);
  });
}));
