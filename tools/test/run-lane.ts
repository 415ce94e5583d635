import { appendFileSync, globSync, mkdirSync, writeFileSync } from 'node:fs';
import type { Lane } from './lanes.ts';
import type { Outcome } from './reporter.ts';
import { runFiles } from './run-file.ts';

/** How one lane went. */
export interface LaneResult {
  readonly lane: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly seconds: number;
  /** Why it did not run at all, or why tests in it were skipped: proved reasons, each once. */
  readonly whyNot: readonly string[];
  readonly failures: readonly Outcome[];
  /** Every test that ran, failures included. */
  readonly outcomes: readonly Outcome[];
  /** Where all of its output is. */
  readonly log: string | undefined;
}

export const outputDirectory = '.output/test';

function filesOf(lane: Lane, only: readonly string[]): string[] {
  const exclude = ['**/node_modules/**', '**/templates/**'];
  return [...new Set(lane.files.flatMap((pattern) => globSync(pattern, { exclude })))]
    .filter((file) => only.length === 0 || only.some((part) => file.includes(part)))
    .sort();
}

/** Runs `work` over all items, so many at a time. */
async function pool<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/**
 * Runs a lane to its end, each file in a process of its own.
 *
 * @param only when not empty, only files whose path contains one of these.
 * @param names when given, only tests whose name matches this regular expression.
 */
export async function runLane(
  lane: Lane,
  only: readonly string[],
  signal: AbortSignal,
  names?: string,
): Promise<LaneResult> {
  const began = performance.now();
  const nothing = {
    lane: lane.name,
    passed: 0,
    failed: 0,
    skipped: 0,
    seconds: 0,
    failures: [],
    outcomes: [],
    log: undefined,
  };
  const files = filesOf(lane, only);
  if (files.length === 0) return { ...nothing, whyNot: [only.length ? 'no file matches' : 'no tests yet'] };
  const missing = lane.missing();
  if (missing) return { ...nothing, whyNot: [missing] };

  mkdirSync(outputDirectory, { recursive: true });
  const log = `${outputDirectory}/${lane.name}.log`;
  writeFileSync(log, '');
  const outcomes: Outcome[] = [];
  const late = AbortSignal.timeout(lane.timeoutS * 1000);
  const stop = AbortSignal.any([signal, late]);
  // Under emulation starting a process and loading its modules costs seconds: there all files share one.
  const groups = process.env['SKOOPLINE_GUEST'] ? [files] : files.map((file) => [file]);
  let notRun = 0;
  await pool(groups, lane.concurrency, async (group) => {
    if (stop.aborted) {
      notRun += group.length;
      return;
    }
    const result = await runFiles(lane, group, stop, names);
    outcomes.push(...result.outcomes);
    appendFileSync(log, `=== ${group.join(' ')}\n${result.text.trimEnd()}\n\n`);
  });
  if (stop.aborted) {
    const why = late.aborted ? `It took longer than ${lane.timeoutS} s` : 'It was interrupted';
    const detail = `${why}; ${notRun} of ${files.length} files were not begun.`;
    outcomes.push({ marker: 'skl-outcome', status: 'failed', name: `lane ${lane.name}`, file: undefined, detail });
  }

  const skipped = outcomes.filter((o) => o.status === 'skipped');
  const failures = outcomes.filter((o) => o.status === 'failed');
  return {
    lane: lane.name,
    passed: outcomes.filter((o) => o.status === 'passed').length,
    failed: failures.length,
    skipped: skipped.length,
    seconds: (performance.now() - began) / 1000,
    whyNot: [...new Set(skipped.map((o) => o.detail ?? `${o.name}: no reason given`))],
    failures,
    outcomes,
    log,
  };
}
