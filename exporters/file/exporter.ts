import type { Batch, LogsBatch } from '../../pipeline/batch.ts';
import { type ComponentContext, type Exporter, RetryableError } from '../../pipeline/component.ts';
import { AgentError, errnoOf, messageOf } from '../../pipeline/errors.ts';
import { eventJson, eventLine } from '../../pipeline/event-line.ts';
import type { Config } from './config.ts';
import { otlpJson } from './otlp-json.ts';
import { RotatingFile } from './rotating-file.ts';

/**
 * Appends events to a file. `push` resolves when the kernel has the bytes (on disk with `fsync: batch`). Whatever the file system
 * refuses (a full disk, above all) is worth another try: the queue keeps the batch and counts what it must give up.
 */
export class FileExporter implements Exporter {
  readonly #config: Config;
  readonly #context: ComponentContext;
  readonly #file: RotatingFile;
  readonly #bytes: { add(n: number): void };
  #last: Promise<void> = Promise.resolve();
  #failing = false;
  #started = false;
  readonly #onHangup = () => this.#file.check();

  constructor(config: Config, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
    this.#file = new RotatingFile(
      {
        path: config.path,
        mode: Number.parseInt(config.file_mode, 8),
        maxBytes: config.rotation.max_size,
        intervalMs: config.rotation.interval,
        maxBackups: config.rotation.max_backups,
        maxAgeMs: config.rotation.max_age,
        fsync: config.fsync === 'batch',
      },
      context.clock,
    );
    this.#bytes = context.telemetry.counter('written_bytes', 'By', 'Bytes appended to the file.');
    context.telemetry.gauge('rotations', '{file}', 'Files put aside since start.', () => this.#file.rotations);
  }

  async start(): Promise<void> {
    try {
      await this.#file.open();
    } catch (error) {
      throw new AgentError('E_FILE', `Cannot open ${this.#config.path}: ${messageOf(error)}.`, {
        component: this.#context.id,
        cause: error,
      });
    }
    // logrotate and its kin say so with a SIGHUP; without one a move is noticed within a second.
    process.on('SIGHUP', this.#onHangup);
    this.#started = true;
  }

  push(batch: Batch, signal: AbortSignal): Promise<void> {
    if (batch.kind !== 'logs' || batch.records.length === 0) return Promise.resolve();
    const data = Buffer.from(this.#text(batch));
    const written = this.#last.then(() => this.#append(data, signal));
    this.#last = written.catch(() => {});
    return written;
  }

  async stop(): Promise<void> {
    if (this.#started) process.off('SIGHUP', this.#onHangup);
    this.#started = false;
    await this.#last;
    await this.#file.close();
  }

  #text(batch: LogsBatch): string {
    const { format, timestamp } = this.#config;
    if (format === 'otlp_json') return `${otlpJson(batch)}\n`;
    let out = '';
    for (const record of batch.records) {
      out += `${format === 'json' ? eventJson(record) : eventLine(record, timestamp)}\n`;
    }
    return out;
  }

  async #append(data: Buffer, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    try {
      await this.#file.append(data);
    } catch (error) {
      this.#failing = true;
      this.#context.telemetry.failed('write', error);
      throw new RetryableError(`Cannot write ${this.#config.path}: ${messageOf(error)}.`, {
        errorType: errnoOf(error) ?? 'write_failed',
        cause: error,
      });
    }
    if (this.#failing) this.#context.telemetry.recovered('write');
    this.#failing = false;
    this.#bytes.add(data.length);
  }
}
