import type { NodeView } from '../../view/node-view.ts';
import type {
  DropReason,
  EventFilter,
  LatencySummary,
  NodeSummary,
  PodDetail,
  PodSummary,
  SubjectHistory,
  ViewEvent,
} from '../../view/types.ts';

/** What a picture shows, taken at one moment. */
export interface Data {
  readonly timeMs: number;
  readonly windowMs: number;
  readonly node: NodeSummary;
  /** Most trouble first; the node's own namespace is one of them. */
  readonly pods: readonly PodSummary[];
  readonly drops: readonly DropReason[];
  readonly latencies: readonly LatencySummary[];
  /** Newest first, filtered. */
  readonly events: readonly ViewEvent[];
}

/** A pod's page. */
export interface PodData {
  readonly pod: PodDetail;
  readonly history: SubjectHistory;
  readonly windowMs: number;
}

/** Events that a picture can show at most. */
const maxEvents = 200;

export function takeData(view: NodeView, timeMs: number, filter: EventFilter): Data {
  const node = view.node();
  const pods = [...view.pods(), ...(node.own ? [node.own] : [])].sort((a, b) => b.trouble - a.trouble);
  return {
    timeMs,
    windowMs: view.windowMs,
    node,
    pods,
    drops: view.drops(),
    latencies: view.latencies(),
    events: view.events(filter, maxEvents),
  };
}

/** @returns undefined when it is gone. */
export function takePod(view: NodeView, key: string, filter: EventFilter): PodData | undefined {
  const pod = view.pod(key, 0);
  const history = view.history(key);
  if (!pod || !history) return undefined;
  return { pod: { ...pod, events: view.events({ ...filter, key }, maxEvents) }, history, windowMs: view.windowMs };
}
