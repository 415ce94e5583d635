import pino from 'pino';
import { type SchedulerAction, type SchedulerLike, Subscription } from 'rxjs';
import type { LogRecord, LogsBatch } from '../batch.ts';
import { noResource } from '../batch.ts';
import type { Attributes } from '../catalogue.ts';
import type { Clock } from '../clock.ts';
import type { ComponentContext, ComponentTelemetry } from '../component.ts';
import { nothingRuns } from '../service-view.ts';

/** What tests of queues and push exporters need: a clock moved by hand, telemetry that can be read, numbered records. */

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

/** A clock that stands still until told. Random numbers come from a seeded generator. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #timers: Timer[] = [];
  #seed: number;
  readonly scheduler: SchedulerLike;
  /** Set to fix the jitter. */
  fixedRandom: number | undefined;

  constructor(seed = 1) {
    this.#seed = seed;
    const schedule = <T>(work: (this: SchedulerAction<T>, state?: T) => void, delayMs = 0, state?: T): Subscription => {
      const subscription = new Subscription();
      const run = () => {
        if (!subscription.closed) work.call(subscription as SchedulerAction<T>, state);
      };
      const timer = { atMs: this.#nowMs + delayMs, run };
      this.#timers.push(timer);
      subscription.add(() => {
        this.#timers = this.#timers.filter((t) => t !== timer);
      });
      return subscription;
    };
    this.scheduler = { now: () => this.#nowMs, schedule } as SchedulerLike;
  }

  nowMs(): number {
    return 1_760_000_000_000 + this.#nowMs;
  }
  nowUnixNs(): bigint {
    return BigInt(Math.round(this.nowMs() * 1e6));
  }
  monotonicMs(): number {
    return this.#nowMs;
  }
  random(): number {
    if (this.fixedRandom !== undefined) return this.fixedRandom;
    // Mulberry32.
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Timers waiting now. */
  get timers(): number {
    return this.#timers.length;
  }

  /** Moves time on, timer by timer, letting promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = this.#timers.reduce<Timer | undefined>((a, t) => (a && a.atMs <= t.atMs ? a : t), undefined);
      if (!next || next.atMs > end) break;
      this.#timers = this.#timers.filter((t) => t !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    this.#nowMs = end;
  }
}

/** Lets everything that waits for promises alone run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Telemetry as plain numbers: `sums` by `name` or `name{key=value}`. */
export function readableTelemetry() {
  const sums = new Map<string, number>();
  const gauges = new Map<string, () => number | Iterable<[number, Attributes]>>();
  const failures: { what: string; error: unknown }[] = [];
  const add = (name: string, n: number, attributes?: Attributes) => {
    const labels = attributes ? Object.entries(attributes).map(([k, v]) => `${k}=${v}`) : [];
    const key = labels.length > 0 ? `${name}{${labels.join(',')}}` : name;
    sums.set(key, (sums.get(key) ?? 0) + n);
  };
  const telemetry: ComponentTelemetry = {
    rejected: (reason, n = 1) => add('rejected', n, { reason }),
    dropped: (reason, n = 1, signal) => add('dropped', n, { reason, ...(signal ? { signal } : {}) }),
    absent: (what, reason) => add('absent', 1, { what, reason }),
    failed(what, error) {
      add('failed', 1, { what });
      failures.push({ what, error });
    },
    recovered: (what) => add('recovered', 1, { what }),
    counter: (name) => ({ add: (n, attributes) => add(name, n, attributes) }),
    gauge: (name, _unit, _description, read) => void gauges.set(name, read),
  };
  return { telemetry, sums, gauges, failures };
}

export function testContext(clock: Clock, telemetry: ComponentTelemetry, id = 'otlp'): ComponentContext {
  const log = pino({ level: 'silent' });
  return { id, clock, telemetry, log, node: { name: 'node-1' }, service: nothingRuns, version: '0.0.0-test' };
}

const scope = Object.freeze({ name: 'skoopline/test' });

/** A record that carries its number and can be checked for being unaltered. */
export function numberedRecord(n: number): LogRecord {
  return {
    timeUnixNs: 1_760_000_000_000_000_000n + BigInt(n),
    observedTimeUnixNs: 1_760_000_000_000_000_500n + BigInt(n),
    severityNumber: 13,
    eventName: 'skoop.packet.dropped',
    body: `record ${n}`,
    attributes: { 'test.number': n },
    owner: undefined,
    resource: noResource,
  };
}

/** Records `from` … `from + count - 1`. */
export function numberedLogs(from: number, count: number): LogsBatch {
  const records = Array.from({ length: count }, (_, i) => numberedRecord(from + i));
  return { kind: 'logs', source: 'test', scope, records };
}

/** The numbers of a batch made by {@link numberedLogs}. */
export function numbersOf(batch: LogsBatch): number[] {
  return batch.records.map((r) => r.attributes['test.number'] as number);
}
