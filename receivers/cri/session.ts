import {
  auditTime,
  debounceTime,
  interval,
  merge,
  type Observable,
  Subject,
  type Subscriber,
  Subscription,
  timer,
} from 'rxjs';
import { netnsEntity } from '../../host/netns/identity.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import type { Batch, LogRecord, PodEntity, Scope } from '../../pipeline/batch.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { changesOf, containerExited, containerStarted, podStarted, podStopped } from './changes.ts';
import type { CriConfig } from './config.ts';
import { podMetrics } from './pod-metrics.ts';
import type { PodSource } from './pod-source.ts';

/** What a session stands on; tests give their own. */
export interface SessionOptions {
  readonly config: CriConfig;
  readonly context: ReceiverContext;
  readonly connect: (signal: AbortSignal) => Promise<PodSource>;
  /** The namespaces of this machine, at most `maxAgeMs` old. */
  readonly inventory: (maxAgeMs: number) => Promise<readonly NetnsInfo[]>;
  /** Emits when a namespace appeared or went. */
  readonly netnsWake$: Observable<string>;
  /** Adds what only the kernel knows of them; gives the same objects while nothing changes. */
  readonly complete: (pods: readonly PodEntity[]) => readonly PodEntity[];
  /** Called with every list that is emitted, for gauges. */
  readonly onPods: (pods: readonly PodEntity[]) => void;
}

/** A runtime may need a moment from its event until its list shows it: a second look after this time. */
const secondLookMs = 1000;
/** Bursts of events become one list. */
const gatherMs = 100;
/** After so many failures in a row the runtime is searched anew: it may have been replaced by another. */
const searchAgainAfter = 3;

/**
 * One subscription of the receiver: rounds of asking, one at a time. Whatever asks for a round while one runs gets one more after it,
 * never a queue of them.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #out: Subscriber<Batch>;
  readonly #scope: Scope;
  readonly #abort = new AbortController();
  readonly #subscriptions = new Subscription();
  readonly #sourceWake = new Subject<string>();
  #source: PodSource | undefined;
  #sourceSubscription: Subscription | undefined;
  #retry: Subscription | undefined;
  #running = false;
  #again: 'wake' | 'interval' | undefined;
  #failures = 0;
  /** The last list the runtime gave, whatever happened since. */
  #listed: readonly PodEntity[] | undefined;
  #listedAtMs = 0;
  #emittedPods: readonly PodEntity[] | undefined;
  #emittedNetns = '';

  constructor(options: SessionOptions, out: Subscriber<Batch>) {
    this.#options = options;
    this.#out = out;
    this.#scope = Object.freeze({ name: 'skoopline/receivers/cri', version: options.context.version });
  }

  start(): void {
    const { config, context, netnsWake$ } = this.#options;
    const { scheduler } = context.clock;
    const wake$ = merge(this.#sourceWake, netnsWake$);
    this.#subscriptions.add(wake$.pipe(auditTime(gatherMs, scheduler)).subscribe(() => this.#ask('wake')));
    this.#subscriptions.add(wake$.pipe(debounceTime(secondLookMs, scheduler)).subscribe(() => this.#ask('wake')));
    this.#subscriptions.add(interval(config.collection_interval, scheduler).subscribe(() => this.#ask('interval')));
    this.#ask('interval');
  }

  stop(): void {
    this.#abort.abort();
    this.#subscriptions.unsubscribe();
    this.#retry?.unsubscribe();
    this.#dropSource();
  }

  #ask(reason: 'wake' | 'interval'): void {
    if (this.#running) {
      if (this.#again !== 'interval') this.#again = reason;
      return;
    }
    this.#running = true;
    this.#round(reason)
      .catch((error) => this.#options.context.telemetry.failed('round', error))
      .finally(() => {
        this.#running = false;
        const again = this.#again;
        this.#again = undefined;
        if (again !== undefined && !this.#abort.signal.aborted) this.#ask(again);
      });
  }

  async #round(reason: 'wake' | 'interval'): Promise<void> {
    const signal = this.#abort.signal;
    const namespaces = await this.#namespaces(reason);
    const before = this.#listed;
    const listed = await this.#list(signal);
    if (signal.aborted) return;
    const pods = listed ?? this.#remaining(namespaces);
    const full = reason === 'interval';
    this.#emitNetns(namespaces, full);
    if (pods !== undefined) this.#emitPods(pods, full);
    if (listed !== undefined && before !== undefined) await this.#emitEvents(before, listed);
  }

  async #namespaces(reason: 'wake' | 'interval'): Promise<readonly NetnsInfo[]> {
    try {
      return await this.#options.inventory(reason === 'wake' ? 0 : 1000);
    } catch (error) {
      this.#options.context.telemetry.failed('inventory', error);
      return [];
    }
  }

  /** The runtime's list; undefined when it could not be had, with the next try arranged. */
  async #list(signal: AbortSignal): Promise<readonly PodEntity[] | undefined> {
    const { context } = this.#options;
    try {
      const source = this.#source ?? this.#adopt(await this.#options.connect(signal));
      const pods = this.#options.complete(await source.list(signal));
      if (this.#failures > 0) context.telemetry.recovered('runtime');
      this.#failures = 0;
      this.#listed = pods;
      this.#listedAtMs = context.clock.monotonicMs();
      return pods;
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
      return undefined;
    }
  }

  #adopt(source: PodSource): PodSource {
    if (this.#abort.signal.aborted) {
      source.close();
      this.#abort.signal.throwIfAborted();
    }
    this.#source = source;
    this.#sourceSubscription = source.wake$.subscribe((why) => this.#sourceWake.next(why));
    return source;
  }

  #dropSource(): void {
    this.#sourceSubscription?.unsubscribe();
    this.#sourceSubscription = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  #failed(error: unknown): void {
    const { config, context } = this.#options;
    if (error instanceof AbsentError) {
      context.telemetry.absent('container runtime', error.message);
      return;
    }
    context.telemetry.failed('runtime', error);
    this.#failures++;
    if (this.#failures % searchAgainAfter === 0) this.#dropSource();
    const waitMs = Math.min(500 * 2 ** Math.min(this.#failures - 1, 10), config.collection_interval);
    this.#retry?.unsubscribe();
    const jittered = waitMs * (0.75 + context.clock.random() / 2);
    this.#retry = timer(jittered, context.clock.scheduler).subscribe(() => this.#ask('wake'));
  }

  /** What is left of the last list while the runtime does not answer: pods whose namespace still lives, for a bounded time. */
  #remaining(namespaces: readonly NetnsInfo[]): readonly PodEntity[] | undefined {
    const { config, context } = this.#options;
    if (this.#listed === undefined) return undefined;
    if (context.clock.monotonicMs() - this.#listedAtMs > config.keep_last) return [];
    if (namespaces.length === 0) return this.#listed;
    const alive = new Set(namespaces.map((n) => n.netns));
    const left = this.#listed.filter((p) => p.netns === undefined || alive.has(p.netns));
    return left.length === this.#listed.length ? this.#listed : left;
  }

  #emitNetns(namespaces: readonly NetnsInfo[], full: boolean): void {
    if (namespaces.length === 0) return;
    const fingerprint = namespaces
      .map((n) => `${n.netns}:${n.firstSeenMs}:${n.pid}:${n.podUids}:${n.containerIds}`)
      .join();
    if (!full && fingerprint === this.#emittedNetns) return;
    this.#emittedNetns = fingerprint;
    const { context } = this.#options;
    const entities = Object.freeze(namespaces.map(netnsEntity));
    this.#out.next({ kind: 'entities', source: `${context.id}/netns`, timeMs: context.clock.nowMs(), entities });
  }

  #emitPods(pods: readonly PodEntity[], full: boolean): void {
    const { context } = this.#options;
    const same = this.#emittedPods?.length === pods.length && pods.every((p, i) => p === this.#emittedPods?.[i]);
    if (same && !full) return;
    this.#emittedPods = pods;
    this.#options.onPods(pods);
    const timeMs = context.clock.nowMs();
    this.#out.next({ kind: 'entities', source: context.id, timeMs, entities: pods });
    this.#out.next(podMetrics(pods, `${context.id}/pods`, this.#scope, timeMs));
  }

  async #emitEvents(before: readonly PodEntity[], after: readonly PodEntity[]): Promise<void> {
    const { config, context } = this.#options;
    if (!config.events || before === after) return;
    const changes = changesOf(before, after);
    const times = { nowNs: context.clock.nowUnixNs() };
    const records: LogRecord[] = changes.started.map((p) => podStarted(p, times));
    // Details of how they ended cost a call each; a slow runtime must not hold the round for longer than one deadline.
    const endMs = context.clock.monotonicMs() + config.timeout;
    for (const { pod, container } of changes.containersExited) {
      const exit = context.clock.monotonicMs() < endMs ? await this.#source?.exitOf(container.id) : undefined;
      records.push(containerExited(pod, container, exit, times));
    }
    for (const { pod, container } of changes.containersStarted) records.push(containerStarted(pod, container, times));
    records.push(...changes.stopped.map((p) => podStopped(p, times)));
    if (records.length === 0 || this.#abort.signal.aborted) return;
    this.#out.next({ kind: 'logs', source: `${context.id}/pods`, scope: this.#scope, records: Object.freeze(records) });
  }
}
