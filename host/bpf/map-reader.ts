import { Errno } from '../ffi/libc.ts';
import { libbpf, possibleCpus } from './libbpf.ts';
import { BpfError, type BpfMap } from './object.ts';

/**
 * A batch of entries: entry `i` has its key at `i * keySize` of `keys` and its values at `i * valueStride` of `values`, one for each
 * of `copies` CPUs (`copies` = 1 for maps that are not per-CPU), `valueStride / copies` bytes apart. Valid during the visit only.
 */
export interface MapEntries {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
  readonly keySize: number;
  readonly valueStride: number;
  readonly copies: number;
}

const ENOSPC = 28;
/** Entries read in one system call: 4096 take about 0.6 ms. */
const chunk = 1024;

/** Reads a hash or array map in batches into buffers of its own. About 150 ns an entry. */
export class MapReader {
  readonly map: BpfMap;
  readonly #copies: number;
  readonly #stride: number;
  #room = 0;
  #keys = Buffer.alloc(0);
  #values = Buffer.alloc(0);
  readonly #options = Buffer.alloc(24);
  readonly #count = new Uint32Array(1);
  #tokens: [Buffer, Buffer];

  constructor(map: BpfMap) {
    this.map = map;
    this.#copies = map.perCpu ? possibleCpus() : 1;
    this.#stride = (map.perCpu ? (map.valueSize + 7) & ~7 : map.valueSize) * this.#copies;
    this.#options.writeBigUInt64LE(24n, 0);
    const token = Math.max(16, map.keySize);
    this.#tokens = [Buffer.alloc(token), Buffer.alloc(token)];
    this.#grow(Math.min(chunk, map.maxEntries));
  }

  #grow(entries: number): void {
    this.#room = entries;
    this.#keys = Buffer.alloc(entries * this.map.keySize);
    this.#values = Buffer.alloc(entries * this.#stride);
  }

  /**
   * Visits all entries, some at a time. Not a snapshot: what is added or removed meanwhile may be missed.
   *
   * @returns number of entries visited
   * @throws BpfError
   */
  readAll(visit: (entries: MapEntries) => void): number {
    const b = libbpf();
    let from: Buffer | null = null;
    let to = this.#tokens[0];
    let total = 0;
    for (;;) {
      this.#count[0] = this.#room;
      const r = b.lookupBatch(this.map.fd, from, to, this.#keys, this.#values, this.#count, this.#options);
      // A bucket with more entries than there is room for: make room and ask again from the same place.
      if (r === -ENOSPC) {
        this.#grow(this.#room * 2);
        continue;
      }
      if (r < 0 && r !== -Errno.ENOENT) throw new BpfError(`read map ${this.map.name}`, -r);
      const count = this.#count[0]!;
      if (count > 0) visit(this.#entries(count));
      total += count;
      if (r === -Errno.ENOENT) return total;
      from = to;
      to = this.#tokens[from === this.#tokens[0] ? 1 : 0];
    }
  }

  #entries(count: number): MapEntries {
    return {
      keys: this.#keys,
      values: this.#values,
      count,
      keySize: this.map.keySize,
      valueStride: this.#stride,
      copies: this.#copies,
    };
  }

  /** The values of one key (all copies), or undefined. Valid until the next call. @throws BpfError */
  lookup(key: Buffer): Buffer | undefined {
    const r = libbpf().lookup(this.map.fd, key, this.#values);
    if (r === -Errno.ENOENT) return undefined;
    if (r < 0) throw new BpfError(`look up in map ${this.map.name}`, -r);
    return this.#values.subarray(0, this.#stride);
  }

  /** Values each entry has: one for each possible CPU in per-CPU maps, `valueStride / copies` bytes apart. */
  get copies(): number {
    return this.#copies;
  }

  /**
   * Removes a key of a hash map and returns its last values, or undefined when it is not there. Valid until the next call.
   * Since Linux 5.14.
   *
   * @throws BpfError
   */
  take(key: Buffer): Buffer | undefined {
    const r = libbpf().lookupAndDelete(this.map.fd, key, this.#values);
    if (r === -Errno.ENOENT) return undefined;
    if (r < 0) throw new BpfError(`take from map ${this.map.name}`, -r);
    return this.#values.subarray(0, this.#stride);
  }

  /** Writes an entry; `value` holds one value for each copy. False when the map is full. @throws BpfError */
  update(key: Buffer, value: Buffer): boolean {
    const r = libbpf().update(this.map.fd, key, value, 0);
    if (r === -7 /* E2BIG */ || r === -ENOSPC) return false;
    if (r < 0) throw new BpfError(`update map ${this.map.name}`, -r);
    return true;
  }

  /** Removes an entry; false when there was none. @throws BpfError */
  remove(key: Buffer): boolean {
    const r = libbpf().remove(this.map.fd, key);
    if (r === -Errno.ENOENT) return false;
    if (r < 0) throw new BpfError(`delete from map ${this.map.name}`, -r);
    return true;
  }
}
