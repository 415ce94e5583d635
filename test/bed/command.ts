import { type SpawnOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

/** The distribution's Python: a version manager's shim, where PATH has one first, starts dozens of shells before it. */
export const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** What a finished command left. */
export interface Finished {
  /** Exit status; 128 + signal number when a signal ended it, as shells count. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Standard input; empty when absent. */
  readonly input?: string;
  /** After this the command is killed. Default 60 s. */
  readonly timeoutMs?: number;
}

/** Runs a command to its end and returns what it left, whatever its exit status. Rejects only when it cannot be started. */
export function command(argv: readonly string[], options: CommandOptions = {}): Promise<Finished> {
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  const spawnOptions: SpawnOptions = {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: (options.timeoutMs ?? 60_000) * timeScale,
    killSignal: 'SIGKILL',
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  };
  const child = spawn(argv[0]!, argv.slice(1), spawnOptions);
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // A command that does not read its input closes it early: that is no failure of ours.
  child.stdin!.on('error', () => {});
  child.stdin!.end(options.input ?? '');
  child.once('error', reject);
  child.once('close', (code, signal) => {
    resolve({ code: code ?? (signal === 'SIGKILL' ? 137 : 143), stdout, stderr });
  });
  return promise;
}

/** As {@link command}, and returns standard output; a failing command throws with all that it said. */
export async function output(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await command(argv, options);
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stdout}${stderr}`.trimEnd());
  return stdout;
}

/** How much longer than on real hardware everything takes: set in emulated guests (test/kernels/vm.ts). */
export const timeScale = Number(process.env['SKOOPLINE_TIME_SCALE'] ?? 1);

export interface WaitOptions {
  /** Default 30 s, times {@link timeScale}. */
  readonly timeoutMs?: number;
  /** Pause between two looks. Default 50 ms. */
  readonly everyMs?: number;
}

/** Thrown by what is given to {@link waitFor}: it cannot come any more. */
export class GiveUp extends Error {}

/**
 * Looks until `look` returns something other than undefined, null or false, and returns it. What it throws counts as "not yet", but
 * for {@link GiveUp}.
 *
 * @param what says what was waited for, in the error after the deadline; what `look` threw last follows it.
 */
export async function waitFor<T>(what: string, look: () => T | Promise<T>, options: WaitOptions = {}) {
  const { timeoutMs = 30_000, everyMs = 50 } = options;
  const deadline = performance.now() + timeoutMs * timeScale;
  let last: unknown;
  for (;;) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== null && seen !== false) return seen as Exclude<T, undefined | null | false>;
      last = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      last = error;
    }
    if (performance.now() > deadline) {
      const why = last instanceof Error ? `: ${last.message}` : '';
      const cause = last === undefined ? {} : { cause: last };
      throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${what}${why}`, cause);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
