import { setImmediate as nextTurn } from 'node:timers/promises';
import { pino } from 'pino';
import { BehaviorSubject, type Observable, type SchedulerLike, type Subscription, VirtualTimeScheduler } from 'rxjs';
import type { Batch, Signal } from './batch.ts';
import type { Attributes } from './catalogue.ts';
import type { Clock } from './clock.ts';
import type { ComponentTelemetry, ReceiverContext } from './component.ts';
import { nothingRuns, type ServiceView } from './service-view.ts';

/**
 * What a component's tests need in place of a running agent: time that stands still, telemetry that remembers, a silent log.
 * Used by tests only.
 */

/** 2026-01-02T03:04:05.000Z: where {@link FakeClock} starts unless told otherwise. */
export const testEpochMs = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A clock that moves only when told to. RxJS timers on its `scheduler` fire inside `advance` and `run`. */
export class FakeClock implements Clock {
  readonly scheduler: SchedulerLike;
  readonly #virtual: VirtualTimeScheduler;
  readonly #epochMs: number;
  #steppedMs = 0;
  #randoms: number[] = [];

  constructor(epochMs = testEpochMs) {
    this.#epochMs = epochMs;
    this.#virtual = new VirtualTimeScheduler(undefined, 0);
    this.#virtual.now = () => this.nowMs();
    this.scheduler = this.#virtual;
  }

  nowMs(): number {
    return this.#epochMs + this.#steppedMs + this.#virtual.frame;
  }
  nowUnixNs(): bigint {
    return BigInt(Math.round(this.nowMs() * 1e6));
  }
  monotonicMs(): number {
    return this.#virtual.frame;
  }
  /** 0.5 unless {@link nextRandoms} gave something else. */
  random(): number {
    return this.#randoms.shift() ?? 0.5;
  }

  /** What the next calls of `random` return, in order. */
  nextRandoms(...values: number[]): void {
    this.#randoms.push(...values);
  }

  /** Moves the wall clock alone, as ntpd does; monotonic time stays. */
  stepWall(ms: number): void {
    this.#steppedMs += ms;
  }

  /** Moves time by `ms` and runs what falls due, synchronously and in order. Promises settle later: see {@link run}. */
  advance(ms: number): void {
    const end = this.#virtual.frame + ms;
    this.#virtual.maxFrames = end;
    this.#virtual.flush();
    this.#virtual.frame = end;
  }

  /** As {@link advance}, but stops at each moment where something is due and lets promises and I/O callbacks settle. */
  async run(ms: number): Promise<void> {
    const end = this.#virtual.frame + ms;
    await nextTurn();
    for (let due = this.#nextDue(); due !== undefined && due <= end; due = this.#nextDue()) {
      this.advance(due - this.#virtual.frame);
      await nextTurn();
    }
    this.advance(end - this.#virtual.frame);
    await nextTurn();
  }

  /** Number of timers waiting: 0 after a clean teardown. */
  get pending(): number {
    return this.#virtual.actions.filter((a) => !a.closed).length;
  }

  #nextDue(): number | undefined {
    const delays = this.#virtual.actions.filter((a) => !a.closed).map((a) => a.delay);
    return delays.length > 0 ? Math.min(...delays) : undefined;
  }
}

/** A {@link ComponentTelemetry} that remembers every call. Fields are plain, for `assert.deepEqual`. */
export class RecordingTelemetry implements ComponentTelemetry {
  /** Reason → number. */
  readonly rejections: Record<string, number> = {};
  /** Reason → number. */
  readonly drops: Record<string, number> = {};
  /** Every call of `dropped`, with its signal. */
  readonly dropCalls: { reason: string; n: number; signal: Signal | undefined }[] = [];
  /** What → reason. */
  readonly absences: Record<string, string> = {};
  readonly failures: { what: string; error: unknown }[] = [];
  readonly recoveries: string[] = [];
  readonly #counters = new Map<string, Map<string, number>>();
  readonly #gauges = new Map<string, () => number | Iterable<[number, Attributes]>>();

  rejected(reason: string, n = 1): void {
    this.rejections[reason] = (this.rejections[reason] ?? 0) + n;
  }
  dropped(reason: string, n = 1, signal?: Signal): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + n;
    this.dropCalls.push({ reason, n, signal });
  }
  absent(what: string, reason: string): void {
    this.absences[what] = reason;
  }
  failed(what: string, error: unknown): void {
    this.failures.push({ what, error });
  }
  recovered(what: string): void {
    this.recoveries.push(what);
  }
  counter(name: string, _unit: string, _description: string): { add(n: number, attributes?: Attributes): void } {
    let series = this.#counters.get(name);
    if (!series) {
      series = new Map();
      this.#counters.set(name, series);
    }
    const values = series;
    return {
      add: (n, attributes) => {
        const key = seriesKey(attributes);
        values.set(key, (values.get(key) ?? 0) + n);
      },
    };
  }
  gauge(name: string, _unit: string, _description: string, read: () => number | Iterable<[number, Attributes]>): void {
    this.#gauges.set(name, read);
  }

  /** Value of a counter: of one attribute set, or the sum over all of them when `attributes` is omitted. 0 when never counted. */
  count(name: string, attributes?: Attributes): number {
    const series = this.#counters.get(name);
    if (!series) return 0;
    if (attributes) return series.get(seriesKey(attributes)) ?? 0;
    return [...series.values()].reduce((a, b) => a + b, 0);
  }

  /** Value of a gauge now; undefined when it was not registered or has no such attribute set. */
  read(name: string, attributes?: Attributes): number | undefined {
    const value = this.#gauges.get(name)?.();
    if (value === undefined || typeof value === 'number') return value;
    const key = seriesKey(attributes);
    for (const [n, at] of value) if (seriesKey(at) === key) return n;
    return undefined;
  }
}

function seriesKey(attributes: Attributes | undefined): string {
  return JSON.stringify(Object.entries(attributes ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A context for any kind of component, with the fakes still reachable. */
export interface TestContext extends ReceiverContext {
  readonly clock: FakeClock;
  readonly telemetry: RecordingTelemetry;
  /** Switches `pressure$`. Starts false. */
  pressure(on: boolean): void;
}

/** Makes a context: id `test`, node `test-node`, version `0.0.0-test`, a silent log. */
export function testContext(
  options: { id?: string; node?: string; epochMs?: number; service?: ServiceView } = {},
): TestContext {
  const pressure$ = new BehaviorSubject(false);
  return {
    id: options.id ?? 'test',
    clock: new FakeClock(options.epochMs),
    log: pino({ level: 'silent' }),
    telemetry: new RecordingTelemetry(),
    node: { name: options.node ?? 'test-node' },
    service: options.service ?? nothingRuns,
    version: '0.0.0-test',
    pressure$: pressure$.asObservable(),
    pressure: (on) => pressure$.next(on),
  };
}

/** What came out of a stream so far. */
export interface Recording<T = Batch> {
  readonly values: T[];
  /** The error that ended it, if one did. */
  readonly error: unknown;
  readonly ended: 'no' | 'completed' | 'error';
  /** Resolves once `condition` holds, checked at each value and at the end; rejects when the stream ended without it. */
  until(condition: (values: readonly T[]) => boolean): Promise<readonly T[]>;
  readonly subscription: Subscription;
}

/** Subscribes to a stream and keeps what it emits. Unsubscribe by `recording.subscription`. */
export function record<T = Batch>(stream$: Observable<T>): Recording<T> {
  const values: T[] = [];
  const waiting = new Set<() => void>();
  const state: { error: unknown; ended: Recording['ended'] } = { error: undefined, ended: 'no' };
  const wake = () => {
    for (const w of [...waiting]) w();
  };
  const subscription = stream$.subscribe({
    next: (v) => {
      values.push(v);
      wake();
    },
    error: (e) => {
      Object.assign(state, { error: e, ended: 'error' });
      wake();
    },
    complete: () => {
      state.ended = 'completed';
      wake();
    },
  });
  return {
    values,
    subscription,
    get error() {
      return state.error;
    },
    get ended() {
      return state.ended;
    },
    until: (condition) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const met = condition(values);
          if (!met && state.ended === 'no') return;
          waiting.delete(look);
          if (met) resolve(values);
          else reject(new Error(`The stream ended after ${values.length} values`, { cause: state.error }));
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Freezes a batch deeply (typed arrays cannot be frozen: they are left), so that a stage that mutates it throws. */
export function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
