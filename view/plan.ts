import type { Schema, SeriesDescriptor } from '../pipeline/batch.ts';
import type { Attributes, HistogramLayout } from '../pipeline/catalogue.ts';
import {
  flowBytes,
  gauges,
  type LatencyDefinition,
  latencies,
  latencyNames,
  metricQuantities,
  type QuantityDefinition,
  quantityIndex,
} from './quantities.ts';

/** Where in the values of a schema the view finds what it counts. Made once a schema. */
export interface Plan {
  readonly counters: readonly CounterSlot[];
  readonly histograms: readonly HistogramSlot[];
  /** Series that are looked at on demand, by metric. */
  readonly lookups: ReadonlyMap<string, readonly SeriesDescriptor[]>;
}

export interface CounterSlot {
  readonly slot: number;
  /** Column of the quantity. */
  readonly quantity: number;
  /** Values of the quantity's `by` attributes; undefined = it has none. */
  readonly label: string | undefined;
  /** Tells the series from others of its owner when schemas differ. */
  readonly series: string;
}

export interface HistogramSlot {
  readonly slot: number;
  readonly latency: number;
  readonly layout: HistogramLayout;
  readonly series: string;
}

/** Parts of a label are joined by this: no attribute value holds it. */
export const labelSeparator = '\u0000';

type Counted = readonly [quantity: number, definition: QuantityDefinition];

const counted = new Map<string, Counted[]>();
for (const [name, definition] of Object.entries(metricQuantities) as [
  keyof typeof metricQuantities,
  QuantityDefinition,
][]) {
  for (const metric of definition.metrics) {
    const list = counted.get(metric) ?? [];
    list.push([quantityIndex[name], definition]);
    counted.set(metric, list);
  }
}
const timed = new Map<string, (readonly [latency: number, definition: LatencyDefinition])[]>();
latencyNames.forEach((name, i) => {
  const definition: LatencyDefinition = latencies[name];
  timed.set(definition.metric, [...(timed.get(definition.metric) ?? []), [i, definition]]);
});
const lookedUp = new Set<string>([...Object.values(gauges), flowBytes]);

const plans = new WeakMap<Schema, Plan>();

export function planOf(schema: Schema): Plan {
  let plan = plans.get(schema);
  if (!plan) {
    plan = makePlan(schema);
    plans.set(schema, plan);
  }
  return plan;
}

function makePlan(schema: Schema): Plan {
  const counters: CounterSlot[] = [];
  const histograms: HistogramSlot[] = [];
  const lookups = new Map<string, SeriesDescriptor[]>();
  for (const descriptor of schema.series) {
    const { metric, attributes, offset: slot } = descriptor;
    for (const [quantity, definition] of counted.get(metric.name) ?? []) {
      if (!matches(attributes, definition)) continue;
      const label = definition.by && labelOf(attributes, definition.by);
      counters.push({ slot, quantity, label, series: seriesKey(descriptor) });
    }
    for (const [latency, definition] of timed.get(metric.name) ?? []) {
      if (!metric.histogram || !matches(attributes, definition)) continue;
      histograms.push({ slot, latency, layout: metric.histogram, series: seriesKey(descriptor) });
    }
    if (lookedUp.has(metric.name)) {
      const list = lookups.get(metric.name);
      if (list) list.push(descriptor);
      else lookups.set(metric.name, [descriptor]);
    }
  }
  return { counters, histograms, lookups };
}

function matches(attributes: Attributes, rule: { readonly where?: Attributes; readonly except?: Attributes }): boolean {
  for (const [key, value] of Object.entries(rule.where ?? {})) if (attributes[key] !== value) return false;
  for (const [key, value] of Object.entries(rule.except ?? {})) if (attributes[key] === value) return false;
  return true;
}

function labelOf(attributes: Attributes, by: readonly string[]): string {
  return by.map((key) => String(attributes[key] ?? '')).join(labelSeparator);
}

function seriesKey({ metric, attributes }: SeriesDescriptor): string {
  return `${metric.name} ${JSON.stringify(attributes)}`;
}
