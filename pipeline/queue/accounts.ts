import type { Signal } from '../batch.ts';
import type { ComponentTelemetry } from '../component.ts';

/** Why the queue let items go unsent. Values of the `reason` attribute. */
export type DropReason =
  | 'queue_full'
  | 'too_large'
  | 'stopped'
  | 'shutdown'
  | 'not_retryable'
  | 'retries_exhausted'
  | 'poison'
  | 'partial_success'
  | 'disk_full'
  | 'disk_error'
  | 'corrupt';

/** Sums since the queue was made, in items. `offered + recovered = sent + dropped + queued` at every moment. */
export interface Accounts {
  readonly offered: number;
  /** Items an earlier process left on disk. */
  readonly recovered: number;
  readonly sent: number;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** Waiting and in flight. */
  readonly queued: number;
}

const nouns = {
  logs: { suffix: 'log_records', unit: '{record}', words: 'log records' },
  metrics: { suffix: 'metric_points', unit: '{datapoint}', words: 'metric data points' },
  entities: { suffix: 'entities', unit: '{entity}', words: 'entities' },
} as const;

/** Sums and the telemetry that shows them, moved by the same calls so that they cannot disagree. */
export function makeBooks(telemetry: ComponentTelemetry) {
  const counters = (signal: Signal) => {
    const { suffix, unit, words } = nouns[signal];
    return {
      sent: telemetry.counter(`sent_${suffix}`, unit, `Number of ${words} the backend took.`),
      failed: telemetry.counter(`send_failed_${suffix}`, unit, `Number of ${words} given up after they were tried.`),
      refused: telemetry.counter(`enqueue_failed_${suffix}`, unit, `Number of ${words} that found no room.`),
    };
  };
  const of = { logs: counters('logs'), metrics: counters('metrics'), entities: counters('entities') };
  const retries = telemetry.counter('retries', '{request}', 'Number of tries that failed and will be repeated.');
  const sums = { offered: 0, recovered: 0, sent: 0, dropped: {} as Partial<Record<DropReason, number>> };

  const drop = (signal: Signal, reason: DropReason, n: number) => {
    sums.dropped[reason] = (sums.dropped[reason] ?? 0) + n;
    telemetry.dropped(reason, n, signal);
  };
  return {
    sums,
    offered(n: number): void {
      sums.offered += n;
    },
    recovered(n: number): void {
      sums.recovered += n;
    },
    sent(signal: Signal, n: number): void {
      if (n === 0) return;
      sums.sent += n;
      of[signal].sent.add(n);
    },
    /** Never got into the queue, or was pushed out of it untried. */
    refused(signal: Signal, reason: DropReason, n: number): void {
      drop(signal, reason, n);
      of[signal].refused.add(n, { reason });
    },
    /** Was tried, and is given up. */
    failed(signal: Signal, reason: DropReason, n: number, errorType: string): void {
      drop(signal, reason, n);
      of[signal].failed.add(n, { 'error.type': errorType });
    },
    retried: (errorType: string) => retries.add(1, { 'error.type': errorType }),
  };
}

export type Books = ReturnType<typeof makeBooks>;
