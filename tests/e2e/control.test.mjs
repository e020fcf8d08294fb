// PHP and the operator ask askrd over its control socket: who listens, and an end to it.

import test from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { Askrd, startAskrd } from '../lib/askrd.mjs';
import { metric } from '../lib/faults.mjs';
import { services } from '../lib/people.mjs';
import { php, phpEnvironment, phpJson, publish } from '../lib/php.mjs';
import { run } from '../lib/process.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { eventsPath, subscribe } from '../lib/sse.mjs';

/** The file that PHP signs with and askrd verifies by: of their common group, closed to others. */
function secretFile(scope) {
  const file = scope.path('secret');
  writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o640 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return file;
}

async function start(scope) {
  const secret = secretFile(scope);
  const askrd = await startAskrd(scope, { auth: { secret_file: secret } });
  // The settings of every PHP of this scope.
  phpEnvironment(scope, askrd, { 'askr.secret_file': secret, 'askr.control': askrd.control });
  const all = (...list) => phpJson(scope, askrd, 'audience.php', [], { input: JSON.stringify(list) });
  const one = async (...call) => (await all(call))[0];
  const listen = (token, channels) => subscribe(scope, askrd.tcp, channels, { reconnect: false, headers: bearer(token) });
  return { askrd, all, one, listen, secret };
}

const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});
const messages = ({ events }) => events.filter(({ event }) => event === 'message').map(({ data }) => data);
const gone = (stream) => stream.until('the stream has ended', () => stream.ended > 0);

/** The status that a stream is answered with. */
async function status(askrd, token, channel) {
  const stop = new AbortController();
  const answer = await fetch(`http://127.0.0.1:${askrd.port}${eventsPath(channel)}`, { headers: bearer(token), signal: stop.signal });
  stop.abort();
  return answer.status;
}

test('PHP and the operator are told who listens', scoped(async (scope) => {
  const { askrd, all, one, listen } = await start(scope);
  assert.deepEqual(await all(['askr_channels'], ['askr_members', 'presence-team']), [[], []]);
  const [ada, bob] = await all(['askr_token', ['private-a', 'presence-team'], 600, 'ada', { name: 'Æ', tags: [1, []] }],
    ['askr_token', ['presence-team'], 600, 'bob']);
  await listen(ada, ['private-a', 'presence-team']);
  await listen(ada, ['presence-team']);
  await listen(bob, ['orders', 'presence-team']);
  const visitor = await listen(null, ['orders', 'orders 2']);

  const here = [{ id: 'ada', info: { name: 'Æ', tags: [1, []] } }, { id: 'bob', info: null }];
  assert.deepEqual(await all(['askr_channels'], ['askr_channels', 'orders'], ['askr_channels', 'none'], ['askr_members', 'presence-team'], ['askr_members', 'presence-x']), [
    { orders: 2, 'orders 2': 1, 'presence-team': 3, 'private-a': 1 }, { orders: 2, 'orders 2': 1 }, [], here, [],
  ]);
  assert.deepEqual(await askrd.cli(['channels', '--config', askrd.config]),
    { code: 0, signal: null, out: '        2  orders\n        1  orders 2\n        3  presence-team\n        1  private-a\n', err: '' });
  assert.equal((await askrd.cli(['channels', 'orders ', '--config', askrd.config])).out, '        1  orders 2\n');
  const lines = (await askrd.cli(['members', 'presence-team', '--config', askrd.config])).out.split('\n');
  assert.deepEqual([JSON.parse(lines[0].replace('ada  ', '')), ...lines.slice(1)], [{ name: 'Æ', tags: [1, []] }, 'bob', '']);
  assert.match((await askrd.cli(['stats', '--config', askrd.config])).out, /^ +4 {2}streams/m);

  visitor.close();
  await until('the visitor is counted no more', async () => JSON.stringify(await one('askr_channels', 'orders')) === '{"orders":1}');
}));

test('a user is disconnected, and tokens issued before are refused', scoped(async (scope) => {
  const { askrd, all, one, listen } = await start(scope);
  const sign = (user) => ['askr_token', ['private-all', 'presence-team'], 600, user];
  const [ada, bob] = await all(sign('ada'), sign('bob'));
  const hers = [await listen(ada, ['private-all']), await listen(ada, ['presence-team'])];
  const his = await listen(bob, ['private-all']);
  assert.equal(await one('askr_disconnect', 'nobody'), 0);
  assert.equal(await one('askr_disconnect', 'ada'), 2);
  await Promise.all(hers.map(gone));
  assert.equal(await status(askrd, ada, 'private-all'), 401);
  assert.equal(await status(askrd, ada, 'presence-team'), 401);
  // A token says only in which second it was issued; one of a later second is taken.
  await until('a new token is taken', async () => (await status(askrd, await one(...sign('ada')), 'private-all')) === 200);

  await publish(scope, askrd, 'private-all', 'still here');
  await his.until('he got it', () => messages(his).length > 0);
  assert.deepEqual(messages(his), ['still here']);
  assert.deepEqual(await askrd.cli(['disconnect', 'bob', '--config', askrd.config]), { code: 0, signal: null, out: '1 connection ended\n', err: '' });
  await gone(his);
  assert.equal(await status(askrd, bob, 'private-all'), 401);
}));

test('one connection is ended, and its user may come back', scoped(async (scope) => {
  const { askrd, one, listen } = await start(scope);
  const token = await one('askr_token', ['private-all'], 600, 'ada');
  const [ended, other] = [await listen(token, ['private-all']), await listen(token, ['private-all'])];
  await ended.until('it was told who it is', () => ended.connected.length > 0);
  const { socket_id: id } = ended.connected[0];
  assert.match(id, /^\d+\.\d+$/);
  assert.equal(await one('askr_disconnect', id), 1);
  await gone(ended);
  assert.equal(await one('askr_disconnect', id), 0);
  await publish(scope, askrd, 'private-all', 'still here');
  await other.until('the other one got it', () => messages(other).length > 0);
  assert.equal(await status(askrd, token, 'private-all'), 200);
}));

test('which is meant is said where a user is called like a socket id', scoped(async (scope) => {
  const { askrd, all, one, listen } = await start(scope);
  const [token] = await all(['askr_token', ['private-all'], 600, '3.17']);
  const his = await listen(token, ['private-all']);
  assert.equal(await one('askr_disconnect', '3.17'), 0, 'taken for a socket id');
  assert.equal(await one('askr_disconnect_socket', '3.17'), 0);
  assert.equal(await status(askrd, token, 'private-all'), 200);
  assert.equal(await one('askr_disconnect_user', '3.17'), 1);
  await gone(his);
  assert.equal(await status(askrd, token, 'private-all'), 401);
  const cli = (...whom) => askrd.cli(['disconnect', ...whom, '--config', askrd.config]);
  assert.deepEqual(await cli('3.17'),
    { code: 1, signal: null, out: '', err: 'askrd: no connection has the socket id 3.17; if it is a user\'s id, say --user 3.17\n' });
  assert.equal((await cli('--user', '3.17')).code, 1);
}));

test('a user called * gets one channel; a pattern stands for others', scoped(async (scope) => {
  const { askrd, all } = await start(scope);
  const [star, pattern] = await all(['askr_token', ['private-user.*'], 600], ['askr_token', [], 600, null, null, ['private-user.*']]);
  assert.equal(await status(askrd, star, 'private-user.ada'), 403);
  assert.equal(await status(askrd, star, 'private-user.*'), 200);
  assert.equal(await status(askrd, pattern, 'private-user.ada'), 200);
}));

test('PHP signs by a new secret, and askrd takes it without a restart', scoped(async (scope) => {
  const { askrd, one, secret } = await start(scope);
  const sign = () => one('askr_token', ['private-all'], 600);
  const before = await sign();
  const old = readFileSync(secret, 'utf8');
  // In place, as an editor writes: its owner and mode stay.
  writeFileSync(secret, `new ${randomBytes(32).toString('hex')}\n${old}`);
  const after = await sign();
  assert.match(Buffer.from(after.split('.')[0], 'base64url').toString(), /"kid":"new"/);
  assert.equal(await status(askrd, after, 'private-all'), 200);
  assert.equal(await status(askrd, before, 'private-all'), 200);
}));

test('a member\'s info is told however it is nested', scoped(async (scope) => {
  const { one, listen } = await start(scope);
  const info = JSON.parse('['.repeat(119) + ']'.repeat(119));
  await listen(await one('askr_token', ['presence-team'], 600, 'ada', info), ['presence-team']);
  assert.deepEqual(await one('askr_members', 'presence-team'), [{ id: 'ada', info }]);
  assert.deepEqual(await one('askr_channels'), { 'presence-team': 1 });
}));

test('askrd refuses, or is away: it is told why', scoped(async (scope) => {
  const { askrd, one, all } = await start(scope);
  const other = await askrd.cli(['channels', '--config', askrd.config, '--ring', '/another']);
  assert.deepEqual([other.code, other.out], [1, '']);
  assert.match(other.err, /^askrd: askrd at \/.* refuses: no application of this askrd has this ring \(404/);
  for (const call of [['askr_disconnect', '99999999999999999999999.1']]) {
    const { class: thrown, message } = await one(...call);
    assert.equal(thrown, 'Askr\\Exception');
    assert.match(message, /refuses: the body must be .* \(status 400\); askr\.ring is /);
  }
  const bad = await askrd.cli(['members', 'pusher:x', '--config', askrd.config]);
  assert.deepEqual([bad.code, bad.err], [1, 'askrd: channel must not start with "pusher:"\n']);
  // Laravel's name of it.
  const short = await askrd.cli(['members', 'team', '--config', askrd.config]);
  assert.deepEqual([short.code, short.out], [1, '']);
  assert.match(short.err, /^askrd: channel "team" has no members, .* "presence-team"\?\n$/);

  await askrd.stop();
  for (const { class: thrown, message } of await all(['askr_channels'], ['askr_members', 'presence-a'], ['askr_disconnect', 'ada'])) {
    assert.equal(thrown, 'Askr\\Exception');
    assert.match(message, /^askrd at \/.* cannot be asked: .*; is askrd running with this control socket\?$/);
  }
  const { code, err } = await askrd.cli(['channels', '--config', askrd.config]);
  assert.equal(code, 1);
  assert.match(err, /^askrd: cannot ask askrd at .*; is askrd running, and may this user connect\?\n$/);
}));

const root = process.getuid() === 0;
test('the groups of the process count, whatever files say of its user', { skip: !root && 'needs root: it asks as another user' }, scoped(async (scope) => {
  // As a container's user has them that was given a group by number: no file knows of it.
  const [group, other] = [54321, 54322];
  const askrd = new Askrd(scope, { ring: { group: String(group) } });
  // Root may give the ring to a group that it is not in itself.
  askrd.user = { uid: 0, gid: 0 };
  await askrd.start();
  chmodSync(askrd.control, 0o666);
  const ask = (...groups) => run('setpriv', ['--reuid=65534', '--regid=65534', ...groups,
    askrd.binary, 'channels', '--config', askrd.config]);
  for (const groups of [`--groups=${group}`, `--groups=${other},${group}`, `--groups=${Array.from({ length: 200 }, (_, n) => 60_000 + n)},${group}`]) {
    const { code, out, err } = await ask(groups);
    assert.equal(code, 0, out + err);
  }
  for (const groups of ['--clear-groups', `--groups=${other}`]) {
    const { code, err } = await ask(groups);
    assert.equal(code, 1, err);
    assert.match(err, /this user may not ask about this ring/);
  }
}));

test('a user who may not publish to the ring may not ask about it', { skip: !root && 'needs root: it asks as another user' }, scoped(async (scope) => {
  const { askrd, one } = await start(scope);
  // Of a group of its own. It may see the directories; past the socket's permissions, those of the ring decide.
  for (const dir of [scope.dir, scope.shm]) chmodSync(dir, 0o775);
  const stranger = { uid: 54321, gid: 54321 };
  const ask = async () => JSON.parse((await php(scope, askrd, 'audience.php', [],
    { ...stranger, input: '[["askr_channels"],["askr_members","presence-a"],["askr_disconnect","ada"]]' })).out);
  for (const { class: thrown, message } of await ask()) {
    assert.equal(thrown, 'Askr\\Exception');
    assert.match(message, /cannot be asked: Permission denied .*; does this user belong to the socket's group\?$/);
  }
  chmodSync(askrd.control, 0o666);
  for (const { class: thrown, message } of await ask()) {
    assert.equal(thrown, 'Askr\\Exception');
    assert.match(message, /refuses: this user may not ask about this ring \(status 403\); askr\.ring is /);
  }
  const { code, err } = await askrd.cli(['disconnect', 'ada', '--config', askrd.config], stranger);
  assert.equal(code, 1);
  assert.match(err, /refuses: this user may not ask about this ring \(403/);
  assert.deepEqual(await one('askr_channels'), [], 'who may publish may ask');
}));

test('a user who does not finish its requests keeps nobody else waiting', { skip: !root && 'needs root: it asks as another user' }, scoped(async (scope) => {
  const { askrd, one } = await start(scope);
  chmodSync(scope.dir, 0o775);
  chmodSync(askrd.control, 0o666);
  // 300 connections that say half of what they want. A line for each that is closed.
  const flood = scope.start('flood', process.execPath, ['-e', `
    for (let i = 0; i < 300; i += 1) {
      const socket = require('node:net').connect(${JSON.stringify(askrd.control)}, () => socket.write('GET /healthz HT'));
      socket.on('error', () => {}).on('data', () => {}).on('close', () => process.stdout.write('closed\\n'));
    }
  `], { uid: 54321, gid: 54321 });
  await until('it has its share, and no more', () => flood.output().split('closed').length - 1 >= 236);
  // PHP's user, which waits two seconds; an operator; whoever watches over it: all are heard.
  assert.deepEqual(await one('askr_channels'), []);
  assert.equal((await askrd.cli(['stats', '--config', askrd.config])).code, 0);
  assert.equal((await askrd.health()).status, 200);
  assert.equal(await metric(askrd, 'askr_control_refused_total'), 236);
}));
