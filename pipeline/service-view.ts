import type { Signal } from './batch.ts';
import type { ComponentKind } from './component.ts';
import type { ComponentState } from './states.ts';

/**
 * The running pipeline as data: what there is, how it is joined, and how much went where. Read-only, and computed when it is asked for,
 * from counters that are counted anyway; the health endpoint serves it as `/pipeline`, and every component may look at it.
 */
export interface ServiceView {
  describe(): ServiceDescription;
}

/** Items by signal: data points, log records, entities. A signal that cannot come by is absent. */
export type ItemCounts = Readonly<Partial<Record<Signal, number>>>;

/** All counts are sums since the component first ran; a reload that replaces a component does not set them back. */
export interface ServiceDescription {
  /** When the counts were read, on a clock that is never set: differences of two readings are rates. Milliseconds. */
  readonly monotonicMs: number;
  readonly pipelines: readonly ServicePipeline[];
  readonly nodes: readonly ServiceNode[];
  readonly edges: readonly ServiceEdge[];
}

export interface ServicePipeline {
  readonly id: string;
  readonly signal: 'metrics' | 'logs';
  readonly receivers: readonly string[];
  readonly processors: readonly string[];
  readonly exporters: readonly string[];
}

/** One component; a processor is one in each pipeline that names it. */
export interface ServiceNode {
  /** Unique, and the same as long as the config names it: `exporter otlp/backup`, `processor netns in logs`. */
  readonly key: string;
  readonly kind: ComponentKind;
  readonly id: string;
  readonly type: string;
  /** Processors: the pipeline it stands in. */
  readonly pipeline?: string;
  readonly state: ComponentState;
  /** Parts of it that this host lacks: what → reason. */
  readonly absent: Readonly<Record<string, string>>;
  /** Parts of it that fail at this moment. */
  readonly failing: readonly string[];
  /** What came in; for a receiver, what it took into the pipelines. */
  readonly received: ItemCounts;
  /** What went on; for an exporter, what the backend took. */
  readonly sent: ItemCounts;
  /** Reason → items, of every signal. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Rounds, requests or reads that failed. */
  readonly failures: number;
  /** Processors: items that came in and neither went on nor were dropped. */
  readonly held?: number;
  /** Exporters: the queue in front of it. */
  readonly queue?: ServiceQueue;
}

export interface ServiceQueue {
  readonly items: number;
  readonly itemsCapacity: number;
  readonly bytes: number;
  readonly bytesCapacity: number;
  /** Batches that are being sent now. */
  readonly inFlight: number;
}

/** From one component to the next in one pipeline. `from` and `to` are keys of nodes. */
export interface ServiceEdge {
  readonly from: string;
  readonly to: string;
  readonly pipeline: string;
  readonly items: ItemCounts;
}

/** Before the start, and where no engine runs: doctor, tests. */
export const nothingRuns: ServiceView = {
  describe: () => ({ monotonicMs: 0, pipelines: [], nodes: [], edges: [] }),
};
