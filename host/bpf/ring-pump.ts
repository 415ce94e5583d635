import { Watch } from '../ffi/watch.ts';
import type { RingReader } from './ringbuf.ts';

export interface RingPumpOptions {
  readonly ring: RingReader;
  readonly fd: number;
  /** One record; see {@link RingReader.consume}. */
  readonly onRecord: (offset: number, length: number) => void;
  /** After each slice of at least one record. */
  readonly onSlice: () => void;
  readonly onError: (error: unknown) => void;
}

/** Records in one slice, so that the event loop is not held: some milliseconds at 1 µs each. */
const sliceRecords = 2048;
/** How long the ring is left to fill before the next look while events flow. */
const drainMs = 10;

/**
 * Hybrid wake-up: asleep in poll while nothing happens (30 µs to the first event), on a 10 ms timer while events flow, since a
 * wake-up for each event costs nine times the CPU. Slices are bounded; a fast producer cannot starve the event loop.
 */
export class RingPump {
  readonly #o: RingPumpOptions;
  readonly #watch: Watch;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #paused = false;
  #closed = false;

  constructor(options: RingPumpOptions) {
    this.#o = options;
    this.#watch = new Watch(options.fd, () => this.#onReadable(), options.onError);
  }

  #onReadable(): void {
    this.#watch.pause();
    this.#slice();
  }

  #slice(): void {
    this.#immediate = undefined;
    this.#timer = undefined;
    if (this.#closed || this.#paused) return;
    const n = this.#o.ring.consume(this.#o.onRecord, sliceRecords);
    if (n > 0) this.#o.onSlice();
    if (this.#closed || this.#paused) return;
    if (n >= sliceRecords) this.#immediate = setImmediate(() => this.#slice());
    else if (n > 0) this.#timer = setTimeout(() => this.#slice(), drainMs);
    else this.#watch.resume();
  }

  /** Reads all that is there now, slice after slice, without giving way: at shutdown and in tests. */
  drain(): void {
    while (!this.#closed && this.#o.ring.consume(this.#o.onRecord, sliceRecords) > 0) this.#o.onSlice();
  }

  /** Leaves the ring alone until {@link resume}; what finds no room meanwhile the kernel side counts. */
  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    this.#watch.pause();
    this.#stopTimers();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.#slice();
  }

  #stopTimers(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
  }

  /** Stops reading; the ring itself stays open. Twice is safe. */
  close(): void {
    this.#closed = true;
    this.#stopTimers();
    this.#watch.close();
  }
}
