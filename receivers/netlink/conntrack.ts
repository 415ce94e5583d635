import type { NetlinkSocket } from '../../host/netlink/socket.ts';
import { makeSchema, type Schema, type Snapshot } from '../../pipeline/batch.ts';
import { AbsentError, errnoOf } from '../../pipeline/errors.ts';
import type { NetlinkConfig } from './config.ts';
import {
  addCpuCounters,
  CT_GET,
  CT_GET_STATS,
  CT_GET_STATS_CPU,
  conntrackRequest,
  cpuCounters,
  type EntryClass,
  protocolName,
  readEntryClass,
  readTableUsage,
  stateName,
  type TableUsage,
  takeRejects,
  tcpStateNames,
} from './conntrack-codec.ts';
import { conntrackMetrics as m } from './metrics-conntrack.ts';
import { type Enabled, type NetnsVisit, prune, type Scraper, snapshot } from './scraper.ts';

const others = ['udp', 'icmp', 'icmpv6', 'sctp', 'dccp', 'gre', 'other'];
/** Every protocol and state there is a series for, in the order of the slots. */
const classes: readonly (readonly [protocol: string, state: string])[] = [
  ...tcpStateNames.map((state) => ['tcp', state] as const),
  ...others.flatMap((p) => ['unreplied', 'replied', 'assured'].map((state) => [p, state] as const)),
];
const classIndex = new Map(classes.map(([protocol, state], i) => [`${protocol}/${state}`, i]));

/** Index by protocol (high byte) and TCP state, or 32 + the two status bits that matter; -2 = not looked up yet. */
const classMemo = new Int16Array(256 * 64).fill(-2);

/** Index of a protocol and state in {@link classes}; -1 when the kernel did not say enough. */
export function classOf(entry: EntryClass): number {
  const { protocol, tcpState, status } = entry;
  const state = Number.isNaN(tcpState)
    ? Number.isNaN(status)
      ? 63
      : 32 + ((status >> 1) & 3)
    : Math.min(tcpState, 31);
  const key = (protocol & 255) * 64 + state;
  let index = classMemo[key] as number;
  if (index === -2) {
    const name = stateName(protocol, tcpState, status);
    index = classIndex.get(`${protocolName(protocol)}/${name}`) ?? classIndex.get(`other/${name}`) ?? -1;
    classMemo[key] = index;
  }
  return index;
}

const usageSlots = 3;
const countersAt = usageSlots;
const classesAt = countersAt + cpuCounters.length;

/** What one namespace's table said. */
interface Reading {
  readonly usage: TableUsage;
  readonly counters: Float64Array;
}

interface State {
  /** Classes that had a connection once: their zero is news, the others' is not. */
  readonly seen: Uint8Array;
  /** As they were counted last. */
  connections: Float64Array | undefined;
}

/** Connection tracking: counters, table usage, connections by protocol and state. */
export class ConntrackScraper implements Scraper {
  readonly families = ['netfilter'] as const;
  readonly #config: NetlinkConfig['scrapers']['conntrack'];
  readonly #schema: Schema;
  readonly #slots: Int32Array;
  readonly #states = new Map<number, State>();
  readonly #onTooLarge: (netns: number, entries: number) => void;
  #snapshots: Snapshot[] = [];
  #hostLimit = Number.NaN;
  #round = 0;
  /** Each table is dumped once in so many rounds, so that all dumps of a round stay within their budget. */
  #every = 1;
  #dumps = 0;
  #dumpMs = 0;

  constructor(
    config: NetlinkConfig['scrapers']['conntrack'],
    enabled: Enabled,
    onTooLarge: (netns: number, entries: number) => void = () => undefined,
  ) {
    this.#config = config;
    this.#onTooLarge = onTooLarge;
    const all = [
      { metric: m['skoop.conntrack.entries'] },
      { metric: m['skoop.conntrack.limit'] },
      { metric: m['skoop.conntrack.utilization'] },
      ...cpuCounters.map(([name]) => ({ metric: m[name] })),
      ...classes.map(([protocol, state]) => ({
        metric: m['skoop.conntrack.connections'],
        attributes: { 'network.transport': protocol, 'skoop.conntrack.state': state },
      })),
    ];
    this.#schema = makeSchema(all.filter((s) => enabled(s.metric)));
    // Slot of each value in the schema, -1 for what is switched off.
    let next = 0;
    this.#slots = Int32Array.from(all, (s) => (enabled(s.metric) ? next++ : -1));
  }

  begin(): void {
    this.#snapshots = [];
    this.#hostLimit = Number.NaN;
    this.#round++;
    this.#dumps = 0;
    this.#dumpMs = 0;
  }

  async visit(ns: NetnsVisit): Promise<void> {
    const reading = await this.#read(ns);
    if (ns.info.host) this.#hostLimit = reading.usage.limit;
    const { life } = ns.info;
    let state = this.#states.get(life);
    if (state === undefined) {
      // A namespace that has never tracked anything has nothing to say.
      const used = reading.usage.entries > 0 || reading.counters.some((v) => v > 0);
      if (!used && !ns.info.host) return;
      state = { seen: new Uint8Array(classes.length), connections: undefined };
      this.#states.set(life, state);
    }
    await this.#count(ns, state, reading.usage.entries);
    this.#snapshots.push(snapshot(ns, this.#schema, this.#values(reading, state, ns.info.host)));
  }

  finish(alive: ReadonlySet<number>): readonly Snapshot[] {
    prune(this.#states, alive);
    if (this.#dumps > 0) {
      const allMs = (this.#dumpMs / this.#dumps) * this.#states.size;
      this.#every = Math.max(1, Math.ceil(allMs / this.#config.dump_budget));
    }
    return this.#snapshots;
  }

  async #read(ns: NetnsVisit): Promise<Reading> {
    const socket = ns.netfilter;
    const usage: TableUsage = { entries: Number.NaN, limit: Number.NaN };
    const counters = new Float64Array(cpuCounters.length).fill(Number.NaN);
    let bad = 0;
    await socket
      .request(conntrackRequest(CT_GET_STATS), (message) => {
        bad += readTableUsage(message, usage);
      })
      .catch(noSubsystem);
    const outcome = await socket.dump(conntrackRequest(CT_GET_STATS_CPU), (message) => {
      bad += addCpuCounters(message, counters);
    });
    bad += outcome.malformed;
    if (bad > 0) ns.rejected('malformed_conntrack', bad);
    return { usage, counters };
  }

  /** Counts connections by class when it is this namespace's turn; else what was counted last stays. */
  async #count(ns: NetnsVisit, state: State, entries: number): Promise<void> {
    if (!this.#config.connections) return;
    if (entries === 0) {
      state.connections = new Float64Array(classes.length);
    } else if (entries > this.#config.max_entries) {
      this.#onTooLarge(ns.info.netns, entries);
      state.connections = undefined;
    } else if (ns.info.host || state.connections === undefined || (ns.info.netns + this.#round) % this.#every === 0) {
      const started = performance.now();
      const count = await countConnections(ns.netfilter);
      this.#dumps++;
      this.#dumpMs += performance.now() - started;
      if (count.rejected > 0) ns.rejected('malformed_conntrack', count.rejected);
      if (count.interrupted) ns.rejected('dump_interrupted');
      state.connections = count.byClass;
    }
  }

  #values(reading: Reading, state: State, host: boolean): Float64Array {
    const values = new Float64Array(this.#schema.slots).fill(Number.NaN);
    const set = (index: number, value: number) => {
      const slot = this.#slots[index] as number;
      if (slot >= 0) values[slot] = value;
    };
    const { entries, limit } = reading.usage;
    set(0, entries);
    if (host || (!Number.isNaN(this.#hostLimit) && limit !== this.#hostLimit)) set(1, limit);
    set(2, limit > 0 ? entries / limit : Number.NaN);
    reading.counters.forEach((value, i) => {
      set(countersAt + i, value);
    });
    state.connections?.forEach((n, i) => {
      if (n > 0) state.seen[i] = 1;
      if (state.seen[i] === 1) set(classesAt + i, n);
    });
    return values;
  }
}

/** nfnetlink answers EINVAL when nobody serves the subsystem, and has tried to load the module by then (nfnetlink_rcv_msg()). */
function noSubsystem(error: unknown): never {
  if (errnoOf(error) !== 'EINVAL') throw error;
  throw new AbsentError('This kernel has no connection tracking over netlink (module nf_conntrack_netlink).', {
    cause: error,
  });
}

export interface ConnectionCount {
  /** One number for each of the classes of {@link classOf}. */
  readonly byClass: Float64Array;
  readonly entries: number;
  readonly interrupted: boolean;
  readonly rejected: number;
}

/**
 * Dumps a table and counts its entries by protocol and state, in slices. About 1 µs an entry, and 2 to 4 ms for the walk itself: the
 * kernel has one hash table (262 144 buckets here) for all namespaces.
 */
export async function countConnections(socket: NetlinkSocket): Promise<ConnectionCount> {
  const byClass = new Float64Array(classes.length);
  const entry: EntryClass = { protocol: 0, tcpState: Number.NaN, status: Number.NaN };
  let entries = 0;
  let rejected = 0;
  const outcome = await socket.dump(
    conntrackRequest(CT_GET),
    (message) => {
      const index = readEntryClass(message, entry) ? classOf(entry) : -1;
      if (index < 0) rejected++;
      else byClass[index] = (byClass[index] as number) + 1;
      entries++;
    },
    {
      restart: () => {
        byClass.fill(0);
        entries = 0;
      },
    },
  );
  return { byClass, entries, interrupted: outcome.interrupted, rejected: rejected + outcome.malformed + takeRejects() };
}
