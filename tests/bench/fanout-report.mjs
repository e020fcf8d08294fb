// What the fan-out benchmark says: a table for the terminal, and for docs/FANOUT.md with a chart.

import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from '../lib/built.mjs';
import { chart } from './fanout-chart.mjs';
import { connectionsReport } from './fanout-connect.mjs';
import { kindsReport } from './fanout-kinds-report.mjs';
import { median, table } from './figures.mjs';

const NAMES = ['floor', 'nchan', 'askrd'];
const DOC = path.join(ROOT, 'docs/FANOUT.md');
const [BEGIN, END] = ['<!-- figures: written by make bench-fanout -->', '<!-- end of figures -->'];

/** With three digits or so: 0.127, 6.11, 44.1, 1234. */
const short = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3));
const ns = (value) => short(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');

/**
 * One line of the table: a figure of each server, the ratio that is judged, and what is asked of it.
 * `must` and `aim` are upper bounds of `judged`; `below` names a figure of nchan that must be larger.
 */
function lines(figures, sizes) {
  const value = (name, key) => (figures[name][key] ? median(figures[name][key]) : undefined);
  const of = (key) => Object.fromEntries(NAMES.map((name) => [name, figures[name][key]]));
  const ratio = (key, to = 'floor') => value('askrd', key) / value(to, key);
  const n = (count) => count.toLocaleString('en');
  const burst = (of_what) => `CPU per delivery, bursts of 100, ${n(of_what)} subscribers`;
  const one = (of_what) => `CPU per delivery, one at a time, ${n(of_what)} subscribers`;
  return [
    { what: one(sizes.few), unit: 'µs', cells: of('one_few'), judged: ratio('one_few'), word: '× floor', must: 1.1, aim: 0.85, below: ratio('one_few', 'nchan') },
    { what: one(sizes.many), unit: 'µs', cells: of('one_many'), judged: ratio('one_many'), word: '× floor', must: 1.1, aim: 0.85, below: ratio('one_many', 'nchan') },
    { what: burst(sizes.few), unit: 'µs', cells: of('burst_few'), judged: ratio('burst_few'), word: '× floor', must: 0.15, aim: 0.06, below: ratio('burst_few', 'nchan') },
    { what: burst(sizes.many), unit: 'µs', cells: of('burst_many'), judged: ratio('burst_many'), word: '× floor', must: 0.15, aim: 0.06, below: ratio('burst_many', 'nchan') },
    { what: `memory per idle subscriber, ${n(sizes.many)}`, unit: 'B', cells: of('memory'), judged: value('askrd', 'memory') / 1024, word: 'KiB', must: 1.5, aim: 0.8 },
    { what: 'the same after traffic', unit: 'B', cells: of('memory_after'), judged: value('askrd', 'memory_after') / 1024, word: 'KiB' },
    { what: `own memory before and after ${n(sizes.growth)} deliveries`, unit: 'KiB', cells: {}, shown: { askrd: `${ns(value('askrd', 'growth_before') / 1024)}, ${ns(value('askrd', 'growth_after') / 1024)}` },
      judged: (value('askrd', 'growth_after') - value('askrd', 'growth_before')) / 1024, word: 'KiB more', must: 64 },
    { what: 'publish in PHP to received, 1 subscriber, p50', unit: 'µs', cells: of('latency_p50'), judged: ratio('latency_p50'), word: '× floor', must: 3, aim: 2 },
    { what: 'the same, p99', unit: 'µs', cells: of('latency_p99'), judged: ratio('latency_p99'), word: '× floor' },
    { what: `p99 at 1,000 events/s to ${n(sizes.few)} subscribers`, unit: 'µs', cells: of('p99_1000'), judged: ratio('p99_1000', 'nchan'), word: '× nchan', must: 1 },
    { what: `p99 at 100 events/s to ${n(sizes.few)} subscribers`, unit: 'µs', cells: of('p99_100'), judged: ratio('p99_100', 'nchan'), word: '× nchan' },
    { what: `CPU of a fresh subscriber, ${n(sizes.many)} at once`, unit: 'µs', cells: of('accept'), judged: ratio('accept', 'nchan'), word: '× nchan' },
    { what: `CPU of a return with 100 events of replay, ${n(sizes.many)} at once`, unit: 'µs', cells: of('replay'), judged: value('askrd', 'replay_ratio'), word: '× fresh + bytes', must: 1.2, aim: 1.1 },
    { what: `CPU with ${n(sizes.many)} idle subscribers, heartbeats included`, unit: '% of a core', cells: of('idle'), judged: value('askrd', 'idle'), word: '%', must: 1 },
    { what: `CPU per delivery, 2 workers, ${n(2 * sizes.few)} subscribers`, unit: 'µs', cells: of('workers_2'), judged: value('askrd', 'workers_ratio'), word: '× one worker', must: 1.15 },
    { what: `CPU per event, ${n(sizes.processes * sizes.channels)} channels with 1 subscriber each`, unit: 'µs', cells: of('channels_one'),
      judged: value('askrd', 'channels_one') / value('askrd', 'channel_one'), word: '× one channel', must: 1.3 },
    { what: 'the same, 1,000 events at once, each for another channel', unit: 'µs', cells: of('channels_burst'),
      judged: value('askrd', 'channels_burst') / value('askrd', 'one_many'), word: `× one channel of ${n(sizes.many)}`, must: 1.5, aim: 1.2 },
    { what: 'the same, beside one channel with as many connections', unit: 'µs', cells: of('channels_together'),
      judged: value('askrd', 'channels_burst') / value('askrd', 'channels_together'), word: '× that', must: 1.5, aim: 1.2 },
    { what: 'memory per subscriber with a channel of its own', unit: 'B', cells: of('channel_memory'), judged: value('askrd', 'channel_memory') / 1024, word: 'KiB' },
  ];
}

/** What became of what was asked. */
function verdict({ judged, must, aim, below }) {
  if (must === undefined) return '';
  if (judged > must || below >= 1) return 'MISSED';
  return aim === undefined || judged > aim ? 'met' : 'met, aim too';
}

const cell = (values) => (values ? ns(median(values)) : '');
const noise = (values) => (values && values.length > 1 ? `${ns(Math.min(...values))} .. ${ns(Math.max(...values))}` : '');

function machine() {
  const cpu = os.cpus();
  const debian = readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="(.*)"/)?.[1] ?? os.type();
  return `${cpu.length} × ${cpu[0].model.replace(/\s+/g, ' ').trim()}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}, ${debian}`;
}

/** The tables of servers beside one another over SSE: `{ head, rows }`. */
function overSse(figures, sizes) {
  const all = lines(figures, sizes);
  const asked = (line) => [line.must === undefined ? '' : `≤ ${line.must}`, line.aim === undefined ? '' : `≤ ${line.aim}`];
  const rows = all.map((line) => [line.what, line.unit, ...NAMES.map((name) => line.shown?.[name] ?? cell(line.cells[name])),
    `${short(line.judged)} ${line.word}`, ...asked(line), verdict(line)]);
  const noises = all.filter((line) => NAMES.some((name) => noise(line.cells[name])))
    .map((line) => [line.what, ...NAMES.map((name) => noise(line.cells[name]))]);
  return [{ head: ['', 'unit', ...NAMES, 'judged', 'must', 'aim', ''], rows }, { head: ['smallest .. largest of the rounds', ...NAMES], rows: noises }];
}

/** Each of the parts is null where it was not measured. */
export function report({ figures, kinds, connections }, sizes, { short: isShort, write, seconds }) {
  const ofKinds = kinds ? kindsReport(kinds, sizes, ns) : { tables: [], about: '' };
  const tables = [...(figures ? overSse(figures, sizes) : []), ...(connections ? [connectionsReport(connections, sizes, ns)] : []), ...ofKinds.tables];
  const about = `${new Date().toISOString().slice(0, 10)}, ${machine()}; ${sizes.rounds} round${sizes.rounds > 1 ? 's' : ''}, `
    + `${Math.round(seconds)} s, load average at the end ${os.loadavg()[0].toFixed(1)}. ${ofKinds.about}`;
  console.log(`\n${tables.map(({ head, rows }) => table(head, rows)).join('\n\n')}\n\n${about}`);
  if (!write) return;
  if (isShort) throw new Error('WRITE=1 needs the full form: the short one and a part are for trying');
  const markdown = ({ head, rows }) => [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
  const text = `${BEGIN}\n${about}\n\n${tables.map(markdown).join('\n\n')}\n${END}`;
  const doc = readFileSync(DOC, 'utf8');
  const [from, to] = [doc.indexOf(BEGIN), doc.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOC}: the marks of the figures are missing`);
  writeFileSync(DOC, doc.slice(0, from) + text + doc.slice(to + END.length));
  writeFileSync(path.join(ROOT, 'docs/fanout.svg'), chart(figures, sizes));
  console.log('written: docs/FANOUT.md, docs/fanout.svg');
}
