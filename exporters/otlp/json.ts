import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { LogRecord, LogsBatch, MetricsBatch, Resource, Scope } from '../../pipeline/batch.ts';
import { type EncodedRequest, severityText } from './encode-logs.ts';

/**
 * http/json by OpenTelemetry's own serializers: at a third of a million records a second they are good enough for a protocol that is
 * chosen for being readable.
 */

type Serialize<T> = (items: readonly T[]) => Uint8Array;

/** Requests of at most `maxBytes`, one for each `next`. */
export async function* encodeJson(
  batch: LogsBatch | MetricsBatch,
  maxBytes: number,
): AsyncGenerator<EncodedRequest, void> {
  if (batch.kind === 'logs')
    yield* halving(batch.records, await logsSerializer(batch.scope), maxBytes, (r) => r.length, 0);
}

/** Serializes all, and where that is too large, each half. */
function* halving<T>(
  items: readonly T[],
  serialize: Serialize<T>,
  maxBytes: number,
  count: (items: readonly T[]) => number,
  before: number,
): Generator<EncodedRequest, void> {
  const bytes = serialize(items);
  if (bytes.length <= maxBytes || items.length === 1) {
    yield { bytes, items: count(items), done: before + items.length };
    return;
  }
  const middle = items.length >> 1;
  yield* halving(items.slice(0, middle), serialize, maxBytes, count, before);
  yield* halving(items.slice(middle), serialize, maxBytes, count, before + middle);
}

async function logsSerializer(scope: Scope): Promise<Serialize<LogRecord>> {
  const { JsonLogsSerializer } = await import('@opentelemetry/otlp-transformer');
  const toSdk = await sdkRecords(scope);
  return (records) => JsonLogsSerializer.serializeRequest(records.map(toSdk)) ?? new Uint8Array();
}

/** Our records as the SDK's. */
export async function sdkRecords(scope: Scope): Promise<(r: LogRecord) => ReadableLogRecord> {
  const toSdkResource = await sdkResources();
  return (r) => ({
    hrTime: hrTime(r.timeUnixNs),
    hrTimeObserved: hrTime(r.observedTimeUnixNs),
    severityNumber: r.severityNumber as number,
    severityText: severityText[r.severityNumber],
    eventName: r.eventName,
    body: r.body,
    resource: toSdkResource(r.resource),
    instrumentationScope: scope,
    attributes: r.attributes as ReadableLogRecord['attributes'],
    droppedAttributesCount: 0,
  });
}

const resources = new WeakMap<Resource, ReadableLogRecord['resource']>();

async function sdkResources(): Promise<(r: Resource) => ReadableLogRecord['resource']> {
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  return (resource) => {
    let made = resources.get(resource);
    if (!made) {
      made = resourceFromAttributes(resource.attributes as Record<string, string>);
      resources.set(resource, made);
    }
    return made;
  };
}

function hrTime(ns: bigint): [number, number] {
  return [Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n)];
}
