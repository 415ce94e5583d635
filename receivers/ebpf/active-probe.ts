import type { Logger } from 'pino';
import type { Kernel } from '../../bpf/kernel.ts';
import { type LoadedProbe, loadProbe } from '../../bpf/loader.ts';
import { type View, viewOf } from '../../bpf/record.ts';
import { MapReader } from '../../host/bpf/map-reader.ts';
import { programInfo } from '../../host/bpf/stats.ts';
import type { Snapshot } from '../../pipeline/batch.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { ComponentTelemetry } from '../../pipeline/component.ts';
import { Collection } from './collection.ts';
import { Exemplars } from './exemplars.ts';
import { accountMetrics } from './metrics.ts';
import type { EventDraft, ProbeConfig, ProbeDefinition, ProbeRun, RecordHead } from './probe.ts';
import { type LivingNamespaces, Reaper } from './reaper.ts';

/** enum skl_full of bpf/include/skl/event.h, in order. */
const fullUses = ['limit', 'count', 'state', 'event'] as const;

export interface ProbeEnvironment {
  readonly kernel: Kernel;
  readonly telemetry: ComponentTelemetry;
  readonly log: Logger;
  readonly clock: Clock;
  readonly ringFd: number;
  /** Cookie of the network namespace that has an inode now, where it can be asked. */
  readonly cookieOf?: (netns: number) => number | undefined;
}

/** A probe that is loaded: decodes its records, reads its maps, keeps its account. */
export class ActiveProbe {
  readonly definition: ProbeDefinition;
  readonly loaded: LoadedProbe;
  readonly #run: ProbeRun;
  readonly #collection: Collection;
  readonly #exemplars = new Exemplars();
  readonly #reaper: Reaper;

  /**
   * Loads and attaches.
   *
   * @param index goes into each record, so that the receiver knows whose it is
   * @throws AbsentError, BpfError, AgentError as {@link loadProbe}
   */
  constructor(definition: ProbeDefinition, config: ProbeConfig, index: number, env: ProbeEnvironment) {
    this.definition = definition;
    const { name } = definition;
    const { kernel, telemetry, clock } = env;
    this.#collection = new Collection(env.cookieOf);
    this.#run = definition.create(config, { name, kernel, telemetry, log: env.log, clock });
    const interval = config.rate_limit > 0 ? Math.max(1, Math.round(1e9 / config.rate_limit)) : 0;
    const common = {
      skl_probe: index,
      skl_events_on: config.events ? 1 : 0,
      skl_interval_ns: interval,
      skl_burst_ns: BigInt(interval) * BigInt(config.burst),
    };
    this.loaded = loadProbe(
      { object: name, layoutHash: definition.layout.layoutHash, hooks: definition.hooks },
      kernel,
      {
        knobs: { ...common, ...this.#run.load?.knobs },
        ...(this.#run.load?.mapEntries && { mapEntries: this.#run.load.mapEntries }),
        shared: { skl_ring: env.ringFd },
        debug: (message, log) => env.log.debug({ probe: name, verifier: log }, message),
      },
    );
    const owned = this.loaded.ownedMaps.filter((m) => !definition.selfClearingMaps?.includes(m.name));
    this.#reaper = new Reaper(owned, definition.layout);
    try {
      this.#makeCommonAccounts();
      this.#run.loaded?.(this.loaded);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Owners for whom skl_limit has no room share the account of owner 0, one for each type. */
  #makeCommonAccounts(): void {
    const { sklLimitKey, sklLimitVal } = this.definition.layout;
    const limit = new MapReader(this.loaded.map('skl_limit'));
    this.definition.eventTypes.forEach((_, type) => {
      const key = Buffer.alloc(sklLimitKey.size);
      key.writeUInt32LE(type, sklLimitKey.offsets['type']!);
      limit.update(key, Buffer.alloc(sklLimitVal.size));
    });
  }

  /** One record; undefined = nothing to tell, or rejected and counted. Never throws. */
  decode(
    view: View,
    at: number,
    length: number,
    telemetry: ComponentTelemetry,
  ): { head: RecordHead; draft: EventDraft } | undefined {
    const head = this.definition.layout.sklHead.decode(view, at);
    const codec = this.definition.records[head.type];
    if (!codec) {
      telemetry.rejected('unknown_event_type');
      return undefined;
    }
    if (length < codec.size) {
      telemetry.rejected('short_record');
      return undefined;
    }
    try {
      const draft = this.#run.decode?.(view, at, length, head);
      return draft && { head, draft };
    } catch (error) {
      telemetry.rejected('undecodable_record');
      telemetry.failed(`decoding ${this.definition.name}`, error);
      return undefined;
    }
  }

  /** Takes what {@link decode} gave into account for exemplars. */
  observe(head: RecordHead, draft: EventDraft, timeUnixNs: bigint): void {
    this.#exemplars.observe(head, draft, timeUnixNs);
  }

  /** Reads the probe's maps. @throws BpfError */
  collect(nowMs: number): Snapshot[] {
    this.#exemplars.next(BigInt(Math.floor(nowMs)) * 1_000_000n);
    this.#collection.begin(nowMs);
    this.#run.collect?.(this.#collection);
    this.#collectAccount();
    this.#collectFull();
    this.#collectMissed();
    return this.#collection.finish((owner, schema) => this.#exemplars.of(owner, schema));
  }

  /** Forgets namespaces that ended; returns how many. @throws BpfError */
  reap(living: LivingNamespaces): number {
    const reaped = this.#reaper.reap(living);
    this.#collection.forget(reaped);
    return reaped.size;
  }

  /** The account of events of all namespaces: offered = emitted + suppressed + lost. @throws BpfError */
  account(): { readonly emitted: number; readonly suppressed: number; readonly lost: number } {
    const { sklLimitVal } = this.definition.layout;
    const sum = { emitted: 0, suppressed: 0, lost: 0 };
    new MapReader(this.loaded.map('skl_limit')).readAll((e) => {
      const values = viewOf(e.values);
      for (let i = 0; i < e.count; i++) {
        const one = sklLimitVal.decode(values, i * e.valueStride);
        sum.emitted += one.emitted;
        sum.suppressed += one.suppressed;
        sum.lost += one.lost;
      }
    });
    return sum;
  }

  #collectAccount(): void {
    const { name, layout, eventTypes } = this.definition;
    const out = this.#collection;
    out.entries(this.loaded.map('skl_limit'), layout.sklLimitKey, (key, values, [at = 0]) => {
      const account = layout.sklLimitVal.decode(values, at);
      const attributes = { 'skoop.probe': name, 'skoop.event.type': eventTypes[key.type] ?? String(key.type) };
      const { cookie, netns } = key.owner;
      if (account.emitted > 0)
        out.add(cookie, netns, out.series(accountMetrics['skoop.event.emitted'], attributes), account.emitted);
      if (account.suppressed > 0) {
        out.add(cookie, netns, out.series(accountMetrics['skoop.event.suppressed'], attributes), account.suppressed);
      }
      if (account.lost > 0)
        out.add(cookie, netns, out.series(accountMetrics['skoop.event.lost'], attributes), account.lost);
    });
  }

  #collectFull(): void {
    const out = this.#collection;
    const reader = new MapReader(this.loaded.map('skl_full'));
    const key = Buffer.alloc(4);
    fullUses.forEach((use, i) => {
      key.writeUInt32LE(i);
      const values = reader.lookup(key);
      if (!values) return;
      const view = viewOf(values);
      let n = 0;
      for (let w = 0; w < view.u32.length; w += 2) n += view.u32[w]! + view.u32[w + 1]! * 4294967296;
      const attributes = { 'skoop.probe': this.definition.name, 'skoop.map.use': use };
      if (n > 0) out.add(0, 0, out.series(accountMetrics['skoop.probe.map_full'], attributes), n);
    });
  }

  #collectMissed(): void {
    const missed = this.loaded.programs.reduce((n, p) => n + programInfo(p.fd).missed, 0);
    const series = () =>
      this.#collection.series(accountMetrics['skoop.probe.missed'], { 'skoop.probe': this.definition.name });
    if (missed > 0) this.#collection.add(0, 0, series(), missed);
  }

  /** Detaches and frees. Twice is safe. */
  close(): void {
    this.#run.close?.();
    this.loaded.close();
  }
}
