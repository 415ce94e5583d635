import type { Snapshot } from '../../pipeline/batch.ts';
import type { HistogramLayout } from '../../pipeline/catalogue.ts';
import { type Row, rowValue } from './layout.ts';
import type { PrometheusType } from './naming.ts';
import { type Allocate, chunkBytes, classicBounds, shownBucket } from './text.ts';
import type { View, ViewFamily, ViewPart } from './view.ts';
import { encodeLabels, lengthDelimited, varintSize, writeVarint, zigzag } from './wire.ts';

/**
 * The protobuf exposition format: `io.prometheus.client.MetricFamily` messages, each behind its length (prometheus/client_model,
 * metrics.proto). The one format that carries native histograms: an exponential histogram of scale n is a native one of
 * schema n, so that buckets go over as they are.
 */

/** Options of {@link renderProtobuf}. */
export interface ProtobufOptions {
  /** Most classic bounds beside the native buckets; 0 = native only. */
  readonly histogramBounds: number;
}

/** `MetricType` of metrics.proto. */
const metricTypes: Readonly<Record<PrometheusType, number>> = { counter: 0, gauge: 1, histogram: 4 };

/** Default width of the zero bucket (specification "Prometheus and OpenMetrics Compatibility"); marks a histogram as native. */
const zeroThreshold = 1e-128;

/** Writes a view as delimited messages. A `null` is a moment to let the event loop run: a family's length is known at its end. */
export function* renderProtobuf(
  view: View,
  allocate: Allocate,
  options: ProtobufOptions,
): Generator<Buffer | null, void> {
  const body = new Body();
  let out = allocate(chunkBytes);
  let used = 0;
  for (const family of view.families) {
    body.clear();
    for (const part of family.parts) {
      const encode = part.part.histogram ? histogramEncoder(part.part.histogram, options) : numberEncoder(family);
      const units = part.part.rows.length * part.snapshots.length;
      for (let u = 0; u < units; u++) {
        if (encodeUnit(body, part, u, encode) && body.fresh()) yield null;
      }
    }
    if (body.length === 0) continue;
    for (const piece of [familyHead(family, body.length), ...body.pieces()]) {
      for (let from = 0; from < piece.length; ) {
        const n = Math.min(piece.length - from, out.length - used);
        piece.copy(out, used, from, from + n);
        from += n;
        used += n;
        if (used === out.length) {
          yield out;
          out = allocate(chunkBytes);
          used = 0;
        }
      }
    }
  }
  if (used > 0) yield out.subarray(0, used);
}

function familyHead({ family }: ViewFamily, bodyBytes: number): Buffer {
  const head = Buffer.concat([
    lengthDelimited(1, Buffer.from(family.name)),
    lengthDelimited(2, Buffer.from(family.help)),
    Buffer.from([(3 << 3) | 0, metricTypes[family.type]]),
  ]);
  const length = Buffer.alloc(varintSize(head.length + bodyBytes));
  writeVarint(length, 0, head.length + bodyBytes);
  return Buffer.concat([length, head]);
}

/** The body of a family, in pieces, since its length must be written before it. The buffers serve one family after the other. */
class Body {
  readonly #buffers: Buffer[] = [];
  /** Bytes used of each buffer before the current one. */
  readonly #full: number[] = [];
  #fullBytes = 0;
  #reported = 0;
  pos = 0;

  get length(): number {
    return this.#fullBytes + this.pos;
  }

  clear(): void {
    this.#full.length = 0;
    this.#fullBytes = 0;
    this.#reported = 0;
    this.pos = 0;
  }

  /** A buffer with room for `bytes` from `pos` on. */
  reserve(bytes: number): Buffer {
    let at = this.#full.length;
    let buf = this.#buffers[at];
    if (buf !== undefined && this.pos + bytes <= buf.length) return buf;
    if (buf !== undefined && this.pos > 0) {
      this.#full.push(this.pos);
      this.#fullBytes += this.pos;
      this.pos = 0;
      buf = this.#buffers[++at];
    }
    if (buf === undefined || buf.length < bytes) {
      buf = Buffer.allocUnsafeSlow(Math.max(bytes, chunkBytes));
      this.#buffers[at] = buf;
    }
    return buf;
  }

  /** True once for each buffer that was filled. */
  fresh(): boolean {
    if (this.#full.length === this.#reported) return false;
    this.#reported = this.#full.length;
    return true;
  }

  *pieces(): Generator<Buffer> {
    for (const [i, length] of this.#full.entries()) yield this.#buffers[i]!.subarray(0, length);
    if (this.pos > 0) yield this.#buffers[this.#full.length]!.subarray(0, this.pos);
  }
}

/** The value part of one `Metric`: its size, and how it is written. */
interface Encoder {
  /** Bytes of the value's field for this row and snapshot. */
  size(row: Row, snapshot: Snapshot): number;
  write(buf: Buffer, pos: number): number;
}

/** Writes one `MetricFamily.metric` (field 4). False when the series has no value. */
function encodeUnit(body: Body, { part, snapshots, tails, skip }: ViewPart, unit: number, encoder: Encoder): boolean {
  const n = snapshots.length;
  const row = part.rows[Math.floor(unit / n)]!;
  const snapshot = snapshots[unit % n]!;
  if (Number.isNaN(rowValue(row, snapshot.values)) || skip?.has(unit)) return false;
  let tail = tails[unit % n]!;
  if (row.hides !== undefined) tail = tail.without(row.hides);
  row.protobuf ??= encodeLabels(row.labels);
  const head = row.protobuf;
  const size = head.length + tail.protobuf.length + encoder.size(row, snapshot);
  const buf = body.reserve(size + 1 + varintSize(size));
  let pos = body.pos;
  buf[pos++] = (4 << 3) | 2;
  pos = writeVarint(buf, pos, size);
  buf.set(head, pos);
  pos += head.length;
  buf.set(tail.protobuf, pos);
  pos += tail.protobuf.length;
  body.pos = encoder.write(buf, pos);
  return true;
}

/** `created_timestamp` (google.protobuf.Timestamp) of a counter or histogram: when its count began. */
function timestampSize(ms: number): number {
  const inner = timestampInner(ms);
  return ms > 0 ? 2 + inner : 0;
}

function timestampInner(ms: number): number {
  const nanos = Math.round((ms % 1000) * 1e6);
  return 1 + varintSize(Math.floor(ms / 1000)) + (nanos > 0 ? 1 + varintSize(nanos) : 0);
}

function writeTimestamp(buf: Buffer, pos: number, field: number, ms: number): number {
  if (ms <= 0) return pos;
  buf[pos++] = (field << 3) | 2;
  buf[pos++] = timestampInner(ms);
  buf[pos++] = (1 << 3) | 0;
  pos = writeVarint(buf, pos, Math.floor(ms / 1000));
  const nanos = Math.round((ms % 1000) * 1e6);
  if (nanos === 0) return pos;
  buf[pos++] = (2 << 3) | 0;
  return writeVarint(buf, pos, nanos);
}

/** `Gauge { value = 1 }` as field 2, `Counter { value = 1; created_timestamp = 3 }` as field 3 of `Metric`. */
function numberEncoder({ family }: ViewFamily): Encoder {
  const counter = family.type === 'counter';
  let value = 0;
  let startMs = 0;
  return {
    size: (row, snapshot) => {
      value = rowValue(row, snapshot.values);
      startMs = counter ? snapshot.startTimeMs : 0;
      return 2 + 9 + timestampSize(startMs);
    },
    write: (buf, pos) => {
      buf[pos++] = ((counter ? 3 : 2) << 3) | 2;
      buf[pos++] = 9 + timestampSize(startMs);
      pos = writeDouble(buf, pos, 1, value);
      return writeTimestamp(buf, pos, 3, startMs);
    },
  };
}

function writeDouble(buf: Buffer, pos: number, field: number, v: number): number {
  buf[pos] = (field << 3) | 1;
  return buf.writeDoubleLE(v, pos + 1);
}

/**
 * `Histogram` as field 7 of `Metric`. The fields are written into a scratch buffer first, since their size is only known then.
 */
function histogramEncoder(layout: HistogramLayout, { histogramBounds }: ProtobufOptions): Encoder {
  const bounds = histogramBounds > 0 ? classicBounds(layout, histogramBounds) : [];
  // 14 fixed fields of ≤ 11 bytes, 25 bytes a classic bucket, ≤ 20 a native one (delta and span).
  const scratch = Buffer.allocUnsafe(256 + bounds.length * 25 + layout.buckets * 24);
  let used = 0;
  return {
    size: (row, { values, startTimeMs }) => {
      used = writeHistogram(scratch, row.slot, values, startTimeMs, layout, bounds);
      return 1 + varintSize(used) + used;
    },
    write: (buf, pos) => {
      buf[pos++] = (7 << 3) | 2;
      pos = writeVarint(buf, pos, used);
      scratch.copy(buf, pos, 0, used);
      return pos + used;
    },
  };
}

function writeHistogram(
  buf: Buffer,
  at: number,
  values: Float64Array,
  startMs: number,
  layout: HistogramLayout,
  bounds: readonly number[],
): number {
  const zeros = values[at + 2]!;
  let total = zeros;
  for (let i = 0; i < layout.buckets; i++) total += values[at + 3 + i]!;
  // Observations that no bucket has lie above the last one. Prometheus refuses a native histogram whose buckets do not add up
  // to its count: they go into the bucket after the last.
  const count = Math.max(total, values[at]!);
  let pos = 0;
  buf[pos++] = (1 << 3) | 0; // sample_count
  pos = writeVarint(buf, pos, count);
  pos = writeDouble(buf, pos, 2, values[at + 1]!); // sample_sum
  pos = writeClassic(buf, pos, at, values, layout, bounds);
  pos = writeTimestamp(buf, pos, 15, startMs); // created_timestamp
  if (layout.scale < -4 || layout.scale > 8) return pos;
  buf[pos++] = (5 << 3) | 0; // schema
  pos = writeVarint(buf, pos, zigzag(layout.scale));
  pos = writeDouble(buf, pos, 6, zeroThreshold); // zero_threshold
  buf[pos++] = (7 << 3) | 0; // zero_count
  pos = writeVarint(buf, pos, zeros);
  return writeNative(buf, pos, at, values, layout, count - total);
}

/** `bucket` (field 3): `Bucket { cumulative_count = 1; upper_bound = 2 }` for each classic bound; `+Inf` is optional and left out. */
function writeClassic(
  buf: Buffer,
  pos: number,
  at: number,
  values: Float64Array,
  layout: HistogramLayout,
  bounds: readonly number[],
): number {
  let cumulative = values[at + 2]!;
  let bucket = 0;
  for (let h = 0; h < bounds.length; h++) {
    const upTo = shownBucket(h, bounds.length, layout.buckets);
    while (bucket < upTo) cumulative += values[at + 3 + bucket++]!;
    buf[pos++] = (3 << 3) | 2;
    buf[pos++] = 1 + varintSize(cumulative) + 9;
    buf[pos++] = (1 << 3) | 0;
    pos = writeVarint(buf, pos, cumulative);
    pos = writeDouble(buf, pos, 2, bounds[h]!);
  }
  return pos;
}

/**
 * `positive_span` (12) and `positive_delta` (13). OpenTelemetry numbers buckets by their lower bound, Prometheus by their upper one,
 * so that an index is one more here. Runs of more than two empty buckets end a span, as in Prometheus' own client.
 */
function writeNative(
  buf: Buffer,
  pos: number,
  at: number,
  values: Float64Array,
  layout: HistogramLayout,
  above: number,
): number {
  const buckets = above > 0 ? layout.buckets + 1 : layout.buckets;
  const bucketCount = (i: number) => (i < layout.buckets ? values[at + 3 + i]! : above);
  const spans = findSpans(buckets, bucketCount);
  let end = -(layout.offset + 1);
  for (const { first, length } of spans) {
    // The first offset is an index, the others are gaps.
    const gap = first - end;
    buf[pos++] = (12 << 3) | 2;
    buf[pos++] = 2 + varintSize(zigzag(gap)) + varintSize(length);
    buf[pos++] = (1 << 3) | 0;
    pos = writeVarint(buf, pos, zigzag(gap));
    buf[pos++] = (2 << 3) | 0;
    pos = writeVarint(buf, pos, length);
    end = first + length;
  }
  if (spans.length === 0) {
    // A span of nothing says "native, without observations".
    buf[pos++] = (12 << 3) | 2;
    buf[pos++] = 0;
  }
  let previous = 0;
  for (const { first, length } of spans) {
    for (let i = first; i < first + length; i++) {
      const n = bucketCount(i);
      buf[pos++] = (13 << 3) | 0;
      pos = writeVarint(buf, pos, zigzag(n - previous));
      previous = n;
    }
  }
  return pos;
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
