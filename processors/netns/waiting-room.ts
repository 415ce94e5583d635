import { type SchedulerLike, Subscription, timer } from 'rxjs';
import type { LogRecord, LogsBatch, Scope } from '../../pipeline/batch.ts';

/** A record that waits for its owner's name. */
interface Guest {
  readonly record: LogRecord;
  readonly source: string;
  readonly scope: Scope;
  /** Monotonic ms at which it goes on, named or not. */
  readonly deadlineMs: number;
}

export interface WaitingRoomOptions {
  readonly waitMs: number;
  readonly max: number;
  readonly scheduler: SchedulerLike;
  readonly monotonicMs: () => number;
  /** Called when the oldest guest's time is over. */
  readonly onDeadline: () => void;
}

/** Records that are held back for a bounded time, in order of arrival, at most so many. */
export class WaitingRoom {
  readonly #options: WaitingRoomOptions;
  #guests: Guest[] = [];
  #timer = Subscription.EMPTY;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#guests.length;
  }

  /** False when there is no room. */
  admit(record: LogRecord, batch: LogsBatch): boolean {
    const { max, waitMs, monotonicMs } = this.#options;
    if (this.#guests.length >= max) return false;
    const { source, scope } = batch;
    this.#guests.push({ record, source, scope, deadlineMs: monotonicMs() + waitMs });
    if (this.#guests.length === 1) this.#arm();
    return true;
  }

  /**
   * Lets go of guests and gives them back as batches, in order.
   *
   * @param name gives the record to send on, or undefined to let it wait on; `expired` is true when it cannot.
   */
  release(name: (record: LogRecord, expired: boolean) => LogRecord | undefined, all = false): readonly LogsBatch[] {
    if (this.#guests.length === 0) return [];
    const now = this.#options.monotonicMs();
    const staying: Guest[] = [];
    const batches: { source: string; scope: Scope; records: LogRecord[] }[] = [];
    for (const guest of this.#guests) {
      const record = name(guest.record, all || guest.deadlineMs <= now);
      if (record === undefined) {
        staying.push(guest);
        continue;
      }
      const last = batches.at(-1);
      if (last?.source === guest.source && last.scope === guest.scope) last.records.push(record);
      else batches.push({ source: guest.source, scope: guest.scope, records: [record] });
    }
    this.#guests = staying;
    this.#arm();
    return batches.map((b) => Object.freeze({ kind: 'logs', ...b, records: Object.freeze(b.records) }));
  }

  /** Ends the timer. Returns how many were still waiting. */
  close(): number {
    this.#timer.unsubscribe();
    const left = this.#guests.length;
    this.#guests = [];
    return left;
  }

  #arm(): void {
    this.#timer.unsubscribe();
    const first = this.#guests[0];
    if (first === undefined) return;
    const { monotonicMs, scheduler, onDeadline } = this.#options;
    this.#timer = timer(Math.max(0, first.deadlineMs - monotonicMs()), scheduler).subscribe(onDeadline);
  }
}
