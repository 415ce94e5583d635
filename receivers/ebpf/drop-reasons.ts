import type { KernelTypes } from '../../host/symbols/kernel-types.ts';
import { type NoiseEntry, noiseReasons } from './packetloss-noise.ts';

/** enum skl_class of bpf/packetloss.bpf.c. */
const dropClass = { loss: 0, noise: 1, where: 2, ignore: 3, cast: 4, netfilter: 5, control: 6 } as const;

const prefix = 'SKB_DROP_REASON_';
/** Modules that bring reasons of their own (enum skb_drop_reason_subsys), with the enum that holds them. */
const subsystemEnums = ['mac80211_drop_reason', 'ovs_drop_reason'] as const;
const subsystemPrefix: Readonly<Record<(typeof subsystemEnums)[number], RegExp>> = {
  mac80211_drop_reason: /^_*(RX_DROP_|___RX_DROP_)?/,
  ovs_drop_reason: /^OVS_DROP_/,
};
/** Freed, yet not dropped: SKB_NOT_DROPPED_YET, SKB_CONSUMED. */
const notDrops: ReadonlySet<string> = new Set(['SKB_NOT_DROPPED_YET', 'SKB_CONSUMED']);

function classOf(entry: NoiseEntry): number {
  return entry.controlOnly ? dropClass.control : entry.castOnly ? dropClass.cast : dropClass.noise;
}

/** The running kernel's drop reasons by number, with what we make of each. */
export class DropReasons {
  readonly #names: ReadonlyMap<number, string>;
  readonly #classes = new Map<number, number>();

  /** @param names value → name without prefix; empty on kernels before 5.17, which have no reasons */
  constructor(names: ReadonlyMap<number, string>) {
    this.#names = names;
    const noise = new Map(noiseReasons.map((n) => [n.name, n]));
    for (const [value, name] of names) {
      const entry = noise.get(name);
      if (notDrops.has(name)) this.#classes.set(value, dropClass.ignore);
      else if (name === 'NOT_SPECIFIED') this.#classes.set(value, dropClass.where);
      else if (name === 'NETFILTER_DROP') this.#classes.set(value, dropClass.netfilter);
      else if (entry) this.#classes.set(value, classOf(entry));
    }
    if (names.size === 0) this.#classes.set(0, dropClass.where);
  }

  static of(types: KernelTypes): DropReasons {
    const names = new Map<number, string>();
    for (const [value, name] of types.enumNames('skb_drop_reason') ?? []) {
      if (name.startsWith(`${prefix}SUBSYS`) || name === `${prefix}MAX`) continue;
      names.set(value, name.startsWith(prefix) ? name.slice(prefix.length) : name);
    }
    for (const subsystem of subsystemEnums) {
      for (const [value, name] of (names.size > 0 && types.enumNames(subsystem)) || []) {
        if (value > 0xffff) names.set(value, name.replace(subsystemPrefix[subsystem], ''));
      }
    }
    return new DropReasons(names);
  }

  /** `NETFILTER_DROP`; NOT_SPECIFIED for a kernel without reasons, REASON_n for a number it does not name. */
  name(value: number): string {
    if (this.#names.size === 0) return 'NOT_SPECIFIED';
    return this.#names.get(value) ?? `REASON_${value}`;
  }

  /** True when only the location tells what happened. */
  saysNothing(value: number): boolean {
    return this.#classes.get(value) === dropClass.where;
  }

  /** @param protocol IPPROTO_* number */
  isNoise(value: number, cast: boolean, protocol: number): boolean {
    const c = this.#classes.get(value);
    if (c === dropClass.control) return cast && (protocol === 2 || protocol === 58);
    return c === dropClass.noise || (c === dropClass.cast && cast);
  }

  /** The knob skl_class_of: one byte for each reason below 256. */
  classes(): Uint8Array {
    const out = new Uint8Array(256);
    for (const [value, c] of this.#classes) if (value < out.length) out[value] = c;
    return out;
  }
}
