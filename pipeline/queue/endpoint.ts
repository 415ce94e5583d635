import type { Clock } from '../clock.ts';

/** No backend gets to silence the agent for longer than this by Retry-After. */
const longestRetryAfterMs = 10 * 60_000;

export interface BackoffConfig {
  readonly initial_interval: number;
  readonly max_interval: number;
}

/**
 * What the queue knows of the backend. A failure closes the gate for everybody, not only for the batch that met it: waiting is the
 * endpoint's affair, and a Retry-After that only delays one batch while the next goes out at once is not honoured.
 * After a failure one request at a time probes until one succeeds.
 */
export class Endpoint {
  readonly #clock: Clock;
  readonly #config: BackoffConfig;
  /** Failures since the last success. */
  failures = 0;
  successes = 0;
  #backoffUntilMs = 0;
  #askedUntilMs = 0;

  constructor(clock: Clock, config: BackoffConfig) {
    this.#clock = clock;
    this.#config = config;
  }

  get failing(): boolean {
    return this.failures > 0;
  }

  /** Monotonic ms before which nothing is sent. */
  get opensAtMs(): number {
    return Math.max(this.#backoffUntilMs, this.#askedUntilMs);
  }

  /** It took a batch. */
  succeeded(): void {
    this.successes++;
    this.answered();
  }

  /** It is there, whatever it said to this batch. */
  answered(): void {
    this.failures = 0;
    // What the backend asked for stands even when a request that was already under way got through.
    this.#backoffUntilMs = 0;
  }

  /** Notes a failure; returns how long this batch waits, in ms. */
  failed(tries: number, retryAfterMs: number | undefined): number {
    this.failures++;
    const now = this.#clock.monotonicMs();
    if (retryAfterMs !== undefined) {
      const asked = Math.min(Math.max(0, retryAfterMs), longestRetryAfterMs);
      // A little later than asked, so that a fleet told the same second does not come back in the same millisecond.
      const wait = asked + this.#clock.random() * Math.min(1000, asked / 10);
      this.#askedUntilMs = Math.max(this.#askedUntilMs, now + wait);
      if (asked > 0) return wait;
    }
    this.#backoffUntilMs = now + this.#jittered(this.failures);
    return Math.max(this.#backoffUntilMs - now, this.#jittered(tries));
  }

  /** "Full jitter": uniform in [0, min(max, initial × 2^(n-1))), so that agents that failed together do not retry together. */
  #jittered(n: number): number {
    const { initial_interval, max_interval } = this.#config;
    return this.#clock.random() * Math.min(max_interval, initial_interval * 2 ** Math.min(n - 1, 30));
  }
}
