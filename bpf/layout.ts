import { createHash } from 'node:crypto';
import { elfSection, elfSymbols } from '../host/bpf/elf.ts';
import { Btf, BtfError, type BtfMember, btfKind } from '../host/symbols/btf.ts';

/** A field of a struct that crosses between kernel and user space. */
export interface FieldLayout {
  readonly name: string;
  /** `u32`, `s64`, `char`, `struct skl_tuple`, or the name of a `skl_` typedef. */
  readonly type: string;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  /** Bytes of one element. */
  readonly size: number;
  /** Elements, for arrays. */
  readonly length?: number;
}

export interface StructLayout {
  readonly size: number;
  readonly fields: readonly FieldLayout[];
}

/** All that both sides must agree on, read from an object's BTF. */
export interface ObjectLayout {
  readonly structs: Readonly<Record<string, StructLayout>>;
  /** Map → names of its key and value types. */
  readonly maps: Readonly<Record<string, { readonly key?: string; readonly value?: string }>>;
  /** Knobs in .rodata. */
  readonly knobs: Readonly<Record<string, { readonly offset: number; readonly size: number }>>;
  /** Structs that travel through the ring. */
  readonly events: readonly string[];
}

export class LayoutError extends Error {
  override readonly name = 'LayoutError';
}

const eventPrefix = 'skl_event__';

class LayoutReader {
  readonly #btf: Btf;
  readonly structs: Record<string, StructLayout> = {};

  constructor(btf: Btf) {
    this.#btf = btf;
  }

  #scalar(id: number, where: string): { type: string; size: number } {
    const btf = this.#btf;
    const kind = btf.kind(id);
    const size = btf.sizeOrType(id);
    if (kind === btfKind.int) {
      if (btf.name(id) === 'char') return { type: 'char', size };
      if (size > 8) throw new LayoutError(`${where} is an integer of ${size} bytes.`);
      return { type: `${btf.signed(id) ? 's' : 'u'}${size * 8}`, size };
    }
    if (kind === btfKind.enum) return { type: 'u32', size };
    if (kind === btfKind.struct) return { type: `struct ${this.struct(id)}`, size };
    throw new LayoutError(`${where} is of a kind that must not cross (pointer, union, float or bit-field).`);
  }

  #field(member: BtfMember, struct: string): FieldLayout {
    const btf = this.#btf;
    const where = `${struct}.${member.name}`;
    if (member.bitSize !== 0 || member.bitOffset % 8 !== 0) throw new LayoutError(`${where} is a bit-field.`);
    let id = member.type;
    let meaning: string | undefined;
    let length: number | undefined;
    for (;;) {
      const kind = btf.kind(id);
      if (kind === btfKind.array && length === undefined) {
        const array = btf.array(id);
        length = array.length;
        id = array.element;
      } else if (kind === btfKind.typedef) {
        if (btf.name(id).startsWith('skl_')) meaning ??= btf.name(id);
        id = btf.sizeOrType(id);
      } else if (kind === btfKind.const || kind === btfKind.volatile) {
        id = btf.sizeOrType(id);
      } else {
        break;
      }
    }
    const scalar = this.#scalar(id, where);
    const at = { name: member.name, type: meaning ?? scalar.type, offset: member.bitOffset / 8, size: scalar.size };
    return length === undefined ? at : { ...at, length };
  }

  /** @returns its name, after taking its layout down */
  struct(id: number): string {
    const btf = this.#btf;
    const name = btf.name(id);
    if (name === '') throw new LayoutError('A struct without a name crosses into user space.');
    if (this.structs[name]) return name;
    const size = btf.sizeOrType(id);
    const fields = btf.members(id).map((m) => this.#field(m, name));
    let end = 0;
    for (const f of fields) {
      if (f.offset !== end) throw new LayoutError(`${name} has ${f.offset - end} bytes of padding before ${f.name}.`);
      end = f.offset + f.size * (f.length ?? 1);
    }
    if (end !== size) throw new LayoutError(`${name} has ${size - end} bytes of padding at its end.`);
    this.structs[name] = { size, fields };
    return name;
  }

  /** Name of a map's key or value type: a struct, or a plain number. */
  crossing(id: number, where: string): string {
    const btf = this.#btf;
    const to = btf.resolve(id);
    if (btf.kind(to) === btfKind.struct) return this.struct(to);
    return this.#scalar(to, where).type;
  }
}

/** Types that a map declares as `__type(key, T)`: a member that is a pointer to T. */
function mapTypes(btf: Btf, reader: LayoutReader, variable: number, name: string) {
  const out: { key?: string; value?: string } = {};
  for (const member of btf.members(btf.resolve(btf.sizeOrType(variable)))) {
    if (member.name !== 'key' && member.name !== 'value') continue;
    out[member.name] = reader.crossing(btf.sizeOrType(btf.resolve(member.type)), `${member.name} of map ${name}`);
  }
  return out;
}

/**
 * Reads the layout of an object file.
 *
 * @throws LayoutError when a struct that crosses has padding, bit-fields or pointers; BtfError when the file is damaged
 */
export function layoutOf(object: Buffer): ObjectLayout {
  const section = elfSection(object, '.BTF');
  if (!section) throw new BtfError('The object has no BTF (built without -g).');
  const btf = new Btf(section);
  const reader = new LayoutReader(btf);
  const maps: Record<string, { key?: string; value?: string }> = {};
  const knobs: Record<string, { offset: number; size: number }> = {};
  const events: string[] = [];
  const offsets = elfSymbols(object, '.rodata');
  for (const id of btf.ofKind(btfKind.datasec)) {
    const name = btf.name(id);
    if (name !== '.maps' && name !== '.rodata') continue;
    for (const v of btf.section(id)) {
      if (name === '.maps') {
        maps[v.name] = mapTypes(btf, reader, v.type, v.name);
      } else if (v.name.startsWith(eventPrefix)) {
        events.push(v.name.slice(eventPrefix.length));
        reader.struct(btf.resolve(btf.sizeOrType(btf.resolve(btf.sizeOrType(v.type)))));
      } else {
        knobs[v.name] = { offset: offsets.get(v.name) ?? v.offset, size: v.size };
      }
    }
  }
  return { structs: sorted(reader.structs), maps: sorted(maps), knobs: sorted(knobs), events: events.sort() };
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Hash of what decoders depend on: structs, map types and events (knobs are found by name). */
export function layoutHash(layout: ObjectLayout): string {
  const agreed = JSON.stringify({ structs: layout.structs, maps: layout.maps, events: layout.events });
  return createHash('sha256').update(agreed).digest('hex').slice(0, 16);
}
