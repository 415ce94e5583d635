import type { LogRecord, LogsBatch, Resource } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';

/**
 * A batch as one line of OTLP/JSON (`ExportLogsServiceRequest`, opentelemetry-proto's JSON mapping): what the Collector's file exporter writes
 * and its `otlpjsonfile` receiver reads.
 */
export function otlpJson(batch: LogsBatch): string {
  const byResource = new Map<Resource, LogRecord[]>();
  for (const record of batch.records) {
    const of = byResource.get(record.resource);
    if (of) of.push(record);
    else byResource.set(record.resource, [record]);
  }
  const { name, version } = batch.scope;
  return JSON.stringify({
    resourceLogs: Array.from(byResource, ([resource, records]) => ({
      resource: { attributes: keyValues(resource.attributes) },
      scopeLogs: [{ scope: { name, ...(version !== undefined && { version }) }, logRecords: records.map(logRecord) }],
    })),
  });
}

const severityText = { 5: 'DEBUG', 9: 'INFO', 13: 'WARN', 17: 'ERROR' } as const;

function logRecord(r: LogRecord): object {
  return {
    timeUnixNano: String(r.timeUnixNs),
    observedTimeUnixNano: String(r.observedTimeUnixNs),
    severityNumber: r.severityNumber,
    severityText: severityText[r.severityNumber],
    eventName: r.eventName,
    body: { stringValue: r.body },
    attributes: keyValues(r.attributes),
  };
}

function keyValues(attributes: Attributes): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: AttributeValue): object {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      // The JSON mapping writes 64-bit integers as strings.
      return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    default:
      return { arrayValue: { values: value.map((v) => ({ stringValue: v })) } };
  }
}
