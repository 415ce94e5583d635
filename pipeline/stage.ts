import { Subject, type Subscription } from 'rxjs';
import type { Batch, Signal } from './batch.ts';
import type { Clock } from './clock.ts';
import type { Processor } from './component.ts';
import type { ComponentConfig } from './config.ts';
import { messageOf } from './errors.ts';
import { itemsOf } from './items.ts';
import type { ComponentState } from './states.ts';
import type { Cell } from './telemetry/cells.ts';
import type { EngineTelemetry } from './telemetry/component.ts';

const firstWaitMs = 1000;
const longestWaitMs = 60_000;

/**
 * A processor in one pipeline. An operator that throws ends its stream; here it is applied anew, and what it held is counted as
 * dropped, so that one bad batch costs one batch.
 */
export class Stage {
  readonly id: string;
  readonly pipeline: string;
  component: ComponentConfig;
  readonly telemetry: EngineTelemetry;
  /** Where what comes out goes. */
  next: (batch: Batch) => void = () => {};
  readonly #processor: Processor | undefined;
  readonly #clock: Clock;
  readonly #onState: (state: ComponentState) => void;
  readonly #flows = new Map<Signal, { readonly incoming: Cell; readonly outgoing: Cell }>();
  #input: Subject<Batch> | undefined;
  #output: Subscription | undefined;
  #timer: Subscription | undefined;
  /** Items that came in (or were made) and have neither gone out nor been dropped. */
  #in = 0;
  #out = 0;
  #sinceSubscribed = 0;
  #emptyFailures = 0;
  #onFlushed: (() => void) | undefined;
  #isStopped = false;

  constructor(options: {
    readonly component: ComponentConfig;
    readonly pipeline: string;
    /** Undefined when this host lacks what it needs: everything passes as it is. */
    readonly processor: Processor | undefined;
    readonly telemetry: EngineTelemetry;
    readonly clock: Clock;
    readonly onState: (state: ComponentState) => void;
  }) {
    this.id = options.component.id;
    this.pipeline = options.pipeline;
    this.component = options.component;
    this.telemetry = options.telemetry;
    this.#processor = options.processor;
    this.#clock = options.clock;
    this.#onState = options.onState;
  }

  /** Items it holds now: what came in and neither went out nor was dropped. */
  get held(): number {
    return this.#in + this.telemetry.createdItems - this.#out - this.telemetry.droppedItems;
  }

  start(): void {
    if (this.#processor && !this.#output && !this.#timer) this.#subscribe(this.#processor);
  }

  /** Gives it a batch. Never throws. */
  push(batch: Batch): void {
    const items = itemsOf(batch);
    this.#flow(batch.kind).incoming.value += items;
    this.#in += items;
    if (!this.#processor) {
      this.#emit(batch);
    } else if (this.#input) {
      this.#sinceSubscribed++;
      this.#input.next(batch);
    } else {
      this.telemetry.dropped(this.#isStopped ? 'stopped' : 'processor_down', items, batch.kind);
    }
  }

  /** Ends its input. Resolves when it has sent on what it held, or when `signal` aborts; what it holds then is dropped. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#isStopped = true;
    this.#timer?.unsubscribe();
    const input = this.#input;
    this.#input = undefined;
    if (input) {
      await new Promise<void>((resolve) => {
        this.#onFlushed = resolve;
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
        input.complete();
      });
      this.#output?.unsubscribe();
      if (this.held > 0) this.telemetry.dropped('shutdown', this.held);
    }
    if (this.#processor) this.#onState({ state: 'stopped' });
  }

  #subscribe(processor: Processor): void {
    this.#timer = undefined;
    this.#sinceSubscribed = 0;
    const input = new Subject<Batch>();
    this.#input = input;
    let isOver = false;
    const end = (error?: unknown) => {
      isOver = true;
      this.#ended(input, processor, error);
    };
    try {
      const output = processor(input).subscribe({ next: (b) => this.#emit(b), error: end, complete: () => end() });
      if (!isOver) this.#output = output;
    } catch (error) {
      end(error);
    }
    if (!isOver) this.#onState({ state: 'running' });
  }

  #ended(input: Subject<Batch>, processor: Processor, error: unknown): void {
    if (this.#isStopped) {
      if (error !== undefined) this.telemetry.failed('flush', error);
      this.#onFlushed?.();
      return;
    }
    if (this.#input !== input) return;
    this.#input = undefined;
    this.#output = undefined;
    const reason = error ?? new Error('The processor ended its stream.');
    this.telemetry.failed('process', reason);
    if (this.held > 0) this.telemetry.dropped('processor_error', this.held);
    if (this.#sinceSubscribed > 0) {
      this.#emptyFailures = 0;
      this.#subscribe(processor);
      return;
    }
    const waitMs = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#emptyFailures++);
    this.#onState({ state: 'failed', reason: messageOf(reason), retryAtMs: this.#clock.nowMs() + waitMs });
    this.#timer = this.#clock.scheduler.schedule(() => this.#subscribe(processor), waitMs);
  }

  #emit(batch: Batch): void {
    const items = itemsOf(batch);
    this.#flow(batch.kind).outgoing.value += items;
    this.#out += items;
    this.next(batch);
  }

  #flow(signal: Signal) {
    let flow = this.#flows.get(signal);
    if (!flow) {
      const at = { 'otel.signal': signal };
      flow = {
        incoming: this.telemetry.cell('incoming_items', '{item}', 'Items given to the processor.', at),
        outgoing: this.telemetry.cell('outgoing_items', '{item}', 'Items the processor gave on.', at),
      };
      this.#flows.set(signal, flow);
    }
    return flow;
  }
}
