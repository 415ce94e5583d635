/** What tests of the exporter push, and what they make of what arrives. */
import assert from 'node:assert/strict';
import type { LogRecord, LogsBatch } from '../../../pipeline/batch.ts';
import { ProtobufWriter } from '../../../pipeline/protobuf.ts';
import { pods, scope } from './batches.ts';
import { decodeOtlp } from './decode.ts';

export const never = new AbortController().signal;

export function logs(count: number, options: { podsUsed?: number; bodyLength?: number } = {}): LogsBatch {
  const { podsUsed = 1, bodyLength = 20 } = options;
  const records = Array.from(
    { length: count },
    (_, i): LogRecord => ({
      timeUnixNs: BigInt(i),
      observedTimeUnixNs: BigInt(i),
      severityNumber: 9,
      eventName: 'skoop.test',
      body: `${i} `.padEnd(bodyLength, 'x'),
      attributes: { 'test.number': i },
      owner: undefined,
      resource: pods[i % podsUsed]!,
    }),
  );
  return { kind: 'logs', source: 'test', scope, records };
}

/** Response bodies: ExportLogsServiceResponse. */
export function partial(rejected: number, message: string): Uint8Array {
  const w = new ProtobufWriter();
  w.byte((1 << 3) | 2);
  const mark = w.begin(1);
  w.byte(1 << 3);
  w.varint(rejected);
  w.byte((2 << 3) | 2);
  w.string(message);
  w.end(mark);
  return Uint8Array.from(w.bytes());
}

type Decoded = { resourceLogs: { scopeLogs: { logRecords: { timeUnixNano?: string }[] }[] }[] };

export function recordsOf({ resourceLogs }: Decoded) {
  return resourceLogs.flatMap((r) => r.scopeLogs.flatMap((s) => s.logRecords));
}

export function numbers(body: Uint8Array): number[] {
  return recordsOf(decodeOtlp('ExportLogsServiceRequest', body)).map((r) => Number(r.timeUnixNano ?? 0));
}

export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new assert.AssertionError({ message: 'It did not reject' });
}
