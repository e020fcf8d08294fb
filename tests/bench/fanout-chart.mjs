// docs/fanout.svg: bars of what the fan-out benchmark measured, one panel a figure, each to its own scale.

import { median } from './figures.mjs';

const NAMES = { floor: ['floor (C)', '#9aa5b1'], nchan: ['nginx + nchan', '#d9822b'], askrd: ['askrd', '#1f6feb'] };
const [PANEL, GAP, HEIGHT, TOP, LABELS] = [190, 24, 200, 64, 44];

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);
const short = (value) => (value >= 1000 ? Math.round(value).toLocaleString('en') : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const text = (x, y, what, size, more = '') => `<text x="${x}" y="${y}" font-size="${size}" text-anchor="middle" ${more}>${escape(what)}</text>`;

function panel(figures, { key, title, unit }, x) {
  const bars = Object.keys(NAMES).filter((name) => figures[name][key]).map((name) => [name, median(figures[name][key])]);
  const most = Math.max(...bars.map(([, value]) => value));
  const width = PANEL / (bars.length + 0.5);
  const parts = [text(x + PANEL / 2, TOP - 24, title, 13, 'font-weight="600"'), text(x + PANEL / 2, TOP - 8, unit, 11, 'fill="#57606a"')];
  bars.forEach(([name, value], i) => {
    const height = Math.max(1, (HEIGHT * value) / most * 0.88);
    const left = x + (i + 0.35) * width;
    const bottom = TOP + HEIGHT;
    parts.push(`<rect x="${left.toFixed(1)}" y="${(bottom - height).toFixed(1)}" width="${(width * 0.8).toFixed(1)}" height="${height.toFixed(1)}" rx="2" fill="${NAMES[name][1]}"/>`);
    parts.push(text((left + width * 0.4).toFixed(1), (bottom - height - 5).toFixed(1), short(value), 11));
  });
  parts.push(`<line x1="${x}" y1="${TOP + HEIGHT}" x2="${x + PANEL}" y2="${TOP + HEIGHT}" stroke="#8c959f"/>`);
  return parts.join('\n');
}

/** The whole picture, as SVG. */
export function chart(figures, sizes) {
  const n = (count) => count.toLocaleString('en');
  const cpu = 'server CPU per delivery, µs';
  const panels = [
    { key: 'one_few', title: `one event, ${n(sizes.few)}`, unit: cpu },
    { key: 'one_many', title: `one event, ${n(sizes.many)}`, unit: cpu },
    { key: 'burst_few', title: `bursts of 100, ${n(sizes.few)}`, unit: cpu },
    { key: 'burst_many', title: `bursts of 100, ${n(sizes.many)}`, unit: cpu },
    { key: 'memory', title: 'idle subscriber', unit: 'bytes' },
  ].filter(({ key }) => Object.values(figures).some((one) => one[key]));
  // The floor's memory is next to nothing and not its point.
  const shown = { ...figures, floor: { ...figures.floor, memory: undefined } };
  const width = panels.length * (PANEL + GAP) + GAP;
  const height = TOP + HEIGHT + LABELS;
  const legend = Object.values(NAMES).map(([name, colour], i) => {
    const x = width / 2 - 210 + i * 150;
    return `<rect x="${x}" y="${height - 26}" width="12" height="12" rx="2" fill="${colour}"/><text x="${x + 18}" y="${height - 16}" font-size="12">${name}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" fill="#24292f">
<title>Server CPU per delivery and memory per subscriber</title>
<rect width="100%" height="100%" fill="#ffffff"/>
${panels.map((one, i) => panel(shown, one, GAP + i * (PANEL + GAP))).join('\n')}
${legend.join('\n')}
</svg>
`;
}
