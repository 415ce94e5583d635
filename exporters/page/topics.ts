import type { ServiceView } from '../../pipeline/service-view.ts';
import type { NodeView } from '../../view/node-view.ts';
import { quantityInfo } from '../../view/quantities.ts';
import type { EventFilter, PodSummary, ViewEvent } from '../../view/types.ts';
import type { EventRow, EventsMessage, FlowsMessage, PodMessage, PodPage, PodRow, PodsMessage } from './messages.ts';

/**
 * What viewers look at. A topic is worked out at most once an interval, whatever number of viewers look at it; a viewer is sent what it has not seen.
 */
export interface Topic {
  /** Text of the message for a viewer who has seen everything up to `cursor`; undefined = nothing is new. */
  message(cursor: number): { readonly text: string; readonly cursor: number } | undefined;
  /** Time has passed: what was worked out is old. */
  turn(): void;
}

/** Events in one message: what comes faster than this an interval is cut, and said to be. */
const maxEvents = 200;
const maxFlows = 200;
const maxPodEvents = 25;

/** A topic whose message is the whole of what there is to see. */
export class SnapshotTopic implements Topic {
  readonly #make: () => unknown;
  #text: string | undefined;
  #revision = 0;
  #isFresh = false;

  constructor(make: () => unknown) {
    this.#make = make;
  }

  turn(): void {
    this.#isFresh = false;
  }

  message(cursor: number) {
    if (!this.#isFresh) {
      const text = JSON.stringify(this.#make());
      if (text !== this.#text) this.#revision++;
      this.#text = text;
      this.#isFresh = true;
    }
    return cursor === this.#revision ? undefined : { text: this.#text!, cursor: this.#revision };
  }
}

/** New events that pass a filter. A cursor is the sequence number of the last one that was looked at. */
export class EventsTopic implements Topic {
  readonly #view: () => NodeView;
  readonly #filter: EventFilter;
  /** By cursor: viewers in step share one text. */
  readonly #texts = new Map<number, { text: string; cursor: number } | undefined>();

  constructor(view: () => NodeView, filter: EventFilter) {
    this.#view = view;
    this.#filter = filter;
  }

  turn(): void {
    this.#texts.clear();
  }

  message(cursor: number) {
    if (!this.#texts.has(cursor)) this.#texts.set(cursor, this.#make(cursor));
    return this.#texts.get(cursor);
  }

  #make(cursor: number) {
    const view = this.#view();
    const newest = view.events({}, 1)[0]?.sequence ?? 0;
    const isFirst = cursor < 0;
    if (!isFirst && newest === cursor) return undefined;
    const found = view.events({ ...this.#filter, after: Math.max(0, cursor) }, maxEvents + 1);
    if (!isFirst && found.length === 0) return { text: '', cursor: newest };
    const message: EventsMessage = {
      isFirst,
      events: found.slice(0, maxEvents).map(eventRow),
      more: !isFirst && found.length > maxEvents,
      types: [...new Set(view.events({}, 1000).map((e) => e.type))].sort(),
    };
    return { text: JSON.stringify(message), cursor: newest };
  }
}

export function pipelineTopic(service: ServiceView): Topic {
  return new SnapshotTopic(() => service.describe());
}

export function podsTopic(view: () => NodeView): Topic {
  return new SnapshotTopic((): PodsMessage => {
    const { pods, inTrouble, untracked, rates, recent, conntrack } = view().node();
    return {
      windowMs: view().windowMs,
      node: { pods, inTrouble, untracked, rates: rounded(rates), recent, conntrack },
      pods: view().pods().map(podRow),
    };
  });
}

export function podTopic(view: () => NodeView, key: string): Topic {
  return new SnapshotTopic((): PodMessage => ({ windowMs: view().windowMs, pod: podPage(view(), key) ?? null }));
}

export function flowsTopic(view: () => NodeView): Topic {
  return new SnapshotTopic((): FlowsMessage => {
    const { observed, flows: all } = view().flows();
    const flows = all.filter((f) => f.sentBytesPerSecond + f.receivedBytesPerSecond > 0);
    const rest = flows.slice(maxFlows);
    const bytesPerSecond = rest.reduce((n, f) => n + f.sentBytesPerSecond + f.receivedBytesPerSecond, 0);
    return { observed, flows: flows.slice(0, maxFlows), rest: { flows: rest.length, bytesPerSecond } };
  });
}

function podRow(pod: PodSummary): PodRow {
  const { key, kind, name, namespace, hostNetwork, state, trouble, rates, recent } = pod;
  return {
    key,
    kind,
    name,
    namespace,
    hostNetwork,
    state,
    trouble: Math.round(trouble * 10) / 10,
    rates: rounded(rates),
    recent,
    worst: worstText(pod),
  };
}

function podPage(view: NodeView, key: string): PodPage | undefined {
  const pod = view.pod(key, maxPodEvents);
  const history = view.history(key);
  if (!pod || !history) return undefined;
  return {
    ...pod,
    worst: worstText(pod),
    events: pod.events.map(eventRow),
    history,
    latencies: pod.latencies.map((l) => ({ ...l, history: view.latencyHistory(key, l.latency) })),
  };
}

function worstText({ worst }: PodSummary) {
  return worst && { label: quantityInfo[worst.quantity].label, count: worst.count, reason: worst.label };
}

/** Rates to three digits: what is shown, and what makes a message differ from the last. */
function rounded<T extends Readonly<Record<string, number | undefined>>>(counts: T): T {
  return Object.fromEntries(
    Object.entries(counts).map(([k, v]) => [k, v === undefined ? undefined : Number(v.toPrecision(3))]),
  ) as T;
}

export function eventRow({ sequence, key, type, pod, namespace, record }: ViewEvent): EventRow {
  const attributes: Record<string, string> = {};
  for (const [k, v] of Object.entries(record.attributes)) attributes[k] = typeof v === 'object' ? v.join(' ') : `${v}`;
  return {
    sequence,
    timeMs: Number(record.timeUnixNs / 1_000_000n),
    key,
    type,
    pod,
    namespace,
    severity: record.severityNumber,
    body: record.body,
    attributes,
  };
}

/** The topic that a path of `/live/` asks for; undefined = there is none of that name. */
export function topicOf(url: URL, sources: { readonly service: ServiceView; readonly view: () => NodeView }) {
  const { service, view } = sources;
  const named = (name: string, make: () => Topic) => ({ name, make });
  const [kind, key, ...more] = url.pathname.slice('/live/'.length).split('/');
  if (more.length > 0) return undefined;
  if (kind === 'pod' && key !== undefined) {
    const decoded = decodeKey(key);
    return decoded === undefined ? undefined : named(`pod ${decoded}`, () => podTopic(view, decoded));
  }
  if (key !== undefined) return undefined;
  switch (kind) {
    case 'pipeline':
      return named(kind, () => pipelineTopic(service));
    case 'pods':
      return named(kind, () => podsTopic(view));
    case 'flows':
      return named(kind, () => flowsTopic(view));
    case 'events': {
      const filter = filterOf(url.searchParams);
      return named(`events ${JSON.stringify(filter)}`, () => new EventsTopic(view, filter));
    }
    default:
      return undefined;
  }
}

/** `type` takes several with commas; each is a pattern with `*` and `?`. What is longer than any name is cut. */
function filterOf(query: URLSearchParams): EventFilter {
  const get = (name: string) => query.get(name)?.trim().slice(0, 253) || undefined;
  const [key, pod, namespace, text] = [get('key'), get('pod'), get('namespace'), get('text')];
  const types = get('type')
    ?.split(',')
    .map((t) => t.trim())
    .filter(Boolean)
    .slice(0, 20);
  return {
    ...(key === undefined ? {} : { key }),
    ...(pod === undefined ? {} : { pod: part(pod) }),
    ...(namespace === undefined ? {} : { namespace: part(namespace) }),
    ...(types?.length ? { types: types.map(part) } : {}),
    ...(text === undefined ? {} : { text }),
  };
}

/** People type part of a name. */
function part(pattern: string): string {
  return /[*?]/.test(pattern) ? pattern : `*${pattern}*`;
}

function decodeKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key);
  } catch {
    return undefined;
  }
}
