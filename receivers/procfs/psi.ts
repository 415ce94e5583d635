import { psiMetrics } from './metrics-pod.ts';
import type { Cgroups, ProcessGroup } from './pods.ts';
import { parsePressure } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';

const resources = ['cpu', 'memory', 'io', 'irq'] as const;
const kinds = ['some', 'full'] as const;

/**
 * Pressure stall information (Documentation/accounting/psi.rst): of a pod from its v2 cgroup, of the node from /proc/pressure. Absent on cgroup
 * v1, and where the kernel was started with psi=0.
 */
export class PsiScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #cgroups: Cgroups;
  readonly #on: boolean;

  constructor(context: ScrapeContext, cgroups: Cgroups) {
    this.#context = context;
    this.#cgroups = cgroups;
    const metric = psiMetrics['skoop.psi.stalled'];
    this.#on = context.enabled(metric);
    if (!this.#on) return;
    for (const resource of resources) {
      for (const kind of kinds) this.series.add(metric, { 'skoop.psi.resource': resource, 'skoop.psi.kind': kind });
    }
  }

  /** Undefined when there is no pressure file for this group. */
  collect(group: ProcessGroup): Float64Array | undefined {
    const pathOf = this.#on ? this.#paths(group) : undefined;
    if (pathOf === undefined) return undefined;
    const { root, reject, permitted } = this.#context;
    const values = this.series.blank();
    let found = false;
    resources.forEach((resource, r) => {
      // EOPNOTSUPP: the file is there and psi is off.
      const text = permitted('psi', () => root.tryRead(pathOf(resource), 'record'));
      if (text === undefined) return;
      const pressure = parsePressure(text, reject);
      kinds.forEach((kind, k) => {
        const us = pressure[kind];
        if (us === undefined) return;
        found = true;
        values[r * kinds.length + k] = us / 1e6;
      });
    });
    return found ? values : undefined;
  }

  #paths(group: ProcessGroup): ((resource: string) => string) | undefined {
    const { root } = this.#context;
    if (group.owner === undefined) return (resource) => root.proc('pressure', resource);
    const directory = this.#cgroups.of(group)?.unified;
    return directory === undefined ? undefined : (resource) => `${directory}/${resource}.pressure`;
  }
}
