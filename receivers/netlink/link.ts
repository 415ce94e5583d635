import type { NetlinkMessage } from '../../host/netlink/message.ts';
import { netnsOwner } from '../../host/netns/identity.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import {
  type LogRecord,
  makeSchema,
  noResource,
  type Owner,
  type Schema,
  type SeverityNumber,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { Clock } from '../../pipeline/clock.ts';
import { type LinkChange, LinkState } from './link-changes.ts';
import {
  isOfInterface,
  type Link,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
  readAddress,
  readLink,
} from './link-codec.ts';
import { dumpAddresses, type LinkTables } from './link-table.ts';
import { linkEvents, linkMetrics as m } from './metrics-link.ts';
import { Beginnings, type Enabled, type NetnsVisit, prune, type Scraper, snapshot } from './scraper.ts';

/** Interfaces counted for each namespace. */
const maxInterfaces = 64;
const maxSchemas = 500;

/** Veths on the node's side come and go with pods: their other ends are looked at in the pods. */
const ofPods = (link: Link): boolean => link.kind === 'veth';
const nothing = (): boolean => false;

/** Interfaces: carrier changes as counters, every change as an event. */
export class LinkScraper implements Scraper {
  readonly families = ['route'] as const;
  readonly #links: LinkTables;
  readonly #enabled: boolean;
  readonly #emit: ((records: readonly LogRecord[]) => void) | undefined;
  readonly #clock: Clock;
  readonly #states = new Map<number, LinkState>();
  readonly #schemas = new Map<string, Schema>();
  readonly #beginnings = new Beginnings();
  #snapshots: Snapshot[] = [];

  /** @param emit takes the events of a visit; absent: none are made. */
  constructor(
    enabled: Enabled,
    links: LinkTables,
    clock: Clock,
    emit: ((records: readonly LogRecord[]) => void) | undefined,
  ) {
    this.#enabled = enabled(m['skoop.link.carrier_changes']);
    this.#links = links;
    this.#clock = clock;
    this.#emit = emit;
  }

  begin(): void {
    this.#links.begin();
    this.#snapshots = [];
  }

  async visit(ns: NetnsVisit): Promise<void> {
    const links = await this.#links.links(ns);
    if (this.#enabled) this.#count(ns, links);
    if (this.#emit === undefined) return;
    const addresses = await dumpAddresses(ns);
    const state = this.#state(ns.info);
    this.#report(ns.info, [...state.replaceLinks(links), ...state.replaceAddresses(addresses)]);
  }

  finish(alive: ReadonlySet<number>): readonly Snapshot[] {
    prune(this.#states, alive);
    this.#beginnings.prune(alive);
    return this.#snapshots;
  }

  /** Takes a multicast message of the node's namespace. @returns false when it could not be read. */
  message(host: NetnsInfo, message: NetlinkMessage): boolean {
    const state = this.#state(host);
    if (message.type === RTM_NEWLINK || message.type === RTM_DELLINK) {
      if (!isOfInterface(message)) return true;
      const link = readLink(message);
      if (link === undefined) return false;
      this.#report(host, message.type === RTM_NEWLINK ? state.updateLink(link) : state.removeLink(link.index));
    } else if (message.type === RTM_NEWADDR || message.type === RTM_DELADDR) {
      const address = readAddress(message);
      if (address === undefined) return false;
      this.#report(host, state.updateAddress(address, message.type === RTM_NEWADDR));
    }
    return true;
  }

  #state({ life, host }: NetnsInfo): LinkState {
    let state = this.#states.get(life);
    if (state === undefined) {
      state = new LinkState(host ? ofPods : nothing);
      this.#states.set(life, state);
    }
    return state;
  }

  #count(ns: NetnsVisit, links: ReadonlyMap<number, Link>): void {
    const counted = [...links.values()].filter(
      (l) => !Number.isNaN(l.carrierUps) && l.name !== 'lo' && !(ns.info.host && ofPods(l)),
    );
    if (counted.length > maxInterfaces) ns.dropped('interface_limit', counted.length - maxInterfaces);
    const kept = counted.slice(0, maxInterfaces);
    if (kept.length === 0) return;
    const schema = this.#schema(kept.map((l) => l.name));
    const values = Float64Array.from(kept.flatMap((l) => [l.carrierUps, l.carrierDowns]));
    this.#snapshots.push(snapshot(ns, schema, values, this.#beginnings.next(ns, schema, values)));
  }

  #schema(names: readonly string[]): Schema {
    const key = names.join('\n');
    let schema = this.#schemas.get(key);
    if (schema === undefined) {
      if (this.#schemas.size >= maxSchemas) this.#schemas.clear();
      const metric = m['skoop.link.carrier_changes'];
      schema = makeSchema(
        names.flatMap((name) =>
          ['up', 'down'].map((carrier) => ({
            metric,
            attributes: { 'network.interface.name': name, 'skoop.link.carrier': carrier },
          })),
        ),
      );
      this.#schemas.set(key, schema);
    }
    return schema;
  }

  #report(info: NetnsInfo, changes: readonly LinkChange[]): void {
    const owner = netnsOwner(info);
    if (changes.length > 0) this.#emit?.(changes.map((change) => linkRecord(owner, change, this.#clock.nowUnixNs())));
  }
}

const warnings: ReadonlySet<LinkChange['change']> = new Set([
  'carrier_lost',
  'admin_down',
  'removed',
  'address_removed',
]);

/** A change as a log record. */
export function linkRecord(owner: Owner, c: LinkChange, timeUnixNs: bigint): LogRecord {
  const severityNumber: SeverityNumber = warnings.has(c.change) ? 13 : 9;
  const values =
    c.before === undefined && c.after === undefined ? '' : `: ${c.before ?? 'none'} → ${c.after ?? 'none'}`;
  return {
    timeUnixNs,
    observedTimeUnixNs: timeUnixNs,
    severityNumber,
    eventName: linkEvents['skoop.link.changed'].name,
    body: `Interface ${c.name}: ${c.change.replaceAll('_', ' ')}${values}${c.count === undefined ? '' : ` (${c.count} times)`}.`,
    attributes: Object.freeze({
      'network.interface.name': c.name,
      'skoop.link.change': c.change,
      ...(c.before !== undefined && { 'skoop.link.before': c.before }),
      ...(c.after !== undefined && { 'skoop.link.after': c.after }),
      ...(c.count !== undefined && { 'skoop.link.count': c.count }),
    }),
    owner,
    resource: noResource,
  };
}
