import { relative } from 'node:path';
import type { LaneResult } from './run-lane.ts';

/** The failing tests with what they said, as printed after a run. */
export function failuresText(results: readonly LaneResult[]): string {
  const lines: string[] = [];
  for (const { lane, failures, log } of results) {
    for (const { name, file, detail } of failures) {
      lines.push(`FAILED ${lane}: ${name}${file ? ` (${relative('.', file)})` : ''}`);
      for (const line of (detail ?? '').split('\n').slice(0, 14)) lines.push(`    ${line}`);
    }
    if (failures.length) lines.push(`    all output: ${log}`, '');
  }
  return lines.join('\n');
}

/** `lane | passed | failed | skipped | seconds | why not`, aligned. */
export function table(results: readonly LaneResult[]): string {
  const rows = [
    ['lane', 'passed', 'failed', 'skipped', 'seconds', 'why not'],
    ...results.map((r) => [
      r.lane,
      String(r.passed),
      String(r.failed),
      String(r.skipped),
      r.seconds.toFixed(1),
      r.whyNot.slice(0, 3).join('; ') + (r.whyNot.length > 3 ? `; and ${r.whyNot.length - 3} more (see its log)` : ''),
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i > 0 && i < 5 ? cell.padStart(widths[i]!) : i === 5 ? cell : cell.padEnd(widths[i]!)))
        .join(' | ')
        .trimEnd(),
    )
    .join('\n');
}

/** The plain last line of a run. */
export function totals(results: readonly LaneResult[]): { passed: number; failed: number; line: string } {
  const passed = results.reduce((n, r) => n + r.passed, 0);
  const failed = results.reduce((n, r) => n + r.failed, 0);
  return { passed, failed, line: `${passed} passed, ${failed} failed` };
}
