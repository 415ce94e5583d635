import type { Observable } from 'rxjs';
import { z } from 'zod';
import type { Batch, Signal } from './batch.ts';
import type { ComponentContext, Exporter, ExporterDeclaration } from './component.ts';
import type { ComponentConfig } from './config.ts';
import { type QueueConfig, queueFields } from './queue/config.ts';
import type { DeliveryQueue } from './queue/types.ts';
import type { ComponentState } from './states.ts';
import type { EngineTelemetry } from './telemetry/component.ts';

/** Makes the queue of an exporter; the engine's tests bring their own. */
export type QueueFactory = (options: {
  readonly exporter: Exporter;
  readonly config: QueueConfig;
  readonly context: ComponentContext;
}) => DeliveryQueue;

const defaultQueue = () => z.object(queueFields).parse({});

/** An exporter in the graph with the one queue in front of it, shared by every pipeline that names it. */
export class Sink {
  readonly id: string;
  component: ComponentConfig;
  readonly exporter: Exporter;
  readonly queue: DeliveryQueue;
  readonly telemetry: EngineTelemetry;
  readonly signals: readonly Signal[];
  /** The queue's bounds. */
  readonly config: QueueConfig;
  readonly #onState: (state: ComponentState) => void;

  constructor(options: {
    readonly component: ComponentConfig;
    readonly exporter: Exporter;
    readonly context: ComponentContext;
    readonly telemetry: EngineTelemetry;
    readonly createQueue: QueueFactory;
    readonly onState: (state: ComponentState) => void;
  }) {
    const { component, exporter, context } = options;
    const declaration = component.declaration as ExporterDeclaration;
    this.id = component.id;
    this.component = component;
    this.exporter = exporter;
    this.telemetry = options.telemetry;
    this.signals = declaration.signals;
    this.#onState = options.onState;
    this.config = declaration.queue?.(component.config) ?? defaultQueue();
    this.queue = options.createQueue({ exporter, config: this.config, context });
  }

  get pressure$(): Observable<boolean> {
    return this.queue.pressure$;
  }

  /** Has the exporter take its resources. Rejects when it cannot. */
  async startExporter(): Promise<void> {
    this.#onState({ state: 'starting' });
    await this.exporter.start?.();
  }

  async startQueue(): Promise<void> {
    await this.queue.start();
    this.#onState({ state: 'running' });
  }

  offer(batch: Batch): void {
    this.queue.offer(batch);
  }

  /** Sends what is queued until `signal` aborts, then frees everything. */
  async stop(signal: AbortSignal): Promise<void> {
    try {
      await this.queue.stop(signal);
    } catch (error) {
      this.telemetry.failed('queue stop', error);
    }
    try {
      await this.exporter.stop?.(signal);
    } catch (error) {
      this.telemetry.failed('stop', error);
    }
    this.#onState({ state: 'stopped' });
  }
}
