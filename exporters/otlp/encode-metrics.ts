import {
  type Exemplar,
  exemplarOf,
  type MetricsBatch,
  type Schema,
  type SeriesDescriptor,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { HistogramLayout, MetricDefinition } from '../../pipeline/catalogue.ts';
import { type ProtobufWriter, varintLength } from '../../pipeline/protobuf.ts';
import { encoded, resourceBytes, scopeBytes, writeAttributes } from './encode-attributes.ts';
import { type EncodedRequest, sliceBytes } from './encode-logs.ts';

/**
 * opentelemetry/proto/collector/metrics/v1: ExportMetricsServiceRequest, of metrics/v1: ResourceMetrics, ScopeMetrics, Metric,
 * Gauge, Sum, ExponentialHistogram, their data points, Exemplar. Always cumulative. What depends on the schema alone (names, units,
 * attribute sets) is encoded once for each schema and copied from then on.
 */

/** AGGREGATION_TEMPORALITY_CUMULATIVE. */
const cumulative = 2;
/** start_time_unix_nano (2) and time_unix_nano (3), fixed64 each, with their tags. */
const timesLength = 18;
/** as_double (4) with its tag. */
const valueLength = 9;

interface SeriesTemplate {
  readonly offset: number;
  /** KeyValues, tags included. */
  readonly attributes: Uint8Array;
  /** Bytes of the whole data point field of a number, tag and length included. */
  readonly pointLength: number;
}

interface MetricTemplate {
  readonly metric: MetricDefinition;
  /** name, description, unit. */
  readonly head: Uint8Array;
  /** Tag of the oneof `data`. */
  readonly dataTag: number;
  /** What follows the data points in `data`: temporality, monotonic. */
  readonly tail: Uint8Array;
  readonly series: readonly SeriesTemplate[];
}

const templates = new WeakMap<Schema, readonly MetricTemplate[]>();

function templatesOf(schema: Schema): readonly MetricTemplate[] {
  let made = templates.get(schema);
  if (!made) {
    const byMetric = new Map<MetricDefinition, SeriesDescriptor[]>();
    for (const d of schema.series) {
      const list = byMetric.get(d.metric);
      if (list) list.push(d);
      else byMetric.set(d.metric, [d]);
    }
    made = [...byMetric].map(([metric, series]) => metricTemplate(metric, series));
    templates.set(schema, made);
  }
  return made;
}

function metricTemplate(metric: MetricDefinition, series: readonly SeriesDescriptor[]): MetricTemplate {
  const head = encoded((w) => {
    w.byte((1 << 3) | 2);
    w.string(metric.name);
    w.byte((2 << 3) | 2);
    w.string(metric.description);
    w.byte((3 << 3) | 2);
    w.string(metric.unit);
  });
  const attributesField = metric.instrument === 'histogram' ? 1 : 7;
  return {
    metric,
    head,
    dataTag: (dataField(metric) << 3) | 2,
    tail: encoded((w) => writeTail(w, metric)),
    series: series.map(({ offset, attributes }) => {
      const bytes = encoded((w) => writeAttributes(w, attributesField, attributes));
      const content = bytes.length + timesLength + valueLength;
      return { offset, attributes: bytes, pointLength: 1 + varintLength(content) + content };
    }),
  };
}

/** Field of Metric's oneof `data`: gauge 5, sum 7, exponential_histogram 10. */
function dataField(metric: MetricDefinition): number {
  if (metric.instrument === 'histogram') return 10;
  return metric.instrument === 'gauge' ? 5 : 7;
}

function writeTail(w: ProtobufWriter, { instrument }: MetricDefinition): void {
  if (instrument === 'gauge') return;
  w.byte(2 << 3);
  w.byte(cumulative);
  if (instrument === 'counter') {
    w.byte(3 << 3);
    w.byte(1);
  }
}

/**
 * Encodes requests of at most `maxBytes`; undefined = a slice is done and the request is not. A snapshot is never divided: see
 * `dividedSnapshots` for those above the limit. The bytes are valid until the next one is asked for.
 */
export function* encodeMetrics(
  batch: MetricsBatch,
  maxBytes: number,
  w: ProtobufWriter,
): Generator<EncodedRequest | undefined, void> {
  const { snapshots, scope } = batch;
  const scopeHead = scopeBytes(scope);
  let at = 0;
  while (at < snapshots.length) {
    w.reset();
    let items = 0;
    let sliceEnd = sliceBytes;
    for (const from = at; at < snapshots.length; at++) {
      const before = w.position;
      if (before >= sliceEnd) {
        yield undefined;
        sliceEnd = before + sliceBytes;
      }
      const points = writeSnapshot(w, snapshots[at]!, scopeHead);
      if (w.position > maxBytes && at > from && before > 0) {
        w.position = before;
        break;
      }
      items += points;
    }
    if (items > 0) yield { bytes: w.bytes(), items, done: at };
  }
}

/** Size of a snapshot's ResourceMetrics, bytes. */
export function encodedLength(snapshot: Snapshot, batch: MetricsBatch, w: ProtobufWriter): number {
  w.reset();
  writeSnapshot(w, snapshot, scopeBytes(batch.scope));
  return w.position;
}

/** Writes one ResourceMetrics; returns its data points, and writes nothing when there are none. */
function writeSnapshot(w: ProtobufWriter, snapshot: Snapshot, scopeHead: Uint8Array): number {
  const { schema, values } = snapshot;
  const start = w.position;
  const times = timesBytes(snapshot);
  w.byte((1 << 3) | 2);
  const resourceMark = w.begin(3);
  w.raw(resourceBytes(snapshot.resource));
  w.byte((2 << 3) | 2);
  const scopeMark = w.begin(3);
  w.raw(scopeHead);
  let points = 0;
  for (const template of templatesOf(schema)) {
    const { histogram } = template.metric;
    points += histogram
      ? writeHistogramMetric(w, template, histogram, snapshot, times)
      : writeNumberMetric(w, template, values, times);
  }
  if (points === 0) {
    w.position = start;
    return 0;
  }
  w.end(scopeMark);
  w.end(resourceMark);
  return points;
}

function timesBytes({ startTimeMs, timeMs }: Snapshot): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(timesLength));
  bytes.setUint8(0, (2 << 3) | 1);
  bytes.setBigUint64(1, msToNs(startTimeMs), true);
  bytes.setUint8(9, (3 << 3) | 1);
  bytes.setBigUint64(10, msToNs(timeMs), true);
  return new Uint8Array(bytes.buffer);
}

/** Whole microseconds: the precision a fractional millisecond has in a double. */
export function msToNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}

function writeNumberMetric(w: ProtobufWriter, t: MetricTemplate, values: Float64Array, times: Uint8Array): number {
  let points = 0;
  let length = t.tail.length;
  for (const s of t.series) {
    if (Number.isNaN(values[s.offset])) continue;
    points++;
    length += s.pointLength;
  }
  if (points === 0) return 0;
  w.byte((2 << 3) | 2);
  w.varint(t.head.length + 1 + varintLength(length) + length);
  w.raw(t.head);
  w.byte(t.dataTag);
  w.varint(length);
  w.reserve(length);
  for (const s of t.series) {
    const value = values[s.offset]!;
    if (!Number.isNaN(value)) writeNumberPoint(w, s, times, value);
  }
  w.raw(t.tail);
  return points;
}

function writeNumberPoint(w: ProtobufWriter, s: SeriesTemplate, times: Uint8Array, value: number): void {
  w.byte((1 << 3) | 2);
  w.varint(s.attributes.length + timesLength + valueLength);
  w.raw(times);
  w.byte((4 << 3) | 1);
  w.double(value);
  w.raw(s.attributes);
}

function writeHistogramMetric(
  w: ProtobufWriter,
  t: MetricTemplate,
  layout: HistogramLayout,
  snapshot: Snapshot,
  times: Uint8Array,
): number {
  const { values } = snapshot;
  const start = w.position;
  w.byte((2 << 3) | 2);
  const metricMark = w.begin(2);
  w.raw(t.head);
  w.byte(t.dataTag);
  const dataMark = w.begin(2);
  let points = 0;
  for (const s of t.series) {
    if (Number.isNaN(values[s.offset])) continue;
    writeHistogramPoint(w, s, layout, snapshot, times);
    points++;
  }
  if (points === 0) {
    w.position = start;
    return 0;
  }
  w.raw(t.tail);
  w.end(dataMark);
  w.end(metricMark);
  return points;
}

function writeHistogramPoint(
  w: ProtobufWriter,
  s: SeriesTemplate,
  layout: HistogramLayout,
  snapshot: Snapshot,
  times: Uint8Array,
): void {
  const { values } = snapshot;
  const at = s.offset;
  w.byte((1 << 3) | 2);
  const mark = w.begin(2);
  w.raw(s.attributes);
  w.raw(times);
  w.byte((4 << 3) | 1);
  w.fixed64Number(values[at]!);
  w.byte((5 << 3) | 1);
  w.double(values[at + 1]!);
  if (layout.scale !== 0) {
    w.byte(6 << 3);
    w.sint32(layout.scale);
  }
  if (values[at + 2] !== 0) {
    w.byte((7 << 3) | 1);
    w.fixed64Number(values[at + 2]!);
  }
  writePositive(w, layout, values, at + 3);
  const exemplar = exemplarOf(snapshot, at);
  if (exemplar) writeExemplar(w, exemplar);
  w.end(mark);
}

/** `exemplars` (11): time_unix_nano (2), as_double (3), filtered_attributes (7). */
function writeExemplar(w: ProtobufWriter, { timeUnixNs, value, attributes }: Exemplar): void {
  w.byte((11 << 3) | 2);
  const mark = w.begin(1);
  w.byte((2 << 3) | 1);
  w.fixed64(timeUnixNs);
  w.byte((3 << 3) | 1);
  w.double(value);
  writeAttributes(w, 7, attributes);
  w.end(mark);
}

/** `positive` (8): offset and packed counts, without the empty buckets at either end. */
function writePositive(w: ProtobufWriter, layout: HistogramLayout, values: Float64Array, from: number): void {
  let low = 0;
  let high = layout.buckets;
  while (low < high && values[from + low] === 0) low++;
  while (high > low && values[from + high - 1] === 0) high--;
  if (low === high) return;
  w.byte((8 << 3) | 2);
  const mark = w.begin(1);
  const offset = layout.offset + low;
  if (offset !== 0) {
    w.byte(1 << 3);
    w.sint32(offset);
  }
  w.byte((2 << 3) | 2);
  const counts = w.begin(1);
  for (let i = low; i < high; i++) w.varint(values[from + i]!);
  w.end(counts);
  w.end(mark);
}
