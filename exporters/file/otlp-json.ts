import type { LogRecord, LogsBatch, Resource } from '../../pipeline/batch.ts';
import { keyValues } from '../../pipeline/otlp-json.ts';

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
