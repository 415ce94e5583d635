import type { Batch } from '../../pipeline/batch.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { NodeView } from '../../view/node-view.ts';
import { Past } from './past.ts';

/** After the last viewer has left, for one that only turns to another page. */
const lingerMs = 60_000;
const keptMs = 600_000;
/** Steps of charts that may be chosen, ms. */
const steps = [5_000, 10_000, 15_000, 30_000, 60_000];

/** The model of the node, there while somebody looks and not before: see docs/adr/0071. */
export class Watch {
  readonly #clock: Clock;
  readonly #nodeName: string;
  readonly #past: Past;
  #view: NodeView | undefined;
  #class: typeof NodeView | undefined;
  #lingering: { unsubscribe(): void } | undefined;

  constructor(options: { readonly clock: Clock; readonly nodeName: string; readonly historyBytes: number }) {
    this.#clock = options.clock;
    this.#nodeName = options.nodeName;
    this.#past = new Past(options.historyBytes);
  }

  get isAwake(): boolean {
    return this.#view !== undefined;
  }

  accept(batch: Batch): void {
    this.#past.accept(batch, this.#clock.nowMs());
    this.#view?.accept(batch);
  }

  /** Loads what a model is made of: to be awaited once before {@link view}. */
  async ready(): Promise<void> {
    this.#class ??= (await import('../../view/node-view.ts')).NodeView;
  }

  /** The node as it is now. */
  readonly view = (): NodeView => {
    this.#lingering?.unsubscribe();
    this.#lingering = undefined;
    this.#view ??= this.#wake(this.#class!);
    return this.#view;
  };

  /** Nobody looks: lets go of the model in a while. */
  rest(): void {
    if (!this.#view) return;
    this.#lingering?.unsubscribe();
    this.#lingering = this.#clock.scheduler.schedule(() => this.close(), lingerMs);
  }

  close(): void {
    this.#lingering?.unsubscribe();
    this.#lingering = undefined;
    this.#view = undefined;
  }

  /** Plays the past to a new model, each batch at its own time. */
  #wake(View: typeof NodeView): NodeView {
    const intervalMs = this.#past.intervalMs() ?? 0;
    const stepMs = steps.find((step) => step >= intervalMs * 0.9) ?? steps.at(-1)!;
    let playedMs: number | undefined;
    const clock = { nowMs: () => playedMs ?? this.#clock.nowMs() };
    const view = new View({ nodeName: this.#nodeName, clock, stepMs, points: keptMs / stepMs });
    for (const { batch, atMs } of this.#past.all(this.#clock.nowMs())) {
      playedMs = atMs;
      view.accept(batch);
    }
    playedMs = undefined;
    return view;
  }
}
