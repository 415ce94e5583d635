import type { LogsBatch, MetricsBatch, Schema, SeriesDescriptor, Snapshot } from '../../pipeline/batch.ts';
import { slotsOf } from '../../pipeline/batch.ts';
import type { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { encodedLength } from './encode-metrics.ts';

/** Bytes a data point takes at most, short of long attribute values: what says that a snapshot need not be measured. */
const roughPointBytes = 2048;

/**
 * The batch with every snapshot that would alone exceed `maxBytes` divided into halves of its series, again and again; itself when
 * there is none, which is the rule: 4 MiB are some 40 000 data points of one pod.
 */
export function dividedSnapshots(batch: MetricsBatch, maxBytes: number, w: ProtobufWriter): MetricsBatch {
  const tooLarge = (s: Snapshot) =>
    s.schema.series.length > 1 &&
    s.schema.series.length * roughPointBytes > maxBytes &&
    encodedLength(s, batch, w) > maxBytes;
  if (!batch.snapshots.some(tooLarge)) return batch;
  const divide = (s: Snapshot): Snapshot[] => (tooLarge(s) ? halves(s).flatMap(divide) : [s]);
  return { ...batch, snapshots: batch.snapshots.flatMap(divide) };
}

function halves(snapshot: Snapshot): Snapshot[] {
  const [a, b] = schemaHalves(snapshot.schema);
  const cut = b.series[0]!.offset;
  const { values } = snapshot;
  return [
    { ...snapshot, schema: a, values: values.subarray(0, cut) },
    // The second half keeps its offsets, and with them the first half's slots in front of its own.
    { ...snapshot, schema: b, values },
  ];
}

const known = new WeakMap<Schema, readonly [Schema, Schema]>();

function schemaHalves(schema: Schema): readonly [Schema, Schema] {
  let made = known.get(schema);
  if (!made) {
    const middle = schema.series.length >> 1;
    made = [part(schema.series.slice(0, middle)), part(schema.series.slice(middle))];
    known.set(schema, made);
  }
  return made;
}

function part(series: readonly SeriesDescriptor[]): Schema {
  const last = series.at(-1)!;
  return { series, slots: last.offset + slotsOf(last.metric) };
}

/** What is left of a batch of which the first `done` records or snapshots were delivered; undefined when nothing is. */
export function remainder<B extends LogsBatch | MetricsBatch>(batch: B, done: number): B | undefined {
  if (batch.kind === 'logs') {
    const records = batch.records.slice(done);
    return records.length === 0 ? undefined : { ...batch, records };
  }
  const snapshots = batch.snapshots.slice(done);
  return snapshots.length === 0 ? undefined : { ...batch, snapshots };
}
