import { Worker } from 'node:worker_threads';

/**
 * Moves the write-ahead log into the database file on a thread of its own: a checkpoint waits for the disk (two fsyncs), and the
 * event loop must not. A PASSIVE checkpoint never keeps the writer waiting (sqlite.org/pragma.html, wal_checkpoint).
 */
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { DatabaseSync } = require('node:sqlite');
  const db = new DatabaseSync(workerData.path);
  db.exec('PRAGMA busy_timeout = 1000; PRAGMA synchronous = NORMAL');
  parentPort.on('message', () => {
    try {
      db.exec('PRAGMA wal_checkpoint(PASSIVE)');
      parentPort.postMessage('');
    } catch (error) {
      parentPort.postMessage(String(error));
    }
  });
`;

export class Checkpointer {
  readonly #path: string;
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
    this.#worker ??= this.#start();
    this.#worker.postMessage('');
  }

  close(): void {
    this.#done = undefined;
    void this.#worker?.terminate();
    this.#worker = undefined;
  }

  #start(): Worker {
    const worker = new Worker(program, { eval: true, workerData: { path: this.#path } });
    worker.unref();
    worker.on('message', (error: string) => this.#finish(error));
    worker.on('error', (error) => {
      this.#worker = undefined;
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
