// The healthy side in a process of its own, so that no attack takes its time:
//   node readers.mjs '{"port":…, "socket":…}'
// Prints "ready" when every reader is subscribed. A line on its standard input, {"news":N,"big":M}, says how
// much was published: it prints its report when everybody has that, or has had a minute for it. Meanwhile it prints
// every few seconds how far those are who do not have it yet: "late …".

import { createInterface } from 'node:readline';
import { until } from '../lib/scope.mjs';
import { healthyReaders } from './healthy.mjs';
import { Newcomers } from './newcomers.mjs';

const TELL = 5000;

const place = JSON.parse(process.argv[2]);
const accounts = await healthyReaders(place);
process.stdout.write('ready\n');
const newcomers = new Newcomers(place.port);

for await (const line of createInterface({ input: process.stdin })) {
  const published = JSON.parse(line);
  if (!published.news) {
    // The last events are for newcomers, too: they are done before publishing ends.
    await newcomers.end();
    process.stdout.write('no more newcomers\n');
    continue;
  }
  const all = until('all events arrived', () => accounts.every((account) => account.has(published)));
  const tells = setInterval(() => {
    const behind = accounts.filter((account) => !account.has(published));
    process.stdout.write(`late ${behind.map(({ name, next }) => `${name}: ${next.news} small, ${next.big} large`).join('; ')}\n`);
  }, TELL);
  const late = await all.then(() => null, (why) => why.message);
  clearInterval(tells);
  process.stdout.write(`${JSON.stringify({ readers: accounts.map((account) => account.report()), newcomers: newcomers.report(), late })}\n`);
  process.exit(0);
}
