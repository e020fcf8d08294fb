// The benchmark's own load as a test of what it measures: every stream has every event once and in
// order, one at a time, in bursts and after a return, by io_uring and by plain writes.

import test from 'node:test';
import assert from 'node:assert/strict';
import { compile, startAskrd } from '../bench/fanout-servers.mjs';
import { metric } from '../lib/faults.mjs';
import { scoped } from '../lib/scope.mjs';

const STREAMS = 600;

for (const io of ['uring', 'write']) {
  for (const workers of [1, 2]) {
    test(`${STREAMS} streams have every event once, with io = "${io}" and ${workers} worker(s)`, scoped(async (scope) => {
      const server = await startAskrd(scope, { name: `askrd-${io}-${workers}`, workers, cores: '0,1', settings: { server: { io } } });
      const load = server.load(compile(scope, 'fanout-load'));
      await load.command(`open ${STREAMS}`);
      for (const command of ['events 20 1', 'events 300 100']) {
        const { least, most } = await load.command(command);
        assert.equal(least, most, `${command}: every stream has had as many as the others`);
      }
      assert.equal(await metric(server.askrd, 'askr_events_delivered_total'), STREAMS * 320);

      const { cursor } = await load.command('cursor');
      await load.command('events 100 100');
      await load.command('close');
      await load.command(`open ${STREAMS} ${cursor}`);
      const { least, most } = await load.command('replay 100');
      assert.deepEqual([least, most], [100, 100], 'who comes back has what was missed');
    }));
  }
}
