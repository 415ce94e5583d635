import { u64, viewOf } from '../../bpf/record.ts';
import { MapReader } from '../../host/bpf/map-reader.ts';
import type { BpfMap } from '../../host/bpf/object.ts';
import type { ProbeDefinition } from './probe.ts';

/** Namespaces whose entries were removed: cookie and inode. */
export type Reaped = ReadonlySet<string>;

/** Identity of an owner: the cookie tells namespaces apart that had the same inode one after the other. */
export function ownerKey(cookie: number, netns: number): string {
  return `${cookie}/${netns}`;
}

/**
 * Removes what ended namespaces left in a probe's maps. One counts as ended when a newer namespace has its inode, or when it was not among
 * those that exist in two looks one after the other.
 */
export class Reaper {
  readonly #readers: readonly MapReader[];
  readonly #cookieAt: number;
  readonly #netnsAt: number;
  #missing = new Set<string>();

  /** @param maps those whose keys begin with struct skl_owner */
  constructor(maps: readonly BpfMap[], layout: ProbeDefinition['layout']) {
    this.#readers = maps.map((m) => new MapReader(m));
    this.#cookieAt = layout.sklLimitKey.offsets['owner.cookie']!;
    this.#netnsAt = layout.sklLimitKey.offsets['owner.netns']!;
  }

  /** @param alive inodes of the namespaces that exist @throws BpfError */
  reap(alive: ReadonlySet<number>): Reaped {
    const keys: { reader: MapReader; key: Buffer; owner: string; cookie: number; netns: number }[] = [];
    const newest = new Map<number, number>();
    for (const reader of this.#readers) {
      reader.readAll((e) => {
        const view = viewOf(e.keys);
        for (let i = 0; i < e.count; i++) {
          const at = i * e.keySize;
          const cookie = u64(view, at + this.#cookieAt);
          const netns = view.data.getUint32(at + this.#netnsAt, true);
          if (netns === 0) continue;
          newest.set(netns, Math.max(newest.get(netns) ?? 0, cookie));
          keys.push({
            reader,
            key: Buffer.from(e.keys.subarray(at, at + e.keySize)),
            owner: ownerKey(cookie, netns),
            cookie,
            netns,
          });
        }
      });
    }
    const missing = new Set<string>();
    const reaped = new Set<string>();
    for (const k of keys) {
      const replaced = k.cookie < newest.get(k.netns)!;
      if (!replaced && alive.has(k.netns)) continue;
      if (!replaced && !this.#missing.has(k.owner)) {
        missing.add(k.owner);
        continue;
      }
      k.reader.remove(k.key);
      reaped.add(k.owner);
    }
    this.#missing = missing;
    return reaped;
  }
}
