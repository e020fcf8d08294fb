// One attack in a process of its own, at the lowest priority: what it costs askrd is the question, not what it
// costs the machine.
//   node attacker.mjs NAME '{"port":…, "control":…, "epoch":…}'
// Goes on until it is ended.

import os from 'node:os';
import { World } from './clients.mjs';

os.setPriority(19);
const [name, place] = process.argv.slice(2);
const { attack } = await import(`./attacks/${name}.mjs`);
attack(new World(JSON.parse(place)));
