// One broadcast() in a request of PHP-FPM, opcache on, by the drivers null (what Laravel itself costs), askr and pusher
// (to askrd), in turns, so that all meet the same machine. `CPU`: of the PHP process, which does not
// count the time that others had the processor. `request`: from its arrival until broadcast() has returned.
//
// Laravel's driver for Pusher calls Pusher's library, which Debian does not have: the stand-in of the tests is lighter than it
// (no Guzzle). PUSHER_PHP names the autoload.php of the real one.

import { mkdirSync, chownSync } from 'node:fs';
import path from 'node:path';
import { TESTS } from '../lib/built.mjs';
import { services } from '../lib/people.mjs';
import { startSite } from '../lib/php.mjs';
import { APP, startPusher } from '../lib/pusher.mjs';
import { Scope } from '../lib/scope.mjs';
import { quantile, table } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 400);
const WARM = 50;
const DRIVERS = ['null', 'askr', 'pusher'];

async function startDriver(scope, askrd, driver) {
  const { web } = services();
  const storage = scope.path(`storage-${driver}`);
  mkdirSync(storage);
  if (web.uid !== undefined) chownSync(storage, web.uid, web.gid);
  const env = {
    APP_STORAGE: storage, BROADCAST_DRIVER: driver, ASKR_APP_ID: APP.id, ASKR_APP_KEY: APP.key, ASKR_APP_SECRET: APP.secret,
    ASKR_URL: `http://127.0.0.1:${askrd.port}`,
  };
  return startSite(scope, askrd, { front: path.join(TESTS, 'laravel-package-app/public/index.php'), env, workers: 1, name: driver });
}

const scope = new Scope();
try {
  const askrd = await startPusher(scope);
  const sites = {};
  for (const driver of DRIVERS) sites[driver] = await startDriver(scope, askrd, driver);
  const ask = async (driver) => {
    const answer = await fetch(`${sites[driver].url}/bench`);
    if (answer.status !== 200) throw new Error(`${driver}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  for (let n = 0; n < WARM; n += 1) for (const driver of DRIVERS) await ask(driver);
  const all = Object.fromEntries(DRIVERS.map((driver) => [driver, []]));
  for (let n = 0; n < ROUNDS; n += 1) {
    for (let i = 0; i < DRIVERS.length; i += 1) {
      const driver = DRIVERS[(n + i) % DRIVERS.length];
      all[driver].push(await ask(driver));
    }
  }
  const us = (driver, what, q = 0.5) => quantile(all[driver].map((one) => one[what]), q) / 1000;
  const beyond = (driver, what) => (us(driver, what) - us('null', what)).toFixed(0);
  console.log(table(['microseconds, median', 'broadcast()', 'quartiles', '- null', 'CPU', '- null', 'request', '- null'], DRIVERS.map((driver) => [
    driver, us(driver, 'ns').toFixed(0), `${us(driver, 'ns', 0.25).toFixed(0)} .. ${us(driver, 'ns', 0.75).toFixed(0)}`, beyond(driver, 'ns'),
    us(driver, 'cpu').toFixed(0), beyond(driver, 'cpu'), us(driver, 'request').toFixed(0), beyond(driver, 'request'),
  ])));
  console.log(`${ROUNDS} requests each, one after another; Laravel ${(await ask('null')).laravel}`);
} finally {
  await scope.close();
}
