import type { SchedulerLike } from 'rxjs';
import { asyncScheduler } from 'rxjs';

/**
 * Time as a dependency, so that stages run under virtual time in tests and in replays.
 *
 * Wall time is what goes on data; `monotonicMs` is what intervals and deadlines are measured with, since wall time jumps.
 */
export interface Clock {
  /** Wall-clock time, Unix epoch, milliseconds (may carry a fraction). */
  nowMs(): number;
  /** Wall-clock time, Unix epoch, nanoseconds: the unit of OpenTelemetry log records. */
  nowUnixNs(): bigint;
  /** Monotonic time in milliseconds from an arbitrary origin. */
  monotonicMs(): number;
  /** What RxJS operators schedule on; a `TestScheduler` in marble tests. */
  readonly scheduler: SchedulerLike;
  /** Pseudo-random number in [0, 1), for jitter. */
  random(): number;
}

const originNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  nowUnixNs: () => {
    // Date.now() has millisecond resolution and hrtime has no epoch: take the epoch from the first and the
    // sub-millisecond digits from the second, and follow the wall clock when the two drift apart (a clock step).
    const fine = process.hrtime.bigint() + originNs;
    const coarse = BigInt(Date.now()) * 1_000_000n;
    const drift = fine - coarse;
    return drift > 2_000_000n || drift < -2_000_000n ? coarse : fine;
  },
  monotonicMs: () => performance.now(),
  scheduler: asyncScheduler,
  random: Math.random,
};
