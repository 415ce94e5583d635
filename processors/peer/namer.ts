import { makeSchema, type Resource, type Schema, type SeriesDescriptor, type Snapshot } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import type { PeerConfig } from './config.ts';
import type { Directory } from './directory.ts';
import { type Ends, endsOfEvent, endsOfSeries, hasAddresses } from './ends.ts';

/** How the series of a schema are called for one owner. */
interface Plan {
  readonly version: number;
  /** What each series gets; the same objects while the same is known. */
  readonly names: readonly (Attributes | undefined)[];
  readonly schema: Schema;
}

const noNames: Attributes = Object.freeze({});

/** Adds names to what has addresses. */
export class Namer {
  readonly #directory: Directory;
  readonly #config: PeerConfig;
  readonly #plans = new WeakMap<Schema, WeakMap<Resource, Plan>>();
  /** Two sets laid together, by the first and then the second: one object for one pair. */
  readonly #joined = new WeakMap<Attributes, WeakMap<Attributes, Attributes>>();

  constructor(config: PeerConfig, directory: Directory) {
    this.#config = config;
    this.#directory = directory;
  }

  /** What an event gets; undefined for nothing. */
  ofEvent(attributes: Attributes, resource: Resource, timeMs: number): Attributes | undefined {
    const isNamed = (address: string) => this.#directory.find(address, timeMs) !== undefined;
    const own = this.#own(resource);
    const { far, near } = endsOfEvent(attributes, own, isNamed);
    const found = far === undefined ? undefined : this.#directory.find(far, timeMs);
    if (found === undefined) return undefined;
    const names = found.named.names('peer', this.#zoneOf(found.named));
    const gone = found.isGone ? { 'skoop.peer.gone': true } : undefined;
    // The owner is named by the resource; a packet that the node forwards has two strangers.
    const other = near === undefined || own.has(near) ? undefined : this.#directory.find(near, timeMs);
    const local = other?.named.names('local', this.#zoneOf(other.named));
    return gone === undefined && local === undefined ? names : { ...names, ...gone, ...local };
  }

  /** What a series gets: all names of its ends. */
  ofSeries(series: SeriesDescriptor, resource: Resource, timeMs: number): Attributes | undefined {
    if (!hasAddresses(series.metric.attributes)) return undefined;
    const { far, near } = endsOfSeries(series.attributes, this.#own(resource));
    const peer = far === undefined ? undefined : this.#directory.find(far, timeMs)?.named;
    const names = peer?.names('peer', this.#zoneOf(peer));
    if (!this.#config.local || far === undefined) return names;
    const mine = near === undefined ? undefined : this.#directory.find(near, timeMs)?.named;
    const local = mine?.names('local', this.#zoneOf(mine)) ?? localNames(resource);
    return this.join(names ?? noNames, local);
  }

  /**
   * What a series gets that stands for a pair of workloads. Undefined when its far end has no name.
   */
  ofPair(ends: Ends, resource: Resource, timeMs: number): Attributes | undefined {
    const peer = ends.far === undefined ? undefined : this.#directory.find(ends.far, timeMs)?.named;
    if (peer === undefined) return undefined;
    const own = ends.near === undefined || this.#own(resource).has(ends.near);
    const mine = own ? undefined : this.#directory.find(ends.near!, timeMs)?.named;
    const local = mine?.group('local', this.#zoneOf(mine)) ?? localGroup(resource);
    return this.join(peer.group('peer', this.#zoneOf(peer)), local);
  }

  /** The ends of a series. */
  endsOf(series: SeriesDescriptor, resource: Resource): Ends {
    return endsOfSeries(series.attributes, this.#own(resource));
  }

  /** The snapshot with names on its series; the same values, and the same schema while the names are the same. */
  name(snapshot: Snapshot): Snapshot {
    const { schema, resource, timeMs } = snapshot;
    let plans = this.#plans.get(schema);
    if (plans === undefined) {
      plans = new WeakMap();
      this.#plans.set(schema, plans);
    }
    let plan = plans.get(resource);
    if (plan?.version !== this.#directory.version) {
      plan = this.#plan(schema, resource, timeMs, plan);
      plans.set(resource, plan);
    }
    return plan.schema === schema ? snapshot : Object.freeze({ ...snapshot, schema: plan.schema });
  }

  #plan(schema: Schema, resource: Resource, timeMs: number, before: Plan | undefined): Plan {
    const { version } = this.#directory;
    const names = schema.series.map((s) => this.ofSeries(s, resource, timeMs));
    if (names.every((n) => n === undefined)) return { version, names, schema };
    if (before !== undefined && names.every((n, i) => n === before.names[i])) return { ...before, version };
    const series = schema.series.map((s, i) => ({ metric: s.metric, attributes: { ...s.attributes, ...names[i] } }));
    return { version, names, schema: makeSchema(series) };
  }

  join(a: Attributes, b: Attributes): Attributes {
    let ofA = this.#joined.get(a);
    if (ofA === undefined) {
      ofA = new WeakMap();
      this.#joined.set(a, ofA);
    }
    let both = ofA.get(b);
    if (both === undefined) {
      both = Object.freeze({ ...a, ...b });
      ofA.set(b, both);
    }
    return both;
  }

  #own(resource: Resource): ReadonlySet<string> {
    return this.#directory.ownAddresses(resource.attributes['k8s.pod.uid']);
  }

  #zoneOf(named: Parameters<Directory['zoneOf']>[0]): string | undefined {
    return this.#config.zone ? this.#directory.zoneOf(named) : undefined;
  }
}

const locals = new WeakMap<Resource, { readonly names: Attributes; readonly group: Attributes }>();

/** The near end by the resource, where the owner's address has no name of its own. */
function localOf(resource: Resource): { readonly names: Attributes; readonly group: Attributes } {
  let local = locals.get(resource);
  if (local === undefined) {
    const a = resource.attributes;
    const isPod = a['k8s.pod.name'] !== undefined;
    const node = a['k8s.node.name'];
    const head: Record<string, Attributes[string]> = { 'skoop.local.kind': isPod ? 'pod' : 'node' };
    const put = (into: typeof head, key: string, value: Attributes[string] | undefined) => {
      if (value !== undefined) into[key] = value;
    };
    put(head, 'skoop.local.workload.kind', isPod ? a['skoop.workload.kind'] : 'Node');
    put(head, 'skoop.local.workload.name', isPod ? a['skoop.workload.name'] : node);
    put(head, 'skoop.local.k8s.namespace.name', a['k8s.namespace.name']);
    const names = { ...head };
    put(names, 'skoop.local.k8s.pod.name', a['k8s.pod.name']);
    put(names, 'skoop.local.k8s.node.name', node);
    local = { names: Object.freeze(names), group: Object.freeze(head) };
    locals.set(resource, local);
  }
  return local;
}

const localNames = (resource: Resource) => localOf(resource).names;
const localGroup = (resource: Resource) => localOf(resource).group;
