// What the benchmarks share: order statistics and a table for the terminal.

export const quantile = (values, q) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
};

export const median = (values) => quantile(values, 0.5);

/** Columns as wide as their widest cell: the first to the left, the others to the right. */
export function table(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   ');
  return [line(all[0]), widths.map((width) => '-'.repeat(width)).join('   '), ...all.slice(1).map(line)].join('\n');
}
