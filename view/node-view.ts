import type {
  Batch,
  EntitiesBatch,
  LogsBatch,
  MetricsBatch,
  PodEntity,
  Resource,
  Snapshot,
} from '../pipeline/batch.ts';
import { increase, SourceState } from './collection.ts';
import { podDetail } from './detail.ts';
import { BucketHistory } from './distribution.ts';
import { EventLog } from './event-log.ts';
import { flowsOf } from './flows.ts';
import { spread } from './history.ts';
import { planOf } from './plan.ts';
import {
  type EventQuantity,
  eventQuantities,
  type Latency,
  type MetricQuantity,
  metricQuantities,
  type QuantityDefinition,
  quantityIndex,
} from './quantities.ts';
import type { ViewState } from './state.ts';
import { keyOf, keyOfPod, nodeKey, Subject } from './subject.ts';
import { dropReasons, latencyHistory, nodeSummary, podSummary, subjectHistory, summarize } from './summary.ts';
import type {
  DropReason,
  EventFilter,
  Flows,
  LatencyHistory,
  LatencySummary,
  NodeSummary,
  NodeViewOptions,
  PodDetail,
  PodSummary,
  SubjectHistory,
  ViewEvent,
} from './types.ts';

/**
 * The node as its batches tell it: pods by trouble, a pod's page, the node's line, the last events. Bounded whatever comes.
 *
 * `accept` is meant for a pipeline that runs always: it keeps the batch, and adds the increases of the few series that `quantities.ts` names to a
 * short history. Everything else is worked out when somebody asks.
 */
export class NodeView {
  readonly #state: ViewState;
  readonly #log: EventLog;
  readonly #maxPods: number;
  readonly #byResource = new WeakMap<Resource, Subject>();
  readonly #entities = new Map<string, ReadonlySet<Subject>>();

  constructor(options: NodeViewOptions) {
    const { clock, stepMs = 15_000, points = 40, windowMs = 300_000 } = options;
    this.#state = {
      nodeName: options.nodeName,
      clock,
      stepMs,
      points,
      windowSteps: Math.min(points, Math.ceil(windowMs / stepMs)),
      subjects: new Map(),
      strays: new Subject('strays', 'netns', points),
      sources: new Map(),
      observed: new Set(),
      untracked: new Set(),
    };
    this.#log = new EventLog(options.maxEvents ?? 2000);
    this.#maxPods = options.maxPods ?? 1000;
  }

  /** Takes a batch as exporters get it: named by the processors before. */
  accept(batch: Batch): void {
    switch (batch.kind) {
      case 'metrics':
        this.#metrics(batch);
        break;
      case 'logs':
        this.#logs(batch);
        break;
      case 'entities':
        this.#takeEntities(batch);
        break;
    }
  }

  get nodeName(): string {
    return this.#state.nodeName;
  }

  /** Milliseconds that "recent" and the trouble score look back. */
  get windowMs(): number {
    return this.#state.windowSteps * this.#state.stepMs;
  }

  /** All but the node itself: most trouble first, then most traffic, then by name. */
  pods(): PodSummary[] {
    const traffic = (p: PodSummary) => (p.rates.rxPackets ?? 0) + (p.rates.txPackets ?? 0);
    return [...this.#state.subjects.values()]
      .filter((s) => s.kind !== 'node')
      .map((s) => podSummary(s, this.#state))
      .sort(
        (a, b) =>
          b.trouble - a.trouble ||
          traffic(b) - traffic(a) ||
          compare(a.namespace, b.namespace) ||
          compare(a.name, b.name) ||
          compare(a.key, b.key),
      );
  }

  /** Everything about one; `node` is the node itself. */
  pod(key: string, eventLimit = 20): PodDetail | undefined {
    const subject = this.#state.subjects.get(key);
    if (!subject) return undefined;
    return podDetail(subject, this.#state, this.events({ key }, eventLimit));
  }

  node(): NodeSummary {
    return nodeSummary(this.#state);
  }

  /** What was dropped on this node and why: most in the window first. */
  drops(): DropReason[] {
    return dropReasons(this.#state);
  }

  /** Who talks to whom, from the flow probe. */
  flows(): Flows {
    return flowsOf(this.#state);
  }

  /** Distributions over the window, of one or (no key) of all together. */
  latencies(key?: string): LatencySummary[] {
    return summarize(key === undefined ? [...this.#state.subjects.values()] : this.#some(key), this.#state);
  }

  history(key: string): SubjectHistory | undefined {
    const subject = this.#state.subjects.get(key);
    return subject && subjectHistory(subject, this.#state);
  }

  latencyHistory(key: string, latency: Latency): LatencyHistory | undefined {
    const subject = this.#state.subjects.get(key);
    return subject && latencyHistory(subject, latency, this.#state);
  }

  /** The last events that pass, newest first. */
  events(filter: EventFilter = {}, limit = 100): ViewEvent[] {
    const { key } = filter;
    const whose = key === undefined ? [...this.#state.subjects.values()] : this.#some(key);
    return this.#log.list(filter, limit, () => whose.flatMap((s) => s.events));
  }

  /** Calls back for each new event, from within `accept`. @returns what ends it. */
  subscribe(listener: (event: ViewEvent) => void): () => void {
    return this.#log.subscribe(listener);
  }

  #some(key: string): Subject[] {
    const subject = this.#state.subjects.get(key);
    return subject ? [subject] : [];
  }

  #metrics(batch: MetricsBatch): void {
    const { sources, clock, observed } = this.#state;
    let state = sources.get(batch.source);
    if (!state) {
      state = new SourceState(batch.source);
      sources.set(batch.source, state);
      const probe = batch.source.slice(batch.source.lastIndexOf('/') + 1);
      for (const column of columnsOfProbe.get(probe) ?? []) observed.add(column);
    }
    state.next(batch, clock.nowMs(), (snapshot) => this.#subjectOf(snapshot.resource));
    for (const subject of state.subjects.keys()) if (!state.previousSubjects.has(subject)) subject.presence++;
    for (const subject of state.previousSubjects.keys()) {
      if (state.subjects.has(subject)) continue;
      subject.presence--;
      this.#forgetIfGone(subject);
    }
    for (const [subject, snapshots] of state.subjects) {
      for (const snapshot of snapshots) this.#count(state, subject, snapshot);
    }
  }

  #count(source: SourceState, subject: Subject, snapshot: Snapshot): void {
    const { counters, histograms } = planOf(snapshot.schema);
    if (counters.length === 0 && histograms.length === 0) return;
    for (const { quantity } of counters) this.#state.observed.add(quantity);
    const before = source.before(snapshot);
    if (!before) return;
    const { stepMs } = this.#state;
    const { values, timeMs } = snapshot;
    const fromMs = source.previousMs;
    const step = Math.floor(timeMs / stepMs);
    const oldest = step - this.#state.windowSteps;
    for (const slot of counters) {
      const old = before(slot);
      const n = increase(values[slot.slot]!, old?.values[old.slot]);
      if (n === 0) continue;
      const { quantity, label } = slot;
      if (timeMs > fromMs) source.addRate(subject, quantity, (n * 1000) / (timeMs - fromMs));
      spread(fromMs, timeMs, stepMs, n, (at, part) => subject.history.add(at, quantity, part));
      if (label !== undefined) subject.occurrences.add(step, quantity, label, n, oldest);
    }
    for (const slot of histograms) {
      const count = values[slot.slot]!;
      const old = before(slot);
      const oldCount = old?.values[old.slot];
      if (increase(count, oldCount) === 0) continue;
      let buckets = subject.latencies.get(slot.latency);
      if (!buckets) {
        buckets = new BucketHistory(slot.layout, this.#state.points);
        subject.latencies.set(slot.latency, buckets);
      }
      const began = oldCount === undefined || Number.isNaN(oldCount) || oldCount > count;
      buckets.add(step, values, slot.slot, began ? undefined : old!.values, began ? 0 : old!.slot);
    }
  }

  #logs(batch: LogsBatch): void {
    const { stepMs, observed } = this.#state;
    for (const name of eventNames) observed.add(quantityIndex[name]);
    for (const record of batch.records) {
      const event = this.#log.add(record);
      const subject = event.key === nodeKey ? this.#subject(nodeKey, 'node') : this.#state.subjects.get(event.key);
      subject?.addEvent(event);
      const { history } = subject ?? this.#state.strays;
      const step = Math.floor(Number(record.timeUnixNs / 1_000_000n) / stepMs);
      history.add(step, quantityIndex.events, 1);
      const column = eventColumns.get(record.eventName);
      if (column !== undefined) history.add(step, column, 1);
    }
  }

  #takeEntities(batch: EntitiesBatch): void {
    const pods = batch.entities.filter((e): e is PodEntity => e.kind === 'pod');
    const now = new Set<Subject>();
    for (const pod of pods) {
      const { key, kind } = keyOfPod(pod);
      const subject = this.#subject(key, kind);
      if (!subject) continue;
      subject.entity = pod;
      now.add(subject);
    }
    const before = this.#entities.get(batch.source);
    this.#entities.set(batch.source, now);
    for (const subject of before ?? []) {
      if (now.has(subject)) continue;
      subject.entity = undefined;
      this.#forgetIfGone(subject);
    }
  }

  #subjectOf(resource: Resource): Subject | undefined {
    let subject = this.#byResource.get(resource);
    // A subject that was forgotten and is here again gets a new history.
    if (!subject || this.#state.subjects.get(subject.key) !== subject) {
      const { key, kind } = keyOf(resource);
      subject = this.#subject(key, kind);
      if (!subject) return undefined;
      this.#byResource.set(resource, subject);
    }
    if (resource.attributes['container.id'] === undefined || !subject.resource) subject.resource = resource;
    return subject;
  }

  #subject(key: string, kind: Subject['kind']): Subject | undefined {
    const { subjects, untracked, points } = this.#state;
    let subject = subjects.get(key);
    if (subject) return subject;
    if (subjects.size >= this.#maxPods && kind !== 'node') {
      if (untracked.size < this.#maxPods) untracked.add(key);
      return undefined;
    }
    untracked.delete(key);
    subject = new Subject(key, kind, points);
    subjects.set(key, subject);
    return subject;
  }

  #forgetIfGone(subject: Subject): void {
    if (subject.presence > 0 || subject.entity || subject.kind === 'node') return;
    this.#state.subjects.delete(subject.key);
    // Its place is free: whoever has none asks again with its next data.
    this.#state.untracked.clear();
  }
}

/** Columns that a probe's batches feed, empty ones too. */
const columnsOfProbe = new Map<string, number[]>();
for (const [name, { probe }] of Object.entries(metricQuantities) as [MetricQuantity, QuantityDefinition][]) {
  if (probe !== undefined) columnsOfProbe.set(probe, [...(columnsOfProbe.get(probe) ?? []), quantityIndex[name]]);
}

const eventNames = Object.keys(eventQuantities) as EventQuantity[];

/** Event name → column, of what is counted by name. */
const eventColumns = new Map<string, number>(
  (Object.entries(eventQuantities) as [EventQuantity, { events: readonly string[] | undefined }][]).flatMap(
    ([name, { events }]) => (events ?? []).map((event): [string, number] => [event, quantityIndex[name]]),
  ),
);

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
