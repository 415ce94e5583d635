/** Runs sender.ts again and again, and keeps what its lives said. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** One process. Each promise also resolves when it has ended. */
export interface Life {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  readonly started: Promise<void>;
  /** All of its share has been offered and is on disk. */
  readonly done: Promise<void>;
}

export interface SenderOptions {
  readonly endpoint: string;
  /** Of the queue's file. */
  readonly directory: string;
  /** Records there will be at most. */
  readonly size: number;
  /** More command line. */
  readonly args?: readonly string[];
  /** Called for `sending` and `told` lines, with the numbers of the batch's first record and of the one after its last. */
  readonly onPush?: (what: 'sending' | 'told', first: number, end: number, life: number) => void;
}

/** The successive lives of one sender: each goes on with the records that the one before has not offered. */
export class Sender {
  readonly #options: SenderOptions;
  readonly #children = new Set<ChildProcess>();
  /** 1 = the queue said that this record survives the process. */
  readonly acked: Uint8Array;
  offered = 0;
  readonly trouble: string[] = [];
  lives = 0;
  /** Of the last life that ended by itself. */
  accounts: Record<string, unknown> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.acked = new Uint8Array(options.size);
  }

  /** Starts a life that offers the records up to `to`. */
  live(to: number, ...more: string[]): Life {
    const { endpoint, directory, args = [], onPush } = this.#options;
    const program = new URL('./sender.ts', import.meta.url).pathname;
    const from = this.offered;
    const number = ++this.lives;
    const range = ['--from', String(from), '--to', String(to), '--life', String(number)];
    const argv = [program, '--endpoint', endpoint, '--directory', directory, ...range, ...args, ...more];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#children.add(child);
    const started = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    const lines = createInterface({ input: child.stdout! });
    lines.on('line', (line) => {
      const [what, a, b] = line.split(' ');
      if (what === 'offered') this.offered = Number(b);
      else if (what === 'acked') this.acked.fill(1, Number(a), Number(b));
      else if (what === 'sending' || what === 'told') onPush?.(what, Number(a), Number(b), number);
      else if (what === 'started') started.resolve();
      else if (what === 'trouble') this.trouble.push(line);
      else if (what === 'done') {
        this.acked.fill(1, from, this.offered);
        done.resolve();
      } else if (what === 'accounts') this.accounts = JSON.parse(line.slice(9));
    });
    // 'close' comes when the pipe is read to its end: what the child said before it died counts.
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const read = new Promise<void>((resolve) => lines.once('close', resolve));
    const ended = Promise.all([closed, read]).then(() => {
      this.#children.delete(child);
      started.resolve();
      done.resolve();
    });
    return { child, ended, started: started.promise, done: done.promise };
  }

  /** Kills what still runs. */
  end(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}
