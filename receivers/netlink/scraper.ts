import type { NetlinkSocket } from '../../host/netlink/socket.ts';
import { netnsOwner } from '../../host/netns/identity.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { noResource, type Schema, type Snapshot } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';

/** Which metrics are exported: the catalogue's default, or what the config says. */
export type Enabled = (metric: MetricDefinition) => boolean;

/** One network namespace during one round, with the sockets that are open in it until the round moves on. */
export interface NetnsVisit {
  readonly info: NetnsInfo;
  /** When its cumulative values began, Unix epoch ms. */
  readonly startTimeMs: number;
  /** When it is visited, Unix epoch ms. */
  readonly timeMs: number;
  /** NETLINK_ROUTE in this namespace. */
  readonly route: NetlinkSocket;
  /** NETLINK_SOCK_DIAG in this namespace. @throws SysError when the kernel has none. */
  readonly diag: NetlinkSocket;
  /** NETLINK_NETFILTER in this namespace. @throws SysError when the kernel has none. */
  readonly netfilter: NetlinkSocket;
  /** Counts bad input: lengths that lie, short messages, tables that changed under a dump. */
  rejected(reason: string, n?: number): void;
  /** Counts what was left out to stay within a bound. */
  dropped(reason: string, n?: number): void;
}

/**
 * One source, read in every network namespace. `begin`, then `visit` for each namespace, then `finish`: a round. A visit that throws
 * makes that namespace absent from the round and nothing else.
 */
export interface Scraper {
  /** Netlink families it needs, to be opened in one go. */
  readonly families: readonly ('route' | 'diag' | 'netfilter')[];
  begin?(): void;
  visit(ns: NetnsVisit): Promise<void>;
  /** What the round found. `alive` are the lives (`NetnsInfo.life`) of the namespaces that exist: state of others is to be forgotten. */
  finish(alive: ReadonlySet<number>): readonly Snapshot[];
}

/** A snapshot of one namespace. */
export function snapshot(ns: NetnsVisit, schema: Schema, values: Float64Array, startTimeMs = ns.startTimeMs): Snapshot {
  return {
    owner: netnsOwner(ns.info),
    resource: noResource,
    startTimeMs: Math.min(startTimeMs, ns.timeMs),
    timeMs: ns.timeMs,
    schema,
    values,
  };
}

/** Forgets the state of namespaces that are gone. */
export function prune(states: Map<number, unknown>, alive: ReadonlySet<number>): void {
  for (const life of states.keys()) if (!alive.has(life)) states.delete(life);
}

const counterSlots = new WeakMap<Schema, readonly number[]>();

function countersOf(schema: Schema): readonly number[] {
  let slots = counterSlots.get(schema);
  if (slots === undefined) {
    slots = schema.series.filter((s) => s.metric.instrument === 'counter').map((s) => s.offset);
    counterSlots.set(schema, slots);
  }
  return slots;
}

interface Beginning {
  startTimeMs: number;
  schema: Schema;
  values: Float64Array;
  timeMs: number;
}

/**
 * When the kernel's counters of each namespace began. A counter that is smaller than before was reset (a qdisc replaced, 32 bits
 * wrapped): the new beginning is the last time the old values were seen.
 */
export class Beginnings {
  readonly #known = new Map<number, Beginning>();

  /** Takes a round's values. @returns the start time that goes with them, Unix epoch ms. */
  next(ns: NetnsVisit, schema: Schema, values: Float64Array): number {
    const last = this.#known.get(ns.info.life);
    let startTimeMs = last?.startTimeMs ?? ns.startTimeMs;
    if (last !== undefined && last.schema === schema && fell(schema, last.values, values)) startTimeMs = last.timeMs;
    this.#known.set(ns.info.life, { startTimeMs, schema, values, timeMs: ns.timeMs });
    return startTimeMs;
  }

  prune(alive: ReadonlySet<number>): void {
    prune(this.#known, alive);
  }
}

function fell(schema: Schema, before: Float64Array, now: Float64Array): boolean {
  return countersOf(schema).some((slot) => (now[slot] as number) < (before[slot] as number));
}
