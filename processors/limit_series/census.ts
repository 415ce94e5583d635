import type { MetricsBatch, Owner, Schema, SeriesDescriptor, Snapshot } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import type { LimitSeriesConfig } from './config.ts';

/** The series of each metric of a schema; looked at once for each schema. */
interface Census {
  readonly metrics: ReadonlyMap<MetricDefinition, readonly SeriesDescriptor[]>;
  /** Series of the metric that has the most. */
  readonly most: number;
  /** The smallest budget of its metrics. */
  readonly least: number;
}

/** An owner's snapshots in one batch: a source may make one for each part of what it reads (an interface, a protocol). */
export interface Group {
  readonly key: string | number;
  /** Places in the batch. */
  readonly indexes: number[];
}

/** What one owner may have of a metric. */
export type LimitOf = (metric: MetricDefinition) => number;

/** Counts the series of each owner, and knows how many there may be. In the usual case this costs O(1) for each snapshot. */
export class Budget {
  readonly #config: LimitSeriesConfig;
  readonly #known = new WeakMap<Schema, Census>();

  constructor(config: LimitSeriesConfig) {
    this.#config = config;
  }

  /** Snapshots by owner. */
  groupsOf(batch: MetricsBatch): readonly Group[] {
    const groups = new Map<string | number, Group>();
    for (const [index, { owner }] of batch.snapshots.entries()) {
      const key = keyOf(owner);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { key, indexes: [index] });
      else group.indexes.push(index);
    }
    return [...groups.values()];
  }

  /** What one owner may have of each metric in this batch; `shared` when that is less than usual for some. */
  limitsOf(batch: MetricsBatch, groups: readonly Group[]): { readonly limitOf: LimitOf; readonly shared: boolean } {
    const shares = this.#shares(batch, groups);
    return {
      limitOf: (metric) => Math.min(this.#perOwner(metric), shares.get(metric) ?? Number.POSITIVE_INFINITY),
      shared: shares.size > 0,
    };
  }

  /** True when an owner has no more of anything than it usually may. */
  fits(snapshots: readonly Snapshot[]): boolean {
    let most = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const { schema } of snapshots) {
      const census = this.#censusOf(schema);
      most += census.most;
      least = Math.min(least, census.least);
    }
    if (most <= least) return true;
    return !this.exceeds(snapshots, (metric) => this.#perOwner(metric));
  }

  /** True when an owner has more of some metric than its limit. */
  exceeds(snapshots: readonly Snapshot[], limitOf: LimitOf): boolean {
    for (const [metric, n] of this.#count(snapshots)) if (n > limitOf(metric)) return true;
    return false;
  }

  #censusOf(schema: Schema): Census {
    let census = this.#known.get(schema);
    if (census === undefined) {
      const metrics = Map.groupBy(schema.series, (s) => s.metric);
      let most = 0;
      let least = Number.POSITIVE_INFINITY;
      for (const [metric, series] of metrics) {
        most = Math.max(most, series.length);
        least = Math.min(least, this.#perOwner(metric));
      }
      census = { metrics, most, least };
      this.#known.set(schema, census);
    }
    return census;
  }

  #count(snapshots: readonly Snapshot[]): ReadonlyMap<MetricDefinition, number> {
    const counts = new Map<MetricDefinition, number>();
    for (const { schema } of snapshots) {
      for (const [metric, series] of this.#censusOf(schema).metrics) {
        counts.set(metric, (counts.get(metric) ?? 0) + series.length);
      }
    }
    return counts;
  }

  #perOwner(metric: MetricDefinition): number {
    return this.#config.budgets[metric.name] ?? Math.max(metric.maxSeries, this.#config.min_series);
  }

  /** Even shares of the metrics that have too many series over all owners. */
  #shares(batch: MetricsBatch, groups: readonly Group[]): ReadonlyMap<MetricDefinition, number> {
    const { max_series: max } = this.#config;
    const shares = new Map<MetricDefinition, number>();
    // No metric has more series than each snapshot's fullest metric has, summed up.
    let atMost = 0;
    for (const { schema } of batch.snapshots) atMost += this.#censusOf(schema).most;
    if (atMost <= max) return shares;
    const totals = new Map<MetricDefinition, { series: number; owners: number }>();
    for (const { indexes } of groups) {
      for (const [metric, n] of this.#count(indexes.map((i) => batch.snapshots[i]!))) {
        const total = totals.get(metric) ?? { series: 0, owners: 0 };
        total.series += Math.min(n, this.#perOwner(metric));
        total.owners++;
        totals.set(metric, total);
      }
    }
    for (const [metric, { series, owners }] of totals) {
      if (series > max) shares.set(metric, Math.max(1, Math.floor(max / owners)));
    }
    return shares;
  }
}

/** Identity of an owner. Most have a namespace and nothing else: no text is made for them. */
function keyOf(owner: Owner | undefined): string | number {
  if (owner === undefined) return 'node';
  const { netns, podUid, containerId, cgroupId } = owner;
  if (podUid === undefined && containerId === undefined && cgroupId === undefined) return netns ?? 'node';
  return `${netns}/${podUid}/${containerId}/${cgroupId}`;
}
