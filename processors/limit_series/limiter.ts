import {
  type MetricsBatch,
  makeSchema,
  type Owner,
  type Schema,
  type SeriesDescriptor,
  type Snapshot,
  slotsOf,
} from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { Budget } from './census.ts';
import type { LimitSeriesConfig } from './config.ts';
import { Overflow } from './overflow.ts';

/** The attribute that OpenTelemetry gives to a series which stands for those above a cardinality limit. */
export const overflowAttributes: Attributes = Object.freeze({ 'otel.metric.overflow': true });

/** An owner that has or had too many series. */
interface Offender {
  snapshot: Snapshot;
  readonly overflows: Map<MetricDefinition, Overflow>;
  shape: { readonly key: readonly SeriesDescriptor[]; readonly schema: Schema } | undefined;
}

/** What a batch's limiting did, in data points. */
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

/** The state of one subscription: offenders by source and owner. Nothing is kept of owners within their budget. */
export class Limiter {
  readonly #config: LimitSeriesConfig;
  readonly #budget: Budget;
  readonly #onCulprit: (culprit: Culprit, limit: number) => void;
  #sources = new Map<string, Map<string, Offender>>();

  constructor(config: LimitSeriesConfig, onCulprit: (culprit: Culprit, limit: number) => void) {
    this.#config = config;
    this.#budget = new Budget(config);
    this.#onCulprit = onCulprit;
  }

  /** @param nowMs monotonic. */
  limit(batch: MetricsBatch, nowMs: number): Outcome {
    const { limitOf, shared } = this.#budget.limitsOf(batch);
    const before = this.#sources.get(batch.source);
    const offenders = new Map<string, Offender>();
    let merged = 0;
    let made = 0;
    let changed = false;
    const snapshots = batch.snapshots.map((snapshot) => {
      const census = this.#budget.censusOf(snapshot.schema);
      const key = before === undefined ? undefined : keyOf(snapshot);
      const known = key === undefined ? undefined : before?.get(key);
      if (known === undefined && census.fits && !(shared && exceeds(census.metrics, limitOf))) return snapshot;
      const offender = known ?? { snapshot, overflows: new Map(), shape: undefined };
      offenders.set(key ?? keyOf(snapshot), offender);
      const limited = this.#limitOne(offender, snapshot, limitOf, nowMs);
      merged += limited.merged;
      made += limited.made;
      changed = true;
      return limited.snapshot;
    });
    if (offenders.size > 0) this.#sources.set(batch.source, offenders);
    else if (before !== undefined) this.#sources.delete(batch.source);
    return { batch: changed ? Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) }) : batch, merged, made };
  }

  /** All offenders now. */
  *culprits(): Iterable<Culprit> {
    for (const offenders of this.#sources.values()) {
      for (const { snapshot, overflows } of offenders.values()) {
        for (const { metric, summed } of overflows.values()) {
          if (summed > 0) yield { metric: metric.name, owner: nameOf(snapshot), summed };
        }
      }
    }
  }

  #limitOne(
    offender: Offender,
    snapshot: Snapshot,
    limitOf: (metric: MetricDefinition) => number,
    nowMs: number,
  ): { readonly snapshot: Snapshot; readonly merged: number; readonly made: number } {
    const { metrics } = this.#budget.censusOf(snapshot.schema);
    offender.snapshot = snapshot;
    const kept: SeriesDescriptor[] = [];
    for (const [metric, series] of metrics) {
      const limit = limitOf(metric);
      let overflow = offender.overflows.get(metric);
      if (overflow === undefined && series.length > limit) {
        overflow = new Overflow(metric, this.#config.idle);
        offender.overflows.set(metric, overflow);
        this.#onCulprit({ metric: metric.name, owner: nameOf(snapshot), summed: series.length - limit + 1 }, limit);
      }
      kept.push(...(overflow?.take(series, snapshot.values, limit, nowMs) ?? series));
    }
    return this.#build(offender, snapshot, kept);
  }

  #build(offender: Offender, snapshot: Snapshot, kept: readonly SeriesDescriptor[]) {
    const sums = [...offender.overflows.values()];
    const schema = shapeOf(offender, kept, sums);
    const values = new Float64Array(schema.slots);
    for (const [i, { metric, offset }] of kept.entries()) {
      values.set(snapshot.values.subarray(offset, offset + slotsOf(metric)), schema.series[i]!.offset);
    }
    for (const [i, sum] of sums.entries()) sum.addTo(values, schema.series[kept.length + i]!.offset);
    const points = (series: readonly SeriesDescriptor[]) =>
      series.reduce((n, s) => n + (Number.isNaN(snapshot.values[s.offset]) ? 0 : 1), 0);
    const merged = points(snapshot.schema.series) - points(kept);
    return { snapshot: Object.freeze({ ...snapshot, schema, values }), merged, made: sums.length };
  }
}

/** The outgoing schema: the same object while the same series stand for themselves. */
function shapeOf(offender: Offender, kept: readonly SeriesDescriptor[], sums: readonly Overflow[]): Schema {
  const { shape } = offender;
  const isSame =
    shape !== undefined &&
    shape.key.length === kept.length &&
    shape.schema.series.length === kept.length + sums.length &&
    shape.key.every((s, i) => s === kept[i]);
  if (isSame) return shape.schema;
  const schema = makeSchema([...kept, ...sums.map(({ metric }) => ({ metric, attributes: overflowAttributes }))]);
  offender.shape = { key: kept, schema };
  return schema;
}

function exceeds(
  metrics: ReadonlyMap<MetricDefinition, readonly SeriesDescriptor[]>,
  limitOf: (metric: MetricDefinition) => number,
): boolean {
  for (const [metric, series] of metrics) if (series.length > limitOf(metric)) return true;
  return false;
}

function keyOf({ owner, schema }: Snapshot): string {
  // A source may give an owner several snapshots: each with metrics of its own, of which the first tells them apart.
  return `${ownerKey(owner)}/${schema.series[0]?.metric.name}`;
}

function ownerKey(owner: Owner | undefined): string {
  return owner === undefined ? 'node' : `${owner.netns}/${owner.podUid}/${owner.containerId}/${owner.cgroupId}`;
}

/** How an operator calls the owner. */
function nameOf({ resource, owner }: Snapshot): string {
  const { 'k8s.namespace.name': namespace, 'k8s.pod.name': pod } = resource.attributes;
  if (pod !== undefined) return `${namespace}/${pod}`;
  return owner?.netns === undefined ? 'node' : `netns ${owner.netns}`;
}
