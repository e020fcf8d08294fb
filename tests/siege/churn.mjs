// The churn: connections of every kind come and go in every way, and nothing of them is left.
//   CONNECTIONS=60000 node siege/churn.mjs
// Anonymous memory and descriptors are looked at after each of thirteen parts, with nobody connected. The first
// part warms it up; from then on, the last third may not have more than the first.

import { Askrd } from '../lib/askrd.mjs';
import { metrics } from '../lib/faults.mjs';
import { freePort } from '../lib/http.mjs';
import { publishAll } from '../lib/php.mjs';
import { Scope, until } from '../lib/scope.mjs';
import { startApplication } from './application.mjs';
import { KINDS } from './kinds.mjs';
import { anonymous, descriptors } from './memory.mjs';
import { settings } from './settings.mjs';

const CONNECTIONS = Number(process.env.CONNECTIONS ?? 60_000);
const THIRD = 4;
const PARTS = 1 + 3 * THIRD;
const AT_ONCE = 64;
const SHARES = 8;
/** Pages that the allocator had to take for one part and not for another. */
const NOISE = 1 << 20;

async function part(world, from, count) {
  const kinds = Object.entries(KINDS);
  let n = from;
  const one = async () => {
    while (n < from + count) {
      const mine = n;
      n += 1;
      const [name, connect] = kinds[mine % kinds.length];
      await connect(world, Math.floor(mine / kinds.length)).catch((why) => { throw new Error(`${name}: ${why.message}`); });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

async function churn(scope) {
  const application = await startApplication(scope);
  const port = await freePort();
  const own = settings(application, port, scope.path('askrd.sock'));
  // Nobody is turned away here: all come from one address, whose share is an eighth.
  own.app.auth_calls = SHARES * AT_ONCE;
  const askrd = await new Askrd(scope, own).start();
  const { pid } = askrd.process;
  await publishAll(scope, askrd, Array.from({ length: 50 }, (_, n) => ({ channel: n % 2 ? 'large' : 'churn', payload: 'x'.repeat(n % 2 ? 20_000 : 20) })));
  const world = { tcp: { port }, unix: { path: askrd.socket }, control: askrd.control, ring: askrd.ring };
  const samples = [];
  const size = Math.ceil(CONNECTIONS / PARTS);
  for (let n = 0; n < PARTS; n += 1) {
    await part(world, n * size, size);
    await until('nobody is connected', async () => {
      const all = await metrics(askrd);
      return all.askr_connections === 0 && all.askr_presence_members === 0 && all.askr_channels === 0;
    });
    // Connections to the application are kept for a moment.
    const most = n <= THIRD ? Infinity : Math.max(...samples.slice(1, 1 + THIRD).map((sample) => sample.descriptors));
    await until(`there are no more than ${most} descriptors`, () => descriptors(pid) <= most);
    samples.push({ memory: anonymous(pid), descriptors: descriptors(pid) });
    console.log(`churn: ${String((n + 1) * size).padStart(7)} connections: ${(samples.at(-1).memory / 1024).toFixed(0)} KiB, ${samples.at(-1).descriptors} descriptors`);
  }
  return samples;
}

function judge(samples) {
  const most = (part) => Math.max(...part.map(({ memory }) => memory));
  const grown = most(samples.slice(-THIRD)) - most(samples.slice(1, 1 + THIRD));
  return grown > NOISE ? [`anonymous memory grew by ${grown >> 10} KiB from the first third to the last`] : [];
}

const scope = new Scope();
let wrong;
try {
  wrong = judge(await churn(scope));
} catch (error) {
  wrong = [error.stack, ...scope.processes.map((one) => `${one.name} (${one.state()}): ${one.output().slice(-500)}`)];
} finally {
  await scope.close();
}
for (const one of wrong) console.log(`churn: FAILED: ${one}`);
process.exit(wrong.length ? 1 : 0);
