import type { LogRecord, LogsBatch, MetricsBatch, Snapshot } from '../../pipeline/batch.ts';
import { itemCount } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
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
    const texts = toResourceMetrics(part).map((rm) => inner(JsonMetricsSerializer.serializeRequest(rm)));
    const bytes = Buffer.from(`{"resourceMetrics":[${texts.join(',')}]}`);
    return { bytes, items, unencodable: itemCount({ ...batch, snapshots }) - items };
  };
}

/** The one ResourceMetrics of a serialized request: the serializer takes no more than one, a request any number. */
function inner(request: Uint8Array | undefined): string {
  const text = Buffer.from(request ?? []).toString();
  return text.slice(text.indexOf('[') + 1, text.lastIndexOf(']'));
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
