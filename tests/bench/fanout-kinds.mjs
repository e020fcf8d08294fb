// The kinds of subscriber beside one another: askrd's WebSockets (Pusher's protocol) and its private channels
// over SSE, each against askrd's own SSE; the floor with WebSocket framing; sockudo, if it is installed.
//
// All kinds in one turn, another first in each, on fresh servers: what is judged is the ratio within a turn, so
// that a machine that gets slower or quicker meanwhile moves both sides.

import { createHmac, randomBytes } from 'node:crypto';
import { chownSync, writeFileSync } from 'node:fs';
import { services } from '../lib/people.mjs';
import { APP, PUSHER, startAskrd, startFloor } from './fanout-servers.mjs';
import { sockudoVersion, startSockudo } from './fanout-sockudo.mjs';

export const PRIVATE = 'private-bench';
const BURST = 100;

/** A secret that askrd signs and verifies by: its file, and the secret itself. */
export function secretFile(scope) {
  const [file, secret] = [scope.path('secret'), randomBytes(32).toString('hex')];
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  const { daemon } = services();
  if (daemon.uid !== undefined) chownSync(file, daemon.uid, daemon.gid);
  return { file, secret };
}

/** A file with a token for each of `count` users, who may hear PRIVATE for an hour. */
export function tokenFile(scope, secret, count) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const iat = Math.floor(Date.now() / 1000);
  const tokens = Array.from({ length: count }, (_, user) => {
    const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ channels: [PRIVATE], sub: `user-${user}`, iat, exp: iat + 3600 })}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  });
  const file = scope.path('tokens');
  writeFileSync(file, `${tokens.join('\n')}\n`);
  return file;
}

/**
 * The kinds: how each one's server is started, how its subscribers come, and how many times as many bursts as
 * the others it is given: where a delivery costs a fiftieth, it takes more of them to tell 5 % from noise.
 */
export function kinds(scope, count) {
  const { file, secret } = secretFile(scope);
  const tokens = tokenFile(scope, secret, count);
  // The same settings for all of askrd's.
  const askrd = (name) => startAskrd(scope, { name, settings: { auth: { secret_file: file }, app: { id: APP.id, key: APP.key } } });
  return {
    floor: { start: (name) => startFloor(scope, { name, pusher: 'bench' }), load: PUSHER },
    ...(sockudoVersion() && { sockudo: { start: (name) => startSockudo(scope, { name }), load: PUSHER } }),
    sse: { start: askrd, load: {}, times: 5 },
    websocket: { start: askrd, load: PUSHER, times: 5 },
    private: { start: askrd, load: { channel: PRIVATE, tokens }, times: 5 },
  };
}

/**
 * Measures every kind `sizes.turns` times. `measure` has the tools of the other measurements:
 * `{ settle, cost, perDelivery, say }`. Resolves to figures: `sse.one_many` is a list, one value a turn.
 */
export async function measureKinds(scope, program, sizes, measure) {
  const all = kinds(scope, sizes.many);
  const names = Object.keys(all);
  const figures = Object.fromEntries(names.map((name) => [name, {}]));
  for (let number = 0; number < sizes.turns; number += 1) {
    for (let n = 0; n < names.length; n += 1) {
      const name = names[(number + n) % names.length];
      measure.say(`kinds of subscriber, turn ${number + 1} of ${sizes.turns}: ${name}`);
      const note = (key, value) => (figures[name][key] ??= []).push(value);
      await turn(await all[name].start(`kinds-${name}-${number}`), program, all[name], sizes, measure, note);
    }
  }
  return figures;
}

async function turn(server, program, { load: options, times = 1 }, { many, few, each, bursts }, { settle, cost, perDelivery }, note) {
  const load = server.load(program, options);
  const before = server.memory();
  const opened = await cost(server, () => load.command(`open ${many}`));
  note('fresh', opened.us / many);
  note('memory', (server.memory().pss - before.pss) / many);
  await load.command('events 2 1');
  note('one_many', await perDelivery(server, load, `events ${Math.ceil(each / many)} 1`));
  note('burst_many', await perDelivery(server, load, `events ${times * BURST} ${BURST}`));
  await load.command('close');
  await settle(server);

  await load.command(`open ${few}`);
  await load.command('events 5 1');
  note('one_few', await perDelivery(server, load, `events ${Math.ceil(each / few)} 1`));
  note('burst_few', await perDelivery(server, load, `events ${times * bursts * BURST} ${BURST}`));
  await load.end();
  await server.end();
}
