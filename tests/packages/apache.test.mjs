// Apache with PHP as a module, beside an nginx that is installed and does not run: the packages give it the extension and the
// group, an upgrade the new extension, and askrd doctor finds what is wrong with it. DEBS and RELEASE as in deb.test.mjs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { ask } from '../lib/http.mjs';
import { scoped, until } from '../lib/scope.mjs';
import { bootSite, packages } from './site.mjs';

const { RELEASE = 'bookworm', DEBS } = process.env;
const SHOP = { port: 80 };

test(`Apache with PHP as a module on ${RELEASE}`, scoped(async (scope, t) => {
  // Both want port 80: who has Apache has turned nginx off.
  const system = await bootSite(scope, RELEASE, DEBS, { layer: 'apache' });
  await system.sh('systemctl disable --quiet --now nginx; systemctl reset-failed; systemctl restart apache2');
  const php = system.php;
  const apt = (...args) => system.in('apt-get', '-y', '-q', ...args);
  const publish = async () => {
    const { status, body } = await ask(SHOP, '/publish.php');
    assert.equal(status, 200, `${body} ${system.read('var/log/apache2/error.log')}`);
    return JSON.parse(body);
  };
  const says = async () => {
    const { code, out, err } = await system.try('askrd', 'doctor', '--no-event');
    return [code, out + err];
  };
  const finds = async (code, ...texts) => {
    const [found, said] = await says();
    for (const text of texts) assert.ok(said.includes(text), `${text}: ${said}`);
    assert.equal(found, code, said);
    assert.equal(said.trim().split('\n').length, 2, `and nothing else: ${said}`);
  };
  const maps = () => system.sh('cat $(pgrep -x apache2 | sed "s|.*|/proc/&/maps|")');

  await t.test('after apt install its pages publish, and askrd doctor says nothing', async () => {
    await apt('install', ...packages(DEBS, 'current'));
    const published = await publish();
    assert.equal(published.published, true, JSON.stringify(published));
    const { code, out, err } = await system.try('askrd', 'doctor');
    assert.deepEqual([code, out + err], [0, '']);
  });

  await t.test('after an upgrade it has the new extension', async () => {
    await apt('install', ...packages(DEBS, '0.2.0'));
    assert.equal((await publish()).published, true);
    const now = await maps();
    assert.match(now, /\/askr\.so$/m);
    assert.doesNotMatch(now, /askr\.so \(deleted\)/);
  });

  await t.test('askrd doctor finds what is wrong with it', async () => {
    const site = '/etc/apache2/sites-enabled/000-default.conf';
    const kept = system.read(site.slice(1));
    await system.sh(`sed -i 's|</VirtualHost>|php_admin_value askr.ring /shop\\n&|' ${site}; systemctl restart apache2`);
    await finds(2, `Apache with PHP ${php}: a site writes the ring "/shop"`, site);
    assert.equal((await publish()).published, false);
    await system.in('sh', '-c', `printf %s "$1" >${site}; systemctl restart apache2`, 'sh', kept);
    assert.equal((await publish()).published, true);
    assert.deepEqual(await says(), [0, '']);

    // Taken out of the group, put there again, and not restarted; the pool of PHP-FPM, which has the same user, is not there.
    await system.sh(`systemctl stop php${php}-fpm; rm /etc/php/${php}/fpm/pool.d/www.conf; systemctl disable --quiet php${php}-fpm`);
    await system.sh('gpasswd -d www-data askr; systemctl restart apache2');
    await finds(2, `Apache with PHP ${php} runs as www-data, who may not write the ring`, 'usermod -aG askr www-data && systemctl restart apache2');
    await system.sh('usermod -aG askr www-data');
    await finds(2, `Apache with PHP ${php} was started before www-data was put into the group`, 'systemctl restart apache2');
    await system.sh('systemctl restart apache2');
    assert.deepEqual(await says(), [0, '']);

    await system.sh(`phpdismod -v ${php} -s apache2 askr`);
    await finds(1, `PHP ${php} (apache2) does not load askr.so`, `phpenmod -v ${php} -s apache2 askr && systemctl restart apache2`);
    await system.sh(`phpenmod -v ${php} -s apache2 askr; systemctl stop apache2`);
    await finds(1, `PHP ${php} (apache2) is to run, and does not`, 'systemctl start apache2');
    await system.sh('systemctl start apache2');
    assert.deepEqual(await says(), [0, '']);
  });

  await t.test('removed, it does not look for the extension', async () => {
    await apt('remove', 'askrd', `php${php}-askr`);
    await until('Apache runs without it', async () => (await ask(SHOP, '/publish.php')).status === 500);
    assert.doesNotMatch(await maps(), /askr\.so/);
    assert.doesNotMatch(system.read('var/log/apache2/error.log'), /Unable to load dynamic library/);
  });
}));
