import { BtfError } from '../symbols/btf.ts';

interface Section {
  readonly name: string;
  readonly bytes: Buffer;
  /** Index of the section that this one refers to (a symbol table: its strings). */
  readonly link: number;
}

/** Sections without contents in the file. */
const SHT_NOBITS = 8;

/** Where table and entries are; each number is checked against the file's length. */
function sections(file: Buffer): Section[] {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new BtfError('Not a 64-bit little-endian ELF file.');
  }
  const table = Number(file.readBigUInt64LE(0x28));
  const size = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const names = file.readUInt16LE(0x3e);
  if (size < 64 || names >= count || table + size * count > file.length) {
    throw new BtfError('The object file is cut short.');
  }
  const bytesOf = (i: number): Buffer => {
    const h = table + size * i;
    if (file.readUInt32LE(h + 4) === SHT_NOBITS) return Buffer.alloc(0);
    const offset = Number(file.readBigUInt64LE(h + 24));
    const length = Number(file.readBigUInt64LE(h + 32));
    if (offset + length > file.length) throw new BtfError('The object file is cut short.');
    return file.subarray(offset, offset + length);
  };
  const strings = bytesOf(names);
  return Array.from({ length: count }, (_, i) => ({
    name: cString(strings, file.readUInt32LE(table + size * i)),
    bytes: bytesOf(i),
    link: file.readUInt32LE(table + size * i + 40),
  }));
}

function cString(strings: Buffer, at: number): string {
  const end = at < strings.length ? strings.indexOf(0, at) : -1;
  return end < 0 ? '' : strings.toString('latin1', at, end);
}

/**
 * Finds a section of a 64-bit little-endian ELF file, as clang writes BPF objects.
 *
 * @returns a view into `file`, or undefined when it has no such section
 * @throws BtfError when the file is not such an ELF file or is cut short
 */
export function elfSection(file: Buffer, name: string): Buffer | undefined {
  return sections(file).find((s) => s.name === name)?.bytes;
}

/** Bytes of an Elf64_Sym. */
const symbolSize = 24;

/**
 * Values of the symbols defined in one section: for data, the offset in it. clang leaves offsets in BTF's data sections zero and
 * libbpf takes them from here.
 *
 * @throws BtfError as {@link elfSection}
 */
export function elfSymbols(file: Buffer, section: string): ReadonlyMap<string, number> {
  const all = sections(file);
  const index = all.findIndex((s) => s.name === section);
  const table = all.find((s) => s.name === '.symtab');
  const strings = table && all[table.link];
  const out = new Map<string, number>();
  if (index < 0 || !table || !strings) return out;
  for (let at = 0; at + symbolSize <= table.bytes.length; at += symbolSize) {
    const name = cString(strings.bytes, table.bytes.readUInt32LE(at));
    if (name !== '' && table.bytes.readUInt16LE(at + 6) === index) {
      out.set(name, Number(table.bytes.readBigUInt64LE(at + 8)));
    }
  }
  return out;
}
