import { spawn } from 'node:child_process';
import { closeSync, globSync, mkdirSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Lane } from './lanes.ts';
import type { Outcome } from './reporter.ts';

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

/** Ends a lane's whole process group, which we made ourselves: politely, then for good. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-pid, name);
    } catch {
      // Already gone.
    }
  };
  signal('SIGTERM');
  setTimeout(() => signal('SIGKILL'), 5_000).unref();
}

function nodeArguments(lane: Lane, files: readonly string[], log: string): string[] {
  // Under emulation starting a process and loading its modules costs seconds: there all files share one.
  const isolation = process.env['SKOOPLINE_GUEST'] ? ['--test-isolation=none'] : [];
  return [
    '--disable-warning=ExperimentalWarning',
    '--expose-gc',
    '--test',
    `--test-concurrency=${lane.concurrency}`,
    ...isolation,
    // A handle that one file leaves open must not hold up all that come after it.
    '--test-force-exit',
    `--test-timeout=${lane.testTimeoutS * 1000}`,
    '--test-reporter=spec',
    `--test-reporter-destination=${log}`,
    `--test-reporter=${import.meta.dirname}/reporter.ts`,
    '--test-reporter-destination=stdout',
    ...files,
  ];
}

/**
 * Runs a lane to its end in a process group of its own.
 *
 * @param only when not empty, only files whose path contains one of these.
 */
export async function runLane(lane: Lane, only: readonly string[], signal: AbortSignal): Promise<LaneResult> {
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
  const files = [
    ...new Set(lane.files.flatMap((g) => globSync(g, { exclude: ['**/node_modules/**', '**/templates/**'] }))),
  ]
    .filter((f) => only.length === 0 || only.some((o) => f.includes(o)))
    .sort();
  if (files.length === 0) return { ...nothing, whyNot: [only.length ? 'no file matches' : 'no tests yet'] };
  const missing = lane.missing();
  if (missing) return { ...nothing, whyNot: [missing] };

  mkdirSync(outputDirectory, { recursive: true });
  const log = `${outputDirectory}/${lane.name}.log`;
  const outcomes: Outcome[] = [];
  const notOurs: string[] = [];
  // node --test lets a child that inherits NODE_TEST_CONTEXT believe that it is a file of an outer run.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const stderr = openSync(`${outputDirectory}/${lane.name}.stderr.log`, 'w');
  const child = spawn(process.execPath, nodeArguments(lane, files, log), {
    detached: true,
    stdio: ['ignore', 'pipe', stderr],
    env: { ...env, SKOOPLINE_LANE: lane.name },
  });
  closeSync(stderr);

  let ended: string | undefined;
  const end = (why: string) => {
    ended ??= why;
    endGroup(child.pid);
  };
  const timer = setTimeout(() => end(`took longer than ${lane.timeoutS} s and was ended`), lane.timeoutS * 1000);
  const onAbort = () => end('was interrupted');
  signal.addEventListener('abort', onAbort, { once: true });
  const exit = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, sig) => resolve(sig ? `ended by ${sig}` : `exit code ${code}`));
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    try {
      outcomes.push(JSON.parse(line) as Outcome);
    } catch {
      notOurs.push(line);
    }
  }
  const how = await exit;
  clearTimeout(timer);
  signal.removeEventListener('abort', onAbort);

  const failures = outcomes.filter((o) => o.status === 'failed');
  if (ended || (how !== 'exit code 0' && failures.length === 0)) {
    const detail = ended ? `The lane ${ended}.` : `The lane's process: ${how}. ${notOurs.slice(-5).join('\n')}`;
    failures.push({ status: 'failed', name: `lane ${lane.name}`, file: undefined, detail });
  }
  return {
    lane: lane.name,
    passed: outcomes.filter((o) => o.status === 'passed').length,
    failed: failures.length,
    skipped: outcomes.filter((o) => o.status === 'skipped').length,
    seconds: (performance.now() - began) / 1000,
    whyNot: [
      ...new Set(outcomes.filter((o) => o.status === 'skipped').map((o) => o.detail ?? `${o.name}: no reason given`)),
    ],
    failures,
    outcomes,
    log,
  };
}
