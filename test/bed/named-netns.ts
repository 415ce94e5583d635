import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { keepStill } from './netns.ts';

let made = 0;

/** Runs a program to its end; its output. Throws with what it said on standard error. */
export function runSync(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
}

/**
 * A network namespace with a name and without a process, for tests whose steps follow one another at once: everything done in it is synchronous. `using`
 * removes it. Its `lo` is up, its interfaces keep still. Where the test may die in the middle, `startNetns()` leaves nothing behind.
 */
export class NamedNetns implements Disposable {
  /** Unique to this process. */
  readonly name: string = `skl${process.pid}n${made++}`;
  readonly path: string = `/run/netns/${this.name}`;
  readonly inode: number;

  constructor() {
    runSync('ip', 'netns', 'add', this.name);
    this.inode = statSync(this.path).ino;
    this.exec('sh', '-c', `${keepStill}; ip link set lo up`);
  }

  /** `ip -n NAME …`. */
  ip(...args: readonly string[]): string {
    return runSync('ip', '-n', this.name, ...args);
  }

  /** The command line that runs a program inside. */
  enter(program: string, ...args: readonly string[]): [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.name, program, ...args];
  }

  /** Runs a program inside. */
  exec(program: string, ...args: readonly string[]): string {
    const [first, ...rest] = this.enter(program, ...args);
    return runSync(first, ...rest);
  }

  [Symbol.dispose](): void {
    runSync('ip', 'netns', 'del', this.name);
  }
}
