/**
 * Reader of BTF, the kernel's own type information (kernel documentation, "BPF Type Format").
 *
 * One type costs one slot of a Uint32Array; names stay in the string section until asked for. Unreadable input throws
 * {@link BtfError}; nothing read is trusted to lie inside the buffer.
 */
export class BtfError extends Error {
  override readonly name = 'BtfError';
}

export const btfKind = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  funcProto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** 0 = not a bit-field. */
  readonly bitSize: number;
}

export interface BtfSectionVar {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

/** Bytes that follow the 12-byte type header, for each kind; `n` = vlen. */
function tailSize(kind: number, n: number): number {
  switch (kind) {
    case btfKind.int:
    case btfKind.var:
    case btfKind.declTag:
      return 4;
    case btfKind.array:
      return 12;
    case btfKind.struct:
    case btfKind.union:
    case btfKind.datasec:
    case btfKind.enum64:
      return 12 * n;
    case btfKind.enum:
    case btfKind.funcProto:
      return 8 * n;
    default:
      return 0;
  }
}

export class Btf {
  readonly #b: Buffer;
  readonly #types: number;
  readonly #strings: number;
  readonly #stringsLength: number;
  /** Offset of each type's header; index 0 is the first type of this Btf. */
  readonly #at: Uint32Array;
  readonly #base: Btf | undefined;
  readonly #firstId: number;
  readonly #firstString: number;

  /** @param base the kernel's own BTF, when `bytes` is that of a module (split BTF) */
  constructor(bytes: Buffer, base?: Btf) {
    if (bytes.length < 24 || bytes.readUInt16LE(0) !== 0xeb9f) throw new BtfError('Not BTF.');
    const header = bytes.readUInt32LE(4);
    this.#b = bytes;
    this.#types = header + bytes.readUInt32LE(8);
    const typesEnd = this.#types + bytes.readUInt32LE(12);
    this.#strings = header + bytes.readUInt32LE(16);
    this.#stringsLength = bytes.readUInt32LE(20);
    if (typesEnd > bytes.length || this.#strings + this.#stringsLength > bytes.length) {
      throw new BtfError('BTF is cut short.');
    }
    this.#base = base;
    this.#firstId = base ? base.#firstId + base.#at.length : 1;
    this.#firstString = base ? base.#firstString + base.#stringsLength : 0;
    this.#at = this.#index(typesEnd);
  }

  #index(end: number): Uint32Array {
    const b = this.#b;
    const at: number[] = [];
    let o = this.#types;
    while (o < end) {
      if (o + 12 > end) throw new BtfError('A BTF type is cut short.');
      at.push(o);
      const info = b.readUInt32LE(o + 4);
      o += 12 + tailSize((info >>> 24) & 0x1f, info & 0xffff);
    }
    if (o !== end) throw new BtfError('The last BTF type is cut short.');
    return Uint32Array.from(at);
  }

  /** Number one past the last type id, base included. */
  get typeCount(): number {
    return this.#firstId + this.#at.length;
  }

  #string(offset: number): string {
    if (offset < this.#firstString) {
      if (!this.#base) throw new BtfError(`BTF string ${offset} is out of range.`);
      return this.#base.#string(offset);
    }
    const from = offset - this.#firstString;
    if (from >= this.#stringsLength) throw new BtfError(`BTF string ${offset} is out of range.`);
    const start = this.#strings + from;
    const end = this.#b.indexOf(0, start);
    return this.#b.toString('latin1', start, end < 0 ? start : end);
  }

  /** Runs `f` on the Btf that holds the type, with its header's offset. */
  #where<T>(id: number, f: (owner: Btf, offset: number) => T): T {
    if (id < this.#firstId) {
      if (!this.#base) throw new BtfError(`BTF type ${id} is out of range.`);
      return this.#base.#where(id, f);
    }
    const offset = this.#at[id - this.#firstId];
    if (offset === undefined) throw new BtfError(`BTF type ${id} is out of range.`);
    return f(this, offset);
  }

  kind(id: number): number {
    return id === 0 ? 0 : this.#where(id, (w, o) => (w.#b.readUInt32LE(o + 4) >>> 24) & 0x1f);
  }

  name(id: number): string {
    return id === 0 ? 'void' : this.#where(id, (w, o) => w.#string(w.#b.readUInt32LE(o)));
  }

  /** `size` of INT, STRUCT, UNION, ENUM, DATASEC; the type id that the others refer to. */
  sizeOrType(id: number): number {
    return this.#where(id, (w, o) => w.#b.readUInt32LE(o + 8));
  }

  /** INT: signed? */
  signed(id: number): boolean {
    return this.#where(id, (w, o) => (w.#b.readUInt32LE(o + 12) & 0x01000000) !== 0);
  }

  array(id: number): { readonly element: number; readonly length: number } {
    return this.#where(id, (w, o) => ({ element: w.#b.readUInt32LE(o + 12), length: w.#b.readUInt32LE(o + 20) }));
  }

  members(id: number): readonly BtfMember[] {
    return this.#where(id, (w, o) => {
      const info = w.#b.readUInt32LE(o + 4);
      const bits = info >>> 31 !== 0;
      return Array.from({ length: info & 0xffff }, (_, i) => {
        const m = o + 12 + 12 * i;
        const raw = w.#b.readUInt32LE(m + 8);
        return {
          name: w.#string(w.#b.readUInt32LE(m)),
          type: w.#b.readUInt32LE(m + 4),
          bitOffset: bits ? raw & 0xffffff : raw,
          bitSize: bits ? raw >>> 24 : 0,
        };
      });
    });
  }

  /** Members of an ENUM or ENUM64, as unsigned numbers for ENUM (upper bits of 64-bit values beyond 2^53 are rounded). */
  enumerators(id: number): readonly (readonly [name: string, value: number])[] {
    return this.#where(id, (w, o) => {
      const info = w.#b.readUInt32LE(o + 4);
      const wide = ((info >>> 24) & 0x1f) === btfKind.enum64;
      const step = wide ? 12 : 8;
      return Array.from({ length: info & 0xffff }, (_, i) => {
        const m = o + 12 + step * i;
        const low = w.#b.readUInt32LE(m + 4);
        return [w.#string(w.#b.readUInt32LE(m)), wide ? low + w.#b.readUInt32LE(m + 8) * 2 ** 32 : low] as const;
      });
    });
  }

  /** Parameter types of a FUNC_PROTO. */
  parameters(id: number): readonly number[] {
    return this.#where(id, (w, o) =>
      Array.from({ length: w.#b.readUInt32LE(o + 4) & 0xffff }, (_, i) => w.#b.readUInt32LE(o + 16 + 8 * i)),
    );
  }

  section(id: number): readonly BtfSectionVar[] {
    return this.#where(id, (w, o) =>
      Array.from({ length: w.#b.readUInt32LE(o + 4) & 0xffff }, (_, i) => {
        const m = o + 12 + 12 * i;
        const type = w.#b.readUInt32LE(m);
        return { name: this.name(type), type, offset: w.#b.readUInt32LE(m + 4), size: w.#b.readUInt32LE(m + 8) };
      }),
    );
  }

  /** Follows typedef, const, volatile, restrict and type tags to what they name. */
  resolve(id: number): number {
    let at = id;
    for (let i = 0; i < 32; i++) {
      const k = this.kind(at);
      if (
        k !== btfKind.typedef &&
        k !== btfKind.const &&
        k !== btfKind.volatile &&
        k !== btfKind.restrict &&
        k !== btfKind.typeTag
      ) {
        return at;
      }
      at = this.sizeOrType(at);
    }
    throw new BtfError('BTF types refer to each other in a circle.');
  }

  /** Ids of all types of a kind with this name, in this Btf only (not in its base). */
  find(kind: number, name: string): readonly number[] {
    const offsets = this.#nameOffsets(name);
    if (offsets.size === 0) return [];
    const out: number[] = [];
    const b = this.#b;
    for (let i = 0; i < this.#at.length; i++) {
      const o = this.#at[i]!;
      if (((b.readUInt32LE(o + 4) >>> 24) & 0x1f) === kind && offsets.has(b.readUInt32LE(o))) {
        out.push(this.#firstId + i);
      }
    }
    return out;
  }

  /** All ids of a kind, in this Btf only. */
  *ofKind(kind: number): Generator<number> {
    for (let i = 0; i < this.#at.length; i++) {
      if (((this.#b.readUInt32LE(this.#at[i]! + 4) >>> 24) & 0x1f) === kind) yield this.#firstId + i;
    }
  }

  /** The ENUM or ENUM64 that has a member of this name (enums without a name are found by one), in this Btf only. */
  findEnumWith(member: string): number | undefined {
    const offsets = this.#nameOffsets(member);
    if (offsets.size === 0) return undefined;
    const b = this.#b;
    for (let i = 0; i < this.#at.length; i++) {
      const o = this.#at[i]!;
      const info = b.readUInt32LE(o + 4);
      const kind = (info >>> 24) & 0x1f;
      if (kind !== btfKind.enum && kind !== btfKind.enum64) continue;
      const step = kind === btfKind.enum64 ? 12 : 8;
      for (let m = 0; m < (info & 0xffff); m++) {
        if (offsets.has(b.readUInt32LE(o + 12 + step * m))) return this.#firstId + i;
      }
    }
    return undefined;
  }

  /** Where `name` stands in the string sections; strings may be shared as tails of longer ones, so there can be several. */
  #nameOffsets(name: string): ReadonlySet<number> {
    const out = new Set<number>();
    const needle = Buffer.from(`${name}\0`, 'latin1');
    for (let w: Btf | undefined = this; w; w = w.#base) {
      const end = w.#strings + w.#stringsLength;
      for (let i = w.#b.indexOf(needle, w.#strings); i >= 0 && i < end; i = w.#b.indexOf(needle, i + 1)) {
        out.add(w.#firstString + i - w.#strings);
      }
    }
    return out;
  }
}
