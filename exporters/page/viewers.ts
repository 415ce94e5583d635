import type { ServerResponse } from 'node:http';
import type { SchedulerAction } from 'rxjs';
import type { ComponentContext } from '../../pipeline/component.ts';
import type { Topic } from './topics.ts';

/** A viewer that has not taken its last message for so long is cut off. Its page comes back by itself. */
const patienceMs = 10_000;
/** Between two signs of life on a stream where nothing is new. */
const keepAliveMs = 15_000;

interface Viewer {
  readonly response: ServerResponse;
  readonly topic: string;
  cursor: number;
  sentAtMs: number;
  /** Since when the last message has been waiting for the viewer to take it. */
  stuckSinceMs: number | undefined;
}

/**
 * The open pages. Each has one stream of server-sent events on one topic. Nothing is kept for a viewer but the place it has got to: one
 * that is slow is passed over until it has taken its last message, and then gets what is new since; one that stays slow is cut off, and counted.
 */
export class Viewers {
  readonly #topics = new Map<string, { readonly topic: Topic; viewers: number }>();
  readonly #viewers = new Set<Viewer>();
  readonly #context: ComponentContext;
  readonly #intervalMs: number;
  readonly #refused: { add(n: number, attributes?: Record<string, string>): void };
  #timer: { unsubscribe(): void } | undefined;

  /** Called when nobody looks any more. */
  onEmpty: () => void = () => {};

  constructor(context: ComponentContext, intervalMs: number) {
    this.#context = context;
    this.#intervalMs = intervalMs;
    const { telemetry } = context;
    telemetry.gauge('page_viewers', '{viewer}', 'Open pages.', () => this.#viewers.size);
    this.#refused = telemetry.counter('page_viewers_cut', '{viewer}', 'Viewers that were cut off or turned away.');
  }

  get size(): number {
    return this.#viewers.size;
  }

  /** Counts a viewer that was turned away. */
  refuse(reason: 'too_many'): void {
    this.#refused.add(1, { reason });
  }

  /** Sends `response` the topic of this name until its other end goes. */
  add(name: string, make: () => Topic, response: ServerResponse, hello: unknown): void {
    const entry = this.#topics.get(name) ?? { topic: make(), viewers: 0 };
    entry.viewers++;
    this.#topics.set(name, entry);
    const viewer: Viewer = { response, topic: name, cursor: -1, sentAtMs: this.#now(), stuckSinceMs: undefined };
    this.#viewers.add(viewer);
    response.once('close', () => this.#remove(viewer));
    response.write(`event: hello\ndata: ${JSON.stringify(hello)}\n\n${this.#newFor(viewer)}`);
    this.#timer ??= this.#everyInterval();
  }

  /** Ends every stream. */
  close(): void {
    for (const { response } of this.#viewers) response.end();
  }

  #remove(viewer: Viewer): void {
    if (!this.#viewers.delete(viewer)) return;
    const entry = this.#topics.get(viewer.topic)!;
    if (--entry.viewers === 0) this.#topics.delete(viewer.topic);
    if (this.#viewers.size > 0) return;
    this.#timer?.unsubscribe();
    this.#timer = undefined;
    this.onEmpty();
  }

  #everyInterval() {
    const tick = () => {
      for (const { topic } of this.#topics.values()) topic.turn();
      for (const viewer of this.#viewers) this.#serve(viewer);
    };
    const intervalMs = this.#intervalMs;
    return this.#context.clock.scheduler.schedule(function (this: SchedulerAction<unknown>) {
      tick();
      this.schedule(undefined, intervalMs);
    }, intervalMs);
  }

  #serve(viewer: Viewer): void {
    const { response } = viewer;
    const nowMs = this.#now();
    if (response.writableLength > 0) {
      viewer.stuckSinceMs ??= nowMs;
      if (nowMs - viewer.stuckSinceMs >= patienceMs) {
        this.#refused.add(1, { reason: 'slow' });
        response.destroy();
      }
      return;
    }
    viewer.stuckSinceMs = undefined;
    const text = this.#newFor(viewer);
    if (text !== '') response.write(text);
    else if (nowMs - viewer.sentAtMs >= keepAliveMs) response.write(':\n\n');
    else return;
    viewer.sentAtMs = nowMs;
  }

  /** What a viewer has not seen, as it stands in a stream; empty = nothing. */
  #newFor(viewer: Viewer): string {
    const message = this.#topics.get(viewer.topic)!.topic.message(viewer.cursor);
    if (message) viewer.cursor = message.cursor;
    return message && message.text !== '' ? `data: ${message.text}\n\n` : '';
  }

  #now(): number {
    return this.#context.clock.monotonicMs();
  }
}
