import { type DenialKind, Denials } from '../../host/denials.ts';
import { pageSize } from '../../host/ffi/libc.ts';
import { NetlinkError } from '../../host/netlink/socket.ts';
import { netnsEntity, netnsOwner } from '../../host/netns/identity.ts';
import { type NetnsInfo, type NetnsInventory, sharedInventory } from '../../host/netns/inventory.ts';
import { isDenied, isGone, type ProcRoot } from '../../host/proc-root.ts';
import type { Batch, EntitiesBatch, Scope, Snapshot } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import { errnoOf } from '../../pipeline/errors.ts';
import type { ProcfsConfig } from './config.ts';
import type { RejectReason } from './lines.ts';
import type { ScraperName } from './metrics.ts';
import { type Emit, NetnsFiles } from './netns-files.ts';
import { NodeFiles } from './node-files.ts';
import { OwnerState, Owners } from './owners.ts';
import { PodFiles } from './pod-files.ts';
import { bootTimeMs, processBirthMs, type ScrapeContext } from './scrape.ts';
import { type Slices, Stopped } from './slices.ts';
import { TcpsummaryScraper } from './tcpsummary.ts';

/** An inventory that another receiver took at most this long ago is good enough: netlink's of the same interval, a second before (`initial_delay`). */
const freshMs = 2000;
/** Entities are sent again at least once in so many rounds, for consumers that came later. */
const entitiesEvery = 20;

const namespaceScrapers: readonly ScraperName[] = [
  'netdev',
  'tcp',
  'udp',
  'ip',
  'icmp',
  'tcpext',
  'sock',
  'tcpsummary',
];
const nodeScrapers: readonly ScraperName[] = ['softnet', 'ipvs'];
const podScrapers: readonly ScraperName[] = ['fd', 'io', 'psi', 'sched'];

type Output = Map<ScraperName, Snapshot[]>;

/** One instance of the receiver at work: what it knows between rounds, and one round at a time. */
export class Collection {
  readonly #config: ProcfsConfig;
  readonly #context: ReceiverContext;
  readonly #scrape: ScrapeContext;
  readonly #scope: Scope;
  readonly #denials: Denials;
  readonly #inventory: NetnsInventory;
  readonly #files: NetnsFiles;
  readonly #tcpsummary: TcpsummaryScraper | undefined;
  readonly #nodeFiles: NodeFiles;
  readonly #podFiles: PodFiles;
  readonly #namespaces = new Owners<number>();
  readonly #node: OwnerState;
  readonly #durations = new Map<string, number>();
  /** Sources whose last batch was not empty. */
  readonly #shown = new Set<string>();
  #lastEntities = '';
  #rounds = 0;

  constructor(config: ProcfsConfig, context: ReceiverContext, root: ProcRoot) {
    this.#config = config;
    this.#context = context;
    const { telemetry, clock } = context;
    this.#scope = Object.freeze({ name: `skoopline/${context.id}`, version: context.version });
    this.#denials = new Denials(root, context);
    this.#scrape = {
      root,
      enabled: (metric: MetricDefinition) => config.metrics[metric.name]?.enabled ?? metric.enabled,
      reject: (reason: RejectReason) => telemetry.rejected(reason),
      permitted: (what, read) => this.#permitted(what, read),
      bootTimeMs: bootTimeMs(root),
    };
    this.#inventory = sharedInventory(root, clock);
    const { scrapers } = config;
    this.#files = new NetnsFiles(this.#scrape, config, pageSize());
    if (scrapers.tcpsummary.enabled) {
      this.#tcpsummary = new TcpsummaryScraper(this.#scrape, scrapers.tcpsummary.max_listeners);
    }
    this.#node = new OwnerState(undefined, this.#bootOr(clock.nowMs()));
    this.#nodeFiles = new NodeFiles(this.#scrape, config, (what, why) => telemetry.absent(what, why));
    this.#podFiles = new PodFiles(this.#scrape, config);
    telemetry.gauge('collection_duration', 's', 'Time the last collection took, by stage.', () =>
      [...this.#durations].map(([stage, ms]) => [ms / 1000, { stage }]),
    );
    telemetry.gauge(
      'namespaces',
      '{namespace}',
      'Network namespaces of the last collection.',
      () => this.#namespaces.size,
    );
  }

  /**
   * Collects once and emits entities first, then a batch for each scraper.
   *
   * @throws Stopped when `slices` was stopped; nothing else.
   */
  async round(slices: Slices, emit: (batch: Batch) => void): Promise<void> {
    const age = Math.min(freshMs, this.#config.collection_interval / 2);
    const found = await this.#stage('inventory', async () => this.#inventory.fresh(age));
    if (slices.stopped) throw new Stopped();
    if (found === undefined) return;
    this.#denials.add('processes', this.#inventory.unreadable().processes);
    const entities = this.#entities(found);
    if (entities) emit(entities);
    const { clock } = this.#context;
    const out: Output = new Map();
    await slices.turn();
    await this.#gather('namespaces', namespaceScrapers, out, (add) => this.#readNamespaces(found, slices, add));
    await this.#gather('node', nodeScrapers, out, async (add) =>
      this.#nodeFiles.read(found, this.#node, clock.nowMs(), add),
    );
    await this.#gather('pods', podScrapers, out, (add) =>
      this.#podFiles.read(this.#inventory, found, this.#node, clock, slices, add),
    );
    this.#node.endRound(clock.nowMs());
    for (const [scraper, snapshots] of out) {
      const source = `${this.#context.id}/${scraper}`;
      // An empty batch says that what was there is gone; said once.
      if (snapshots.length === 0 && !this.#shown.has(source)) continue;
      if (snapshots.length === 0) this.#shown.delete(source);
      else this.#shown.add(source);
      await slices.turn();
      emit({ kind: 'metrics', source, scope: this.#scope, snapshots });
    }
  }

  /** Runs a stage; what it gave is used when it came to its end, since a batch must be complete. */
  async #gather(
    stage: string,
    scrapers: readonly ScraperName[],
    out: Output,
    run: (add: Emit) => Promise<void>,
  ): Promise<void> {
    const gathered: Output = new Map();
    for (const name of scrapers) if (this.#config.scrapers[name].enabled) gathered.set(name, []);
    const add: Emit = (scraper, snapshot) => {
      if (snapshot) gathered.get(scraper)?.push(snapshot);
    };
    const done = await this.#stage(stage, async () => {
      await run(add);
      return true;
    });
    if (done) for (const [name, snapshots] of gathered) out.set(name, snapshots);
  }

  async #readNamespaces(found: readonly NetnsInfo[], slices: Slices, emit: Emit): Promise<void> {
    const { clock, telemetry } = this.#context;
    let socketsWork = this.#tcpsummary !== undefined;
    let failed = false;
    for (const info of found) {
      if (slices.due()) await slices.turn();
      try {
        const state = this.#owner(info);
        const reading = this.#files.read(info, state, info.host ? this.#node : undefined, clock.nowMs(), emit);
        if (reading === undefined || !socketsWork) continue;
        if (slices.due()) await slices.turn();
        socketsWork = await this.#readSockets(info, state, reading.tcpSockets, emit);
      } catch (error) {
        if (error instanceof Stopped) throw error;
        // One namespace that cannot be read must not cost the others their values.
        if (isGone(error)) continue;
        if (isDenied(error)) {
          this.#denials.add('namespaces');
          continue;
        }
        failed = true;
        telemetry.failed('namespace', error);
      }
    }
    if (!failed) telemetry.recovered('namespace');
    this.#files.endRound();
    this.#tcpsummary?.endRound();
    this.#namespaces.endRound(clock.nowMs());
  }

  /** @returns false when this kernel cannot do it at all. */
  async #readSockets(info: NetnsInfo, state: OwnerState, tcpSockets: number, emit: Emit): Promise<boolean> {
    const tcpsummary = this.#tcpsummary;
    if (tcpsummary === undefined) return false;
    try {
      // The kernel walks the table of the whole machine for each dump: not for a namespace that has no socket.
      if (tcpSockets === 0) tcpsummary.counts.reset();
      else await tcpsummary.read(info.path);
    } catch (error) {
      if (error instanceof NetlinkError && errnoOf(error) === 'ENOENT') {
        this.#context.telemetry.absent('tcpsummary', 'The kernel has no tcp_diag module.');
        return false;
      }
      throw error;
    }
    const timeMs = this.#context.clock.nowMs();
    emit('tcpsummary', state.snapshot('tcpsummary', tcpsummary.series.schema, tcpsummary.values(), timeMs));
    const listeners = tcpsummary.listenerValues();
    if (listeners) emit('tcpsummary', state.snapshot('listeners', listeners.series.schema, listeners.values, timeMs));
    return true;
  }

  #owner(info: NetnsInfo): OwnerState {
    return this.#namespaces.get(
      info.netns,
      info.life,
      () => new OwnerState(netnsOwner(info), this.#birthMs(info), info.life),
    );
  }

  /** The node's own began with the machine, others with the process that stands for them. */
  #birthMs(info: NetnsInfo): number {
    const now = this.#context.clock.nowMs();
    if (info.host) return this.#bootOr(info.firstSeenMs);
    if (info.starttime === undefined || Number.isNaN(this.#scrape.bootTimeMs)) return Math.min(info.firstSeenMs, now);
    return Math.min(processBirthMs(this.#scrape.bootTimeMs, info.starttime), now);
  }

  #bootOr(fallback: number): number {
    const { bootTimeMs: boot } = this.#scrape;
    return Number.isNaN(boot) || boot > fallback ? fallback : boot;
  }

  #entities(found: readonly NetnsInfo[]): EntitiesBatch | undefined {
    const entities = found.map(netnsEntity);
    const text = JSON.stringify(entities);
    const due = this.#rounds++ % entitiesEvery === 0;
    if (!due && text === this.#lastEntities) return undefined;
    this.#lastEntities = text;
    return { kind: 'entities', source: this.#context.id, timeMs: this.#context.clock.nowMs(), entities };
  }

  async #stage<T>(stage: string, run: () => Promise<T>): Promise<T | undefined> {
    const started = performance.now();
    try {
      const result = await run();
      this.#context.telemetry.recovered(stage);
      return result;
    } catch (error) {
      if (error instanceof Stopped) throw error;
      this.#context.telemetry.failed(stage, error);
      return undefined;
    } finally {
      this.#durations.set(stage, performance.now() - started);
    }
  }

  #permitted<T>(what: DenialKind | 'psi', read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      const code = errnoOf(error);
      if (isDenied(error)) {
        if (what === 'psi') this.#context.telemetry.absent(what, 'Not permitted.');
        else this.#denials.add(what);
        return undefined;
      }
      if (code === 'EOPNOTSUPP' || code === 'ENOTSUP') {
        this.#context.telemetry.absent(what, 'Switched off in this kernel.');
        return undefined;
      }
      throw error;
    }
  }
}
