import type { NetnsInfo, NetnsInventory } from '../../host/netns/inventory.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { ProcfsConfig } from './config.ts';
import { FdScraper } from './fd.ts';
import { IoScraper } from './io.ts';
import type { Emit } from './netns-files.ts';
import { OwnerState, Owners } from './owners.ts';
import { Cgroups, type ProcessGroup, processGroups } from './pods.ts';
import { PsiScraper } from './psi.ts';
import { SchedScraper } from './sched.ts';
import { processBirthMs, type ScrapeContext } from './scrape.ts';
import type { Slices } from './slices.ts';

/** The scrapers that go by processes and cgroups: fd, io, psi, sched. */
export class PodFiles {
  readonly #context: ScrapeContext;
  readonly #cgroups: Cgroups;
  readonly #owners = new Owners<string>();
  readonly #fd: FdScraper | undefined;
  readonly #io: IoScraper | undefined;
  readonly #psi: PsiScraper | undefined;
  readonly #sched: SchedScraper | undefined;

  constructor(context: ScrapeContext, config: ProcfsConfig) {
    this.#context = context;
    this.#cgroups = new Cgroups(context.root);
    const { fd, io, psi, sched } = config.scrapers;
    if (fd.enabled) this.#fd = new FdScraper(context);
    if (io.enabled) this.#io = new IoScraper(context);
    if (psi.enabled) this.#psi = new PsiScraper(context, this.#cgroups);
    if (sched.enabled) this.#sched = new SchedScraper(context, this.#cgroups);
  }

  async read(
    inventory: Pick<NetnsInventory, 'podProcesses' | 'process'>,
    found: readonly NetnsInfo[],
    node: OwnerState,
    clock: Clock,
    slices: Slices,
    emit: Emit,
  ): Promise<void> {
    const groups = processGroups(inventory.podProcesses(), found, (pid) => inventory.process(pid));
    for (const group of groups) {
      if (slices.due()) await slices.turn();
      const state = group.owner === undefined ? node : this.#owner(group, clock.nowMs());
      const put = (name: 'fd' | 'io' | 'psi' | 'sched', scraper: Scraper, values: Float64Array | undefined) => {
        if (values) emit(name, state.snapshot(name, scraper.series.schema, values, clock.nowMs()));
      };
      if (this.#fd) put('fd', this.#fd, await this.#fd.collect(group, slices));
      if (this.#io) put('io', this.#io, await this.#io.collect(group, slices));
      if (this.#psi) put('psi', this.#psi, this.#psi.collect(group));
      if (this.#sched) put('sched', this.#sched, await this.#sched.collect(group, slices));
    }
    this.#fd?.endRound();
    const alive = new Set(groups.map((g) => g.key));
    this.#io?.keep(alive);
    this.#sched?.keep(alive);
    this.#cgroups.keep(alive);
    this.#owners.endRound(clock.nowMs());
  }

  /** A pod began with its oldest process that is left: the pause process, as a rule. */
  #owner(group: ProcessGroup, nowMs: number): OwnerState {
    return this.#owners.get(group.key, 0, () => {
      const { bootTimeMs } = this.#context;
      const oldest = Math.min(...group.processes.map((p) => p.starttime ?? Number.POSITIVE_INFINITY));
      const birthMs = processBirthMs(bootTimeMs, oldest);
      return new OwnerState(group.owner, Number.isFinite(birthMs) ? Math.min(birthMs, nowMs) : nowMs);
    });
  }
}

type Scraper = Pick<FdScraper, 'series'>;
