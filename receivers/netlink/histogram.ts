import type { HistogramLayout } from '../../pipeline/catalogue.ts';

/** Slots before the buckets: count, sum, zero count (see HistogramLayout). */
const bucketsAt = 3;

/**
 * Adds one observation to a histogram of scale 0 that stands at `at`. Values outside of the layout go to its first or last bucket, so
 * that count stays the sum of the buckets; 0 and less go to the zero bucket. NaN is not observed.
 */
export function observe(values: Float64Array, at: number, layout: HistogramLayout, value: number): void {
  if (Number.isNaN(value)) return;
  values[at] = (values[at] as number) + 1;
  if (value <= 0) {
    values[at + 2] = (values[at + 2] as number) + 1;
    return;
  }
  values[at + 1] = (values[at + 1] as number) + value;
  // Bucket i holds (2^i, 2^(i+1)].
  const index = Math.ceil(Math.log2(value)) - 1 - layout.offset;
  const slot = at + bucketsAt + Math.min(Math.max(index, 0), layout.buckets - 1);
  values[slot] = (values[slot] as number) + 1;
}
