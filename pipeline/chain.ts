import type { Batch } from './batch.ts';
import type { PipelineConfig } from './config.ts';
import { itemsOf } from './items.ts';
import type { Sink } from './sink.ts';
import type { Target } from './source.ts';
import type { Stage } from './stage.ts';
import type { Cell } from './telemetry/cells.ts';

/** A pipeline: its processors in order, then its exporters. */
export class Chain implements Target {
  readonly id: string;
  readonly signal: 'metrics' | 'logs';
  readonly #strays: Cell;
  #stages: readonly Stage[] = [];
  #sinks: readonly Sink[] = [];

  /** @param strays counts items that a processor made of the other signal, which no exporter of this pipeline gets. */
  constructor(pipeline: PipelineConfig, strays: Cell) {
    this.id = pipeline.id;
    this.signal = pipeline.signal;
    this.#strays = strays;
  }

  get stages(): readonly Stage[] {
    return this.#stages;
  }
  get sinks(): readonly Sink[] {
    return this.#sinks;
  }

  link(stages: readonly Stage[], sinks: readonly Sink[]): void {
    this.#stages = stages;
    this.#sinks = sinks;
    for (const [i, stage] of stages.entries()) {
      const next = stages[i + 1];
      stage.next = next ? (batch) => next.push(batch) : (batch) => this.#out(batch);
    }
  }

  push(batch: Batch): void {
    const first = this.#stages[0];
    if (first) first.push(batch);
    else this.#out(batch);
  }

  /** Ends the stages one after the other, so that what one holds still passes the next. */
  async flush(signal: AbortSignal): Promise<void> {
    for (const stage of this.#stages) await stage.flush(signal);
  }

  #out(batch: Batch): void {
    if (batch.kind !== 'entities' && batch.kind !== this.signal) {
      this.#strays.value += itemsOf(batch);
      return;
    }
    for (const sink of this.#sinks) if (sink.signals.includes(batch.kind)) sink.offer(batch);
  }
}
