/**
 * A long collection cut into slices, so that the event loop is never held for long. `if (slices.due()) await slices.turn()` between two
 * pieces of work of well under a millisecond each.
 */
export class Slices {
  readonly #sliceMs: number;
  #endsAt: number;
  #stopped = false;

  constructor(sliceMs = 3) {
    this.#sliceMs = sliceMs;
    this.#endsAt = performance.now() + sliceMs;
  }

  due(): boolean {
    return performance.now() >= this.#endsAt;
  }

  /** Lets everything else run. @throws Stopped when {@link stop} was called meanwhile. */
  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#stopped) throw new Stopped();
    this.#endsAt = performance.now() + this.#sliceMs;
  }

  /** Ends the collection at its next turn. */
  stop(): void {
    this.#stopped = true;
  }

  get stopped(): boolean {
    return this.#stopped;
  }
}

/** The receiver was stopped in the middle of a collection. */
export class Stopped extends Error {}
