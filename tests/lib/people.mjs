// Who runs what. As root, the services get users of their own, as a real host has them: askrd is one
// user, PHP and nginx another, and they meet in a group. Otherwise all are the one who runs the tests.

import { execFileSync } from 'node:child_process';

const id = (flag, user) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));

let known;

/** `{ daemon: {uid, gid, name}, web: {uid, gid, name}, group }`; uid and gid undefined when not root. */
export function services() {
  if (!known) {
    if (process.getuid() === 0) {
      const web = { uid: id('-u', 'www-data'), gid: id('-g', 'www-data'), name: 'www-data' };
      known = { daemon: { uid: id('-u', 'nobody'), gid: web.gid, name: 'nobody' }, web, group: 'www-data' };
    } else {
      known = { daemon: {}, web: {}, group: undefined };
    }
  }
  return known;
}
