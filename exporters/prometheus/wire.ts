import type { Label } from './naming.ts';

/**
 * The few pieces of the protobuf wire format (protobuf.dev, "Encoding") that `io.prometheus.client` messages need, written
 * straight into a buffer: field numbers are those of prometheus/client_model's metrics.proto.
 */

/** Bytes of a base-128 varint. `n` is a non-negative integer up to 2^53. */
export function varintSize(n: number): number {
  let size = 1;
  while (n >= 128) {
    n = Math.floor(n / 128);
    size++;
  }
  return size;
}

/** Writes a varint and returns the position after it. */
export function writeVarint(buf: Buffer, pos: number, n: number): number {
  while (n >= 128) {
    buf[pos++] = (n % 128) | 128;
    n = Math.floor(n / 128);
  }
  buf[pos++] = n;
  return pos;
}

/** ZigZag, so that small negative numbers stay small: 0, -1, 1, -2 → 0, 1, 2, 3. Exact up to 2^52. */
export function zigzag(n: number): number {
  return n >= 0 ? n * 2 : -n * 2 - 1;
}

/** `Metric.label` (field 1) for each label: `LabelPair { name = 1; value = 2; }`. */
export function encodeLabels(labels: readonly Label[]): Buffer {
  const pieces: Buffer[] = [];
  for (const { name, value } of labels) {
    const pair = Buffer.concat([lengthDelimited(1, Buffer.from(name)), lengthDelimited(2, Buffer.from(value))]);
    pieces.push(lengthDelimited(1, pair));
  }
  return Buffer.concat(pieces);
}

/** A length-delimited field with its tag (field numbers below 16). */
export function lengthDelimited(field: number, body: Buffer): Buffer {
  const head = Buffer.allocUnsafe(1 + varintSize(body.length));
  head[0] = (field << 3) | 2;
  writeVarint(head, 1, body.length);
  return Buffer.concat([head, body]);
}
