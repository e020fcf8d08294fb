// docs/AUTHORIZATION.md, "Laravel's /broadcasting/auth", by the letter: a page with EventSource that adds a private channel.

import test from 'node:test';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { EventSource } from 'eventsource';
import { startAskrd } from '../lib/askrd.mjs';
import { ROOT } from '../lib/built.mjs';
import { publish } from '../lib/php.mjs';
import { relay } from '../lib/relay.mjs';
import { scoped, until } from '../lib/scope.mjs';

const [SECRET, CHANNEL] = ['the-secret-of-a-recipe-0123456789', 'private-orders.7'];

test('what comes to a private channel while the page is away is there when it is back, also if it is the first event', scoped(async (scope) => {
  const askrd = await startAskrd(scope, { app: { id: 'shop', key: 'shop-key', secret: SECRET } });
  const line = await relay(scope, askrd.tcp, (length) => length);
  const url = `http://127.0.0.1:${line.port}`;
  const [, recipe] = /## Laravel's \/broadcasting\/auth.*?```js\n(.*?)```/s.exec(readFileSync(path.join(ROOT, 'docs/AUTHORIZATION.md'), 'utf8'));
  const added = [];
  const globals = {
    csrf: '', show: (data) => shown.push(data),
    EventSource: class extends EventSource {
      constructor(where) {
        super(url + where);
        scope.defer(() => this.close());
      }
    },
    fetch: async (where, { body }) => {
      const { socket_id: id, channel_name: name } = JSON.parse(body);
      if (where === '/broadcasting/auth') return Response.json({ auth: `shop-key:${createHmac('sha256', SECRET).update(`${id}:${name}`).digest('hex')}` });
      const answer = await fetch(url + where, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
      added.push(answer.status);
      return answer;
    },
  };
  const shown = [];
  new Function(...Object.keys(globals), recipe)(...Object.values(globals));
  await until('the channel is added', () => added.length === 1);
  line.break();
  await publish(scope, askrd, CHANNEL, '1');
  await until('it is added again', () => added.length === 2);
  await publish(scope, askrd, CHANNEL, '2');
  await until('the last is there', () => shown.includes('2'));
  line.break();
  await publish(scope, askrd, CHANNEL, '3', { event: 'App\\Events\\OrderPaid' });
  await until('it is added once more', () => added.length === 3);
  await publish(scope, askrd, CHANNEL, '4');
  await until('the last is there', () => shown.includes('4'));
  assert.deepEqual([shown, added], [['1', '2', '3', '4'], [200, 200, 200]]);
}));
