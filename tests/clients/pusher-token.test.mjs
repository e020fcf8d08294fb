// clients/pusher-token without a server: what its handler answers pusher-js. The whole is in e2e/pusher-token.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { endpoint, tokenAuthorization } from '../../clients/pusher-token/index.js';

const asked = (handler, channelName, socketId = '1.2') => new Promise((resolve, reject) => {
  handler({ channelName, socketId }, (error, data) => (error ? reject(error) : resolve(data)));
});
const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;

test('a token is asked for once for each connection, and again after it could not be had', async () => {
  let calls = 0;
  let away = false;
  const handler = tokenAuthorization({ token: async () => { calls += 1; if (away) throw new Error('away'); return `a.b.${calls}`; } });
  const all = await Promise.all(['private-a', 'private-b', 'private-cache-c'].map((name) => asked(handler, name)));
  assert.deepEqual([all, calls], [Array(3).fill({ auth: 'a.b.1' }), 1]);
  assert.deepEqual(await asked(handler, 'private-d'), { auth: 'a.b.1' });
  away = true;
  await assert.rejects(asked(handler, 'private-a', '3.4'), /away/);
  away = false;
  assert.deepEqual(await asked(handler, 'private-a', '3.4'), { auth: 'a.b.3' });
  assert.deepEqual(await asked(handler, 'private-b', '3.4'), { auth: 'a.b.3' });
});

test('without a token the cookie of the handshake is meant', async () => {
  for (const token of [undefined, null, '', () => undefined, async () => null]) {
    assert.deepEqual(await asked(tokenAuthorization({ token }), 'private-a'), { auth: '' });
  }
});

test('who a presence channel\'s user is the token says, or the page', async () => {
  const member = async (options) => JSON.parse((await asked(tokenAuthorization(options), 'presence-a')).channel_data);
  const token = jwt({ sub: 'zoë', info: { name: 'Zoë ☃' } });
  assert.deepEqual(await member({ token }), { user_id: 'zoë', user_info: { name: 'Zoë ☃' } });
  assert.deepEqual(await member({ token, user: { id: 7 } }), { user_id: '7' });
  assert.deepEqual(await member({ user: () => ({ id: 0, info: null }) }), { user_id: '0', user_info: null });
  for (const options of [{}, { token: jwt({}) }, { token: 'a.b.c' }, { token: 'a' }, { user: () => undefined }]) {
    await assert.rejects(member(options), /presence-a: pusher-js has to know who the page's user is/);
  }
});

test('an encrypted channel is another handler\'s', async () => {
  await assert.rejects(asked(tokenAuthorization({ token: 'a.b.c' }), 'private-encrypted-a'), /needs a shared_secret.*`otherwise`/);
  const otherwise = ({ channelName, socketId }, callback) => callback(null, { auth: `${channelName} ${socketId}`, shared_secret: 's' });
  const handler = tokenAuthorization({ token: 'a.b.c', otherwise });
  assert.deepEqual(await asked(handler, 'private-encrypted-a'), { auth: 'private-encrypted-a 1.2', shared_secret: 's' });
  assert.deepEqual(await asked(handler, 'private-a'), { auth: 'a.b.c' });
  await assert.rejects(asked(endpoint('http://127.0.0.1:1/'), 'private-encrypted-a'));
});
