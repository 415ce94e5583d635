import type { MetricsBatch, Snapshot } from '../pipeline/batch.ts';
import type { CounterSlot, HistogramSlot } from './plan.ts';
import { planOf } from './plan.ts';
import { ownerId, type Subject } from './subject.ts';

/** The last complete batch of one source and the one before, by owner. */
export class SourceState {
  readonly source: string;
  /** When the last batch was read, Unix epoch ms; NaN = none yet had a snapshot. */
  timeMs = Number.NaN;
  previousMs = Number.NaN;
  /** Whose data is in the last batch. */
  subjects = new Map<Subject, Snapshot[]>();
  previousSubjects = new Map<Subject, Snapshot[]>();
  /** Subject → column → per second, of the last batch; what is not there is 0. */
  #rates = new Map<Subject, Map<number, number>>();
  batches = 0;
  #owners = new Map<string, Snapshot[]>();
  #previousOwners = new Map<string, Snapshot[]>();

  constructor(source: string) {
    this.source = source;
  }

  /** Takes the next batch; `subjectOf` says whose a snapshot is, undefined = nobody's who is kept. */
  next(batch: MetricsBatch, nowMs: number, subjectOf: (snapshot: Snapshot) => Subject | undefined): void {
    this.batches++;
    this.#previousOwners = this.#owners;
    this.previousSubjects = this.subjects;
    this.previousMs = this.timeMs;
    this.#owners = new Map();
    this.subjects = new Map();
    this.#rates = new Map();
    // An empty batch is one as well: what comes in the next began after it.
    this.timeMs = batch.snapshots.length === 0 ? nowMs : 0;
    for (const snapshot of batch.snapshots) {
      if (snapshot.timeMs > this.timeMs) this.timeMs = snapshot.timeMs;
      push(this.#owners, ownerId(snapshot.owner), snapshot);
      const subject = subjectOf(snapshot);
      if (subject) push(this.subjects, subject, snapshot);
    }
  }

  addRate(subject: Subject, column: number, perSecond: number): void {
    const rates = this.#rates.get(subject) ?? new Map<number, number>();
    this.#rates.set(subject, rates);
    rates.set(column, (rates.get(column) ?? 0) + perSecond);
  }
  /** Rates of a subject that are not 0, by column. */
  rates(subject: Subject): ReadonlyMap<number, number> | undefined {
    return this.#rates.get(subject);
  }

  /**
   * What stood in the batch before in place of what stands in this snapshot now. What was not there began since, at 0; before there was any batch, nothing
   * is known.
   */
  before(snapshot: Snapshot): ((slot: CounterSlot | HistogramSlot) => Before | undefined) | undefined {
    if (this.batches < 2) return undefined;
    const olds = this.#previousOwners.get(ownerId(snapshot.owner));
    if (!olds) return () => undefined;
    const same = olds.find((old) => old.schema === snapshot.schema);
    if (same) return ({ slot }) => ({ values: same.values, slot });
    const bySeries = new Map<string, Before>();
    for (const old of olds) {
      const { counters, histograms } = planOf(old.schema);
      for (const { series, slot } of [...counters, ...histograms]) bySeries.set(series, { values: old.values, slot });
    }
    return ({ series }) => bySeries.get(series);
  }
}

export interface Before {
  readonly values: Float64Array;
  readonly slot: number;
}

/** By how much a counter grew. One that fell began anew, at 0. */
export function increase(now: number, before: number | undefined): number {
  if (Number.isNaN(now)) return 0;
  if (before === undefined || Number.isNaN(before) || before > now) return now;
  return now - before;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
