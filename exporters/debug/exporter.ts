import type { Writable } from 'node:stream';
import type { Batch } from '../../pipeline/batch.ts';
import type { ComponentContext, Exporter } from '../../pipeline/component.ts';
import { errnoOf } from '../../pipeline/errors.ts';
import type { Config } from './config.ts';
import { textOf } from './lines.ts';

/**
 * Writes to standard output. A reader that is slow holds `push` back (the queue in front of this exporter then fills, and counts what it
 * drops); a reader that is gone makes every later batch fail, counted, and is no reason to end the agent.
 */
export class DebugExporter implements Exporter {
  readonly #config: Config;
  readonly #context: ComponentContext;
  readonly #out: Writable;
  /** Why nothing can be written any more. */
  #broken: Error | undefined;
  /** Pushes run at the same time; lines of two batches must not mix. */
  #last: Promise<void> = Promise.resolve();
  readonly #onError = (error: Error) => {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    this.#context.telemetry.failed('standard output', error);
  };
  #listening = false;

  constructor(config: Config, context: ComponentContext, out: Writable = process.stdout) {
    this.#config = config;
    this.#context = context;
    this.#out = out;
  }

  start(): Promise<void> {
    if (!this.#listening) this.#out.on('error', this.#onError);
    this.#listening = true;
    return Promise.resolve();
  }

  push(batch: Batch, signal: AbortSignal): Promise<void> {
    const text = textOf(batch, this.#config);
    if (text === '') return Promise.resolve();
    const written = this.#last.then(() => this.#write(text, signal));
    this.#last = written.catch(() => {});
    return written;
  }

  stop(): Promise<void> {
    if (this.#listening) this.#out.off('error', this.#onError);
    this.#listening = false;
    return Promise.resolve();
  }

  /** Resolves when the kernel has the text. */
  #write(text: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) return reject(gone(this.#broken));
      if (signal.aborted) return reject(new Error('Standard output took too long.'));
      const aborted = () => reject(new Error('Standard output took too long.'));
      signal.addEventListener('abort', aborted, { once: true });
      this.#out.write(text, (error) => {
        signal.removeEventListener('abort', aborted);
        if (!error) return resolve();
        this.#onError(error);
        reject(gone(error));
      });
    });
  }
}

function gone(error: Error): Error {
  const why = errnoOf(error) === 'EPIPE' ? 'nobody reads it any more' : error.message;
  return new Error(`Standard output cannot be written: ${why}.`, { cause: error });
}
