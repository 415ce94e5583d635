import { hostname, release } from 'node:os';
import { Observable } from 'rxjs';
import {
  type Batch,
  type EntitiesBatch,
  itemCount,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  noResource,
  type Owner,
  type Resource,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { NetnsConfig } from './config.ts';
import { IdentityTable } from './identity.ts';
import { MetricsHold } from './metrics-hold.ts';
import { RecentMap } from './recent-map.ts';
import type { NodeFacts } from './resources.ts';
import { WaitingRoom } from './waiting-room.ts';

/** Owners that are remembered as unnamed, so that only their first events wait. */
const maxUnnamed = 16_384;

/** Makes the processor. `facts` is what the machine says of itself; tests give their own. */
export function createProcessor(
  config: NetnsConfig,
  context: ComponentContext,
  facts: NodeFacts = { name: context.node.name, hostName: hostname(), kernel: release() },
): Processor {
  const { telemetry } = context;
  let held = 0;
  telemetry.gauge(
    'netns_waiting_log_records',
    '{record}',
    'Events held back until their owner has a name.',
    () => held,
  );
  const unnamed = telemetry.counter(
    'netns_unnamed_log_records',
    '{record}',
    'Events sent on without a name, by reason: nobody named the owner in time, it is known to have none, or no room to wait.',
  );
  return (source$) =>
    new Observable<Batch>((subscriber) => {
      const stage = new Stage(config, context, facts, unnamed, (batch) => subscriber.next(batch));
      const subscription = source$.subscribe({
        next: (batch) => {
          stage.take(batch);
          held = stage.waiting;
        },
        error: (error) => subscriber.error(error),
        complete: () => {
          stage.flush(true);
          subscriber.complete();
        },
      });
      return () => {
        subscription.unsubscribe();
        stage.close();
        held = 0;
      };
    });
}

/** One subscription's state. */
class Stage {
  readonly #config: NetnsConfig;
  readonly #context: ComponentContext;
  readonly #unnamedCounter: { add(n: number, attributes?: { reason: string }): void };
  readonly #emit: (batch: Batch) => void;
  readonly #table: IdentityTable;
  readonly #room: WaitingRoom;
  readonly #hold: MetricsHold;
  /** Owner key → monotonic ms at which it was first seen without a name. */
  readonly #unnamedSince = new RecentMap<string, number>(maxUnnamed);

  constructor(
    config: NetnsConfig,
    context: ComponentContext,
    facts: NodeFacts,
    unnamedCounter: { add(n: number, attributes?: { reason: string }): void },
    emit: (batch: Batch) => void,
  ) {
    this.#config = config;
    this.#context = context;
    this.#unnamedCounter = unnamedCounter;
    this.#emit = emit;
    this.#table = new IdentityTable(facts, config.tombstone);
    const waiting = {
      waitMs: config.wait,
      scheduler: context.clock.scheduler,
      monotonicMs: () => context.clock.monotonicMs(),
      onDeadline: () => this.flush(false),
    };
    this.#room = new WaitingRoom({ ...waiting, max: config.max_waiting });
    this.#hold = new MetricsHold(waiting);
  }

  get waiting(): number {
    return this.#room.size;
  }

  take(batch: Batch): void {
    if (batch.kind === 'metrics') this.#metrics(batch);
    else if (batch.kind === 'logs') this.#logs(batch);
    else this.#entities(batch);
  }

  /** Lets go of what has a name now, what has waited long enough, or (at the end) all. */
  flush(all: boolean): void {
    for (const batch of this.#hold.take((b) => !this.#mustWait(b), all)) this.#emit(this.#stamped(batch));
    const batches = this.#room.release((record, expired) => {
      const resource = this.#table.resourceOf(record.owner, timeMsOf(record));
      if (resource !== undefined) return Object.freeze({ ...record, resource });
      return expired ? this.#withoutName(record, record.owner ?? {}, 'not_in_time') : undefined;
    }, all);
    for (const batch of batches) this.#emit(batch);
  }

  close(): void {
    const left = this.#room.close();
    if (left > 0) this.#context.telemetry.dropped('stopped', left, 'logs');
    const points = this.#hold.close();
    if (points > 0) this.#context.telemetry.dropped('stopped', points, 'metrics');
  }

  #entities(batch: EntitiesBatch): void {
    this.#table.apply(batch);
    this.#forgetUnnamed(batch);
    // Entities first: the processors after this one need them for the events that follow.
    this.#emit(batch);
    this.flush(false);
  }

  /**
   * An inode that is gone may come back as another namespace, and one that was named may lose its name: what comes then deserves to wait
   * again.
   */
  #forgetUnnamed(batch: EntitiesBatch): void {
    const alive = new Set<number>();
    for (const entity of batch.entities) {
      if (entity.kind === 'netns') alive.add(entity.netns);
      else if (entity.kind === 'pod' && entity.netns !== undefined) {
        const { netns, netnsCookie } = entity;
        this.#unnamedSince.delete(ownerKey({ netns }));
        if (netnsCookie !== undefined) this.#unnamedSince.delete(ownerKey({ netns, netnsCookie }));
      }
    }
    if (alive.size === 0) return;
    for (const key of [...this.#unnamedSince.keys()]) {
      const netns = Number.parseInt(key, 10);
      if (!Number.isNaN(netns) && !alive.has(netns)) this.#unnamedSince.delete(key);
    }
  }

  /** A collection with a namespace that is new here waits a moment: its series would come and go under another name. */
  #metrics(batch: MetricsBatch): void {
    const before = this.#hold.takeOf(batch.source);
    if (before !== undefined) this.#emit(this.#stamped(before));
    const names = this.#namesOf(batch);
    if (this.#mustWait(batch, names)) this.#hold.add(batch);
    else this.#emit(this.#stamped(batch, names));
  }

  /** What each snapshot is named; undefined where nobody has named its owner. */
  #namesOf(batch: MetricsBatch): readonly (Resource | undefined)[] {
    return batch.snapshots.map((s) =>
      s.resource === noResource ? this.#table.resourceOf(s.owner, s.timeMs) : s.resource,
    );
  }

  #mustWait(batch: MetricsBatch, names = this.#namesOf(batch)): boolean {
    let must = false;
    for (const [i, name] of names.entries()) {
      // Every one is looked at, so that the time of each begins.
      if (name === undefined && this.#mayWait(batch.snapshots[i]!.owner ?? {})) must = true;
    }
    return must;
  }

  #stamped(batch: MetricsBatch, names = this.#namesOf(batch)): MetricsBatch {
    const snapshots: Snapshot[] = [];
    let dropped = 0;
    for (const [i, name] of names.entries()) {
      const snapshot = batch.snapshots[i]!;
      const resource = name ?? this.#unnamedOf(snapshot);
      if (resource === snapshot.resource) snapshots.push(snapshot);
      else if (resource !== undefined) snapshots.push(Object.freeze({ ...snapshot, resource }));
      else dropped += itemCount({ ...batch, snapshots: [snapshot] });
    }
    if (dropped > 0) this.#context.telemetry.dropped('unknown_netns', dropped, 'metrics');
    return Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) });
  }

  #unnamedOf({ owner }: Snapshot): Resource | undefined {
    return this.#config.unknown_netns === 'emit' ? this.#table.unnamed(owner ?? {}) : undefined;
  }

  #logs(batch: LogsBatch): void {
    const records: LogRecord[] = [];
    for (const record of batch.records) {
      const stamped = record.resource === noResource ? this.#stamp(record, batch) : record;
      if (stamped !== undefined) records.push(stamped);
    }
    if (records.length > 0) this.#emit(Object.freeze({ ...batch, records: Object.freeze(records) }));
  }

  /** The record with its resource; undefined when it waits for one. */
  #stamp(record: LogRecord, batch: LogsBatch): LogRecord | undefined {
    const { owner } = record;
    const resource = this.#table.resourceOf(owner, timeMsOf(record));
    if (resource !== undefined || owner === undefined) {
      return Object.freeze({ ...record, resource: resource ?? this.#table.node });
    }
    if (!this.#mayWait(owner)) return this.#withoutName(record, owner, 'no_pod');
    return this.#room.admit(record, batch) ? undefined : this.#withoutName(record, owner, 'no_room');
  }

  /** An owner's data waits while it is new here. What has no name after that time is taken to have none. */
  #mayWait(owner: Owner): boolean {
    if (this.#config.wait === 0) return false;
    const key = ownerKey(owner);
    const now = this.#context.clock.monotonicMs();
    const since = this.#unnamedSince.get(key);
    if (since === undefined) this.#unnamedSince.set(key, now);
    return now - (since ?? now) < this.#config.wait;
  }

  #withoutName(record: LogRecord, owner: Owner, reason: string): LogRecord {
    this.#unnamedCounter.add(1, { reason });
    return Object.freeze({ ...record, resource: this.#table.unnamed(owner) });
  }
}

function ownerKey({ netns, netnsCookie, podUid, containerId }: Owner): string {
  return `${netns}/${podUid}/${containerId}/${netnsCookie}`;
}

function timeMsOf(record: LogRecord): number {
  return Number(record.timeUnixNs / 1_000_000n);
}
