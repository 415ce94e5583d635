/**
 * ARP and neighbour discovery over rtnetlink: include/uapi/linux/neighbour.h. The table (and its limits) is one for all namespaces of
 * the node, its entries belong to one each.
 */
import { AttributeCursor } from '../../host/netlink/attributes.ts';
import { type NetlinkMessage, netlinkRequest } from '../../host/netlink/message.ts';
import { AF_INET, AF_INET6 } from '../../host/netlink/sock-diag.ts';
import { makeSchema, noResource, type Schema, type Snapshot } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import { neighbourMetrics as m } from './metrics-link.ts';
import { type Enabled, type NetnsVisit, prune, type Scraper, snapshot } from './scraper.ts';

const RTM_GETNEIGH = 30;
const RTM_GETNEIGHTBL = 66;
/** Bytes of `struct ndmsg` and `struct ndtmsg`. */
const entryBytes = 12;
const tableBytes = 4;

/** NUD_* bits, and what they are called; NUD_NOARP (64) needs no resolution and is left out. */
const states = [
  [1, 'incomplete'],
  [2, 'reachable'],
  [4, 'stale'],
  [8, 'delay'],
  [16, 'probe'],
  [32, 'failed'],
  [128, 'permanent'],
] as const;
const families = [
  [AF_INET, 'ipv4'],
  [AF_INET6, 'ipv6'],
] as const;

/** Series of a namespace: family by state. */
export const neighbourClasses: readonly (readonly [family: string, state: string])[] = families.flatMap(([, family]) =>
  states.map(([, state]) => [family, state] as const),
);

/**
 * Index of a neighbour entry (RTM_NEWNEIGH) in {@link neighbourClasses}; -1 for what is not counted (noarp, none, bridge entries),
 * -2 when it is too short.
 */
export function neighbourClass(message: NetlinkMessage): number {
  const { view, start, end } = message;
  if (end - start < entryBytes) return -2;
  const family = families.findIndex(([f]) => f === view.getUint8(start));
  const bits = view.getUint16(start + 8, true);
  const state = states.findIndex(([bit]) => (bits & bit) !== 0);
  return family < 0 || state < 0 ? -1 : family * states.length + state;
}

const tableMetrics = [
  m['skoop.neighbour.table.entries'],
  m['skoop.neighbour.table.limit'],
  m['skoop.neighbour.table.lookups'],
  m['skoop.neighbour.table.resolution_failures'],
  m['skoop.neighbour.table.forced_collections'],
  m['skoop.neighbour.table.overflows'],
] as const;

/** One shared table; values in the order of the table metrics, NaN where the kernel has none. */
export interface NeighbourTable {
  family: number;
  readonly values: Float64Array;
}

const cursor = new AttributeCursor();
const NDTA_NAME = 1;
const NDTA_THRESH3 = 4;
const NDTA_CONFIG = 5;
const NDTA_STATS = 7;

/**
 * Reads one RTM_NEWNEIGHTBL into `tables` (arp_cache and ndisc_cache; the kernel sends per-device parameters as further messages,
 * which carry no totals). @returns how many attributes were malformed.
 */
export function readNeighbourTable(message: NetlinkMessage, tables: Map<number, NeighbourTable>): number {
  const { view, start, end } = message;
  if (end - start < tableBytes) return 1;
  const family = view.getUint8(start);
  const values = new Float64Array(tableMetrics.length).fill(Number.NaN);
  let name = '';
  cursor.reset(view, start + tableBytes, end);
  while (cursor.next()) {
    if (cursor.type === NDTA_NAME) name = cursor.text();
    else if (cursor.type === NDTA_THRESH3) values[1] = cursor.u32();
    else if (cursor.type === NDTA_CONFIG) values[0] = cursor.u32(4);
    else if (cursor.type === NDTA_STATS) {
      values[2] = cursor.u64(32);
      values[3] = cursor.u64(24);
      values[4] = cursor.u64(72);
      // ndts_table_fulls is the newest field.
      values[5] = cursor.length >= 88 ? cursor.u64(80) : Number.NaN;
    }
  }
  const total = values.some((v) => !Number.isNaN(v)) && (name === 'arp_cache' || name === 'ndisc_cache');
  if (total) tables.set(family, { family, values });
  return cursor.takeRejects();
}

/** Neighbour entries by state, and the limits of the shared tables. */
export class NeighbourScraper implements Scraper {
  readonly families = ['route'] as const;
  readonly #entries: Schema;
  readonly #table: Schema;
  readonly #enabled: Enabled;
  readonly #seen = new Map<number, Uint8Array>();
  #snapshots: Snapshot[] = [];

  constructor(enabled: Enabled) {
    this.#enabled = enabled;
    const metric = m['skoop.neighbour.entries'];
    this.#entries = makeSchema(
      neighbourClasses.map(([family, state]) => ({
        metric,
        attributes: { 'network.type': family, 'skoop.neighbour.state': state },
      })),
    );
    this.#table = makeSchema(
      families.flatMap(([, family]) =>
        this.#tableMetrics().map((t) => ({ metric: t, attributes: { 'network.type': family } })),
      ),
    );
  }

  begin(): void {
    this.#snapshots = [];
  }

  async visit(ns: NetnsVisit): Promise<void> {
    if (this.#enabled(m['skoop.neighbour.entries'])) await this.#countEntries(ns);
    if (ns.info.host && this.#table.slots > 0) await this.#readTables(ns);
  }

  finish(alive: ReadonlySet<number>): readonly Snapshot[] {
    prune(this.#seen, alive);
    return this.#snapshots;
  }

  #tableMetrics(): MetricDefinition[] {
    return tableMetrics.filter((metric) => this.#enabled(metric));
  }

  async #countEntries(ns: NetnsVisit): Promise<void> {
    const counts = new Float64Array(neighbourClasses.length);
    let bad = 0;
    const outcome = await ns.route.dump(
      netlinkRequest(RTM_GETNEIGH, 0, Buffer.alloc(entryBytes)),
      (message) => {
        const index = neighbourClass(message);
        if (index >= 0) counts[index] = (counts[index] as number) + 1;
        else if (index === -2) bad++;
      },
      { restart: () => counts.fill(0) },
    );
    if (bad + outcome.malformed > 0) ns.rejected('malformed_neighbour', bad + outcome.malformed);
    if (outcome.interrupted) ns.rejected('dump_interrupted');
    const seen = this.#seen.get(ns.info.life) ?? new Uint8Array(counts.length);
    // A state that was never seen has no series; one that was keeps it, so that it can be seen to fall to zero.
    counts.forEach((n, i) => {
      if (n > 0) seen[i] = 1;
    });
    if (!seen.includes(1)) return;
    this.#seen.set(ns.info.life, seen);
    this.#snapshots.push(
      snapshot(
        ns,
        this.#entries,
        counts.map((n, i) => (seen[i] === 1 ? n : Number.NaN)),
      ),
    );
  }

  async #readTables(ns: NetnsVisit): Promise<void> {
    const tables = new Map<number, NeighbourTable>();
    let bad = 0;
    const outcome = await ns.route.dump(netlinkRequest(RTM_GETNEIGHTBL, 0, Buffer.alloc(tableBytes)), (message) => {
      bad += readNeighbourTable(message, tables);
    });
    if (bad + outcome.malformed > 0) ns.rejected('malformed_neighbour', bad + outcome.malformed);
    const on = tableMetrics.map((metric) => this.#enabled(metric));
    const values = families.flatMap(([family]) => {
      const table = tables.get(family)?.values;
      return on.flatMap((enabled, i) => (enabled ? [table?.[i] ?? Number.NaN] : []));
    });
    this.#snapshots.push({
      owner: undefined,
      resource: noResource,
      startTimeMs: ns.startTimeMs,
      timeMs: ns.timeMs,
      schema: this.#table,
      values: Float64Array.from(values),
    });
  }
}
