import { align4 } from './message.ts';

/** Low 14 bits: the type; above are NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;

/**
 * Netlink attributes (`struct nlattr`) read one by one, in place: `a.reset(view, start, end); while (a.next()) switch (a.type) …`.
 * One cursor per nesting level, kept and reused: nothing is allocated.
 *
 * A length that is too short or reaches beyond its parent ends the walk and is counted in {@link rejects}; a value shorter than what
 * is asked for reads as NaN (numbers) and is counted too. Nothing throws. A value longer than asked for is normal: kernels append.
 */
export class AttributeCursor {
  type = 0;
  /** Payload: `[start, end)` of the view. */
  start = 0;
  end = 0;
  /** Malformed attributes and short values seen since the count was last taken. */
  rejects = 0;
  #view: DataView = empty;
  #next = 0;
  #limit = 0;

  reset(view: DataView, start: number, end: number): this {
    this.#view = view;
    this.#next = start;
    this.#limit = Math.min(end, view.byteLength);
    return this;
  }

  /** Walks the attributes inside the one that `parent` stands on. */
  enter(parent: AttributeCursor): this {
    return this.reset(parent.#view, parent.start, parent.end);
  }

  next(): boolean {
    const at = this.#next;
    const left = this.#limit - at;
    if (left < 4) {
      // Up to 3 bytes of padding may stand at the end.
      this.#next = this.#limit;
      return false;
    }
    const length = this.#view.getUint16(at, true);
    if (length < 4 || length > left) {
      this.rejects++;
      this.#next = this.#limit;
      return false;
    }
    this.type = this.#view.getUint16(at + 2, true) & NLA_TYPE_MASK;
    this.start = at + 4;
    this.end = at + length;
    this.#next = at + align4(length);
    return true;
  }

  /** Bytes of the value. */
  get length(): number {
    return this.end - this.start;
  }

  /** Takes the count of rejects and sets it to 0. */
  takeRejects(): number {
    const n = this.rejects;
    this.rejects = 0;
    return n;
  }

  u8(offset = 0): number {
    return this.#has(offset, 1) ? this.#view.getUint8(this.start + offset) : Number.NaN;
  }

  u16(offset = 0): number {
    return this.#has(offset, 2) ? this.#view.getUint16(this.start + offset, true) : Number.NaN;
  }

  u32(offset = 0): number {
    return this.#has(offset, 4) ? this.#view.getUint32(this.start + offset, true) : Number.NaN;
  }

  i32(offset = 0): number {
    return this.#has(offset, 4) ? this.#view.getInt32(this.start + offset, true) : Number.NaN;
  }

  /** 64 bits as a double: exact up to 2^53 (9 PB of traffic). */
  u64(offset = 0): number {
    if (!this.#has(offset, 8)) return Number.NaN;
    const at = this.start + offset;
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x1_0000_0000;
  }

  /** Network byte order. */
  be16(offset = 0): number {
    return this.#has(offset, 2) ? this.#view.getUint16(this.start + offset, false) : Number.NaN;
  }

  /** Network byte order. */
  be32(offset = 0): number {
    return this.#has(offset, 4) ? this.#view.getUint32(this.start + offset, false) : Number.NaN;
  }

  /** Network byte order; see {@link u64}. */
  be64(offset = 0): number {
    if (!this.#has(offset, 8)) return Number.NaN;
    const at = this.start + offset;
    return this.#view.getUint32(at, false) * 0x1_0000_0000 + this.#view.getUint32(at + 4, false);
  }

  /** Text up to the first NUL. */
  text(): string {
    const bytes = this.bytes();
    const nul = bytes.indexOf(0);
    return bytes.toString('utf8', 0, nul < 0 ? bytes.length : nul);
  }

  /** The value, in place: copy what is to be kept. */
  bytes(): Buffer {
    return Buffer.from(this.#view.buffer, this.#view.byteOffset + this.start, this.length);
  }

  /** True when the value has `bytes` bytes at `offset`; counts a reject otherwise. */
  #has(offset: number, bytes: number): boolean {
    if (this.start + offset + bytes <= this.end) return true;
    this.rejects++;
    return false;
  }
}

const empty = new DataView(new ArrayBuffer(0));
