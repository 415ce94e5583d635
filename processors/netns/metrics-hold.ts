import { type SchedulerLike, Subscription, timer } from 'rxjs';
import { itemCount, type MetricsBatch } from '../../pipeline/batch.ts';

interface Held {
  readonly batch: MetricsBatch;
  /** Monotonic ms at which it goes on whatever is known. */
  readonly deadlineMs: number;
}

export interface MetricsHoldOptions {
  readonly waitMs: number;
  readonly scheduler: SchedulerLike;
  readonly monotonicMs: () => number;
  readonly onDeadline: () => void;
}

/**
 * Collections that wait for names: at most one of each source, for a bounded time. A collection goes on as a whole, since what it lacks
 * would be taken for gone.
 */
export class MetricsHold {
  readonly #options: MetricsHoldOptions;
  readonly #held = new Map<string, Held>();
  #timer = Subscription.EMPTY;

  constructor(options: MetricsHoldOptions) {
    this.#options = options;
  }

  /** Holds a batch. The one of the same source that was held before must have been taken out. */
  add(batch: MetricsBatch): void {
    const { waitMs, monotonicMs } = this.#options;
    this.#held.set(batch.source, { batch, deadlineMs: monotonicMs() + waitMs });
    if (this.#held.size === 1) this.#arm();
  }

  /** The batch of a source, which is held no more. */
  takeOf(source: string): MetricsBatch | undefined {
    const held = this.#held.get(source);
    if (held === undefined) return undefined;
    this.#held.delete(source);
    this.#arm();
    return held.batch;
  }

  /** Takes out what need not wait any longer, oldest first. */
  take(isReady: (batch: MetricsBatch) => boolean, all = false): readonly MetricsBatch[] {
    const now = this.#options.monotonicMs();
    const out: MetricsBatch[] = [];
    for (const [source, { batch, deadlineMs }] of this.#held) {
      if (!all && deadlineMs > now && !isReady(batch)) continue;
      this.#held.delete(source);
      out.push(batch);
    }
    // Also when nothing was due: a timer of Node.js may fire a fraction of a millisecond before its time.
    this.#arm();
    return out;
  }

  /** Ends the timer. Returns the number of data points that were still waiting. */
  close(): number {
    this.#timer.unsubscribe();
    let points = 0;
    for (const { batch } of this.#held.values()) points += itemCount(batch);
    this.#held.clear();
    return points;
  }

  #arm(): void {
    this.#timer.unsubscribe();
    const [first] = this.#held.values();
    if (first === undefined) return;
    const { monotonicMs, scheduler, onDeadline } = this.#options;
    this.#timer = timer(Math.max(0, first.deadlineMs - monotonicMs()), scheduler).subscribe(onDeadline);
  }
}
