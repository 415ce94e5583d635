import { setImmediate as turn } from 'node:timers/promises';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import type { Encoding } from './negotiate.ts';
import type { Allocate } from './text.ts';

/** Makes the uncompressed body; `null` = nothing to send yet, let the event loop run. */
export type Render = (allocate: Allocate) => Generator<Buffer | null, void>;

/** Chunks kept so that a scrape which begins now can share a rendering that began a moment ago. */
const shareBytes = 2 * 1024 * 1024;
const pooledBuffers = 10;

/**
 * One body being made, read by one or more scrapes at their own pace. Chunks are made when the fastest reader needs them, one at a
 * time, with a turn of the event loop between two: memory is bounded by what the slowest reader of a shared rendering
 * has not read, and sharing ends at {@link shareBytes}.
 */
export class Rendering {
  readonly #source: AsyncIterator<Buffer>;
  readonly #pool: BufferPool;
  readonly #readers = new Set<Reader>();
  #chunks: Buffer[] = [];
  /** Number of chunks that were dropped from the front. */
  #dropped = 0;
  #bytes = 0;
  #finished = false;
  #pending: Promise<void> | undefined;
  /** Why the body cannot be finished: each reader is told, or what it has would pass for the whole. */
  #broken: { readonly error: unknown } | undefined;

  constructor(render: Render, encoding: Encoding, pool: BufferPool) {
    // A compressor copies what it is given; plain chunks are out until each reader's socket has taken them.
    this.#pool = pool;
    this.#source = encoding === 'identity' ? plain(render, this.#pool) : compressed(render, this.#pool, encoding);
  }

  /** False when the beginning is gone (or everything is made): a new scrape needs a new rendering. */
  get open(): boolean {
    return this.#dropped === 0 && this.#bytes <= shareBytes && !this.#finished;
  }

  /** Registers a reader. It must be closed. */
  reader(): Reader {
    const reader: Reader = {
      position: 0,
      sent: 0,
      next: () => this.#next(reader),
      close: () => this.#close(reader),
    };
    this.#readers.add(reader);
    return reader;
  }

  async #next(reader: Reader): Promise<Buffer | undefined> {
    reader.sent = reader.position;
    this.#release();
    for (;;) {
      const chunk = this.#chunks[reader.position - this.#dropped];
      if (chunk !== undefined) {
        reader.position++;
        return chunk;
      }
      if (this.#broken) throw this.#broken.error;
      if (this.#finished) return undefined;
      this.#pending ??= this.#produce();
      await this.#pending;
    }
  }

  async #produce(): Promise<void> {
    try {
      const { value, done } = await this.#source.next();
      if (done) this.#finished = true;
      else {
        this.#chunks.push(value);
        this.#bytes += value.length;
      }
    } catch (error) {
      this.#broken = { error };
      this.#finished = true;
    } finally {
      this.#pending = undefined;
    }
  }

  /** Gives back what every reader has sent: one that asks for its next chunk has sent all before, the others may be sending still. */
  #release(): void {
    if (this.#bytes <= shareBytes && !this.#finished && this.#readers.size > 0) return;
    let first = Number.POSITIVE_INFINITY;
    for (const r of this.#readers) first = Math.min(first, r.sent);
    while (this.#dropped < first && this.#chunks.length > 0) {
      this.#pool.give(this.#chunks.shift()!);
      this.#dropped++;
    }
  }

  #close(reader: Reader): void {
    if (!this.#readers.delete(reader)) return;
    if (this.#readers.size === 0) {
      this.#finished = true;
      this.#chunks = [];
      void Promise.resolve(this.#pending)
        .finally(() => this.#source.return?.())
        .catch(() => {});
    }
  }
}

export interface Reader {
  /** Index of the next chunk. */
  position: number;
  /** Number of chunks whose bytes the reader no longer needs. */
  sent: number;
  /** The next chunk, undefined at the end. Calling it says that the chunk before may be reused. */
  next(): Promise<Buffer | undefined>;
  close(): void;
}

/** A few buffers that go round, from scrape to scrape too, so that a scrape of 25 MB does not allocate 25 MB. */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #own = new WeakSet<ArrayBufferLike>();

  take(size: number): Buffer {
    const at = this.#free.findIndex((b) => b.length >= size);
    if (at >= 0) return this.#free.splice(at, 1)[0]!;
    const fresh = Buffer.allocUnsafeSlow(size);
    this.#own.add(fresh.buffer);
    return fresh;
  }

  give(chunk: Buffer): void {
    if (this.#free.length < pooledBuffers && this.#own.has(chunk.buffer)) this.#free.push(Buffer.from(chunk.buffer));
  }
}

async function* plain(render: Render, pool: BufferPool): AsyncGenerator<Buffer, void> {
  let first = true;
  for (const chunk of render((size) => pool.take(size))) {
    if (!first) await turn();
    first = false;
    if (chunk !== null) yield chunk;
  }
}

/** Compression runs in libuv's thread pool; level 1, since scrapes stay on the node's network. */
async function* compressed(render: Render, pool: BufferPool, encoding: Encoding): AsyncGenerator<Buffer, void> {
  const compressor =
    encoding === 'gzip'
      ? createGzip({ level: 1, chunkSize: 64 * 1024 })
      : createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 }, chunkSize: 64 * 1024 });
  const out: Buffer[] = [];
  compressor.on('data', (chunk: Buffer) => out.push(chunk));
  try {
    for (const chunk of render((size) => pool.take(size))) {
      if (chunk === null) await turn();
      else {
        await new Promise<void>((resolve, reject) => {
          compressor.write(chunk, (error) => (error ? reject(error) : resolve()));
        });
        pool.give(chunk);
      }
      while (out.length > 0) yield out.shift()!;
    }
    await new Promise<void>((resolve, reject) => {
      compressor.once('end', resolve).once('error', reject);
      compressor.end();
    });
    while (out.length > 0) yield out.shift()!;
  } finally {
    compressor.destroy();
  }
}
