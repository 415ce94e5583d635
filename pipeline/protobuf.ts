/**
 * Protobuf wire format (protobuf.dev, "Encoding"), written by hand where the volume is: no objects, no size pass, one growing buffer.
 * What is written is canonical: minimal varints, fields in the order of the calls.
 */

const smallString = 48;

/** Length of a varint, bytes. Only for values below 2^53. */
export function varintLength(value: number): number {
  let n = 1;
  let v = value;
  while (v >= 128) {
    v = Math.floor(v / 128);
    n++;
  }
  return n;
}

/** Appends to one buffer that grows; take what was written by {@link ProtobufWriter.bytes}. */
export class ProtobufWriter {
  buffer: Buffer;
  #view: DataView;
  position = 0;

  constructor(size = 64 * 1024) {
    this.buffer = Buffer.allocUnsafeSlow(size);
    this.#view = new DataView(this.buffer.buffer);
  }

  /** A view on what was written since `from`; valid until the next write. */
  bytes(from = 0): Buffer {
    return this.buffer.subarray(from, this.position);
  }

  reset(): void {
    this.position = 0;
  }

  /** Makes room for `n` more bytes. */
  reserve(n: number): void {
    if (this.position + n <= this.buffer.length) return;
    const bigger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.position + n));
    // All of it, not up to the position: `end` steps back before it writes a length.
    this.buffer.copy(bigger);
    this.buffer = bigger;
    this.#view = new DataView(bigger.buffer);
  }

  /** A single byte: tags of fields 1 to 15 are one. */
  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.position++] = value;
  }

  /** Unsigned, below 2^53. */
  varint(value: number): void {
    this.reserve(10);
    const { buffer } = this;
    let v = value;
    while (v >= 0x80000000) {
      buffer[this.position++] = (v % 128) | 128;
      v = Math.floor(v / 128);
    }
    while (v >= 128) {
      buffer[this.position++] = (v & 127) | 128;
      v >>>= 7;
    }
    buffer[this.position++] = v;
  }

  /** An int64 as a varint: ten bytes when negative. Safe integers only. */
  int64(value: number): void {
    if (value >= 0) {
      this.varint(value);
      return;
    }
    this.reserve(10);
    let v = BigInt.asUintN(64, BigInt(value));
    while (v >= 128n) {
      this.buffer[this.position++] = Number(v & 127n) | 128;
      v >>= 7n;
    }
    this.buffer[this.position++] = Number(v);
  }

  /** sint32: zigzag. */
  sint32(value: number): void {
    this.varint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  double(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  fixed64(value: bigint): void {
    this.reserve(8);
    this.#view.setBigUint64(this.position, value, true);
    this.position += 8;
  }

  /** A non-negative integer below 2^53 as fixed64. */
  fixed64Number(value: number): void {
    this.reserve(8);
    this.#view.setUint32(this.position, value >>> 0, true);
    this.#view.setUint32(this.position + 4, Math.floor(value / 4294967296), true);
    this.position += 8;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** UTF-8 bytes alone, for formats that are text. */
  text(text: string): void {
    this.reserve(text.length * 3);
    this.position += this.buffer.write(text, this.position);
  }

  /** Length and UTF-8 bytes. */
  string(text: string): void {
    if (text.length <= smallString && this.#ascii(text)) return;
    const mark = this.begin(text.length > 127 ? 2 : 1);
    this.reserve(text.length * 3);
    this.position += this.buffer.write(text, this.position);
    this.end(mark);
  }

  /** Writes a short string of ASCII without leaving JavaScript; false, with nothing written, when it is not. */
  #ascii(text: string): boolean {
    const n = text.length;
    this.reserve(n + 1);
    const { buffer } = this;
    const at = this.position;
    for (let i = 0; i < n; i++) {
      const c = text.charCodeAt(i);
      if (c > 127) return false;
      buffer[at + 1 + i] = c;
    }
    buffer[at] = n;
    this.position = at + 1 + n;
    return true;
  }

  /**
   * Opens a length-delimited field whose tag was just written. `guess`: bytes its length is expected to take; a wrong guess costs a
   * move of the content.
   *
   * @returns a mark for {@link end}; marks nest.
   */
  begin(guess: number): number {
    this.reserve(guess);
    const mark = this.position * 8 + guess;
    this.position += guess;
    return mark;
  }

  end(mark: number): void {
    const guess = mark % 8;
    const at = (mark - guess) / 8;
    const start = at + guess;
    const length = this.position - start;
    const needed = varintLength(length);
    if (needed !== guess) {
      this.reserve(5);
      this.buffer.copyWithin(at + needed, start, this.position);
    }
    this.position = at;
    this.varint(length);
    this.position += length;
  }
}

/** Reads a message field by field. Throws RangeError when it is cut short. */
export class ProtobufReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  position: number;
  field = 0;
  wireType = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = start;
    this.#end = end;
  }

  /** Moves to the next field; false at the end. */
  next(): boolean {
    if (this.position >= this.#end) return false;
    const key = this.varint();
    this.field = Math.floor(key / 8);
    this.wireType = key % 8;
    return true;
  }

  /** A varint as a number; above 2^53 it loses precision, negative int64 values come out as such. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const b = this.#byte();
      value += (b & 127) * scale;
      if (b < 128) return value >= 2 ** 63 ? value - 2 ** 64 : value;
      scale *= 128;
    }
    throw new RangeError('Varint too long');
  }

  bytes(): Uint8Array {
    const length = this.varint();
    const start = this.position;
    this.#skip(length);
    return this.#bytes.subarray(start, start + length);
  }

  string(): string {
    return Buffer.from(this.bytes()).toString();
  }

  message(): ProtobufReader {
    const content = this.bytes();
    return new ProtobufReader(content);
  }

  fixed64(): bigint {
    const at = this.position;
    this.#skip(8);
    return this.#view.getBigUint64(at, true);
  }

  double(): number {
    const at = this.position;
    this.#skip(8);
    return this.#view.getFloat64(at, true);
  }

  /** Passes over the field just announced by {@link next}. */
  skip(): void {
    if (this.wireType === 0) this.varint();
    else if (this.wireType === 1) this.#skip(8);
    else if (this.wireType === 2) this.bytes();
    else if (this.wireType === 5) this.#skip(4);
    else throw new RangeError(`Unknown wire type ${this.wireType}`);
  }

  #byte(): number {
    if (this.position >= this.#end) throw new RangeError('Message cut short');
    return this.#bytes[this.position++]!;
  }

  #skip(n: number): void {
    if (n < 0 || this.position + n > this.#end) throw new RangeError('Message cut short');
    this.position += n;
  }
}
