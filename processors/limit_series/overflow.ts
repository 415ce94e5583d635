import { type SeriesDescriptor, slotsOf } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';

/** A series with its place among the values. */
interface Present {
  readonly key: string;
  readonly series: SeriesDescriptor;
}

interface Admitted {
  series: SeriesDescriptor;
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
   * Takes a snapshot's values.
   *
   * @param limit series that may come out, the overflow included.
   * @returns the series that stand for themselves, in the order of `list`.
   */
  take(list: readonly SeriesDescriptor[], values: Float64Array, limit: number, nowMs: number): SeriesDescriptor[] {
    const present = list.map((series): Present => ({ key: keyOf(series), series }));
    this.#forget(new Set(present.map((p) => p.key)));
    const newcomers: Present[] = [];
    for (const { key, series } of present) {
      const value = values[series.offset]!;
      const own = this.#admitted.get(key);
      if (own !== undefined) {
        own.series = series;
        if (!Number.isNaN(value) && !Object.is(own.value, value)) {
          own.value = value;
          own.changedMs = nowMs;
        }
      } else if (!this.#summed.has(key) && !Number.isNaN(value)) newcomers.push({ key, series });
    }
    this.#shrink(Math.max(0, limit - 1));
    for (const { key, series } of newcomers) this.#welcome(key, series, values, limit - 1, nowMs);
    this.#remember(present, values);
    return list.filter((series) => this.#admitted.has(keyOf(series)));
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
  #welcome(key: string, series: SeriesDescriptor, values: Float64Array, places: number, nowMs: number): void {
    if (this.#admitted.size >= places) {
      const idle = this.#mostIdle();
      if (idle === undefined || nowMs - idle.changedMs < this.#idleMs || places === 0) {
        this.#summed.set(key, new Float64Array(slotsOf(this.metric)));
        return;
      }
      this.#sum(idle.key);
    }
    this.#admitted.set(key, { series, value: values[series.offset]!, changedMs: nowMs });
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
  #remember(present: readonly Present[], values: Float64Array): void {
    for (const { key, series } of present) {
      const last = this.#summed.get(key);
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
