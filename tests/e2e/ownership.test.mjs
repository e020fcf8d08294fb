// Who owns what askrd leaves behind and finds: each obstacle at the start is one sentence with the command that
// mends it, and no restart loop; after that command askrd serves.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Askrd } from '../lib/askrd.mjs';
import { services } from '../lib/people.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { subscribe } from '../lib/sse.mjs';

const skip = services().daemon.uid === undefined ? 'needs root: it is about several users' : false;
const ROOT_USER = { uid: 0, gid: 0, name: 'root' };
/** A group that the daemon's user is not in. */
const OTHER = 'adm';

/** As /dev/shm is: everybody may make files there, and nobody may touch another's. */
function sticky(scope) {
  const directory = path.join(scope.shm, 'sticky');
  mkdirSync(directory);
  chmodSync(directory, 0o1777);
  return directory;
}

/** Starts it, which must fail for good: exit code 2, for which no unit starts it again. The one line that says why. */
async function refused(askrd, user = askrd.user) {
  const { code, err } = await run(askrd.binary, ['serve', '--config', askrd.config], { uid: user.uid, gid: user.gid, limit: 20_000 });
  assert.equal(code, 2, err);
  const errors = err.split('\n').filter((line) => line.includes('ERROR'));
  assert.equal(errors.length, 1, err);
  return errors[0].replace(/^.*ERROR /, '');
}

async function obey(command) {
  const done = await run('sh', ['-c', command]);
  assert.equal(done.code, 0, command + done.err);
}

test('after a run as root, the command that it says lets the service start, with the history', { skip }, scoped(async (scope) => {
  const ring = path.join(sticky(scope), 'ring');
  const askrd = new Askrd(scope, { ring: { name: ring } });
  const service = askrd.user;
  askrd.user = ROOT_USER;
  await askrd.start();
  const live = await subscribe(scope, askrd.unix, 'news', { reconnect: false });
  await askrd.cli(['publish', 'news', 'before', '--config', askrd.config]);
  const [before] = await live.take(1);
  await askrd.cli(['publish', 'other', 'erased', '--config', askrd.config]);
  await askrd.cli(['forget', 'other', '--config', askrd.config]);
  await askrd.stop();

  askrd.user = service;
  const said = await refused(askrd);
  const files = [`${ring}.lock`, ring, `${ring}.in-flight`, `${ring}.present`, `${ring}.forgotten`];
  assert.equal(said, `${files[0]} belongs to root, as after an askrd that was run as root: `
    + `end that one if it still runs, then, as root: chown ${service.name}: ${files.join(' ')}`);
  await obey(said.split('as root: ').at(-1));
  await askrd.start();
  assert.doesNotMatch(askrd.process.output(), /WARN/, 'nothing is left that is not its own');
  await askrd.cli(['publish', 'news', 'after', '--config', askrd.config]);
  const [epoch, position] = before.id.split('-');
  const back = await subscribe(scope, askrd.unix, 'news', { lastEventId: `${epoch}-${position - 1}`, reconnect: false });
  assert.deepEqual((await back.take(2)).map(({ data }) => data), ['before', 'after']);
}));

test("what another user left is not taken over: the command removes it", { skip }, scoped(async (scope) => {
  const ring = path.join(sticky(scope), 'ring');
  const { web } = services();
  for (const files of [[`${ring}.lock`, ring, `${ring}.present`], [`${ring}.forgotten`]]) {
    for (const file of files) {
      writeFileSync(file, '');
      chmodSync(file, 0o600);
      chownSync(file, web.uid, web.gid);
    }
    const askrd = new Askrd(scope, { ring: { name: ring } });
    const said = await refused(askrd);
    assert.equal(said, `${files[0]} belongs to ${web.name}, whose file askrd does not take over: as root: rm ${files.join(' ')}`);
    await obey(said.split('as root: ').at(-1));
    await askrd.start();
    await askrd.stop();
  }
}));

test("root does not serve the service's ring: it is told whom to run askrd as", { skip }, scoped(async (scope) => {
  const askrd = new Askrd(scope, { ring: { name: path.join(sticky(scope), 'ring') } });
  await askrd.start();
  await askrd.stop();
  const said = await refused(askrd, ROOT_USER);
  assert.equal(said, `${askrd.ring}.lock belongs to ${askrd.user.name}: run askrd as that user: runuser -u ${askrd.user.name} -- askrd`);
}));

test('a group that the daemon is not in: for the ring that is there, a new one, and the socket', { skip }, scoped(async (scope) => {
  const ring = path.join(sticky(scope), 'ring');
  const first = new Askrd(scope, { ring: { name: ring } });
  const group = (of) => new RegExp(`^${of} \\S+ cannot be given to the group ${OTHER}: ${first.user.name} is not in it: as root: `
    + `usermod -aG ${OTHER} ${first.user.name}$`);
  const other = (settings) => new Askrd(scope, { ring: { name: ring, ...settings.ring }, server: settings.server }, 'other');
  assert.match(await refused(other({ ring: { group: OTHER } })), group('ring.group:'));
  await first.start();
  await first.stop();
  const mine = other({ ring: { group: OTHER } });
  assert.match(await refused(mine), group('ring.group:'));
  assert.match(await refused(other({ server: { socket_group: OTHER } })), group('server.socket_group:'));
  // As a member it may, over the ring that is there.
  const { uid, gid } = mine.user;
  mine.process = scope.start('member', 'setpriv', [`--reuid=${uid}`, `--regid=${gid}`, `--groups=${OTHER}`,
    mine.binary, 'serve', '--config', other({ ring: { group: OTHER } }).config]);
  await until('it serves', () => existsSync(mine.control));
  assert.equal((await run('stat', ['-c', '%G', ring])).out.trim(), OTHER);
}));

test("a second askrd does not start without a control socket because another's is at the default place", { skip }, scoped(async (scope) => {
  // A /run of their own, where both find /run/askr.
  const script = (name) => {
    const askrd = new Askrd(scope, { ring: { name: path.join(scope.shm, name), }, server: { control: '' } }, name);
    return `${askrd.binary} serve --config ${askrd.config}`;
  };
  const [shop, blog] = ['shop', 'blog'].map(script);
  const { code, err } = await run('unshare', ['-m', 'sh', '-c', `
    mount -t tmpfs run /run && mkdir /run/askr || exit 99
    ${shop} 2>/dev/null &
    while [ ! -S /run/askr/control.sock ]; do sleep 0.05; done
    ${blog}; code=$?
    kill $!; wait $!; exit $code`], { limit: 30_000 });
  assert.equal(code, 2, err);
  assert.match(err, /ERROR server\.control: \/run\/askr\/control\.sock is another askrd's: set a path of its own for this one, for example control = "\/run\/askr\/blog-control\.sock", and the same askr\.control in its php\.ini \(or "none"\)\n/);
}));
