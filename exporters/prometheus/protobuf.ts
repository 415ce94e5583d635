import { type Exemplar, exemplarOf, type Snapshot } from '../../pipeline/batch.ts';
import type { HistogramLayout } from '../../pipeline/catalogue.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { exemplarLabels } from './exemplars.ts';
import { type Row, rowValue } from './layout.ts';
import type { Label, PrometheusType } from './naming.ts';
import { type Allocate, chunkBytes, classicBounds, exemplarBucket, shownBucket } from './text.ts';
import type { View, ViewFamily, ViewPart } from './view.ts';

/**
 * The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each behind its length (prometheus/client_model,
 * metrics.proto). The one format that carries native histograms: an exponential histogram of scale n is a native one of
 * schema n, so that buckets go over as they are.
 */

/** `MetricType` of metrics.proto. */
const metricTypes: Readonly<Record<PrometheusType, number>> = { counter: 0, gauge: 1, histogram: 4 };

/** Default width of the zero bucket (specification "Prometheus and OpenMetrics Compatibility"); marks a histogram as native. */
const zeroThreshold = 1e-128;

// Tags, `field << 3 | wire type`, by message.
const tag = {
  family: { name: 0x0a, help: 0x12, type: 0x18, metric: 0x22 },
  metric: { label: 0x0a, gauge: 0x12, counter: 0x1a, histogram: 0x3a },
  label: { name: 0x0a, value: 0x12 },
  number: { value: 0x09, created: 0x1a },
  timestamp: { seconds: 0x08, nanos: 0x10 },
  histogram: {
    count: 0x08,
    sum: 0x11,
    bucket: 0x1a,
    schema: 0x28,
    zeroThreshold: 0x31,
    zeroCount: 0x38,
    positiveSpan: 0x62,
    positiveDelta: 0x68,
    created: 0x7a,
  },
  bucket: { count: 0x08, upperBound: 0x11, exemplar: 0x1a },
  exemplar: { value: 0x11, timestamp: 0x1a },
  span: { offset: 0x08, length: 0x10 },
} as const;

const scratch = new ProtobufWriter(4096);

/** `Metric.label` for each label, rendered once per series and once per resource. */
export function encodeLabels(labels: readonly Label[]): Buffer {
  scratch.reset();
  for (const { name, value } of labels) {
    scratch.byte(tag.metric.label);
    const mark = scratch.begin(1);
    scratch.byte(tag.label.name);
    scratch.string(name);
    scratch.byte(tag.label.value);
    scratch.string(value);
    scratch.end(mark);
  }
  return Buffer.from(scratch.bytes());
}

/**
 * Writes a view as delimited messages, in chunks. A `null` is a moment to let the event loop run: a family's length stands before it, so
 * that it is made whole before any of it goes out.
 *
 * @param histogramBounds most classic bounds beside the native buckets, for scrapers that do not take native histograms.
 */
export function* renderProtobuf(
  view: View,
  allocate: Allocate,
  histogramBounds: number,
): Generator<Buffer | null, void> {
  const writer = new ProtobufWriter(chunkBytes);
  let out = allocate(chunkBytes);
  let used = 0;
  for (const family of view.families) {
    writer.reset();
    if (!(yield* writeFamily(writer, family, histogramBounds))) continue;
    const message = writer.bytes();
    for (let from = 0; from < message.length; ) {
      const n = message.copy(out, used, from);
      from += n;
      used += n;
      if (used < out.length) continue;
      yield out;
      out = allocate(chunkBytes);
      used = 0;
    }
  }
  if (used > 0) yield out.subarray(0, used);
}

/** One message with its length. False when no series of the family has a value. */
function* writeFamily(
  w: ProtobufWriter,
  { family, parts }: ViewFamily,
  histogramBounds: number,
): Generator<null, boolean> {
  // Most families are between 16 KiB and 2 MiB: three bytes of length.
  const whole = w.begin(3);
  w.byte(tag.family.name);
  w.string(family.name);
  w.byte(tag.family.help);
  w.string(family.help);
  w.byte(tag.family.type);
  w.varint(metricTypes[family.type]);
  let written = 0;
  let paused = 0;
  for (const part of parts) {
    const write = part.part.histogram
      ? histogramWriter(part.part.histogram, histogramBounds)
      : numberWriter(family.type === 'counter');
    const units = part.part.rows.length * part.snapshots.length;
    for (let u = 0; u < units; u++) {
      if (writeUnit(w, part, u, write)) written++;
      if (w.position - paused < chunkBytes) continue;
      paused = w.position;
      yield null;
    }
  }
  w.end(whole);
  return written > 0;
}

type WriteValue = (w: ProtobufWriter, row: Row, snapshot: Snapshot) => void;

/** One `Metric`. False when the series has no value. */
function writeUnit(
  w: ProtobufWriter,
  { part, snapshots, tails, skip }: ViewPart,
  u: number,
  write: WriteValue,
): boolean {
  const n = snapshots.length;
  const row = part.rows[Math.floor(u / n)]!;
  const snapshot = snapshots[u % n]!;
  if (Number.isNaN(rowValue(row, snapshot.values)) || skip?.has(u)) return false;
  let tail = tails[u % n]!;
  if (row.hides !== undefined) tail = tail.without(row.hides);
  row.protobuf ??= encodeLabels(row.labels);
  w.byte(tag.family.metric);
  const mark = w.begin(2);
  w.raw(row.protobuf);
  w.raw(tail.protobuf);
  write(w, row, snapshot);
  w.end(mark);
  return true;
}

/** `Gauge` or `Counter`. */
function numberWriter(counter: boolean): WriteValue {
  return (w, row, snapshot) => {
    w.byte(counter ? tag.metric.counter : tag.metric.gauge);
    const mark = w.begin(1);
    w.byte(tag.number.value);
    w.double(rowValue(row, snapshot.values));
    if (counter) writeMilliseconds(w, tag.number.created, snapshot.startTimeMs);
    w.end(mark);
  };
}

/** When a count began. */
function writeMilliseconds(w: ProtobufWriter, field: number, ms: number): void {
  if (ms > 0) writeTimestamp(w, field, Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6));
}

/** `google.protobuf.Timestamp`. */
function writeTimestamp(w: ProtobufWriter, field: number, seconds: number, nanos: number): void {
  w.byte(field);
  const mark = w.begin(1);
  w.byte(tag.timestamp.seconds);
  w.varint(seconds);
  if (nanos > 0) {
    w.byte(tag.timestamp.nanos);
    w.varint(nanos);
  }
  w.end(mark);
}

function histogramWriter(layout: HistogramLayout, histogramBounds: number): WriteValue {
  const bounds = classicBounds(layout, histogramBounds);
  return (w, row, snapshot) => {
    const { values, startTimeMs } = snapshot;
    const at = row.slot;
    const zeros = values[at + 2]!;
    let total = zeros;
    for (let i = 0; i < layout.buckets; i++) total += values[at + 3 + i]!;
    // Observations that no bucket has lie above the last one. Prometheus refuses a native histogram whose buckets do not add up
    // to its count: they go into the bucket after the last.
    const count = Math.max(total, values[at]!);
    w.byte(tag.metric.histogram);
    const mark = w.begin(2);
    w.byte(tag.histogram.count);
    w.varint(count);
    w.byte(tag.histogram.sum);
    w.double(values[at + 1]!);
    writeClassic(w, at, values, layout, bounds, exemplarOf(snapshot, at), count);
    // Schemas that Prometheus knows.
    if (layout.scale >= -4 && layout.scale <= 8) {
      w.byte(tag.histogram.schema);
      w.sint32(layout.scale);
      w.byte(tag.histogram.zeroThreshold);
      w.double(zeroThreshold);
      w.byte(tag.histogram.zeroCount);
      w.varint(zeros);
      writeNative(w, at, values, layout, count - total);
    }
    writeMilliseconds(w, tag.histogram.created, startTimeMs);
    w.end(mark);
  };
}

/** A `Bucket` for each classic bound; `+Inf` may be left out, and is, unless the exemplar lies there. */
function writeClassic(
  w: ProtobufWriter,
  at: number,
  values: Float64Array,
  layout: HistogramLayout,
  bounds: readonly number[],
  exemplar: Exemplar | undefined,
  count: number,
): void {
  const held = exemplar && exemplarBucket(exemplar, bounds);
  let cumulative = values[at + 2]!;
  let bucket = 0;
  for (let h = 0; h < bounds.length; h++) {
    const upTo = shownBucket(h, bounds.length, layout.buckets);
    while (bucket < upTo) cumulative += values[at + 3 + bucket++]!;
    writeBucket(w, cumulative, bounds[h]!, held === h ? exemplar : undefined);
  }
  if (held === bounds.length) writeBucket(w, count, Number.POSITIVE_INFINITY, exemplar);
}

function writeBucket(w: ProtobufWriter, cumulative: number, bound: number, exemplar: Exemplar | undefined): void {
  w.byte(tag.histogram.bucket);
  const mark = w.begin(1);
  w.byte(tag.bucket.count);
  w.varint(cumulative);
  w.byte(tag.bucket.upperBound);
  w.double(bound);
  if (exemplar) writeExemplar(w, exemplar);
  w.end(mark);
}

function writeExemplar(w: ProtobufWriter, exemplar: Exemplar): void {
  const { value, timeUnixNs } = exemplar;
  w.byte(tag.bucket.exemplar);
  const mark = w.begin(2);
  // Label pairs are field 1, as in a Metric.
  w.raw(encodeLabels(exemplarLabels(exemplar)));
  w.byte(tag.exemplar.value);
  w.double(value);
  const nanos = Number(timeUnixNs % 1_000_000_000n);
  writeTimestamp(w, tag.exemplar.timestamp, Number(timeUnixNs / 1_000_000_000n), nanos);
  w.end(mark);
}

/**
 * Spans and deltas. OpenTelemetry numbers buckets by their lower bound, Prometheus by their upper one, so that an index is one more
 * here. Runs of more than two empty buckets end a span, as in Prometheus' own client.
 */
function writeNative(
  w: ProtobufWriter,
  at: number,
  values: Float64Array,
  layout: HistogramLayout,
  above: number,
): void {
  const buckets = above > 0 ? layout.buckets + 1 : layout.buckets;
  const bucketCount = (i: number) => (i < layout.buckets ? values[at + 3 + i]! : above);
  const spans = findSpans(buckets, bucketCount);
  // The first span's offset is an index, the others' are gaps.
  let end = -(layout.offset + 1);
  for (const { first, length } of spans) {
    w.byte(tag.histogram.positiveSpan);
    const mark = w.begin(1);
    w.byte(tag.span.offset);
    w.sint32(first - end);
    w.byte(tag.span.length);
    w.varint(length);
    w.end(mark);
    end = first + length;
  }
  if (spans.length === 0) {
    // A span of nothing says "native, without observations".
    w.byte(tag.histogram.positiveSpan);
    w.varint(0);
  }
  let previous = 0;
  for (const { first, length } of spans) {
    for (let i = first; i < first + length; i++) {
      const delta = bucketCount(i) - previous;
      w.byte(tag.histogram.positiveDelta);
      // ZigZag of a sint64.
      w.varint(delta >= 0 ? delta * 2 : -delta * 2 - 1);
      previous += delta;
    }
  }
}

function findSpans(buckets: number, bucketCount: (i: number) => number): { first: number; length: number }[] {
  const spans: { first: number; length: number }[] = [];
  for (let i = 0; i < buckets; i++) {
    if (bucketCount(i) === 0) continue;
    const last = spans.at(-1);
    if (last && i - (last.first + last.length) <= 2) last.length = i - last.first + 1;
    else spans.push({ first: i, length: 1 });
  }
  return spans;
}
