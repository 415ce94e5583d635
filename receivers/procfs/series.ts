import { makeSchema, type Schema } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';

/** Which metrics are switched on: the catalogue's default, or what the config says. */
export type Enabled = (metric: MetricDefinition) => boolean;

/**
 * The series of one scraper in the order they were added. It grows only at its end, so that a slot keeps its meaning; each growth makes a
 * new schema, and whoever holds arrays of the old length sees by {@link version} that they are too short.
 */
export class SeriesSet {
  readonly #series: { metric: MetricDefinition; attributes: Attributes }[] = [];
  #schema: Schema | undefined;
  #blank = new Float64Array(0);

  /** Adds a series of a number metric. @returns its slot. */
  add(metric: MetricDefinition, attributes: Attributes = {}): number {
    this.#schema = undefined;
    return this.#series.push({ metric, attributes }) - 1;
  }

  /** Adds a series when its metric is on. @returns its slot, or -1. */
  addIf(enabled: Enabled, metric: MetricDefinition, attributes: Attributes = {}): number {
    return enabled(metric) ? this.add(metric, attributes) : -1;
  }

  /** Number of series so far. */
  get version(): number {
    return this.#series.length;
  }

  get schema(): Schema {
    this.#schema ??= makeSchema(this.#series);
    return this.#schema;
  }

  /** One snapshot's values, all absent. A new array each time: what was emitted is frozen. */
  blank(): Float64Array {
    if (this.#blank.length !== this.#series.length)
      this.#blank = new Float64Array(this.#series.length).fill(Number.NaN);
    return this.#blank.slice();
  }
}

const counterSlots = new WeakMap<Schema, readonly number[]>();

/** Slots of a schema that must not fall. */
function countersOf(schema: Schema): readonly number[] {
  let slots = counterSlots.get(schema);
  if (!slots) {
    slots = schema.series.filter((s) => s.metric.instrument === 'counter').map((s) => s.offset);
    counterSlots.set(schema, slots);
  }
  return slots;
}

/**
 * When the cumulative values of one owner began. A counter that is smaller than before was reset (an interface made anew, a wrapped
 * 32-bit number): the new beginning is the last time the old values were seen.
 */
export class Beginning {
  startTimeMs: number;
  #last: Float64Array | undefined;
  #lastTimeMs: number;

  /** @param birthMs when the owner came to be, as well as that is known. Unix epoch ms. */
  constructor(birthMs: number) {
    this.startTimeMs = birthMs;
    this.#lastTimeMs = birthMs;
  }

  /** Takes the values of a round. @returns the start time that goes with them. */
  next(schema: Schema, values: Float64Array, timeMs: number): number {
    const last = this.#last;
    if (last !== undefined && last !== values && fell(countersOf(schema), last, values))
      this.startTimeMs = this.#lastTimeMs;
    this.#last = values;
    this.#lastTimeMs = timeMs;
    if (this.startTimeMs > timeMs) this.startTimeMs = timeMs;
    return this.startTimeMs;
  }
}

function fell(slots: readonly number[], last: Float64Array, values: Float64Array): boolean {
  for (const slot of slots) {
    const before = last[slot];
    if (before !== undefined && (values[slot] as number) < before) return true;
  }
  return false;
}
