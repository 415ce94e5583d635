import type { Batch } from '../../pipeline/batch.ts';

/** Collections of one source that are kept: 10 minutes at the default interval. */
const maxCollections = 40;
/** What is older says nothing of now: its source is gone. */
const maxAgeMs = 600_000;
/** Collections of one source that are kept whatever the bound in bytes says: an increase takes two. */
const minCollections = 2;
const maxRecords = 2000;

/** A batch and when it came, Unix epoch ms. */
export interface PastBatch {
  readonly batch: Batch;
  readonly atMs: number;
}

/**
 * The last batches, by reference: nothing is computed from them while nobody looks. The first page that is opened has them played to it, so that its
 * charts begin in the past.
 */
export class Past {
  readonly #maxBytes: number;
  /** By kind and source, in the order in which they came. */
  readonly #metrics = new Map<string, (PastBatch & { readonly bytes: number; readonly order: number })[]>();
  readonly #entities = new Map<string, PastBatch & { readonly order: number }>();
  readonly #logs: (PastBatch & { readonly order: number; readonly records: number })[] = [];
  #bytes = 0;
  #records = 0;
  #order = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of values held. */
  get bytes(): number {
    return this.#bytes;
  }

  accept(batch: Batch, atMs: number): void {
    const order = ++this.#order;
    switch (batch.kind) {
      case 'entities':
        this.#entities.set(batch.source, { batch, atMs, order });
        return;
      case 'logs':
        this.#logs.push({ batch, atMs, order, records: batch.records.length });
        this.#records += batch.records.length;
        while (this.#logs.length > 1 && this.#records > maxRecords) this.#records -= this.#logs.shift()!.records;
        return;
      case 'metrics': {
        const bytes = batch.snapshots.reduce((n, s) => n + s.values.byteLength, 0);
        const kept = this.#metrics.get(batch.source);
        if (kept) kept.push({ batch, atMs, order, bytes });
        else this.#metrics.set(batch.source, [{ batch, atMs, order, bytes }]);
        this.#bytes += bytes;
        if (kept && kept.length > maxCollections) this.#bytes -= kept.shift()!.bytes;
        if (this.#bytes > this.#maxBytes) this.#forget();
      }
    }
  }

  /** Everything of the last ten minutes that is kept, and who is who, in the order in which it came. */
  all(nowMs: number): PastBatch[] {
    const young = [...[...this.#metrics.values()].flat(), ...this.#logs].filter((p) => nowMs - p.atMs <= maxAgeMs);
    return [...young, ...this.#entities.values()].sort((a, b) => a.order - b.order);
  }

  /** Shortest time between two collections of one source, ms; undefined = nothing was collected twice. */
  intervalMs(): number | undefined {
    let shortest = Number.POSITIVE_INFINITY;
    for (const kept of this.#metrics.values()) {
      const [last, before] = [kept.at(-1), kept.at(-2)];
      if (last && before && last.atMs > before.atMs) shortest = Math.min(shortest, last.atMs - before.atMs);
    }
    return Number.isFinite(shortest) ? shortest : undefined;
  }

  /** Lets go of the oldest collections, but for the last two of each source. */
  #forget(): void {
    while (this.#bytes > this.#maxBytes) {
      let oldest: string | undefined;
      let order = Number.POSITIVE_INFINITY;
      for (const [source, kept] of this.#metrics) {
        if (kept.length <= minCollections || kept[0]!.order >= order) continue;
        order = kept[0]!.order;
        oldest = source;
      }
      if (oldest === undefined) return;
      this.#bytes -= this.#metrics.get(oldest)!.shift()!.bytes;
    }
  }
}
