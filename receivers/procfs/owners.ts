import { noResource, type Owner, type Schema, type Snapshot } from '../../pipeline/batch.ts';
import { Beginning } from './series.ts';

/** One owner of values (a namespace, a pod, the node) over the rounds: who it is and since when its counters count. */
export class OwnerState {
  readonly owner: Owner | undefined;
  readonly birthMs: number;
  /** Tells two owners with the same key apart: an inode number is used again. */
  readonly mark: number;
  #beginnings = new Map<string, Beginning>();
  #before = new Map<string, Beginning>();
  #lastRoundMs: number | undefined;

  constructor(owner: Owner | undefined, birthMs: number, mark = 0) {
    this.owner = owner && Object.freeze(owner);
    this.birthMs = birthMs;
    this.mark = mark;
  }

  /**
   * Makes the snapshot of one part of its values.
   *
   * @param part what counts by itself: a scraper, one interface. A part that was not there in the last round began after it.
   * @returns undefined when no value is there at all.
   */
  snapshot(part: string, schema: Schema, values: Float64Array, timeMs: number): Snapshot | undefined {
    if (values.every(Number.isNaN)) return undefined;
    const beginning =
      this.#beginnings.get(part) ?? this.#before.get(part) ?? new Beginning(this.#lastRoundMs ?? this.birthMs);
    this.#beginnings.set(part, beginning);
    const startTimeMs = beginning.next(schema, values, timeMs);
    return { owner: this.owner, resource: noResource, startTimeMs, timeMs, schema, values };
  }

  endRound(timeMs: number): void {
    this.#lastRoundMs = timeMs;
    this.#before = this.#beginnings;
    this.#beginnings = new Map();
  }
}

/** The owners of the rounds so far, by key. Those that were not asked for in a round are forgotten at its end. */
export class Owners<K> {
  #states = new Map<K, OwnerState>();
  #next = new Map<K, OwnerState>();

  get(key: K, mark: number, make: () => OwnerState): OwnerState {
    const known = this.#next.get(key) ?? this.#states.get(key);
    const state = known?.mark === mark ? known : make();
    this.#next.set(key, state);
    return state;
  }

  endRound(timeMs: number): void {
    for (const state of this.#next.values()) state.endRound(timeMs);
    this.#states = this.#next;
    this.#next = new Map();
  }

  get size(): number {
    return this.#states.size;
  }
}
