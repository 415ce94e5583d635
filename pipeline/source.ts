import {
  BehaviorSubject,
  combineLatest,
  distinctUntilChanged,
  map,
  type Observable,
  of,
  type Subscription,
  shareReplay,
  switchMap,
} from 'rxjs';
import type { Batch, EntitiesBatch, Signal } from './batch.ts';
import type { Clock } from './clock.ts';
import type { Receiver, ReceiverDeclaration } from './component.ts';
import type { ComponentConfig } from './config.ts';
import { itemNouns, itemsOf, itemUnits } from './items.ts';
import type { ComponentState } from './states.ts';
import { supervise } from './supervise.ts';
import type { Cell } from './telemetry/cells.ts';
import type { EngineTelemetry } from './telemetry/component.ts';

/** Where a source's batches go: the entrance of a pipeline. */
export interface Target {
  readonly id: string;
  readonly signal: 'metrics' | 'logs';
  push(batch: Batch): void;
}

/** Any pressure on any of a changing set of queues. */
export class Pressure {
  readonly #queues$ = new BehaviorSubject<readonly Observable<boolean>[]>([]);
  readonly pressure$: Observable<boolean> = this.#queues$.pipe(
    switchMap((queues) =>
      queues.length === 0 ? of(false) : combineLatest(queues).pipe(map((all) => all.includes(true))),
    ),
    distinctUntilChanged(),
    shareReplay({ bufferSize: 1, refCount: true }),
  );
  watch(queues: readonly Observable<boolean>[]): void {
    this.#queues$.next(queues);
  }
}

/** A receiver in the graph: subscribed once, whatever number of pipelines name it. */
export class Source {
  readonly id: string;
  component: ComponentConfig;
  /** Undefined when this host lacks what it needs. */
  readonly receiver: Receiver | undefined;
  readonly telemetry: EngineTelemetry;
  readonly pressure: Pressure;
  readonly #clock: Clock;
  readonly #onState: (state: ComponentState) => void;
  readonly #accepted: (signal: Signal) => Cell;
  readonly #refused: (signal: Signal) => Cell;
  #targets: readonly Target[] = [];
  /** The last list of each source of entities, for processors that come later. */
  readonly #entities = new Map<string, EntitiesBatch>();
  #subscription: Subscription | undefined;

  constructor(options: {
    readonly component: ComponentConfig;
    readonly receiver: Receiver | undefined;
    readonly telemetry: EngineTelemetry;
    readonly pressure: Pressure;
    readonly clock: Clock;
    readonly onState: (state: ComponentState) => void;
  }) {
    this.id = options.component.id;
    this.component = options.component;
    this.receiver = options.receiver;
    this.telemetry = options.telemetry;
    this.pressure = options.pressure;
    this.#clock = options.clock;
    this.#onState = options.onState;
    const { signals } = options.component.declaration as ReceiverDeclaration;
    this.#accepted = flows(this.telemetry, 'accepted', 'taken into the pipelines', signals);
    this.#refused = flows(this.telemetry, 'refused', 'that could not be taken into the pipelines', signals);
  }

  connect(targets: readonly Target[], queues: readonly Observable<boolean>[]): void {
    this.#targets = targets;
    this.pressure.watch(queues);
  }

  start(): void {
    if (!this.receiver || this.#subscription) return;
    const { receiver, telemetry } = this;
    this.#subscription = supervise({ receiver, telemetry, clock: this.#clock, onState: this.#onState }).subscribe(
      (batch) => this.#take(batch),
    );
  }

  stop(): void {
    if (!this.receiver) return;
    this.#subscription?.unsubscribe();
    this.#onState({ state: 'stopped' });
  }

  /**
   * Tells a pipeline with new processors who is who now: an entity list is complete, so the last one is all there is to know, and the next may
   * be seconds away. Counted as accepted once more, since it flows once more.
   */
  repeatEntities(target: Target): void {
    for (const batch of this.#entities.values()) {
      this.#accepted('entities').value += itemsOf(batch);
      target.push(batch);
    }
  }

  /** Must not throw: RxJS would turn that into an uncaught exception. */
  #take(batch: Batch): void {
    try {
      const accepted = this.#accepted(batch.kind);
      const items = itemsOf(batch);
      accepted.value += items;
      if (batch.kind === 'entities') this.#entities.set(batch.source, batch);
      let isTaken = false;
      for (const target of this.#targets) {
        if (batch.kind !== 'entities' && batch.kind !== target.signal) continue;
        isTaken = true;
        target.push(batch);
      }
      if (!isTaken) this.telemetry.dropped('no_pipeline', items, batch.kind);
    } catch (error) {
      const kind: unknown = (batch as Partial<Batch> | undefined)?.kind;
      if (kind === 'metrics' || kind === 'logs' || kind === 'entities') this.#refused(kind).value += 1;
      this.telemetry.failed('batch', error);
    }
  }
}

/** A counter for each signal: those that are expected are there from the start, at zero. */
function flows(telemetry: EngineTelemetry, verb: string, words: string, expected: readonly Signal[]) {
  const cells = new Map<Signal, Cell>();
  const of = (signal: Signal): Cell => {
    let cell = cells.get(signal);
    if (!cell) {
      const noun = itemNouns[signal];
      cell = telemetry.cell(`${verb}_${noun}`, itemUnits[signal], `Number of ${noun.replace('_', ' ')} ${words}.`);
      cells.set(signal, cell);
    }
    return cell;
  };
  for (const signal of expected) of(signal);
  return of;
}
