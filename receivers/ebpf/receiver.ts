import { interval, Observable, type Subscriber, type Subscription } from 'rxjs';
import { Kernel } from '../../bpf/kernel.ts';
import { RingPump } from '../../host/bpf/ring-pump.ts';
import { returnFreedMemory } from '../../host/ffi/allocator.ts';
import { netnsCookie } from '../../host/netns/cookie.ts';
import { type NetnsInfo, sharedInventory } from '../../host/netns/inventory.ts';
import { hostRoot } from '../../host/proc-root.ts';
import { type Batch, type LogRecord, noResource, type Scope } from '../../pipeline/batch.ts';
import type { Receiver, ReceiverContext } from '../../pipeline/component.ts';
import { AbsentError, messageOf } from '../../pipeline/errors.ts';
import { ActiveProbe } from './active-probe.ts';
import { adviceFor } from './advice.ts';
import type { EbpfConfig } from './config.ts';
import type { EventDraft, RecordHead } from './probe.ts';
import { probes } from './probes.ts';
import { SharedRing } from './ring.ts';

/** Bytes of struct skl_head; shorter records come from nobody we know. */
const headBytes = 32;
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What lives from subscribe to unsubscribe. */
class Session {
  readonly #config: EbpfConfig;
  readonly #context: ReceiverContext;
  readonly #out: Subscriber<Batch>;
  readonly #scope: Scope;
  readonly #active: (ActiveProbe | undefined)[] = [];
  readonly #pending: LogRecord[][] = [];
  readonly #subscriptions: Subscription[] = [];
  #ring: SharedRing | undefined;
  #pump: RingPump | undefined;
  #closed = false;
  /** The scan that was last asked for ended namespaces: a namespace born after it is not missing because it is asked twice. */
  #scan: readonly NetnsInfo[] | undefined;
  /**
   * Wall clock minus CLOCK_MONOTONIC, ns; taken anew for each slice of records, since the wall clock is set now and then and the other one
   * stands still while the machine is suspended.
   */
  #wallOffsetNs: bigint | undefined;

  constructor(config: EbpfConfig, context: ReceiverContext, out: Subscriber<Batch>) {
    this.#config = config;
    this.#context = context;
    this.#out = out;
    this.#scope = Object.freeze({ name: context.id, version: context.version });
  }

  /**
   * Never rejects. What keeps every probe from running ends the stream: AbsentError = this machine cannot, for good; anything else is
   * tried again by whoever supervises.
   */
  async start(): Promise<void> {
    try {
      const kernel = await Kernel.probe();
      if (this.#closed) return;
      kernel.assertUsable();
      this.#ring = new SharedRing(this.#config.ring_size);
      await this.#loadAll(kernel, this.#ring);
      kernel.forgetTypes();
      returnFreedMemory();
      if (!this.#closed) this.#watch(this.#ring);
    } catch (error) {
      this.#context.log.warn(`All eBPF probes are off. ${messageOf(error)}`);
      this.#out.error(error);
    }
  }

  async #loadAll(kernel: Kernel, ring: SharedRing): Promise<void> {
    const { telemetry, log, clock } = this.#context;
    for (const [index, definition] of probes.entries()) {
      const config = this.#config.probes[definition.name];
      if (!config?.enabled) continue;
      // Each object holds the event loop while the verifier works: others get their turn in between.
      await nextTurn();
      if (this.#closed) return;
      try {
        const env = { kernel, telemetry, log, clock, ringFd: ring.fd, cookieOf: (n: number) => this.#cookieOf(n) };
        const probe = new ActiveProbe(definition, config, index, env);
        this.#active[index] = probe;
        const hooks = probe.loaded.hooks.map((h) => `${h.hook}: ${h.sections?.join(' + ') ?? 'off'}`).join(', ');
        log.info(`Probe ${definition.name} is on (${hooks}).`);
      } catch (error) {
        if (error instanceof AbsentError) telemetry.absent(definition.name, error.message);
        else telemetry.failed(`loading ${definition.name}`, error);
        log.warn(`Probe ${definition.name} is off. ${messageOf(error)}`);
      }
    }
  }

  #cookieOf(netns: number): number | undefined {
    const info = sharedInventory(hostRoot)
      .current()
      .find((n) => n.netns === netns);
    return info && netnsCookie(info.path, netns);
  }

  #watch(ring: SharedRing): void {
    const { telemetry, clock, pressure$ } = this.#context;
    telemetry.gauge('ring_backlog', 'By', 'Bytes in the ring buffer not yet read.', () => ring.reader.backlog);
    this.#pump = new RingPump({
      ring: ring.reader,
      fd: ring.fd,
      onRecord: (at, length) => this.#record(ring, at, length),
      onSlice: () => this.#flush(),
      onError: (error) => telemetry.failed('reading the ring buffer', error),
    });
    this.#subscriptions.push(
      pressure$.subscribe((high) => (high ? this.#pump?.pause() : this.#pump?.resume())),
      interval(this.#config.collection_interval, clock.scheduler).subscribe(() => {
        this.#collect();
        void this.#reap();
      }),
    );
  }

  #record(ring: SharedRing, at: number, length: number): void {
    const { telemetry } = this.#context;
    const { view } = ring.reader;
    if (length < headBytes) {
      telemetry.rejected('short_record');
      return;
    }
    const index = view.data.getUint16(at + 28, true);
    const probe = this.#active[index];
    if (!probe) {
      telemetry.rejected('unknown_probe');
      return;
    }
    const found = probe.decode(view, at, length, telemetry);
    if (!found) return;
    this.#pending[index] ??= [];
    const record = this.#logRecord(found.head, found.draft);
    probe.observe(found.head, found.draft, record.timeUnixNs);
    this.#pending[index].push(record);
  }

  #logRecord(head: RecordHead, draft: EventDraft): LogRecord {
    const owner =
      head.netns === 0
        ? undefined
        : {
            netns: head.netns,
            ...(head.cookie !== 0 && { netnsCookie: head.cookie }),
            ...(head.cgroup !== 0 && { cgroupId: head.cgroup }),
          };
    this.#wallOffsetNs ??= this.#context.clock.nowUnixNs() - process.hrtime.bigint();
    const timeUnixNs = this.#wallOffsetNs + BigInt(head.ktime);
    const hint = this.#config.advice ? adviceFor(draft.attributes, draft.event.name) : undefined;
    const attributes = hint
      ? { ...draft.attributes, 'skoop.advice.cause': hint.cause, 'skoop.advice.check': hint.check }
      : draft.attributes;
    return {
      timeUnixNs,
      observedTimeUnixNs: 0n,
      severityNumber: draft.severity,
      eventName: draft.event.name,
      body: draft.body,
      attributes: Object.freeze(attributes),
      owner,
      resource: noResource,
    };
  }

  #flush(): void {
    const observed = this.#context.clock.nowUnixNs();
    this.#pending.forEach((records, index) => {
      if (records.length === 0) return;
      this.#pending[index] = [];
      for (const r of records) (r as { observedTimeUnixNs: bigint }).observedTimeUnixNs = observed;
      const source = `${this.#context.id}/${probes[index]!.name}`;
      this.#out.next({ kind: 'logs', source, scope: this.#scope, records });
    });
    this.#wallOffsetNs = undefined;
  }

  #collect(): void {
    const { telemetry, clock, id } = this.#context;
    for (const probe of this.#active) {
      if (!probe) continue;
      const { name } = probe.definition;
      try {
        const snapshots = probe.collect(clock.nowMs());
        telemetry.recovered(`collecting ${name}`);
        this.#out.next({ kind: 'metrics', source: `${id}/${name}`, scope: this.#scope, snapshots });
      } catch (error) {
        telemetry.failed(`collecting ${name}`, error);
      }
    }
  }

  /** After a reading, so that the last values of an ended namespace were handed on. */
  async #reap(): Promise<void> {
    const { telemetry } = this.#context;
    try {
      const found = await sharedInventory(hostRoot).fresh(this.#config.collection_interval / 2);
      if (this.#closed || found === this.#scan) return;
      this.#scan = found;
      const alive = new Map(found.map((n) => [n.netns, n]));
      const cookieOf = (netns: number, again = false) => {
        const info = alive.get(netns);
        return info && (again ? netnsCookie(info.path, netns) : info.cookie);
      };
      const living = { has: (netns: number) => alive.has(netns), cookieOf };
      for (const probe of this.#active) probe?.reap(living);
      telemetry.recovered('removing ended namespaces');
    } catch (error) {
      telemetry.failed('removing ended namespaces', error);
    }
  }

  /** Detaches first, then counts what is still in the ring, since nobody listens any more, then frees it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const s of this.#subscriptions.splice(0)) s.unsubscribe();
    this.#pump?.close();
    for (const probe of this.#active.splice(0)) probe?.close();
    const left = this.#ring?.reader.consume(() => {}, Number.MAX_SAFE_INTEGER) ?? 0;
    if (left > 0) this.#context.telemetry.dropped('stopped', left, 'logs');
    this.#ring?.close();
  }
}

/** Loads the probes, turns their records into events and their maps into metrics. */
export class EbpfReceiver implements Receiver {
  readonly #config: EbpfConfig;
  readonly #context: ReceiverContext;

  constructor(config: EbpfConfig, context: ReceiverContext) {
    this.#config = config;
    this.#context = context;
  }

  run(): Observable<Batch> {
    return new Observable((subscriber) => {
      const session = new Session(this.#config, this.#context, subscriber);
      void session.start();
      return () => session.close();
    });
  }
}
