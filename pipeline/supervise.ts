import { defer, Observable, type Subscription } from 'rxjs';
import type { Batch } from './batch.ts';
import type { Clock } from './clock.ts';
import type { ComponentTelemetry, Receiver } from './component.ts';
import { AbsentError, messageOf } from './errors.ts';
import type { ComponentState } from './states.ts';

const firstWaitMs = 1000;
const longestWaitMs = 60_000;
/** A stream that ran this long starts with the first wait again when it fails. */
const steadyAfterMs = 60_000;
/** A restarted stream that is quiet counts as running after this time. */
const quietAfterMs = 5000;

/**
 * A receiver's stream that does not end by an error: it is subscribed again after 1 s, 2 s, 4 s … 60 s, each ±20 %.
 * An {@link AbsentError} means that trying again is pointless: the receiver is off and the stream silent.
 */
export function supervise(options: {
  readonly receiver: Receiver;
  readonly clock: Clock;
  readonly telemetry: ComponentTelemetry;
  readonly onState: (state: ComponentState) => void;
}): Observable<Batch> {
  return new Observable((subscriber) => {
    const one = new Supervisor(options, (batch) => subscriber.next(batch));
    one.subscribe();
    return () => one.stop();
  });
}

class Supervisor {
  readonly #options: Parameters<typeof supervise>[0];
  readonly #emit: (batch: Batch) => void;
  #stream: Subscription | undefined;
  #timer: Subscription | undefined;
  #failures = 0;
  #startedMs = 0;
  #isStopped = false;
  #isConfirmed = false;

  constructor(options: Parameters<typeof supervise>[0], emit: (batch: Batch) => void) {
    this.#options = options;
    this.#emit = emit;
  }

  subscribe(): void {
    const { receiver, clock, onState } = this.#options;
    this.#startedMs = clock.monotonicMs();
    this.#isConfirmed = false;
    onState({ state: 'starting' });
    let isOver = false;
    const stream = defer(() => receiver.run()).subscribe({
      next: (batch) => {
        if (!this.#isConfirmed) this.#confirm();
        this.#emit(batch);
      },
      error: (error) => {
        isOver = true;
        this.#ended(error);
      },
      complete: () => {
        isOver = true;
        this.#timer?.unsubscribe();
        if (!this.#isStopped) onState({ state: 'stopped' });
      },
    });
    // A stream that fails in the very subscription has already planned its successor by now.
    if (isOver) return;
    this.#stream = stream;
    // Told to stop by what it emitted while it was being subscribed to.
    if (this.#isStopped) {
      stream.unsubscribe();
      return;
    }
    if (this.#failures === 0) this.#confirm();
    else if (!this.#isConfirmed) this.#timer = clock.scheduler.schedule(() => this.#confirm(), quietAfterMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.unsubscribe();
    this.#stream?.unsubscribe();
  }

  #confirm(): void {
    this.#isConfirmed = true;
    this.#timer?.unsubscribe();
    this.#options.onState({ state: 'running' });
    if (this.#failures > 0) this.#options.telemetry.recovered('stream');
  }

  #ended(error: unknown): void {
    const { clock, telemetry, onState } = this.#options;
    this.#timer?.unsubscribe();
    if (this.#isStopped) return;
    if (error instanceof AbsentError) {
      telemetry.absent('receiver', messageOf(error));
      onState({ state: 'absent', reason: messageOf(error) });
      return;
    }
    if (clock.monotonicMs() - this.#startedMs >= steadyAfterMs) this.#failures = 0;
    const plainMs = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#failures);
    const waitMs = Math.round(plainMs * (0.8 + 0.4 * clock.random()));
    this.#failures++;
    telemetry.failed('stream', error);
    onState({ state: 'failed', reason: messageOf(error), retryAtMs: clock.nowMs() + waitMs });
    this.#timer = clock.scheduler.schedule(() => this.subscribe(), waitMs);
  }
}
