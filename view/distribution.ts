import { upperBounds } from '../pipeline/batch.ts';
import type { HistogramLayout } from '../pipeline/catalogue.ts';

/** How one latency was distributed over a time. Seconds. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** Upper bound of the highest bucket that was met. */
  readonly max: number;
}

/** Counts of a latency's buckets by step, the newest `points` steps. Steps without an observation cost nothing. */
export class BucketHistory {
  readonly layout: HistogramLayout;
  readonly #points: number;
  /** [count, sum, zero count, buckets...] of each step. */
  readonly #steps = new Map<number, Float64Array>();

  constructor(layout: HistogramLayout, points: number) {
    this.layout = layout;
    this.#points = points;
  }

  /** Adds an increase: the slots of a histogram, `now - before`; `before` undefined = all of `now`. */
  add(step: number, now: Float64Array, at: number, before: Float64Array | undefined, beforeAt: number): void {
    const slots = 3 + this.layout.buckets;
    let row = this.#steps.get(step);
    if (!row) {
      row = new Float64Array(slots);
      this.#steps.set(step, row);
      for (const old of this.#steps.keys()) if (old <= step - this.#points) this.#steps.delete(old);
    }
    for (let i = 0; i < slots; i++) row[i] = row[i]! + now[at + i]! - (before ? before[beforeAt + i]! : 0);
  }

  /** Sums the steps from `from` on. */
  since(from: number): Float64Array {
    const out = new Float64Array(3 + this.layout.buckets);
    for (const [step, row] of this.#steps) {
      if (step < from) continue;
      for (let i = 0; i < out.length; i++) out[i] = out[i]! + row[i]!;
    }
    return out;
  }

  /** Bucket counts of one step; undefined = no observation. */
  at(step: number): readonly number[] | undefined {
    const row = this.#steps.get(step);
    return row && Array.from(row.subarray(3));
  }
}

/** @param slots count, sum, zero count, buckets. @returns undefined when there is no observation. */
export function distributionOf(layout: HistogramLayout, slots: Float64Array): Distribution | undefined {
  const count = slots[0]!;
  if (!(count > 0)) return undefined;
  const bounds = upperBounds(layout);
  let highest = -1;
  for (let i = 0; i < layout.buckets; i++) if (slots[3 + i]! > 0) highest = i;
  const q = (p: number) => quantile(layout, slots, bounds, p);
  return {
    count,
    mean: slots[1]! / count,
    p50: q(0.5),
    p90: q(0.9),
    p99: q(0.99),
    max: highest < 0 ? 0 : bounds[highest]!,
  };
}

/** By rank, and geometrically within the bucket: what its bounds, a factor apart, suggest. */
function quantile(layout: HistogramLayout, slots: Float64Array, bounds: readonly number[], p: number): number {
  let total = slots[2]!;
  for (let i = 0; i < layout.buckets; i++) total += slots[3 + i]!;
  const rank = p * total;
  let below = slots[2]!;
  if (rank <= below) return 0;
  const base = 2 ** (2 ** -layout.scale);
  for (let i = 0; i < layout.buckets; i++) {
    const n = slots[3 + i]!;
    if (n > 0 && below + n >= rank) return (bounds[i]! / base) * base ** ((rank - below) / n);
    below += n;
  }
  return bounds[layout.buckets - 1]!;
}
