import type { Batch } from '../batch.ts';

/** One batch that waits or is being sent. The queue keeps only this in memory; the batch itself is the store's business. */
export interface Entry {
  /** Order of arrival; survives a restart with disk storage. */
  readonly seq: number;
  readonly kind: Batch['kind'];
  /** Shrinks when part of the batch was delivered. */
  items: number;
  bytes: number;
  /** Failed tries, of this process and, on disk, of earlier ones. */
  tries: number;
  /** Failed tries between which the backend took other batches: what tells a poison batch from an outage. */
  refusals: number;
  /** Not to be tried again before this; monotonic ms. */
  dueMs: number;
  /** Monotonic ms of the first failure in this process. */
  firstFailureMs: number | undefined;
  /** Successes of the backend as counted at the last failure. */
  successMark: number;
}

export function newEntry(fields: { seq: number; kind: Batch['kind']; items: number; bytes: number; tries?: number }) {
  const entry: Entry = { tries: 0, ...fields, refusals: 0, dueMs: 0, firstFailureMs: undefined, successMark: 0 };
  return entry;
}

/** A batch weighed for a store: what it will occupy there, and its stored form where that had to be made to know. */
export interface Weighed {
  readonly batch: Batch;
  readonly items: number;
  readonly bytes: number;
  readonly payload?: Uint8Array;
}

/** Why a store let go of batches by itself. */
export type StoreLoss = 'disk_full' | 'disk_error' | 'corrupt';

/** What a store tells the queue between calls. */
export interface StoreEvents {
  /** Entries an earlier process left, oldest first. Also later than `open`, when the file could not be had at first. */
  restored(entries: readonly Entry[]): void;
  /** These entries are gone without having been sent. The queue forgets and counts them. */
  lost(entries: readonly Entry[], reason: StoreLoss): void;
  /** Entries that wait, oldest first: what a full disk may take. In flight ones are not among them. */
  oldest(): Iterable<Entry>;
  /** Something went wrong or works again; logged at a limited rate. */
  failed(what: string, error: unknown): void;
  recovered(what: string): void;
  /** A corrupt file was moved to `path`. */
  setAsideFile(path: string, error: unknown): void;
}

/** Where batches wait. Calls are synchronous and, but for `flush`, do not throw. */
export interface Store {
  /** Takes its resources. What goes wrong is told by `events`; the store works in memory until it comes right. */
  open(events: StoreEvents): void;
  weigh(batch: Batch, items: number): Weighed;
  add(entry: Entry, weighed: Weighed): void;
  /** Undefined = unreadable. */
  read(entry: Entry): Batch | undefined;
  /** Part of the batch was delivered; this is the rest. Updates `entry.items` and `entry.bytes`. */
  replace(entry: Entry, weighed: Weighed): void;
  /** Delivered or dropped. */
  remove(entry: Entry): void;
  /** Given up, but worth a look: kept apart where the store can. */
  setAside(entry: Entry): void;
  /** A try failed; persisted where the store can. */
  failedTry(entry: Entry): void;
  /** Makes everything added so far as durable as the store can. @throws when it cannot now. */
  flush(): void;
  /** True when entries survive this process. */
  readonly durable: boolean;
  close(): void;
}
