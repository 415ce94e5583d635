import { spawn } from 'node:child_process';
import { relative } from 'node:path';
import { createInterface } from 'node:readline';
import type { Lane } from './lanes.ts';
import type { Outcome } from './reporter.ts';

/** How one process of tests went. */
export interface FileResult {
  readonly outcomes: readonly Outcome[];
  /** What people want to see of it: the spec reporter, and whatever the tests printed themselves. */
  readonly text: string;
}

/** Ends a process group that we made: politely, then for good. */
function endGroup(pid: number | undefined): void {
  const signal = (name: NodeJS.Signals) => {
    try {
      if (pid !== undefined) process.kill(-pid, name);
    } catch {
      // Already gone.
    }
  };
  signal('SIGTERM');
  setTimeout(() => signal('SIGKILL'), 3_000).unref();
}

function outcomeOf(line: string): Outcome | undefined {
  try {
    const parsed = JSON.parse(line) as Partial<Outcome>;
    return parsed.marker === 'skl-outcome' ? (parsed as Outcome) : undefined;
  } catch {
    return undefined;
  }
}

/** Under emulation a compiler costs more than it gains, and threads of its own most of all. */
const emulated = process.env['SKOOPLINE_GUEST'] ? ['--no-opt', '--max-lazy', '--single-threaded'] : [];

function argumentsFor(lane: Lane, files: readonly string[], names: string | undefined): string[] {
  return [
    '--disable-warning=ExperimentalWarning',
    '--expose-gc',
    ...emulated,
    ...(names === undefined ? [] : [`--test-name-pattern=${names}`]),
    // One file is run as it is; several share a process.
    ...(files.length > 1 ? ['--test', '--test-isolation=none'] : []),
    `--test-timeout=${lane.testTimeoutS * 1000}`,
    `--test-reporter=${import.meta.dirname}/reporter.ts`,
    '--test-reporter-destination=stdout',
    '--test-reporter=spec',
    '--test-reporter-destination=stderr',
    ...files,
  ];
}

/**
 * Runs test files in one process, in a process group of its own, to its end: by itself, by `signal`, or because nothing was heard of it
 * for longer than a single test may take. What ends badly without a failed test is a failed test named after the file.
 */
export async function runFiles(
  lane: Lane,
  files: readonly string[],
  signal: AbortSignal,
  names?: string,
): Promise<FileResult> {
  // A child that inherits NODE_TEST_CONTEXT believes that it is a part of an outer run.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, argumentsFor(lane, files, names), {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, SKOOPLINE_LANE: lane.name, FORCE_COLOR: '0' },
  });
  const outcomes: Outcome[] = [];
  let text = '';
  let ended: string | undefined;
  const end = (why: string) => {
    ended ??= why;
    endGroup(child.pid);
  };
  const silence = (lane.testTimeoutS * 1.25 + 2) * 1000;
  const timer = setTimeout(
    () => end(`said nothing for ${silence / 1000} s: a hook that hangs, or something left open`),
    silence,
  );
  const onAbort = () => end('was interrupted');
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });

  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const exit = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, by) => resolve(by ? `ended by ${by}` : `exit code ${code}`));
  });
  for await (const line of createInterface({ input: child.stdout })) {
    timer.refresh();
    const outcome = outcomeOf(line);
    if (outcome) outcomes.push(outcome);
    else text += `${line}\n`;
  }
  const how = await exit;
  clearTimeout(timer);
  signal.removeEventListener('abort', onAbort);

  const name = files.length === 1 ? relative('.', files[0]!) : `lane ${lane.name}`;
  if (ended) outcomes.push(failure(name, files, `It ${ended}.`));
  else if (how !== 'exit code 0' && !outcomes.some((o) => o.status === 'failed')) {
    outcomes.push(failure(name, files, `Its process: ${how}.\n${text.trim().split('\n').slice(-12).join('\n')}`));
  } else if (outcomes.length === 0 && names === undefined) outcomes.push(failure(name, files, 'It holds no test.'));
  return { outcomes, text };
}

function failure(name: string, files: readonly string[], detail: string): Outcome {
  return { marker: 'skl-outcome', status: 'failed', name, file: files.length === 1 ? files[0] : undefined, detail };
}
