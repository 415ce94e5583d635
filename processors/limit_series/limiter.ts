import {
  type MetricsBatch,
  makeSchema,
  type Schema,
  type SeriesDescriptor,
  type Snapshot,
  slotsOf,
  withSeries,
} from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { Budget, type LimitOf } from './census.ts';
import type { LimitSeriesConfig } from './config.ts';
import { Overflow, type Present } from './overflow.ts';

/** The attribute that OpenTelemetry gives to a series which stands for those above a cardinality limit. */
export const overflowAttributes: Attributes = Object.freeze({ 'otel.metric.overflow': true });

/** An owner that has or had too many series. */
interface Offender {
  readonly name: string;
  readonly overflows: Map<MetricDefinition, Overflow>;
  /** Incoming schema → what is left of it; the same object while the same series are left. */
  readonly shapes: WeakMap<Schema, { readonly kept: readonly SeriesDescriptor[]; readonly schema: Schema }>;
  sums: Schema;
}

/** What limiting a batch did, in data points. */
export interface Outcome {
  readonly batch: MetricsBatch;
  /** Points that went into sums. */
  readonly merged: number;
  /** Sums that came out. */
  readonly made: number;
}

/** Who has too many series of what. */
export interface Culprit {
  readonly metric: string;
  readonly owner: string;
  /** Series that are summed. */
  readonly summed: number;
}

const noSums = makeSchema([]);

/** The state of one subscription: offenders by source and owner. Nothing is kept of owners within their budget. */
export class Limiter {
  readonly #config: LimitSeriesConfig;
  readonly #budget: Budget;
  readonly #onCulprit: (culprit: Culprit, limit: number) => void;
  readonly #sources = new Map<string, Map<string | number, Offender>>();

  constructor(config: LimitSeriesConfig, onCulprit: (culprit: Culprit, limit: number) => void) {
    this.#config = config;
    this.#budget = new Budget(config);
    this.#onCulprit = onCulprit;
  }

  /** @param nowMs monotonic. */
  limit(batch: MetricsBatch, nowMs: number): Outcome {
    const groups = this.#budget.groupsOf(batch);
    const { limitOf, shared } = this.#budget.limitsOf(batch, groups);
    const before = this.#sources.get(batch.source);
    const offenders = new Map<string | number, Offender>();
    const snapshots = [...batch.snapshots];
    let merged = 0;
    let made = 0;
    for (const { key, indexes } of groups) {
      const own = indexes.map((i) => batch.snapshots[i]!);
      const known = before?.get(key);
      if (known === undefined && this.#budget.fits(own) && !(shared && this.#budget.exceeds(own, limitOf))) continue;
      const offender = known ?? newOffender(own[0]!);
      offenders.set(key, offender);
      this.#sum(offender, own, limitOf, nowMs);
      for (const i of indexes) {
        const reduced = reduce(offender, batch.snapshots[i]!);
        snapshots[i] = reduced.snapshot;
        merged += reduced.merged;
      }
      const sums = sumsOf(offender, own);
      made += sums.schema.series.length;
      snapshots.push(sums);
    }
    if (offenders.size > 0) this.#sources.set(batch.source, offenders);
    else this.#sources.delete(batch.source);
    if (offenders.size === 0) return { batch, merged, made };
    return { batch: Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) }), merged, made };
  }

  /** All offenders now. */
  *culprits(): Iterable<Culprit> {
    for (const offenders of this.#sources.values()) {
      for (const { name: owner, overflows } of offenders.values()) {
        for (const { metric, summed } of overflows.values()) {
          if (summed > 0) yield { metric: metric.name, owner, summed };
        }
      }
    }
  }

  /** Brings the sums of all metrics of an owner up to date. */
  #sum(offender: Offender, snapshots: readonly Snapshot[], limitOf: LimitOf, nowMs: number): void {
    const metrics = new Map<MetricDefinition, Present[]>();
    for (const { schema, values } of snapshots) {
      for (const series of schema.series) {
        const list = metrics.get(series.metric);
        if (list === undefined) metrics.set(series.metric, [{ series, values }]);
        else list.push({ series, values });
      }
    }
    for (const metric of offender.overflows.keys()) if (!metrics.has(metric)) metrics.set(metric, []);
    for (const [metric, present] of metrics) {
      const limit = limitOf(metric);
      let overflow = offender.overflows.get(metric);
      if (overflow === undefined) {
        if (present.length <= limit) continue;
        overflow = new Overflow(metric, this.#config.idle);
        offender.overflows.set(metric, overflow);
        const culprit = { metric: metric.name, owner: offender.name, summed: present.length - limit + 1 };
        this.#onCulprit(culprit, limit);
      }
      overflow.take(present, limit, nowMs);
    }
  }
}

function newOffender(snapshot: Snapshot): Offender {
  return { name: nameOf(snapshot), overflows: new Map(), shapes: new WeakMap(), sums: noSums };
}

/** The snapshot without the series that are summed; the same object when none of its are. */
function reduce(offender: Offender, snapshot: Snapshot): { readonly snapshot: Snapshot; readonly merged: number } {
  const { schema, values } = snapshot;
  const kept: SeriesDescriptor[] = [];
  let merged = 0;
  for (const series of schema.series) {
    if (!offender.overflows.get(series.metric)?.isSummed(series)) kept.push(series);
    else if (!Number.isNaN(values[series.offset])) merged++;
  }
  if (kept.length === schema.series.length) return { snapshot, merged };
  const shape = offender.shapes.get(schema);
  const isSame = shape?.kept.length === kept.length && kept.every((s, i) => s === shape.kept[i]);
  const smaller = isSame ? shape.schema : makeSchema(kept);
  if (!isSame) offender.shapes.set(schema, { kept, schema: smaller });
  const out = new Float64Array(smaller.slots);
  for (const [i, { metric, offset }] of kept.entries()) {
    out.set(values.subarray(offset, offset + slotsOf(metric)), smaller.series[i]!.offset);
  }
  const moved = (offset: number) => smaller.series[kept.findIndex((s) => s.offset === offset)]?.offset;
  return { snapshot: withSeries(snapshot, smaller, out, moved), merged };
}

/** The overflow series of an owner, as a snapshot of its own. */
function sumsOf(offender: Offender, snapshots: readonly Snapshot[]): Snapshot {
  const sums = [...offender.overflows.values()];
  const isSame =
    offender.sums.series.length === sums.length && sums.every((s, i) => offender.sums.series[i]?.metric === s.metric);
  if (!isSame) offender.sums = makeSchema(sums.map(({ metric }) => ({ metric, attributes: overflowAttributes })));
  const values = new Float64Array(offender.sums.slots);
  for (const [i, sum] of sums.entries()) sum.addTo(values, offender.sums.series[i]!.offset);
  const { owner, resource } = snapshots[0]!;
  const startTimeMs = Math.min(...snapshots.map((s) => s.startTimeMs));
  const timeMs = Math.max(...snapshots.map((s) => s.timeMs));
  return Object.freeze({ owner, resource, startTimeMs, timeMs, schema: offender.sums, values });
}

/** How an operator calls the owner. */
function nameOf({ resource, owner }: Snapshot): string {
  const { 'k8s.namespace.name': namespace, 'k8s.pod.name': pod } = resource.attributes;
  if (pod !== undefined) return `${namespace}/${pod}`;
  return owner?.netns === undefined ? 'node' : `netns ${owner.netns}`;
}
