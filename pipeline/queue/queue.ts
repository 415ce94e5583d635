import { type BehaviorSubject, distinctUntilChanged, type Observable, type Subscription } from 'rxjs';
import type { Batch } from '../batch.ts';
import { itemCount } from '../batch.ts';
import { type ComponentContext, type Exporter, type PushResult, RetryableError } from '../component.ts';
import { errnoOf, messageOf } from '../errors.ts';
import { itemsOf } from '../items.ts';
import { type Accounts, type Books, type DropReason, makeBooks } from './accounts.ts';
import type { QueueConfig } from './config.ts';
import { Endpoint } from './endpoint.ts';
import { Line } from './line.ts';
import { type Entry, newEntry, type Store, type StoreLoss, type Weighed } from './store.ts';
import type { DeliveryQueue } from './types.ts';

/** Pressure ends below this share of the high-water mark, so that it does not flap with every batch. */
const hysteresis = 0.75;
/** What an exporter may take to let go of a request after its signal aborted, before the queue stops waiting for it. */
const abortGraceMs = 250;

interface Options {
  readonly exporter: Pick<Exporter, 'push'>;
  readonly config: QueueConfig;
  readonly context: ComponentContext;
  readonly store: Store;
  readonly pressure$: BehaviorSubject<boolean>;
}

type Phase = 'idle' | 'running' | 'stopping' | 'stopped';

/** The delivery queue; see {@link DeliveryQueue}. All state changes happen synchronously, so the books balance whenever anybody looks. */
export class Queue implements DeliveryQueue {
  readonly #options: Options;
  readonly #books: Books;
  readonly #endpoint: Endpoint;
  readonly #line: Line;
  readonly #abort = new AbortController();
  readonly pressure$: Observable<boolean>;
  #phase: Phase = 'idle';
  #items = 0;
  #bytes = 0;
  #seq = 0;
  #wake: Subscription | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  /** Called whenever the queue may have become empty; set while stopping. */
  #onSettled: (() => void) | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: Options) {
    this.#options = options;
    const { context, config } = options;
    this.#books = makeBooks(context.telemetry);
    this.#endpoint = new Endpoint(context.clock, config.retry_on_failure);
    this.#line = new Line(() => context.clock.monotonicMs());
    this.pressure$ = options.pressure$.pipe(distinctUntilChanged());
    const { queue_size, queue_bytes } = config.sending_queue;
    const gauge = context.telemetry.gauge.bind(context.telemetry);
    gauge('queue_size', '{item}', 'Items waiting or in flight.', () => this.#items);
    gauge('queue_capacity', '{item}', 'Items the queue can hold.', () => queue_size);
    gauge('queue_bytes', 'By', 'Bytes waiting or in flight.', () => this.#bytes);
    gauge('queue_bytes_capacity', 'By', 'Bytes the queue can hold.', () => queue_bytes);
    gauge('queue_in_flight', '{request}', 'Batches being sent.', () => this.#line.inFlight.size);
  }

  async start(): Promise<void> {
    if (this.#phase !== 'idle') return;
    const { store, context } = this.#options;
    this.#phase = 'running';
    store.open({
      restored: (entries) => this.#restore(entries),
      lost: (entries, reason) => this.#lost(entries, reason),
      oldest: () => this.#line.waitingOldestFirst(),
      failed: (what, error) => context.telemetry.failed(what, error),
      recovered: (what) => context.telemetry.recovered(what),
      setAsideFile: (path, error) => this.#fileSetAside(path, error),
    });
    this.#pump();
  }

  offer(batch: Batch): void {
    const items = itemsOf(batch);
    if (items === 0) return;
    this.#books.offered(items);
    const weighed = this.#admit(batch, items);
    if (typeof weighed === 'string') {
      this.#books.refused(batch.kind, weighed, items);
      return;
    }
    const entry = newEntry({ seq: ++this.#seq, kind: batch.kind, items, bytes: weighed.bytes });
    this.#items += items;
    this.#bytes += weighed.bytes;
    this.#line.push(entry);
    this.#options.store.add(entry, weighed);
    this.#updatePressure();
    this.#pump();
  }

  /** The batch weighed, or why there is no room for it. Items come first, since weighing for disk means encoding. */
  #admit(batch: Batch, items: number): Weighed | DropReason {
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return 'stopped';
    const { queue_size, queue_bytes } = this.#options.config.sending_queue;
    if (items > queue_size) return 'too_large';
    if (this.#items + items > queue_size) return 'queue_full';
    const weighed = this.#options.store.weigh(batch, items);
    if (weighed.bytes > queue_bytes) return 'too_large';
    return this.#bytes + weighed.bytes > queue_bytes ? 'queue_full' : weighed;
  }

  stats() {
    return { items: this.#items, bytes: this.#bytes, inFlight: this.#line.inFlight.size };
  }

  accounts(): Accounts {
    return { ...this.#books.sums, dropped: { ...this.#books.sums.dropped }, queued: this.#items };
  }

  async flush(): Promise<void> {
    this.#options.store.flush();
  }

  stop(signal: AbortSignal): Promise<void> {
    this.#stopped ??= this.#stop(signal);
    return this.#stopped;
  }

  // --- sending ---

  #pump(): void {
    while (this.#phase === 'running' || this.#phase === 'stopping') {
      const room = this.#endpoint.failing ? 1 : this.#options.config.sending_queue.num_consumers;
      if (this.#line.inFlight.size >= room) return;
      const opensMs = this.#endpoint.opensAtMs;
      const shut = opensMs > this.#options.context.clock.monotonicMs();
      const entry = shut ? undefined : this.#line.take(this.#endpoint.failures);
      if (!entry) {
        this.#wakeAt(shut && this.#line.waiting > 0 ? opensMs : this.#line.nextDueMs());
        return;
      }
      void this.#send(entry);
    }
  }

  #wakeAt(atMs: number): void {
    if (atMs === this.#wakeAtMs) return;
    this.#wake?.unsubscribe();
    this.#wake = undefined;
    this.#wakeAtMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options.context;
    // Rounded up: a timer that fires a fraction of a millisecond early would find the gate closed and spin.
    const waitMs = Math.max(0, Math.ceil(atMs - clock.monotonicMs()));
    this.#wake = clock.scheduler.schedule(() => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      this.#wake = undefined;
      this.#pump();
    }, waitMs);
  }

  async #send(entry: Entry): Promise<void> {
    const batch = this.#options.store.read(entry);
    if (!batch) {
      // Unless the store has lost it, with the whole file, and said so while it was reading.
      if (this.#line.inFlight.has(entry)) {
        this.#forget(entry);
        this.#options.store.remove(entry);
        this.#books.refused(entry.kind, 'corrupt', entry.items);
      }
      return this.#settle();
    }
    try {
      const result = await this.#options.exporter.push(batch, this.#abort.signal);
      if (this.#line.inFlight.has(entry)) this.#delivered(entry, result ?? undefined);
    } catch (error) {
      if (this.#line.inFlight.has(entry)) this.#failed(entry, error);
    }
    this.#settle();
  }

  #settle(): void {
    this.#updatePressure();
    this.#pump();
    if (this.#line.size === 0) this.#onSettled?.();
  }

  #delivered(entry: Entry, result: PushResult | undefined): void {
    if (this.#endpoint.failing) {
      this.#options.context.telemetry.recovered('push');
      this.#line.hurry();
    }
    this.#endpoint.succeeded();
    this.#forget(entry);
    this.#options.store.remove(entry);
    const rejected = Math.min(result?.rejected ?? 0, entry.items);
    this.#books.sent(entry.kind, entry.items - rejected);
    if (result && rejected > 0) this.#books.failed(entry.kind, 'partial_success', rejected, result.errorType);
  }

  #failed(entry: Entry, error: unknown): void {
    if (this.#abort.signal.aborted) {
      this.#putBack(entry);
      return;
    }
    this.#options.context.telemetry.failed('push', error);
    if (error instanceof RetryableError) this.#retry(entry, error);
    else {
      this.#endpoint.answered();
      this.#giveUp(entry, 'not_retryable', errorTypeOf(error));
    }
  }

  #retry(entry: Entry, error: RetryableError): void {
    if (error.remaining) this.#shrink(entry, error.remaining, error.rejected);
    const now = this.#options.context.clock.monotonicMs();
    entry.firstFailureMs ??= now;
    if (entry.tries > 0 && this.#endpoint.successes > entry.successMark && !isThrottle(error)) entry.refusals++;
    entry.successMark = this.#endpoint.successes;
    entry.tries++;
    const waitMs = this.#endpoint.failed(entry.tries, error.retryAfterMs);
    const reason = this.#lastTry(entry, now + waitMs - entry.firstFailureMs);
    if (reason) {
      this.#giveUp(entry, reason, error.errorType);
      return;
    }
    this.#books.retried(error.errorType);
    entry.dueMs = now + waitMs;
    this.#options.store.failedTry(entry);
    this.#line.putBack(entry);
  }

  /** Why this entry is not tried again, if so. `elapsedMs`: its age at the next try since its first failure. */
  #lastTry(entry: Entry, elapsedMs: number): DropReason | undefined {
    const { enabled, max_elapsed_time, max_tries } = this.#options.config.retry_on_failure;
    if (!enabled || (max_elapsed_time > 0 && elapsedMs > max_elapsed_time)) return 'retries_exhausted';
    return max_tries > 0 && entry.refusals >= max_tries ? 'poison' : undefined;
  }

  /** Part of the batch was delivered: what remains takes its place. */
  #shrink(entry: Entry, remaining: Batch, rejected: PushResult | undefined): void {
    const items = Math.min(itemCount(remaining), entry.items);
    const done = entry.items - items;
    const lost = Math.min(rejected?.rejected ?? 0, done);
    const bytes = entry.bytes;
    this.#options.store.replace(entry, this.#options.store.weigh(remaining, items));
    this.#items -= done;
    this.#bytes += entry.bytes - bytes;
    this.#books.sent(entry.kind, done - lost);
    if (rejected && lost > 0) this.#books.failed(entry.kind, 'partial_success', lost, rejected.errorType);
  }

  #giveUp(entry: Entry, reason: DropReason, errorType: string): void {
    this.#forget(entry);
    if (reason === 'poison' || reason === 'not_retryable') this.#options.store.setAside(entry);
    else this.#options.store.remove(entry);
    this.#books.failed(entry.kind, reason, entry.items, errorType);
  }

  #putBack(entry: Entry): void {
    entry.dueMs = 0;
    this.#line.putBack(entry);
  }

  /** Takes an entry out of the line and out of the sums of what is held. */
  #forget(entry: Entry): void {
    this.#line.remove(entry);
    this.#items -= entry.items;
    this.#bytes -= entry.bytes;
  }

  #lost(entries: readonly Entry[], reason: StoreLoss): void {
    for (const entry of entries) {
      this.#forget(entry);
      this.#books.refused(entry.kind, reason, entry.items);
    }
    this.#settle();
  }

  #restore(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#line.restore(entry);
      this.#items += entry.items;
      this.#bytes += entry.bytes;
      this.#books.recovered(entry.items);
    }
    if (entries.length === 0) return;
    this.#options.context.log.info(
      { batches: entries.length, items: this.#items },
      'Sending what an earlier process left.',
    );
    this.#updatePressure();
    this.#pump();
  }

  #fileSetAside(path: string, error: unknown): void {
    const { log, telemetry } = this.#options.context;
    telemetry.rejected('corrupt_queue_file');
    log.error(
      { path, error: messageOf(error) },
      'The queue file was corrupt and is moved aside; the queue starts empty.',
    );
  }

  #updatePressure(): void {
    const { queue_size, queue_bytes, high_water } = this.#options.config.sending_queue;
    const fill = Math.max(this.#items / queue_size, this.#bytes / queue_bytes);
    const { pressure$ } = this.#options;
    if (fill >= high_water) pressure$.next(true);
    else if (fill < high_water * hysteresis) pressure$.next(false);
  }

  // --- stopping ---

  async #stop(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const wasRunning = this.#phase === 'running';
    this.#phase = 'stopping';
    if (wasRunning) await this.#drain(signal);
    // Before the abort: what comes back from it must not be sent again.
    this.#phase = 'stopped';
    this.#abort.abort();
    this.#wake?.unsubscribe();
    if (this.#line.inFlight.size > 0) await this.#inFlightSettled();
    for (const entry of [...this.#line.inFlight]) this.#line.putBack(entry);
    if (!store.durable) for (const entry of [...this.#line.waitingOldestFirst()]) this.#dropAtShutdown(entry);
    store.close();
    this.#options.pressure$.next(false);
    this.#options.pressure$.complete();
  }

  #dropAtShutdown(entry: Entry): void {
    this.#forget(entry);
    if (entry.tries > 0) this.#books.failed(entry.kind, 'shutdown', entry.items, 'shutdown');
    else this.#books.refused(entry.kind, 'shutdown', entry.items);
  }

  /** Resolves when everything is sent, when `signal` aborts, or at once when a dead backend is all there is to wait for and the disk keeps it. */
  #drain(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#onSettled = undefined;
        resolve();
      };
      if (signal.aborted || this.#line.size === 0) return resolve();
      if (this.#options.store.durable && this.#endpoint.failing) return resolve();
      this.#onSettled = done;
      signal.addEventListener('abort', done);
      this.#pump();
    });
  }

  #inFlightSettled(): Promise<void> {
    const { clock } = this.#options.context;
    return new Promise((resolve) => {
      const grace = clock.scheduler.schedule(() => resolve(), abortGraceMs);
      const look = () => {
        if (this.#line.inFlight.size > 0) return;
        grace.unsubscribe();
        this.#line.onLanded = undefined;
        resolve();
      };
      this.#line.onLanded = look;
      look();
    });
  }
}

/** Refused for want of rate, which says nothing about the batch. */
function isThrottle(error: RetryableError): boolean {
  return error.retryAfterMs !== undefined || error.errorType === '429';
}

function errorTypeOf(error: unknown): string {
  if (error instanceof Error && 'errorType' in error && typeof error.errorType === 'string') return error.errorType;
  return errnoOf(error) ?? (error instanceof Error ? error.name : 'error');
}
