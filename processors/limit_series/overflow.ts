import { type SeriesDescriptor, slotsOf } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';

/** A series with the values among which its own stand. */
export interface Present {
  readonly series: SeriesDescriptor;
  readonly values: Float64Array;
}

interface Admitted {
  value: number;
  changedMs: number;
}

/**
 * Which series of one metric of one owner stand for themselves, and the sum of all others.
 *
 * The sum is true at any time: own series + overflow = what came in. A counter's overflow never falls: a series that was summed stays
 * summed while its owner lives, and what a series that ended had counted stays in the sum.
 */
export class Overflow {
  readonly metric: MetricDefinition;
  readonly #idleMs: number;
  readonly #admitted = new Map<string, Admitted>();
  /** Key → last values, by slot. */
  readonly #summed = new Map<string, Float64Array>();
  /** What ended counters had counted. */
  readonly #ended: Float64Array;
  readonly #isCumulative: boolean;

  constructor(metric: MetricDefinition, idleMs: number) {
    this.metric = metric;
    this.#idleMs = idleMs;
    this.#ended = new Float64Array(slotsOf(metric));
    this.#isCumulative = metric.instrument === 'counter' || metric.instrument === 'histogram';
  }

  /** Number of series in the sum. */
  get summed(): number {
    return this.#summed.size;
  }

  /**
   * Takes what there is of the metric in one collection.
   *
   * @param limit series that may come out, the overflow included.
   */
  take(present: readonly Present[], limit: number, nowMs: number): void {
    this.#forget(new Set(present.map((p) => keyOf(p.series))));
    const newcomers: Present[] = [];
    for (const item of present) {
      const key = keyOf(item.series);
      const value = item.values[item.series.offset]!;
      const own = this.#admitted.get(key);
      if (own !== undefined) {
        if (!Number.isNaN(value) && own.value !== value) {
          own.value = value;
          own.changedMs = nowMs;
        }
      } else if (!this.#summed.has(key) && !Number.isNaN(value)) newcomers.push(item);
    }
    this.#shrink(Math.max(0, limit - 1));
    for (const item of newcomers) this.#welcome(item, limit - 1, nowMs);
    this.#remember(present);
  }

  /** True when the series is in the sum, after {@link take}. One without a value is neither there nor by itself: it stays. */
  isSummed(series: SeriesDescriptor): boolean {
    return this.#summed.has(keyOf(series));
  }

  /** Adds what is summed to `into`, from slot `at` on. */
  addTo(into: Float64Array, at: number): void {
    for (const source of [this.#ended, ...this.#summed.values()]) {
      for (let i = 0; i < source.length; i++) into[at + i]! += source[i]!;
    }
  }

  /** Series that are in the schema no more. */
  #forget(keys: ReadonlySet<string>): void {
    for (const key of this.#admitted.keys()) if (!keys.has(key)) this.#admitted.delete(key);
    for (const [key, last] of this.#summed) {
      if (keys.has(key)) continue;
      this.#summed.delete(key);
      if (this.#isCumulative) for (let i = 0; i < last.length; i++) this.#ended[i]! += last[i]!;
    }
  }

  /** A newcomer gets a free place, or that of a series that has been idle; else it is summed. */
  #welcome({ series, values }: Present, places: number, nowMs: number): void {
    const key = keyOf(series);
    if (this.#admitted.size >= places) {
      const idle = this.#mostIdle();
      if (idle === undefined || nowMs - idle.changedMs < this.#idleMs || places === 0) {
        this.#summed.set(key, new Float64Array(slotsOf(this.metric)));
        return;
      }
      this.#sum(idle.key);
    }
    this.#admitted.set(key, { value: values[series.offset]!, changedMs: nowMs });
  }

  /** The budget became smaller: the most idle ones go. */
  #shrink(places: number): void {
    while (this.#admitted.size > places) this.#sum(this.#mostIdle()!.key);
  }

  #mostIdle(): { readonly key: string; readonly changedMs: number } | undefined {
    let oldest: { key: string; changedMs: number } | undefined;
    for (const [key, { changedMs }] of this.#admitted) {
      if (oldest === undefined || changedMs < oldest.changedMs) oldest = { key, changedMs };
    }
    return oldest;
  }

  #sum(key: string): void {
    this.#admitted.delete(key);
    this.#summed.set(key, new Float64Array(slotsOf(this.metric)));
  }

  /** Notes the values of what is summed. A series without a value now: a counter keeps its last one, a gauge has none. */
  #remember(present: readonly Present[]): void {
    for (const { series, values } of present) {
      const last = this.#summed.get(keyOf(series));
      if (last === undefined) continue;
      if (!Number.isNaN(values[series.offset]!)) last.set(values.subarray(series.offset, series.offset + last.length));
      else if (!this.#isCumulative) last.fill(0);
    }
  }
}

const keys = new WeakMap<SeriesDescriptor, string>();

/** Identity of a series within its metric and owner. */
function keyOf(series: SeriesDescriptor): string {
  let key = keys.get(series);
  if (key === undefined) {
    const entries = Object.entries(series.attributes);
    key = JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
    keys.set(series, key);
  }
  return key;
}
