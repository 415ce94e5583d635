import type { Entry } from './store.ts';

/** Of this many probes of a failing backend in a row, the last one tries another batch, so that a poison batch cannot block the rest. */
const probesPerBatch = 3;
/** Batches that may wait for another try while fresh ones are probed. */
const maxRetrying = 64;

/** Who is next: fresh batches in order of arrival, batches to be tried again before them once they are due. */
export class Line {
  readonly #now: () => number;
  /** Fresh entries, oldest first, from `#head` on. */
  #fresh: (Entry | undefined)[] = [];
  #head = 0;
  #gone = 0;
  /** Entries to be tried again, by seq. */
  readonly #retrying: Entry[] = [];
  readonly inFlight = new Set<Entry>();
  /** Called when an entry leaves flight. */
  onLanded: (() => void) | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  get waiting(): number {
    return this.#fresh.length - this.#head - this.#gone + this.#retrying.length;
  }

  get size(): number {
    return this.waiting + this.inFlight.size;
  }

  push(entry: Entry): void {
    this.#fresh.push(entry);
  }

  /** What an earlier process left goes before what was offered meanwhile. */
  restore(entry: Entry): void {
    this.#insertRetrying(entry);
  }

  /**
   * The next entry to send, now in flight.
   *
   * @param failures consecutive failures of the backend: while there are some, what is taken is a probe.
   */
  take(failures: number): Entry | undefined {
    const now = this.#now();
    const due = this.#retrying.findIndex((e) => e.dueMs <= now);
    const other = failures > 0 && failures % probesPerBatch === 0;
    if (due >= 0 && !(other && this.#hasOther())) return this.#launch(this.#retrying.splice(due, 1)[0]!);
    if (other && this.#retrying.length >= maxRetrying) return this.#launch(this.#takeLeastTried());
    const fresh = this.#shift();
    return fresh && this.#launch(fresh);
  }

  /** Monotonic ms at which a batch that was put back is due; infinity when none waits. */
  nextDueMs(): number {
    return this.#retrying.reduce((ms, e) => Math.min(ms, e.dueMs), Number.POSITIVE_INFINITY);
  }

  putBack(entry: Entry): void {
    this.#land(entry);
    this.#insertRetrying(entry);
  }

  /** The backend works again: what waited for it, and is not itself suspect, need not wait longer. */
  hurry(): void {
    for (const entry of this.#retrying) if (entry.refusals === 0) entry.dueMs = 0;
  }

  remove(entry: Entry): void {
    if (this.inFlight.has(entry)) {
      this.#land(entry);
      return;
    }
    const i = this.#retrying.indexOf(entry);
    if (i >= 0) {
      this.#retrying.splice(i, 1);
      return;
    }
    const j = this.#fresh.indexOf(entry, this.#head);
    if (j >= 0) {
      this.#fresh[j] = undefined;
      this.#gone++;
    }
  }

  /** Entries that wait, oldest first. Not to be changed while it is walked. */
  *waitingOldestFirst(): Generator<Entry, void> {
    yield* this.#retrying;
    for (let i = this.#head; i < this.#fresh.length; i++) {
      const entry = this.#fresh[i];
      if (entry) yield entry;
    }
  }

  #launch(entry: Entry): Entry {
    this.inFlight.add(entry);
    return entry;
  }

  #land(entry: Entry): void {
    if (this.inFlight.delete(entry)) this.onLanded?.();
  }

  #hasOther(): boolean {
    return this.#retrying.length >= maxRetrying || this.#fresh.length - this.#head - this.#gone > 0;
  }

  #takeLeastTried(): Entry {
    let least = 0;
    for (let i = 1; i < this.#retrying.length; i++) {
      if (this.#retrying[i]!.tries < this.#retrying[least]!.tries) least = i;
    }
    return this.#retrying.splice(least, 1)[0]!;
  }

  #shift(): Entry | undefined {
    while (this.#head < this.#fresh.length) {
      const entry = this.#fresh[this.#head];
      this.#fresh[this.#head++] = undefined;
      if (this.#head > 1024 && this.#head * 2 > this.#fresh.length) {
        this.#fresh = this.#fresh.slice(this.#head);
        this.#head = 0;
      }
      if (entry) return entry;
      this.#gone--;
    }
    return undefined;
  }

  #insertRetrying(entry: Entry): void {
    let i = this.#retrying.length;
    while (i > 0 && this.#retrying[i - 1]!.seq > entry.seq) i--;
    this.#retrying.splice(i, 0, entry);
  }
}
