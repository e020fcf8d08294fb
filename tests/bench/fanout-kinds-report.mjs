// What the fan-out benchmark says about kinds of subscriber: their figures, and the ratios that are judged.

import { median } from './figures.mjs';
import { sockudoVersion } from './fanout-sockudo.mjs';

const COLUMNS = { floor: 'floor, WebSocket', sockudo: 'sockudo', sse: 'askrd, SSE', websocket: 'askrd, WebSocket', private: 'askrd, private SSE' };
const CPU = ['one_few', 'one_many', 'burst_few', 'burst_many'];
/** How much of askrd's own SSE another kind may take: [kind, figures, at most]. */
const ASKED = [['websocket', CPU, 1.2], ['private', CPU, 1.05], ['private', ['memory'], 1.25], ['websocket', ['fresh'], 1.3], ['private', ['fresh'], 1.35], ['websocket', ['memory']]];

/** Ratios within each turn. */
const ratios = (of, to) => of.map((value, turn) => value / to[turn]);
const range = (values, show) => (values.length > 1 ? `${show(Math.min(...values))} .. ${show(Math.max(...values))}` : '');

/** Tables `{ head, rows }` and remarks; `show` writes a number. */
export function kindsReport(figures, sizes, show) {
  const n = (count) => count.toLocaleString('en');
  const what = {
    one_few: ['CPU per delivery, one at a time', n(sizes.few), 'µs'],
    one_many: ['CPU per delivery, one at a time', n(sizes.many), 'µs'],
    burst_few: ['CPU per delivery, bursts of 100', n(sizes.few), 'µs'],
    burst_many: ['CPU per delivery, bursts of 100', n(sizes.many), 'µs'],
    memory: ['memory per idle subscriber', n(sizes.many), 'B'],
    fresh: ['CPU of a fresh subscriber', n(sizes.many), 'µs'],
  };
  const names = Object.keys(COLUMNS);
  const measured = {
    head: ['kinds of subscriber', 'subscribers', 'unit', ...Object.values(COLUMNS)],
    rows: Object.entries(what).map(([key, words]) => [...words, ...names.map((name) => (figures[name] ? show(median(figures[name][key])) : 'not installed'))]),
  };
  const judge = (kind, key, to, must) => {
    const all = ratios(figures[kind][key], figures[to][key]);
    const [words, subscribers] = what[key];
    return [`${COLUMNS[kind]}: ${words}`, subscribers, `${show(median(all))} × ${COLUMNS[to]}`, range(all, show),
      must === undefined ? '' : `≤ ${must}`, must === undefined ? '' : median(all) <= must ? 'met' : 'MISSED'];
  };
  const judged = {
    head: ['beside one another, within each turn', 'subscribers', 'median', 'smallest .. largest', 'must', ''],
    rows: [
      ...ASKED.flatMap(([kind, keys, must]) => keys.map((key) => judge(kind, key, 'sse', must))),
      ...['floor', 'sockudo'].filter((name) => figures[name]).flatMap((name) => CPU.map((key) => judge('websocket', key, name))),
    ],
  };
  const about = sockudoVersion() ? `${sockudoVersion()} beside them.` : 'sockudo is not installed (make bench-rivals).';
  return { tables: [measured, judged], about: `Kinds of subscriber: ${sizes.turns} turn${sizes.turns > 1 ? 's' : ''}. ${about}` };
}
