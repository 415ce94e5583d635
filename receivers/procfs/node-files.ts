import type { NetnsInfo } from '../../host/netns/inventory.ts';
import type { ProcfsConfig } from './config.ts';
import { destinationSeries, IpvsSeries, IpvsSummary, parseIpvs, parseIpvsStats } from './ipvs.ts';
import type { Emit } from './netns-files.ts';
import type { OwnerState } from './owners.ts';
import type { ScrapeContext } from './scrape.ts';
import { SoftnetFile } from './softnet.ts';

/** The scrapers of what a node has once: softnet and ipvs. Read in the node's own network namespace. */
export class NodeFiles {
  readonly #context: ScrapeContext;
  readonly #softnet: SoftnetFile | undefined;
  readonly #ipvs: IpvsSeries | undefined;
  readonly #maxDestinations: number;
  readonly #absent: (what: string, why: string) => void;

  constructor(context: ScrapeContext, config: ProcfsConfig, absent: (what: string, why: string) => void) {
    const { softnet, ipvs } = config.scrapers;
    this.#context = context;
    this.#absent = absent;
    if (softnet.enabled) this.#softnet = new SoftnetFile(context.enabled, softnet.per_cpu, context.reject);
    if (ipvs.enabled) this.#ipvs = new IpvsSeries(context.enabled);
    this.#maxDestinations = ipvs.max_destinations;
  }

  read(found: readonly NetnsInfo[], node: OwnerState, timeMs: number, emit: Emit): void {
    const { root } = this.#context;
    const host = found.find((n) => n.host);
    // softnet_stat is the machine's in every namespace; ip_vs is the node's only in its own.
    const softnetText = this.#softnet && root.tryRead(root.proc(host?.pid ?? 'self', 'net/softnet_stat'));
    if (this.#softnet && softnetText) {
      const values = this.#softnet.parse(softnetText);
      emit('softnet', node.snapshot('softnet', this.#softnet.series.schema, values, timeMs));
    }
    if (this.#ipvs && host?.pid !== undefined)
      this.#readIpvs(this.#ipvs, root.proc(host.pid, 'net'), node, timeMs, emit);
  }

  #readIpvs(ipvs: IpvsSeries, directory: string, node: OwnerState, timeMs: number, emit: Emit): void {
    const { root, reject, enabled } = this.#context;
    const stats = root.tryRead(`${directory}/ip_vs_stats`);
    const totals = stats && parseIpvsStats(stats, reject);
    const table = root.tryRead(`${directory}/ip_vs`);
    if (stats === undefined && table === undefined) {
      this.#absent('ipvs', 'The module ip_vs is not loaded.');
      return;
    }
    let summary: IpvsSummary | undefined;
    if (table !== undefined) {
      summary = new IpvsSummary(this.#maxDestinations);
      parseIpvs(table, reject, summary);
      summary.end();
    }
    emit('ipvs', node.snapshot('ipvs', ipvs.series.schema, ipvs.values(totals, summary), timeMs));
    if (summary === undefined) return;
    const { series, values } = destinationSeries(enabled, summary);
    emit('ipvs', node.snapshot('ipvs destinations', series.schema, Float64Array.from(values), timeMs));
  }
}
