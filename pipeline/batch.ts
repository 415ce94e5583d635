import type { Attributes, HistogramLayout, MetricDefinition } from './catalogue.ts';
import type { Workload } from './workload.ts';

/**
 * The three things that flow through a pipeline. A batch is frozen by contract once emitted: a stage that changes something
 * makes a new batch and shares what it did not change, so that fan-out needs no copies.
 */
export type Batch = MetricsBatch | LogsBatch | EntitiesBatch;
export type Signal = 'metrics' | 'logs' | 'entities';

/** A network namespace's inode number (`stat -Lc %i /proc/PID/ns/net`): identity on one node while the namespace lives. */
export type NetnsInode = number;

/**
 * Whose data this is, as the receiver knows it: by kernel identity, never by IP address. Processors turn it into a resource.
 * All fields absent (or `owner` undefined) = the node itself.
 */
export interface Owner {
  readonly netns?: NetnsInode;
  /** net->net_cookie of that namespace, where the kernel told: never given twice, whereas inodes are used again at once. */
  readonly netnsCookie?: number;
  /** Pod UID as found in the cgroup path, where data is per pod and not per namespace (hostNetwork pods share a namespace). */
  readonly podUid?: string;
  readonly containerId?: string;
  /** cgroup v2 id (inode of the cgroup directory), where the kernel gives one. */
  readonly cgroupId?: number;
}

/** What produced the data, in OpenTelemetry terms. Compared by identity: make one object per entity and keep it. */
export interface Resource {
  readonly attributes: Attributes;
}

/** OpenTelemetry instrumentation scope. One object per component instance. */
export interface Scope {
  readonly name: string;
  readonly version?: string;
}

/** One series of a schema: which metric, with which attributes, and where its value stands in `Snapshot.values`. */
export interface SeriesDescriptor {
  readonly metric: MetricDefinition;
  readonly attributes: Attributes;
  /** Index of the first slot. Numbers take one slot; histograms `3 + layout.buckets` (see {@link HistogramLayout}). */
  readonly offset: number;
}

/**
 * The shape of snapshots: series in a fixed order. Shared by every snapshot of the same shape and compared by identity, so
 * that exporters and processors do their per-series work (names, label text, filters) once per schema and not per value.
 */
export interface Schema {
  readonly series: readonly SeriesDescriptor[];
  /** Number of slots in `values`. */
  readonly slots: number;
}

/** One observation of a histogram: the one to look at. OpenTelemetry's exemplar; traces do not flow here. */
export interface Exemplar {
  /** {@link SeriesDescriptor.offset} of the histogram that counted it. */
  readonly offset: number;
  /** What was observed, in the metric's unit. */
  readonly value: number;
  /** When it happened, by the kernel's clock turned into Unix epoch ns. */
  readonly timeUnixNs: bigint;
  /** What tells it from the others of its series: OpenTelemetry's filtered attributes. */
  readonly attributes: Attributes;
}

/**
 * The values of one owner at one time. NaN in a slot (the first, for a histogram) = this series has no value in this
 * snapshot: absent, which is not zero.
 */
export interface Snapshot {
  readonly owner: Owner | undefined;
  /** Set by processors; receivers leave the shared {@link noResource}. */
  readonly resource: Resource;
  /** When cumulative values began: the owner's birth or the first sight of it. Unix epoch ms. Renewed after a reset. */
  readonly startTimeMs: number;
  /** When the values were read. Unix epoch ms. */
  readonly timeMs: number;
  readonly schema: Schema;
  readonly values: Float64Array;
  /** At most one for each histogram series; absent = none. One of a series that has no value is to be ignored. */
  readonly exemplars?: readonly Exemplar[];
}

/**
 * One complete collection of one source. Complete means: an owner or series that was in the previous batch of the same
 * `source` and is not in this one is gone, and consumers that keep state drop it.
 */
export interface MetricsBatch {
  readonly kind: 'metrics';
  /** `<component id>/<scraper>`, e.g. `procfs/tcp`: the unit of completeness. */
  readonly source: string;
  readonly scope: Scope;
  readonly snapshots: readonly Snapshot[];
}

/** OpenTelemetry severity numbers in use (logs data model): DEBUG 5, INFO 9, WARN 13, ERROR 17. */
export type SeverityNumber = 5 | 9 | 13 | 17;

/** One event. The OpenTelemetry log data model, with the owner it belongs to. */
export interface LogRecord {
  /** When it happened, by the kernel's clock turned into Unix epoch ns. */
  readonly timeUnixNs: bigint;
  readonly observedTimeUnixNs: bigint;
  readonly severityNumber: SeverityNumber;
  /** Static event name: `skoop.packet.dropped`. */
  readonly eventName: string;
  /** One readable sentence or line. */
  readonly body: string;
  readonly attributes: Attributes;
  readonly owner: Owner | undefined;
  readonly resource: Resource;
}

export interface LogsBatch {
  readonly kind: 'logs';
  readonly source: string;
  readonly scope: Scope;
  readonly records: readonly LogRecord[];
}

/** A pod's container as the runtime knows it. */
export interface ContainerEntity {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly pid?: number;
  readonly restartCount?: number;
}

/** A cgroup v2 that processes of a pod live in. */
export interface CgroupRef {
  /** cgroup v2 id, as {@link Owner.cgroupId}: unique while the machine runs. */
  readonly id: number;
  readonly containerId?: string;
}

/** A pod of this node. `netns` is undefined for hostNetwork pods of an unknown host namespace and for pods whose sandbox is gone. */
export interface PodEntity {
  readonly kind: 'pod';
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly hostNetwork: boolean;
  readonly netns?: NetnsInode;
  /** Cookie of `netns`, where it could be asked (see {@link Owner.netnsCookie}). */
  readonly netnsCookie?: number;
  readonly sandboxId: string;
  readonly state: 'ready' | 'notready';
  readonly createdAtMs: number;
  /** All addresses of the sandbox, both IP versions. */
  readonly ips: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly containers: readonly ContainerEntity[];
  /** Given for hostNetwork pods: their network namespace is the node's, their sockets' cgroups tell them apart. */
  readonly cgroups?: readonly CgroupRef[];
  /** Name of the runtime: `containerd`, `cri-o`, `docker`. */
  readonly runtime: string;
}

/** A network namespace of this node, known from the kernel alone. */
export interface NetnsEntity {
  readonly kind: 'netns';
  readonly netns: NetnsInode;
  /** Its cookie, where it could be asked (see {@link Owner.netnsCookie}). */
  readonly netnsCookie?: number;
  /** The namespace of pid 1: the node's own. */
  readonly host: boolean;
  /** Representative process, where one lives in it. */
  readonly pid?: number;
  readonly comm?: string;
  /** Name under /run/netns, where it has one. */
  readonly name?: string;
  /** From cgroup paths of its processes. */
  readonly podUids: readonly string[];
  readonly containerIds: readonly string[];
  /** First sight, Unix epoch ms. */
  readonly firstSeenMs: number;
}

/**
 * Something of the cluster that answers to addresses: the far end of a connection, on whatever node. Identity of this node's own data never
 * comes from here.
 */
export interface PeerEntity {
  readonly kind: 'peer';
  readonly peer: 'pod' | 'service' | 'node';
  readonly uid: string;
  readonly name: string;
  /** Empty for nodes. */
  readonly namespace: string;
  /** All its addresses, IPv6 as RFC 5952 writes it. None for a pod that shares its node's: an address must not be guessed to be its. */
  readonly ips: readonly string[];
  /** Unix epoch ms. Nothing before this moment was its. */
  readonly createdAtMs: number;
  /** Who made a pod, by its owner reference. One object for all pods of a workload. */
  readonly workload?: Workload;
  /** Name of the node that a pod runs on. */
  readonly node?: string;
  /** A node's failure domain; a pod's is its node's. */
  readonly zone?: string;
  /** Given for pods of this agent's own node. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export type Entity = PodEntity | NetnsEntity | PeerEntity;

/** Everything that `source` knows at this moment: what was in its last batch and is not in this one is gone. */
export interface EntitiesBatch {
  readonly kind: 'entities';
  readonly source: string;
  readonly timeMs: number;
  readonly entities: readonly Entity[];
}

/** The resource of data that no processor has named yet. */
export const noResource: Resource = Object.freeze({ attributes: Object.freeze({}) });

/** Slots a series of this metric takes in `Snapshot.values`. */
export function slotsOf(metric: MetricDefinition): number {
  return metric.histogram ? 3 + metric.histogram.buckets : 1;
}

/**
 * Makes a schema of series in the given order.
 *
 * @throws RangeError when a histogram metric has no layout.
 */
export function makeSchema(series: Iterable<{ metric: MetricDefinition; attributes?: Attributes }>): Schema {
  const out: SeriesDescriptor[] = [];
  let offset = 0;
  for (const { metric, attributes } of series) {
    if (metric.instrument === 'histogram' && !metric.histogram) {
      throw new RangeError(`Metric ${metric.name} is a histogram without a layout`);
    }
    out.push({ metric, attributes: Object.freeze({ ...attributes }), offset });
    offset += slotsOf(metric);
  }
  return Object.freeze({ series: Object.freeze(out), slots: offset });
}

/**
 * The snapshot with other series. Exemplars go where their series went.
 *
 * @param moved the offset that the series from this one has now; undefined = it is gone
 */
export function withSeries(
  snapshot: Snapshot,
  schema: Schema,
  values: Float64Array,
  moved: (offset: number) => number | undefined,
): Snapshot {
  const { exemplars = [], ...rest } = snapshot;
  const kept: Exemplar[] = [];
  for (const exemplar of exemplars) {
    const offset = moved(exemplar.offset);
    if (offset !== undefined) kept.push({ ...exemplar, offset });
  }
  return Object.freeze({ ...rest, schema, values, ...(kept.length > 0 && { exemplars: kept }) });
}

/** The exemplar of the series at `offset`. */
export function exemplarOf({ exemplars }: Snapshot, offset: number): Exemplar | undefined {
  return exemplars?.find((e) => e.offset === offset);
}

/** Number of items a batch counts for in queues, limits and self-telemetry: data points, log records, entities. */
export function itemCount(batch: Batch): number {
  switch (batch.kind) {
    case 'logs':
      return batch.records.length;
    case 'entities':
      return batch.entities.length;
    case 'metrics': {
      let n = 0;
      for (const s of batch.snapshots) {
        const { values } = s;
        for (const d of s.schema.series) if (!Number.isNaN(values[d.offset])) n++;
      }
      return n;
    }
  }
}

/** Upper bounds of an exponential histogram's buckets, in the metric's unit: base^(offset+1) … base^(offset+buckets). */
export function upperBounds(layout: HistogramLayout): readonly number[] {
  const base = 2 ** (2 ** -layout.scale);
  return Array.from({ length: layout.buckets }, (_, i) => base ** (layout.offset + i + 1));
}
