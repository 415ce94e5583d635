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

/** The namespaces that exist, by the last look at the machine. */
export interface LivingNamespaces {
  has(netns: number): boolean;
  /** Cookie of the one that has this inode now; undefined when it could not be asked. `again` = an answer from before will not do. */
  cookieOf(netns: number, again?: boolean): number | undefined;
}

interface Entry {
  readonly reader: MapReader;
  readonly key: Buffer;
  readonly cookie: number;
  readonly netns: number;
}

/**
 * Removes what ended namespaces left in a probe's maps. One counts as ended when another one has its inode now, or when it was not among
 * those that exist in two looks one after the other. Cookies are told apart, never compared: each CPU gives them out from a
 * batch of its own (include/linux/cookie.h), so the newer of two namespaces may have the smaller one.
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

  /** @throws BpfError */
  reap(living: LivingNamespaces): Reaped {
    // All is read before a cookie is asked for: what was there then and has another cookie than the living one is dead.
    const entries = this.#entries();
    const missing = new Set<string>();
    const reaped = new Set<string>();
    const verdicts = new Map<string, 'alive' | 'missing' | 'ended'>();
    for (const { reader, key, cookie, netns } of entries) {
      const owner = ownerKey(cookie, netns);
      let verdict = verdicts.get(owner);
      if (verdict === undefined) {
        verdict = this.#judge(living, cookie, netns);
        verdicts.set(owner, verdict);
      }
      if (verdict === 'alive') continue;
      if (verdict === 'missing' && !this.#missing.has(owner)) {
        missing.add(owner);
        continue;
      }
      reader.remove(key);
      reaped.add(owner);
    }
    this.#missing = missing;
    return reaped;
  }

  #judge(living: LivingNamespaces, cookie: number, netns: number): 'alive' | 'missing' | 'ended' {
    if (!living.has(netns)) return 'missing';
    if (cookie === 0) return 'alive'; // a kernel that does not tell
    if (living.cookieOf(netns) === cookie) return 'alive';
    const now = living.cookieOf(netns, true);
    return now === undefined || now === cookie ? 'alive' : 'ended';
  }

  #entries(): Entry[] {
    const out: Entry[] = [];
    for (const reader of this.#readers) {
      reader.readAll((e) => {
        const view = viewOf(e.keys);
        for (let i = 0; i < e.count; i++) {
          const at = i * e.keySize;
          const netns = view.data.getUint32(at + this.#netnsAt, true);
          if (netns === 0) continue;
          const key = Buffer.from(e.keys.subarray(at, at + e.keySize));
          out.push({ reader, key, cookie: u64(view, at + this.#cookieAt), netns });
        }
      });
    }
    return out;
  }
}
