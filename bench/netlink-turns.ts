import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { NamedNetns } from '../test/bed/named-netns.ts';

/** A namespace with C programs in it, for the netlink benches; gone when disposed. */
export class BenchNetns extends NamedNetns {
  readonly #work = mkdtempSync(join(tmpdir(), 'skl-bench-netlink-'));
  readonly #children: ChildProcessWithoutNullStreams[] = [];

  /** Compiles bench/c/NAME.c and starts it inside. */
  start(name: string, ...args: string[]): Program {
    const out = join(this.#work, name);
    execFileSync('gcc', ['-O2', '-o', out, join(import.meta.dirname, 'c', `${name}.c`)]);
    const [first, ...rest] = this.enter(out, ...args);
    const child = spawn(first, rest, { stdio: 'pipe' });
    child.stderr.pipe(process.stderr);
    this.#children.push(child);
    return new Program(child);
  }

  /** CPU time that a program takes inside, its start included and its output thrown away, ns. */
  time(program: string, ...args: string[]): number {
    const line = `TIMEFORMAT='%U %S'; time ${this.enter(program, ...args).join(' ')} > /dev/null 2>&1`;
    const told = execFileSync('bash', ['-c', `{ ${line}; } 2>&1`], { encoding: 'utf8' });
    const [user = 0, system = 0] = told.trim().split(' ').map(Number);
    return (user + system) * 1e9;
  }

  override [Symbol.dispose](): void {
    for (const child of this.#children) {
      child.stdin.end();
      child.kill();
    }
    super[Symbol.dispose]();
    rmSync(this.#work, { recursive: true });
  }
}

/** A program that answers each line with a line. */
export class Program {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#lines = createInterface(child.stdout);
  }

  async line(): Promise<string> {
    const ended = once(this.#child, 'close').then(() => ['(ended)']);
    const [line] = (await Promise.race([once(this.#lines, 'line'), ended])) as [string];
    return line;
  }

  async ask(): Promise<number[]> {
    const answer = this.line();
    this.#child.stdin.write('\n');
    return (await answer).split(' ').map(Number);
  }
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** CPU time of this thread so far, user and system, ns: what other programs do on the machine is not in it. */
export function cpuNs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1000;
}

/** The longest CPU time between two turns of the event loop while something runs, ms. */
export async function longestHold(run: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = cpuNs();
  let running = true;
  const look = () => {
    const now = cpuNs();
    longest = Math.max(longest, (now - last) / 1e6);
    last = now;
    if (running) setImmediate(look);
  };
  setImmediate(look);
  await run();
  running = false;
  look();
  return longest;
}

/** A line of figures: ns an entry, ratio to the first. */
export function report(
  title: string,
  entries: number,
  rows: readonly (readonly [name: string, ns: readonly number[]])[],
): void {
  console.log(`\n${title}: ${entries} entries, median of ${rows[0]?.[1].length} interleaved rounds, CPU time`);
  const floor = median(rows[0]?.[1] ?? []);
  for (const [name, ns] of rows) {
    const m = median(ns);
    console.log(
      `  ${name.padEnd(42)} ${(m / 1e6).toFixed(2).padStart(8)} ms ${(m / entries).toFixed(0).padStart(7)} ns/entry  ${(m / floor).toFixed(2)} ×`,
    );
  }
}
