import { type HrTime, ValueType } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  MeterProvider,
  type MetricData,
  type MetricProducer,
  MetricReader,
} from '@opentelemetry/sdk-metrics';
import type { Clock } from '../clock.ts';
import type { Reading } from './cells.ts';

/** The OpenTelemetry SDK around the agent's numbers; in a module of its own, since it is loaded when somebody looks. */
export interface Sdk {
  /** For libraries and histograms, which have instruments of their own. */
  readonly meters: MeterProvider;
  /** Prometheus text format 0.0.4, and what could not be collected. */
  text(): Promise<{ readonly text: string; readonly errors: readonly unknown[] }>;
}

export function makeSdk(options: {
  readonly read: () => Reading[];
  readonly clock: Clock;
  readonly startMs: number;
  readonly version: string;
  readonly node: string;
}): Sdk {
  const reader = new PullReader({ metricProducers: [producer(options)] });
  const resource = resourceFromAttributes({
    'service.name': 'skoopline',
    'service.version': options.version,
    'k8s.node.name': options.node,
  });
  const meters = new MeterProvider({ readers: [reader], resource });
  const serializer = new PrometheusSerializer('', false, undefined, false, true);
  return {
    meters,
    text: async () => {
      const { resourceMetrics, errors } = await reader.collect();
      return { text: `${serializer.serialize(resourceMetrics).trimEnd()}\n`, errors };
    },
  };
}

class PullReader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

function producer({ read, clock, startMs, version }: Parameters<typeof makeSdk>[0]): MetricProducer {
  const scope = { name: 'skoopline', version };
  const resource = resourceFromAttributes({});
  const startTime = hrTime(startMs);
  return {
    collect: async (): Promise<CollectionResult> => {
      const endTime = hrTime(clock.nowMs());
      const metrics = read().map((r) => metricData(r, startTime, endTime));
      return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics }] }, errors: [] };
    },
  };
}

function metricData(reading: Reading, startTime: HrTime, endTime: HrTime): MetricData {
  const { name, unit, description, kind, points } = reading;
  const shared = {
    descriptor: { name, unit, description, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: points.map(({ value, attributes }) => ({ startTime, endTime, attributes: attributes as never, value })),
  };
  return kind === 'counter'
    ? { ...shared, dataPointType: DataPointType.SUM, isMonotonic: true }
    : { ...shared, dataPointType: DataPointType.GAUGE };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
