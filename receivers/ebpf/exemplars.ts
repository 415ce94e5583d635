import type { Exemplar, Schema, SeriesDescriptor } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue, MetricDefinition } from '../../pipeline/catalogue.ts';
import type { MutableAttributes } from './attributes.ts';
import type { EventDraft, RecordHead } from './probe.ts';
import { ownerKey } from './reaper.ts';

/** What of an event becomes its exemplar's attributes: short, and what one goes on searching with. Backends take 128 characters. */
const filtered = [
  'source.address',
  'source.port',
  'destination.address',
  'destination.port',
  'process.pid',
  'process.executable.name',
  'cpu.logical_number',
] as const;

/** Series that an exemplar is kept for in one probe. */
const maxSeries = 4096;
/** How long an exemplar is shown while no other takes its place: a scraper that comes once a minute sees it. */
const shownNs = 60_000_000_000n;

interface Slow {
  readonly owner: string;
  readonly metric: MetricDefinition;
  readonly valueS: number;
  readonly timeUnixNs: bigint;
  /** Of the event. */
  readonly attributes: Attributes;
}

/**
 * Keeps the slowest event of the running interval for each histogram series, by its owner and the attributes that tell series apart.
 * What was the slowest stays until an interval has another one, a minute at most.
 */
export class Exemplars {
  readonly #slowest = new Map<string, Slow>();
  readonly #shown = new Map<string, Slow>();
  #byOwner = new Map<string, readonly Slow[]>();

  /** An event that was measured by a histogram ({@link EventDraft.measuredBy}); others are passed over. */
  observe({ cookie, netns }: RecordHead, { measuredBy: metric, attributes }: EventDraft, timeUnixNs: bigint): void {
    const valueS = attributes['skoop.latency'];
    if (metric === undefined || typeof valueS !== 'number') return;
    const owner = metric.scope === 'node' ? ownerKey(0, 0) : ownerKey(cookie, netns);
    const parts = Object.keys(metric.attributes ?? {}).map((name) => attributes[name]);
    const key = JSON.stringify([owner, metric.name, ...parts]);
    const before = this.#slowest.get(key);
    if (before ? before.valueS >= valueS : this.#slowest.size >= maxSeries) return;
    this.#slowest.set(key, { owner, metric, valueS, timeUnixNs, attributes });
  }

  /** Ends the interval. */
  next(nowUnixNs: bigint): void {
    for (const [key, slow] of this.#slowest) {
      if (this.#shown.size < maxSeries || this.#shown.has(key)) this.#shown.set(key, slow);
    }
    this.#slowest.clear();
    for (const [key, { timeUnixNs }] of this.#shown) {
      if (nowUnixNs - timeUnixNs > shownNs) this.#shown.delete(key);
    }
    this.#byOwner = Map.groupBy(this.#shown.values(), (slow) => slow.owner);
  }

  /** The exemplars of an owner's snapshot. */
  of(owner: string, schema: Schema): readonly Exemplar[] {
    return (this.#byOwner.get(owner) ?? []).flatMap((slow) => {
      const series = schema.series.find((s) => s.metric === slow.metric && isMeasured(s, slow));
      return series ? [exemplar(slow, series)] : [];
    });
  }
}

/** True when the event has the series' attributes, and lacks those that the series lacks. */
function isMeasured(series: SeriesDescriptor, { metric, attributes }: Slow): boolean {
  return Object.keys(metric.attributes ?? {}).every((name) => series.attributes[name] === attributes[name]);
}

/** A process that the probe did not see: what left by a timer, say. */
function isNobody(name: (typeof filtered)[number], value: AttributeValue): boolean {
  return value === '' || (name === 'process.pid' && value === 0);
}

function exemplar({ valueS, timeUnixNs, attributes }: Slow, series: SeriesDescriptor): Exemplar {
  const own: MutableAttributes = {};
  for (const name of filtered) {
    const value = attributes[name];
    if (value === undefined || series.attributes[name] !== undefined || isNobody(name, value)) continue;
    own[name] = value;
  }
  return { offset: series.offset, value: valueS, timeUnixNs, attributes: Object.freeze(own) };
}
