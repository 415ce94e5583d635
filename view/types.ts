import type { LogRecord } from '../pipeline/batch.ts';
import type { Attributes } from '../pipeline/catalogue.ts';
import type { Distribution } from './distribution.ts';
import type { Latency, Quantity } from './quantities.ts';
import type { Worst } from './trouble.ts';

/** What data is of: a pod, a container without Kubernetes, a namespace that nobody named, or the node itself. */
export type SubjectKind = 'pod' | 'container' | 'netns' | 'node';

/** A number for each quantity; undefined = not observed on this node. */
export type Counts = Readonly<Record<Quantity, number | undefined>>;

/** One row of the list of pods. */
export interface PodSummary {
  /** `pod/UID`, `container/ID`, `netns/INODE` or `node`: stable while it lives, fit for a URL path once encoded. */
  readonly key: string;
  readonly kind: SubjectKind;
  /** As in event lines. Not escaped: may hold whatever somebody named it. */
  readonly name: string;
  readonly namespace: string;
  readonly hostNetwork: boolean;
  /** What the runtime says of its sandbox, where there is a runtime. */
  readonly state: 'ready' | 'notready' | undefined;
  readonly ips: readonly string[];
  /** The newest resource its data came with. */
  readonly resource: Attributes;
  /** 0 = nothing wrong within the window; see trouble.ts. */
  readonly trouble: number;
  readonly worst: Worst | undefined;
  /** Of the last collection, per second. */
  readonly rates: Counts;
  /** Occurrences within the window ({@link NodeViewOptions.windowMs}). */
  readonly recent: Counts;
}

/** How often something happened, told apart by attributes. */
export interface Breakdown {
  /** Values of the quantity's `by` attributes; `''` = absent. */
  readonly labels: readonly string[];
  /** Within the window. */
  readonly recent: number;
  /** Value of the counter: since the probe was loaded, or as the kernel has it. */
  readonly total: number;
}

export interface LatencySummary extends Distribution {
  readonly latency: Latency;
  readonly label: string;
}

/** A remote end, known by what is wrong with it or by how much goes there. */
export interface Peer {
  readonly address: string;
  /** What the cluster calls it, where the processor `peer` said so. */
  readonly name: string | undefined;
  readonly rttSeconds: number | undefined;
  readonly retransmitRatio: number | undefined;
  /** Both directions; undefined = flows are not watched. */
  readonly bytesPerSecond: number | undefined;
}

export interface Listener {
  readonly address: string;
  readonly port: string;
  readonly queue: number;
  readonly limit: number | undefined;
}

/** A pod's page. */
export interface PodDetail extends PodSummary {
  readonly drops: readonly Breakdown[];
  readonly resets: readonly Breakdown[];
  readonly retransmitKinds: readonly Breakdown[];
  readonly connectFailures: readonly Breakdown[];
  /** State (`established`) → number, those that are not 0. */
  readonly tcpConnections: Readonly<Record<string, number>>;
  /** Those with a queue first. */
  readonly listeners: readonly Listener[];
  readonly conntrack: Conntrack | undefined;
  readonly latencies: readonly LatencySummary[];
  readonly peers: readonly Peer[];
  /** Newest first. */
  readonly events: readonly ViewEvent[];
}

export interface Conntrack {
  readonly entries: number;
  readonly limit: number | undefined;
}

/** Something dropped anywhere on the node. */
export interface DropReason extends Breakdown {
  /** Whose, most first. */
  readonly subjects: readonly {
    readonly key: string;
    readonly kind: SubjectKind;
    readonly name: string;
    readonly recent: number;
  }[];
}

/** Who talks to whom. */
export interface Flows {
  /** False: no source of the batches counts flows. */
  readonly observed: boolean;
  /** Most bytes first. */
  readonly flows: readonly Flow[];
}

/** What goes between a pod and one other end. Rates are those between the last two collections. */
export interface Flow {
  readonly key: string;
  readonly pod: string;
  readonly namespace: string;
  /** Address of the other end; where flows are summed by workload, the workload. */
  readonly peer: string;
  /** A pod of this node, or what the cluster calls it. */
  readonly peerName: string | undefined;
  /** Where it is a pod of this node. */
  readonly peerKey: string | undefined;
  readonly transport: string;
  readonly sentBytesPerSecond: number;
  readonly receivedBytesPerSecond: number;
}

/** The node's line. */
export interface NodeSummary {
  readonly name: string;
  readonly pods: number;
  /** Pods (and containers, namespaces) with a score above 0. */
  readonly inTrouble: number;
  /** What is not a pod's: the node's own namespace and its devices. */
  readonly own: PodSummary | undefined;
  /** Everything on the node, pods included. Per second, and within the window. */
  readonly rates: Counts;
  readonly recent: Counts;
  readonly conntrack: Conntrack | undefined;
  /** When each source was last collected, Unix epoch ms, and how often since the view began. */
  readonly sources: readonly { readonly source: string; readonly timeMs: number; readonly collections: number }[];
  /** Pods left out for want of room. */
  readonly untracked: number;
}

export interface ViewEvent {
  /** Grows by one an event, from 1: where a reader went on reading. */
  readonly sequence: number;
  /** Key of its pod, as in {@link PodSummary}; of one that is not listed too. */
  readonly key: string;
  readonly kind: SubjectKind;
  readonly type: string;
  readonly pod: string;
  readonly namespace: string;
  readonly record: LogRecord;
}

/** Which events; all that is given must hold. `*` and `?` in the patterns stand for any characters and any one. */
export interface EventFilter {
  readonly key?: string;
  /** True: not those of namespaces that are no pod. */
  readonly named?: boolean;
  /** Pattern of the pod's name. */
  readonly pod?: string;
  /** Pattern of the namespace. */
  readonly namespace?: string;
  /** Patterns of the KubeSkoop type or the event's name. */
  readonly types?: readonly string[];
  /** Each word must stand in the event's line, one with `=` at the begin of a field; case is ignored. */
  readonly text?: string;
  /** Only those after this sequence number. */
  readonly after?: number;
}

/** Rates over time, oldest first. */
export interface SubjectHistory {
  readonly stepMs: number;
  /** Begin of each step, Unix epoch ms. */
  readonly timesMs: readonly number[];
  /** Per second, parallel to `timesMs`; quantities that are not observed are left out. */
  readonly values: Readonly<Partial<Record<Quantity, readonly number[]>>>;
}

/** A latency over time: for a heat map. */
export interface LatencyHistory {
  readonly stepMs: number;
  readonly timesMs: readonly number[];
  /** Upper bounds of the buckets, seconds. */
  readonly bounds: readonly number[];
  /** Counts of the buckets, parallel to `timesMs`; undefined = no observation in that step. */
  readonly counts: readonly (readonly number[] | undefined)[];
}

export interface NodeViewOptions {
  readonly nodeName: string;
  readonly clock: { nowMs(): number };
  /** Step of histories, ms. Best the collection interval. */
  readonly stepMs?: number;
  /** Steps kept. */
  readonly points?: number;
  /** What "recent" and the trouble score look at, ms; at most `stepMs × points`. */
  readonly windowMs?: number;
  readonly maxEvents?: number;
  /** Pods, containers and namespaces; more are counted in `untracked`. */
  readonly maxPods?: number;
}
