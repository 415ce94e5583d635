import { BtfError } from '../symbols/btf.ts';

/**
 * Finds a section of a 64-bit little-endian ELF file, as clang writes BPF objects.
 *
 * @returns a view into `file`, or undefined when it has no such section
 * @throws BtfError when the file is not such an ELF file or is cut short
 */
export function elfSection(file: Buffer, name: string): Buffer | undefined {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new BtfError('Not a 64-bit little-endian ELF file.');
  }
  const table = Number(file.readBigUInt64LE(0x28));
  const size = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  if (size < 64 || table + size * count > file.length) throw new BtfError('The object file is cut short.');
  const extent = (i: number): Buffer => {
    const h = table + size * i;
    const offset = Number(file.readBigUInt64LE(h + 24));
    const length = Number(file.readBigUInt64LE(h + 32));
    if (offset + length > file.length) throw new BtfError('The object file is cut short.');
    return file.subarray(offset, offset + length);
  };
  const strings = file.readUInt16LE(0x3e);
  if (strings >= count) throw new BtfError('The object file has no section names.');
  const names = extent(strings);
  for (let i = 0; i < count; i++) {
    const at = file.readUInt32LE(table + size * i);
    const end = names.indexOf(0, at);
    if (end >= 0 && names.latin1Slice(at, end) === name) return extent(i);
  }
  return undefined;
}
