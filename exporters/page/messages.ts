import type { ServiceDescription } from '../../pipeline/service-view.ts';
import type {
  Conntrack,
  Counts,
  Flow,
  LatencyHistory,
  LatencySummary,
  NodeSummary,
  PodDetail,
  PodSummary,
  SubjectHistory,
} from '../../view/types.ts';

/** What the server sends to an open page, as JSON. Types only: the browser's half imports this file too. */

/** First on every stream: who is talking. */
export interface Hello {
  readonly node: string;
  readonly version: string;
  /** Milliseconds between two updates. */
  readonly intervalMs: number;
}

/** `/live/pipeline` */
export type PipelineMessage = ServiceDescription;

/** `/live/pods`: most trouble first. */
export interface PodsMessage {
  readonly windowMs: number;
  readonly node: NodeStrip;
  readonly pods: readonly PodRow[];
}

export type PodRow = Pick<
  PodSummary,
  'key' | 'kind' | 'name' | 'namespace' | 'hostNetwork' | 'state' | 'trouble' | 'rates' | 'recent'
> & { readonly worst: WorstText | undefined };

/** Why it is in trouble, in words. */
export interface WorstText {
  readonly label: string;
  readonly count: number;
  /** What it was most often, where that is told apart: the reason of a drop. */
  readonly reason: string | undefined;
}

export interface NodeStrip extends Pick<NodeSummary, 'pods' | 'inTrouble' | 'untracked'> {
  readonly rates: Counts;
  readonly recent: Counts;
  readonly conntrack: Conntrack | undefined;
}

/** `/live/pod/KEY`; `pod` is null when there is none of that key (any more). */
export interface PodMessage {
  readonly windowMs: number;
  readonly pod: PodPage | null;
}

export interface PodPage extends Omit<PodDetail, 'events' | 'worst' | 'latencies'> {
  readonly worst: WorstText | undefined;
  readonly events: readonly EventRow[];
  readonly history: SubjectHistory;
  readonly latencies: readonly (LatencySummary & { readonly history: LatencyHistory | undefined })[];
}

/** `/live/events`: those that are new since the last message, newest first. The first message has the last that pass. */
export interface EventsMessage {
  /** The first of its stream: the last that there are, not what is new. */
  readonly isFirst: boolean;
  readonly events: readonly EventRow[];
  /** New ones that pass but are not in the message: more came than it takes. */
  readonly more: boolean;
  /** Types seen of late, for the filter. */
  readonly types: readonly string[];
}

export interface EventRow {
  readonly sequence: number;
  /** Unix epoch, milliseconds. */
  readonly timeMs: number;
  readonly key: string;
  readonly type: string;
  readonly pod: string;
  readonly namespace: string;
  /** OpenTelemetry severity number. */
  readonly severity: number;
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** `/live/flows` */
export interface FlowsMessage {
  /** False: no source of this pipeline counts flows. */
  readonly observed: boolean;
  /** Most bytes first, bounded. */
  readonly flows: readonly FlowRow[];
  /** Flows beyond the bound, and their bytes per second. */
  readonly rest: { readonly flows: number; readonly bytesPerSecond: number };
}

export type FlowRow = Flow;
