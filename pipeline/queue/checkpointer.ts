import { Worker } from 'node:worker_threads';

/**
 * Moves the write-ahead log into the database file on a thread of its own: a checkpoint waits for the disk (two fsyncs), and the
 * event loop must not. A PASSIVE checkpoint never keeps the writer waiting (sqlite.org/pragma.html, wal_checkpoint).
 */
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { DatabaseSync } = require('node:sqlite');
  const state = new Int32Array(workerData.state);
  parentPort.on('message', () => {
    if (Atomics.compareExchange(state, 0, 1, 2) !== 1) return;
    let error = '';
    try {
      const db = new DatabaseSync(workerData.path);
      try {
        db.exec('PRAGMA busy_timeout = 1000; PRAGMA synchronous = NORMAL; PRAGMA wal_checkpoint(PASSIVE)');
      } finally {
        db.close();
      }
    } catch (cause) {
      error = String(cause);
    }
    Atomics.store(state, 0, 0);
    Atomics.notify(state, 0);
    parentPort.postMessage(error);
  });
`;

/** What the worker is at: the values in the program above. */
const states = { idle: 0, asked: 1, working: 2 } as const;
const longestWaitMs = 10_000;

export class Checkpointer {
  readonly #path: string;
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  #worker: Worker | undefined;
  #done: ((error: string) => void) | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  get busy(): boolean {
    return this.#done !== undefined;
  }

  /** Starts a checkpoint; `done` is given an empty string, or what went wrong. One at a time. */
  run(done: (error: string) => void): void {
    this.#done = done;
    Atomics.store(this.#state, 0, states.asked);
    this.#worker ??= this.#start();
    this.#worker.postMessage('');
  }

  /**
   * Ends the worker, after the checkpoint it is at. Its connection must be closed before the file is: the last one to close deletes the log
   * by its name, and that could by then be the name of another file's log.
   */
  close(): void {
    this.#done = undefined;
    if (Atomics.compareExchange(this.#state, 0, states.asked, states.idle) === states.working) {
      Atomics.wait(this.#state, 0, states.working, longestWaitMs);
    }
    void this.#worker?.terminate();
    this.#worker = undefined;
  }

  #start(): Worker {
    const worker = new Worker(program, { eval: true, workerData: { path: this.#path, state: this.#state.buffer } });
    worker.unref();
    worker.on('message', (error: string) => this.#finish(error));
    worker.on('error', (error) => {
      this.#worker = undefined;
      Atomics.store(this.#state, 0, states.idle);
      this.#finish(String(error));
    });
    return worker;
  }

  #finish(error: string): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }
}
