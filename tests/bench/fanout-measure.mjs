// What the fan-out benchmark measures of a server: CPU for each piece of work, memory for each stream, latency.

/** Events that are published at once. */
export const BURST = 100;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Until the server has done what it was left with: closed streams, freed memory. */
export async function settle(server) {
  for (let before = -1, now = server.cpu(); now - before > 500_000; now = server.cpu()) {
    before = now;
    await pause(40);
  }
}

/** CPU of the server, in µs, for what happens in `action`. */
export async function cost(server, action) {
  await settle(server);
  const before = server.cpu();
  const answer = await action();
  await settle(server);
  return { us: (server.cpu() - before) / 1000, answer };
}

/** CPU per delivery of `command` ("events 100 1"), in µs; every stream has to have had the same. */
export async function perDelivery(server, load, command) {
  const before = (await load.command('cursor')).deliveries;
  const { us, answer } = await cost(server, () => load.command(command));
  if (command.startsWith('events') && answer.least !== answer.most) throw new Error(`${server.name}: not every stream had every event`);
  return us / (answer.deliveries - before);
}

/**
 * Everything that is measured of one server in one round; each figure goes to `note(key, value)`. `replays`: whether
 * a stream that comes back gets what it missed.
 */
export async function measure(server, program, sizes, note, { replays = true } = {}) {
  const load = server.load(program);
  const { many, few, each } = sizes;

  const before = server.memory();
  await load.command(`open ${many}`);
  await settle(server);
  note('memory', (server.memory().pss - before.pss) / many);
  await load.command('events 2 1');
  note('one_many', await perDelivery(server, load, `events ${Math.ceil(each / many)} 1`));
  note('burst_many', await perDelivery(server, load, `events ${BURST} ${BURST}`));
  await settle(server);
  note('memory_after', (server.memory().pss - before.pss) / many);
  await load.command('close');
  await settle(server);

  await reconnect(server, load, many, note, replays);
  await load.command('close');

  await load.command(`open ${few}`);
  await load.command('events 5 1');
  note('one_few', await perDelivery(server, load, `events ${each / few} 1`));
  note('burst_few', await perDelivery(server, load, `events ${sizes.bursts * BURST} ${BURST}`));
  for (const rate of [100, 1000]) {
    const { p50, p99 } = await load.command(`rate ${rate * sizes.seconds} ${rate}`);
    note(`p50_${rate}`, p50 / 1000);
    note(`p99_${rate}`, p99 / 1000);
  }
  await load.command('close');
  await settle(server);

  await load.command('open 1');
  const { p50, p99 } = await load.command(`rate ${2000 * sizes.seconds} 1000`);
  note('latency_p50', p50 / 1000);
  note('latency_p99', p99 / 1000);
  await load.end();
}

/** Fresh streams and the bytes of a burst, beside the same streams coming back for that burst. */
async function reconnect(server, load, many, note, replays) {
  const fresh = await cost(server, () => load.command(`open ${many}`));
  note('accept', fresh.us / many);
  if (!replays) return;
  await load.command('events 1 1');
  const { cursor } = await load.command('cursor');
  const bytes = await cost(server, () => load.command(`events ${BURST} ${BURST}`));
  await load.command('close');
  const back = await cost(server, async () => {
    await load.command(`open ${many} ${cursor}`);
    return load.command(`replay ${BURST}`);
  });
  if (back.answer.least !== BURST || back.answer.most !== BURST) throw new Error(`${server.name}: replay was not whole`);
  note('replay', back.us / many);
  note('replay_ratio', back.us / (fresh.us + bytes.us));
}
