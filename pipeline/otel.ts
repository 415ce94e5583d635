import { type HrTime, type Attributes as OtelAttributes, ValueType } from '@opentelemetry/api';
import { type Resource as OtelResource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type ExponentialHistogram,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import {
  type Exemplar,
  exemplarOf,
  type LogsBatch,
  type MetricsBatch,
  type Resource,
  type Scope,
  type SeriesDescriptor,
  type Snapshot,
} from './batch.ts';
import type { Attributes, HistogramLayout, MetricDefinition } from './catalogue.ts';

/**
 * Batches as the OpenTelemetry SDK's own objects, for anything that takes those (its exporters, serializers and readers). One object a data
 * point: meant for interchange and for tests that compare with the SDK; exporters here read the columns themselves.
 */

/** A data point of {@link toResourceMetrics}. The SDK has no exemplars: nothing of its own reads this one. */
export interface PointWithExemplar {
  readonly exemplar?: Exemplar;
}

/** One ResourceMetrics for each resource, in the order of first appearance; series without a value are left out. */
export function toResourceMetrics(batch: MetricsBatch): ResourceMetrics[] {
  const scope = scopeOf(batch.scope);
  return [...Map.groupBy(batch.snapshots, (s) => s.resource)].flatMap(([resource, snapshots]) => {
    const metrics = metricsOf(snapshots);
    return metrics.length === 0 ? [] : [{ resource: resourceOf(resource), scopeMetrics: [{ scope, metrics }] }];
  });
}

/** The records as the SDK reads them; resource and scope objects are the same for the same ones. */
export function toReadableLogRecords(batch: LogsBatch): ReadableLogRecord[] {
  const instrumentationScope = scopeOf(batch.scope);
  return batch.records.map((r) => ({
    hrTime: hrTimeOfNs(r.timeUnixNs),
    hrTimeObserved: hrTimeOfNs(r.observedTimeUnixNs),
    severityNumber: r.severityNumber,
    severityText: severityTexts[r.severityNumber],
    eventName: r.eventName,
    body: r.body,
    attributes: attributesOf(r.attributes),
    droppedAttributesCount: 0,
    resource: resourceOf(r.resource),
    instrumentationScope,
  }));
}

const severityTexts = { 5: 'DEBUG', 9: 'INFO', 13: 'WARN', 17: 'ERROR' } as const;

const resources = new WeakMap<Resource, OtelResource>();
const scopes = new WeakMap<Scope, { name: string; version?: string }>();

/** The SDK groups by identity, so each resource has one object. */
function resourceOf(resource: Resource): OtelResource {
  let made = resources.get(resource);
  if (!made) {
    made = resourceFromAttributes(attributesOf(resource.attributes));
    resources.set(resource, made);
  }
  return made;
}

function scopeOf(scope: Scope): { name: string; version?: string } {
  let made = scopes.get(scope);
  if (!made) {
    made = { ...scope };
    scopes.set(scope, made);
  }
  return made;
}

function metricsOf(snapshots: readonly Snapshot[]): MetricData[] {
  const points = new Map<MetricDefinition, DataPoint<number | ExponentialHistogram>[]>();
  for (const snapshot of snapshots) {
    const startTime = hrTimeOfMs(snapshot.startTimeMs);
    const endTime = hrTimeOfMs(snapshot.timeMs);
    for (const series of snapshot.schema.series) {
      if (Number.isNaN(snapshot.values[series.offset])) continue;
      const value = readSeries(series, snapshot.values);
      const exemplar = exemplarOf(snapshot, series.offset);
      const point = {
        startTime,
        endTime,
        attributes: attributesOf(series.attributes),
        value,
        ...(exemplar && { exemplar }),
      };
      const list = points.get(series.metric);
      if (list) list.push(point);
      else points.set(series.metric, [point]);
    }
  }
  return [...points].map(([metric, list]) => metricData(metric, list));
}

function readSeries({ metric, offset }: SeriesDescriptor, values: Float64Array): number | ExponentialHistogram {
  return metric.histogram ? histogramOf(metric.histogram, offset, values) : values[offset]!;
}

function histogramOf(layout: HistogramLayout, offset: number, values: Float64Array): ExponentialHistogram {
  return {
    count: values[offset]!,
    sum: values[offset + 1]!,
    zeroCount: values[offset + 2]!,
    scale: layout.scale,
    positive: { offset: layout.offset, bucketCounts: [...values.subarray(offset + 3, offset + 3 + layout.buckets)] },
    negative: { offset: 0, bucketCounts: [] },
  };
}

function metricData(metric: MetricDefinition, points: DataPoint<number | ExponentialHistogram>[]): MetricData {
  const { name, unit, description, instrument } = metric;
  const shared = {
    descriptor: { name, unit, description, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  if (instrument === 'histogram') {
    const dataPoints = points as DataPoint<ExponentialHistogram>[];
    return { ...shared, dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM, dataPoints };
  }
  const dataPoints = points as DataPoint<number>[];
  if (instrument === 'gauge') return { ...shared, dataPointType: DataPointType.GAUGE, dataPoints };
  return { ...shared, dataPointType: DataPointType.SUM, isMonotonic: instrument === 'counter', dataPoints };
}

/** The SDK's type wants mutable lists. */
function attributesOf(attributes: Attributes): OtelAttributes {
  return attributes as OtelAttributes;
}

function hrTimeOfNs(ns: bigint): HrTime {
  return [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)];
}

function hrTimeOfMs(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
