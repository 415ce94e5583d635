import type { Logger } from 'pino';
import type { Signal } from '../batch.ts';
import type { Attributes } from '../catalogue.ts';
import type { Clock } from '../clock.ts';
import type { ComponentKind, ComponentTelemetry } from '../component.ts';
import { messageOf } from '../errors.ts';
import type { Cell, Cells, GaugeRead } from './cells.ts';

/** Time between two log lines about the same failing thing. */
const logEveryMs = 60_000;
/** A failure this long ago, and none since, is over even if nobody said so. */
const forgetAfterMs = 300_000;
/** Failing things a component may name apart; the rest are `other`. */
const maxWhats = 200;

/** What a component, or one processor of one pipeline, tells: see {@link ComponentTelemetry}. */
export class EngineTelemetry implements ComponentTelemetry {
  readonly kind: ComponentKind;
  readonly id: string;
  /** On every series of it. */
  readonly attributes: Attributes;
  /** What → reason, for the health page. */
  readonly absences = new Map<string, string>();
  readonly #cells: Cells;
  readonly #owner: string;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #hot = new Map<string, Cell>();
  readonly #failing = new Map<
    string,
    { sinceMs: number; lastMs: number; count: number; loggedAtMs: number; unlogged: number }
  >();
  #dropped = 0;
  #created = 0;
  /** Gauges that wait for {@link activate}: those of a component that is being built beside the one it may replace. */
  #waiting: (() => void)[] | undefined = [];

  constructor(options: {
    readonly kind: ComponentKind;
    readonly id: string;
    readonly attributes: Attributes;
    readonly owner: string;
    readonly cells: Cells;
    readonly log: Logger;
    readonly clock: Clock;
  }) {
    this.kind = options.kind;
    this.id = options.id;
    this.attributes = options.attributes;
    this.#owner = options.owner;
    this.#cells = options.cells;
    this.#log = options.log;
    this.#clock = options.clock;
  }

  /** Items dropped since this object was made. */
  get droppedItems(): number {
    return this.#dropped;
  }
  /** Items this processor made out of nothing: what it counted under `created_items`. */
  get createdItems(): number {
    return this.#created;
  }
  /** Things that fail at this moment. */
  get failing(): readonly string[] {
    const oldestMs = this.#clock.monotonicMs() - forgetAfterMs;
    return [...this.#failing].filter(([, state]) => state.lastMs >= oldestMs).map(([what]) => what);
  }

  rejected(reason: string, n = 1): void {
    this.#cell('rejected', '{item}', 'Items from outside that could not be used.', { reason }, reason).value += n;
  }

  dropped(reason: string, n = 1, signal?: Signal): void {
    this.#dropped += n;
    const attributes: Attributes = signal ? { reason, 'otel.signal': signal } : { reason };
    const description = 'Items dropped on purpose or for want of room.';
    this.#cell('dropped_items', '{item}', description, attributes, `${reason} ${signal}`).value += n;
  }

  absent(what: string, reason: string): void {
    if (this.absences.has(what) || this.absences.size >= maxWhats) return;
    this.absences.set(what, reason);
    this.#log.debug({ what, reason }, 'This host does not have it.');
  }

  failed(what: string, error: unknown): void {
    const isNamed = this.#failing.has(what) || this.#failing.size < maxWhats;
    const name = isNamed ? what : 'other';
    this.#cell('failures', '{failure}', 'Rounds, requests or reads that failed.', { what: name }, name).value += 1;
    const nowMs = this.#clock.monotonicMs();
    const state = this.#failing.get(name) ?? {
      sinceMs: nowMs,
      lastMs: nowMs,
      count: 0,
      loggedAtMs: Number.NEGATIVE_INFINITY,
      unlogged: 0,
    };
    this.#failing.set(name, state);
    state.count++;
    state.lastMs = nowMs;
    if (nowMs - state.loggedAtMs < logEveryMs) {
      state.unlogged++;
      return;
    }
    const more = state.unlogged > 0 ? { notLogged: state.unlogged } : {};
    this.#log.warn({ what: name, error: messageOf(error), ...more }, 'Failed.');
    state.loggedAtMs = nowMs;
    state.unlogged = 0;
  }

  recovered(what: string): void {
    const state = this.#failing.get(what);
    if (!state) return;
    this.#failing.delete(what);
    const forMs = Math.round(this.#clock.monotonicMs() - state.sinceMs);
    this.#log.info({ what, failures: state.count, forMs }, 'Works again.');
  }

  counter(name: string, unit: string, description: string): { add(n: number, attributes?: Attributes): void } {
    let plain: Cell | undefined;
    const isCreated = name === 'created_items';
    return {
      add: (n, attributes) => {
        if (isCreated) this.#created += n;
        if (attributes) {
          this.#make(name, unit, description, attributes).value += n;
          return;
        }
        plain ??= this.#make(name, unit, description, {});
        plain.value += n;
      },
    };
  }

  gauge(name: string, unit: string, description: string, read: GaugeRead): void {
    const full = { name: `otelcol_${this.kind}_${name}`, unit, description };
    const register = () => this.#cells.gauge(full, this.#owner, this.attributes, read);
    if (this.#waiting) this.#waiting.push(register);
    else register();
  }

  /** Lets its gauges be seen. */
  activate(): void {
    for (const register of this.#waiting ?? []) register();
    this.#waiting = undefined;
  }

  /** What it has counted, by name without the prefix: `accepted_log_records`. */
  counters(): Map<string, readonly Cell[]> {
    const prefix = `otelcol_${this.kind}_`;
    return new Map([...this.#cells.ofOwner(this.#owner)].map(([name, cells]) => [name.slice(prefix.length), cells]));
  }

  /** A cell that is there from the start, at zero. */
  cell(name: string, unit: string, description: string, attributes: Attributes = {}): Cell {
    return this.#make(name, unit, description, attributes);
  }

  #cell(name: string, unit: string, description: string, attributes: Attributes, key: string): Cell {
    const full = `${name} ${key}`;
    let cell = this.#hot.get(full);
    if (!cell) {
      cell = this.#make(name, unit, description, attributes);
      if (this.#hot.size < 1000) this.#hot.set(full, cell);
    }
    return cell;
  }

  #make(name: string, unit: string, description: string, attributes: Attributes): Cell {
    const full = { name: `otelcol_${this.kind}_${name}`, unit, description };
    return this.#cells.counter(full, this.#owner, { ...this.attributes, ...attributes });
  }
}
