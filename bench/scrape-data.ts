import { type MetricsBatch, makeSchema, type Resource } from '../pipeline/batch.ts';
import { defineMetrics } from '../pipeline/catalogue.ts';

/**
 * What the scrape bench serves: 250 owners with 400 series each, in 40 metrics of 10 attribute sets; two thirds counters with large whole
 * numbers, the rest gauges, one in eight of them with a fraction.
 */
export const owners = 250;
export const metricCount = 40;
export const attributeSets = 10;

const definitions = defineMetrics(
  Object.fromEntries(
    Array.from({ length: metricCount }, (_, i) => [
      `skoop.bench.metric_${i}`,
      {
        instrument: i % 3 === 2 ? ('gauge' as const) : ('counter' as const),
        unit: i % 4 === 0 ? 'By' : '{packet}',
        description: `Bench metric number ${i}.`,
        source: 'bench',
        scope: 'netns' as const,
      },
    ]),
  ),
);

const schema = makeSchema(
  Object.values(definitions).flatMap((metric) =>
    Array.from({ length: attributeSets }, (_, k) => ({
      metric,
      attributes: { 'network.interface.name': `eth${k}`, 'network.io.direction': k % 2 === 0 ? 'receive' : 'transmit' },
    })),
  ),
);

export const resources: readonly Resource[] = Array.from({ length: owners }, (_, p) => ({
  attributes: {
    'k8s.node.name': 'bench-node',
    'k8s.namespace.name': `namespace-${p % 10}`,
    'k8s.pod.name': `workload-${p % 25}-5775dfdc77-${String(p).padStart(5, '0')}`,
  },
}));

/** The value of series `i` of owner `p`. */
export function valueAt(p: number, i: number): number {
  const whole = p * 1_000_003 + i * 7919;
  return i % 8 === 5 ? whole / 64 : whole;
}

/** One complete collection: 100 000 series. */
export function benchBatch(): MetricsBatch {
  return {
    kind: 'metrics',
    source: 'bench/all',
    scope: { name: 'skoopline/bench' },
    snapshots: resources.map((resource, p) => ({
      owner: { netns: 4_026_532_000 + p },
      resource,
      startTimeMs: 1_700_000_000_000,
      timeMs: 1_700_000_015_000,
      schema,
      values: Float64Array.from({ length: schema.slots }, (_, i) => valueAt(p, i)),
    })),
  };
}
