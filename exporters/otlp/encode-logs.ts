import type { LogRecord, LogsBatch, Resource } from '../../pipeline/batch.ts';
import type { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { resourceBytes, scopeBytes, writeAttributes } from './encode-attributes.ts';

/** opentelemetry/proto/collector/logs/v1: ExportLogsServiceRequest, of logs/v1: ResourceLogs, ScopeLogs, LogRecord. */

/** Short names of severity numbers (OpenTelemetry logs data model, "Displaying Severity"). */
export const severityText = { 5: 'DEBUG', 9: 'INFO', 13: 'WARN', 17: 'ERROR' } as const;

/** After so many bytes, about a millisecond of work, the encoders give the caller the chance to let the event loop turn. */
export const sliceBytes = 256 * 1024;

/** Room kept for the lengths around a record. */
const envelope = 32;

/** One request's worth: `items` records, the first `done` of {@link logsByResource} with those before. */
export interface EncodedRequest {
  readonly bytes: Uint8Array;
  readonly items: number;
  /** Units (records, snapshots) of the batch that are in this request or an earlier one. */
  readonly done: number;
  /** Items that this encoding cannot say; lost, and counted. */
  readonly unencodable?: number;
}

/** The records in the order they are sent: grouped by resource, in order within each. The batch itself when it has one resource. */
export function logsByResource(batch: LogsBatch): LogsBatch {
  const groups = new Map<Resource, LogRecord[]>();
  for (const record of batch.records) {
    const group = groups.get(record.resource);
    if (group) group.push(record);
    else groups.set(record.resource, [record]);
  }
  return groups.size <= 1 ? batch : { ...batch, records: [...groups.values()].flat() };
}

/**
 * Encodes requests of at most `maxBytes`; undefined = a slice is done and the request is not. A single record above the limit makes a request of
 * its own. The bytes are valid until the next one is asked for.
 *
 * @param batch grouped by {@link logsByResource}.
 */
export function* encodeLogs(
  batch: LogsBatch,
  maxBytes: number,
  w: ProtobufWriter,
): Generator<EncodedRequest | undefined, void> {
  const { records, scope } = batch;
  const scopeHead = scopeBytes(scope);
  let at = 0;
  while (at < records.length) {
    w.reset();
    const first = at;
    let sliceEnd = sliceBytes;
    while (at < records.length) {
      if (w.position >= sliceEnd) {
        yield undefined;
        sliceEnd = w.position + sliceBytes;
      }
      const next = writeResourceLogs(w, records, at, scopeHead, { maxBytes, sliceEnd });
      if (next === at) break;
      at = next;
    }
    yield { bytes: w.bytes(), items: at - first, done: at };
  }
}

/** Writes records of one resource from `from` on, until one begins beyond `sliceEnd`; returns where it stopped, `from` when nothing fitted. */
function writeResourceLogs(
  w: ProtobufWriter,
  records: readonly LogRecord[],
  from: number,
  scopeHead: Uint8Array,
  { maxBytes, sliceEnd }: { readonly maxBytes: number; readonly sliceEnd: number },
): number {
  const { resource } = records[from]!;
  const start = w.position;
  w.byte((1 << 3) | 2);
  const resourceMark = w.begin(3);
  w.raw(resourceBytes(resource));
  w.byte((2 << 3) | 2);
  const scopeMark = w.begin(3);
  w.raw(scopeHead);
  let at = from;
  for (; at < records.length && records[at]!.resource === resource; at++) {
    const before = w.position;
    if (before >= sliceEnd) break;
    writeLogRecord(w, records[at]!);
    const first = start === 0 && at === from;
    if (w.position + envelope > maxBytes && !first) {
      w.position = before;
      break;
    }
  }
  if (at === from) {
    w.position = start;
    return from;
  }
  w.end(scopeMark);
  w.end(resourceMark);
  return at;
}

function writeLogRecord(w: ProtobufWriter, r: LogRecord): void {
  w.byte((2 << 3) | 2);
  const mark = w.begin(2);
  w.byte((1 << 3) | 1);
  w.fixed64(r.timeUnixNs);
  w.byte(2 << 3);
  w.byte(r.severityNumber);
  w.byte((3 << 3) | 2);
  w.string(severityText[r.severityNumber]);
  w.byte((5 << 3) | 2);
  const body = w.begin(r.body.length > 100 ? 2 : 1);
  w.byte((1 << 3) | 2);
  w.string(r.body);
  w.end(body);
  writeAttributes(w, 6, r.attributes);
  w.byte((11 << 3) | 1);
  w.fixed64(r.observedTimeUnixNs);
  w.byte((12 << 3) | 2);
  w.string(r.eventName);
  w.end(mark);
}
