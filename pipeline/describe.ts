import type { Signal } from './batch.ts';
import type { Built } from './build.ts';
import type { ComponentKind } from './component.ts';
import { type Graph, stageKey } from './graph.ts';
import { itemNouns } from './items.ts';
import type {
  ItemCounts,
  ServiceDescription,
  ServiceEdge,
  ServiceNode,
  ServicePipeline,
  ServiceQueue,
} from './service-view.ts';
import type { Sink } from './sink.ts';
import type { ComponentReport } from './states.ts';
import type { EngineTelemetry } from './telemetry/component.ts';

/** Counters of one component by name without prefix: `accepted_log_records`. */
type Counters = ReturnType<EngineTelemetry['counters']>;

/** Describes what runs. `reports` are the states of its components. */
export function describeGraph(
  graph: Graph,
  reports: readonly ComponentReport[],
  monotonicMs: number,
): ServiceDescription {
  const report = new Map(reports.map((r) => [keyOf(r.kind, r.id, r.pipeline), r]));
  const base = (built: Built<AnyNode>) => {
    const { kind, id, pipeline } = built.key;
    const key = keyOf(kind, id, pipeline);
    const { state = { state: 'stopped' }, absent = {}, failing = [] } = report.get(key) ?? {};
    const counters = built.telemetry.counters();
    const shared = {
      key,
      kind,
      id,
      type: built.node.component.declaration.type,
      ...(pipeline === undefined ? {} : { pipeline }),
      state,
      absent,
      failing,
      dropped: byAttribute(counters, 'dropped_items', 'reason'),
      failures: sumOf(counters, 'failures'),
    } as const;
    return { counters, shared };
  };

  const accepted = new Map<string, ItemCounts>();
  const nodes: ServiceNode[] = [];
  for (const [id, built] of graph.sources) {
    const { counters, shared } = base(built);
    const counts = byNoun(counters, 'accepted');
    accepted.set(id, counts);
    nodes.push({ ...shared, received: counts, sent: counts });
  }
  const outgoing = new Map<string, ItemCounts>();
  for (const [key, built] of graph.stages) {
    const { counters, shared } = base(built);
    const sent = byAttribute(counters, 'outgoing_items', 'otel.signal');
    outgoing.set(key, sent);
    const received = byAttribute(counters, 'incoming_items', 'otel.signal');
    nodes.push({ ...shared, received, sent, held: built.node.held });
  }
  const edges = graph.config.pipelines.flatMap((p) => edgesOf(p, graph, accepted, outgoing));
  for (const built of graph.sinks.values()) {
    const { counters, shared } = base(built);
    const into = edges.filter((e) => e.to === shared.key).map((e) => e.items);
    nodes.push({ ...shared, received: sumCounts(into), sent: byNoun(counters, 'sent'), queue: queueOf(built.node) });
  }
  const pipelines = graph.config.pipelines.map(({ id, signal, receivers, processors, exporters }) => {
    return { id, signal, receivers, processors, exporters };
  });
  return { monotonicMs, pipelines, nodes, edges };
}

/** What {@link describeGraph} needs of every kind of node. */
type AnyNode = { readonly component: { readonly declaration: { readonly type: string } } };

function keyOf(kind: ComponentKind, id: string, pipeline?: string): string {
  return pipeline === undefined ? `${kind} ${id}` : `${kind} ${id} in ${pipeline}`;
}

function edgesOf(
  { id: pipeline, signal, receivers, processors, exporters }: ServicePipeline,
  graph: Graph,
  accepted: ReadonlyMap<string, ItemCounts>,
  outgoing: ReadonlyMap<string, ItemCounts>,
): ServiceEdge[] {
  const edges: ServiceEdge[] = [];
  const signals: readonly Signal[] = [signal, 'entities'];
  let from = receivers.map((id) => ({ key: keyOf('receiver', id), items: only(accepted.get(id) ?? {}, signals) }));
  for (const id of processors) {
    const to = keyOf('processor', id, pipeline);
    for (const { key, items } of from) edges.push({ from: key, to, pipeline, items });
    from = [{ key: to, items: only(outgoing.get(stageKey(pipeline, id)) ?? {}, signals) }];
  }
  for (const id of exporters) {
    const takes = graph.sinks.get(id)!.node.signals.filter((s) => signals.includes(s));
    const to = keyOf('exporter', id);
    for (const { key, items } of from) edges.push({ from: key, to, pipeline, items: only(items, takes) });
  }
  return edges;
}

function queueOf({ queue, config }: Sink): ServiceQueue {
  const { items, bytes, inFlight } = queue.stats();
  const { queue_size, queue_bytes } = config.sending_queue;
  return { items, itemsCapacity: queue_size, bytes, bytesCapacity: queue_bytes, inFlight };
}

function only(counts: ItemCounts, signals: readonly Signal[]): ItemCounts {
  return Object.fromEntries(signals.flatMap((s) => (counts[s] === undefined ? [] : [[s, counts[s]]])));
}

function sumCounts(all: readonly ItemCounts[]): ItemCounts {
  const out: Partial<Record<Signal, number>> = {};
  for (const counts of all) for (const [s, n] of Object.entries(counts)) out[s as Signal] = (out[s as Signal] ?? 0) + n;
  return out;
}

/** Counters that have a name for each signal. */
function byNoun(counters: Counters, verb: string): ItemCounts {
  const out: Partial<Record<Signal, number>> = {};
  for (const [signal, noun] of Object.entries(itemNouns)) {
    const name = `${verb}_${noun}`;
    if (counters.has(name)) out[signal as Signal] = sumOf(counters, name);
  }
  return out;
}

/** A counter summed by one attribute. */
function byAttribute(counters: Counters, name: string, attribute: string): Record<string, number> {
  const out: Record<string, number> = {};
  for (const { attributes, value } of counters.get(name) ?? []) {
    const key = String(attributes[attribute] ?? 'other');
    out[key] = (out[key] ?? 0) + value;
  }
  return out;
}

function sumOf(counters: Counters, name: string): number {
  return (counters.get(name) ?? []).reduce((n, cell) => n + cell.value, 0);
}
