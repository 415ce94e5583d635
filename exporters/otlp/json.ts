import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Exemplar, LogRecord, LogsBatch, MetricsBatch, Snapshot } from '../../pipeline/batch.ts';
import { itemCount } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import type { PointWithExemplar } from '../../pipeline/otel.ts';
import { keyValues } from '../../pipeline/otlp-json.ts';
import type { EncodedRequest } from './encode-logs.ts';

/**
 * http/json by OpenTelemetry's own serializers: at a third of a million records a second they are good enough for a protocol that is
 * chosen for being readable. They are loaded when the first batch is sent.
 */

/** What one request holds: a part of the batch. */
interface Part {
  readonly bytes: Uint8Array;
  readonly items: number;
  readonly unencodable?: number;
}
type Serialize<T> = (units: readonly T[]) => Part;

/** Requests of at most `maxBytes`, one for each `next`; a single record or snapshot above the limit makes one of its own. */
export async function* encodeJson(
  batch: LogsBatch | MetricsBatch,
  maxBytes: number,
): AsyncGenerator<EncodedRequest, void> {
  if (batch.kind === 'logs') yield* halving(batch.records, await logsSerializer(batch), maxBytes, 0);
  else yield* halving(batch.snapshots, await metricsSerializer(batch), maxBytes, 0);
}

/** Serializes all, and where that is too large, each half. */
function* halving<T>(
  units: readonly T[],
  serialize: Serialize<T>,
  maxBytes: number,
  before: number,
): Generator<EncodedRequest, void> {
  const part = serialize(units);
  if (part.bytes.length <= maxBytes || units.length === 1) {
    if (part.items + (part.unencodable ?? 0) > 0) yield { ...part, done: before + units.length };
    return;
  }
  const middle = units.length >> 1;
  yield* halving(units.slice(0, middle), serialize, maxBytes, before);
  yield* halving(units.slice(middle), serialize, maxBytes, before + middle);
}

async function logsSerializer(batch: LogsBatch): Promise<Serialize<LogRecord>> {
  const [{ JsonLogsSerializer }, { toReadableLogRecords }] = await Promise.all([
    import('@opentelemetry/otlp-transformer'),
    import('../../pipeline/otel.ts'),
  ]);
  return (records) => ({
    bytes:
      JsonLogsSerializer.serializeRequest(toReadableLogRecords({ ...batch, records: records.map(printable) })) ??
      new Uint8Array(),
    items: records.length,
  });
}

/** The record with numbers that the serializer would print as no JSON number or no int64 (1e300, infinity) as strings. */
function printable(record: LogRecord): LogRecord {
  const bad = Object.entries(record.attributes).filter(([, v]) => isUnprintable(v));
  if (bad.length === 0) return record;
  const attributes: Attributes = { ...record.attributes, ...Object.fromEntries(bad.map(([k, v]) => [k, String(v)])) };
  return { ...record, attributes };
}

function isUnprintable(value: AttributeValue): boolean {
  return (
    typeof value === 'number' && (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
  );
}

async function metricsSerializer(batch: MetricsBatch): Promise<Serialize<Snapshot>> {
  const [{ JsonMetricsSerializer }, { toResourceMetrics }] = await Promise.all([
    import('@opentelemetry/otlp-transformer'),
    import('../../pipeline/otel.ts'),
  ]);
  return (snapshots) => {
    const part = { ...batch, snapshots: snapshots.map(finite) };
    const items = itemCount(part);
    const hasExemplars = part.snapshots.some((s) => s.exemplars !== undefined);
    const texts = toResourceMetrics(part).map((rm) => {
      const text = inner(JsonMetricsSerializer.serializeRequest(rm));
      return hasExemplars ? withExemplars(text, rm) : text;
    });
    const bytes = Buffer.from(`{"resourceMetrics":[${texts.join(',')}]}`);
    return { bytes, items, unencodable: itemCount({ ...batch, snapshots }) - items };
  };
}

/** The one ResourceMetrics of a serialized request: the serializer takes no more than one, a request any number. */
function inner(request: Uint8Array | undefined): string {
  const text = Buffer.from(request ?? []).toString();
  return text.slice(text.indexOf('[') + 1, text.lastIndexOf(']'));
}

/** What of a serialized ResourceMetrics is changed here. */
interface PrintedMetrics {
  readonly scopeMetrics: readonly { readonly metrics: readonly Readonly<Record<string, { dataPoints: object[] }>>[] }[];
}

/** The serialized ResourceMetrics with the exemplars, which the serializer does not know; it keeps the order of metrics and points. */
function withExemplars(text: string, { scopeMetrics }: ResourceMetrics): string {
  const printed = JSON.parse(text) as PrintedMetrics;
  scopeMetrics.forEach(({ metrics }, s) => {
    metrics.forEach(({ dataPoints }, m) => {
      const points = printed.scopeMetrics[s]?.metrics[m]?.['exponentialHistogram']?.dataPoints;
      dataPoints.forEach(({ exemplar }: PointWithExemplar, i) => {
        if (points?.[i] && exemplar) Object.assign(points[i], { exemplars: [jsonExemplar(exemplar)] });
      });
    });
  });
  return JSON.stringify(printed);
}

function jsonExemplar({ timeUnixNs, value, attributes }: Exemplar): object {
  return { filteredAttributes: keyValues(attributes), timeUnixNano: String(timeUnixNs), asDouble: value };
}

/** The snapshot without its infinite values: the serializer would print them as null, which a backend reads as zero. */
function finite(snapshot: Snapshot): Snapshot {
  const { schema, values } = snapshot;
  const infinite = schema.series.filter((d) => Math.abs(values[d.offset]!) === Number.POSITIVE_INFINITY);
  if (infinite.length === 0) return snapshot;
  const masked = values.slice();
  for (const d of infinite) masked[d.offset] = Number.NaN;
  return { ...snapshot, values: masked };
}
