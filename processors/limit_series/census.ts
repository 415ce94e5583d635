import type { MetricsBatch, Schema, SeriesDescriptor } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import type { LimitSeriesConfig } from './config.ts';

/** The series of each metric of a schema; looked at once for each schema. */
export interface Census {
  readonly metrics: ReadonlyMap<MetricDefinition, readonly SeriesDescriptor[]>;
  /** True when no metric has more series than one owner may have. */
  readonly fits: boolean;
}

/** Counts schemas, and knows what each metric may have. */
export class Budget {
  readonly #config: LimitSeriesConfig;
  readonly #known = new WeakMap<Schema, Census>();

  constructor(config: LimitSeriesConfig) {
    this.#config = config;
  }

  censusOf(schema: Schema): Census {
    let census = this.#known.get(schema);
    if (census === undefined) {
      const metrics = Map.groupBy(schema.series, (s) => s.metric);
      let fits = true;
      for (const [metric, series] of metrics) if (series.length > this.#perOwner(metric)) fits = false;
      census = { metrics, fits };
      this.#known.set(schema, census);
    }
    return census;
  }

  /**
   * What one owner may have of each metric in this batch; `shared` when it is less than usual for some. In the usual case, far below
   * the total, this costs O(1) per snapshot.
   */
  limitsOf(batch: MetricsBatch): { readonly limitOf: (metric: MetricDefinition) => number; readonly shared: boolean } {
    const shares = this.#shares(batch);
    return {
      limitOf: (metric) => Math.min(this.#perOwner(metric), shares.get(metric) ?? Number.POSITIVE_INFINITY),
      shared: shares.size > 0,
    };
  }

  #perOwner(metric: MetricDefinition): number {
    return this.#config.budgets[metric.name] ?? Math.max(metric.maxSeries, this.#config.min_series);
  }

  /** Even shares of the metrics that have too many series over all owners. */
  #shares(batch: MetricsBatch): ReadonlyMap<MetricDefinition, number> {
    const { max_series: max } = this.#config;
    const shares = new Map<MetricDefinition, number>();
    let all = 0;
    for (const { schema } of batch.snapshots) all += schema.series.length;
    if (all <= max) return shares;
    const totals = new Map<MetricDefinition, { series: number; owners: number }>();
    for (const { schema } of batch.snapshots) {
      for (const [metric, series] of this.censusOf(schema).metrics) {
        const total = totals.get(metric) ?? { series: 0, owners: 0 };
        total.series += Math.min(series.length, this.#perOwner(metric));
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
