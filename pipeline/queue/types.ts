import type { Observable } from 'rxjs';
import type { Batch } from '../batch.ts';
import type { Accounts } from './accounts.ts';

/**
 * The one buffer of the pipeline: in front of each exporter. offered = sent + dropped{reason} + queued at every moment.
 */
export interface DeliveryQueue {
  /** Starts the exporter's consumers; with disk storage, what an earlier process left is sent first. */
  start(): Promise<void>;
  /** Takes a batch. Never throws, never blocks; what finds no room is dropped and counted. */
  offer(batch: Batch): void;
  /** True while above the high-water mark; replays the last value. */
  readonly pressure$: Observable<boolean>;
  /** Items and bytes held now, in flight included. */
  stats(): { readonly items: number; readonly bytes: number; readonly inFlight: number };
  /** Sums since the queue was made: `offered + recovered = sent + dropped + queued`. */
  accounts(): Accounts;
  /** Resolves when everything offered so far is as durable as the storage makes it: with disk, it survives kill -9. */
  flush(): Promise<void>;
  /** Sends what it holds until `signal` aborts; then what is in memory is counted as dropped, what is on disk stays. Twice is safe. */
  stop(signal: AbortSignal): Promise<void>;
}
