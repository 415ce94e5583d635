import { Accumulator, type Member } from './accumulate.ts';
import { schedMetrics as m } from './metrics-pod.ts';
import type { Cgroups, PodCgroup, ProcessGroup } from './pods.ts';
import { parseKeyed, parseNumberFile, parseRunDelayNs } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';
import type { Slices } from './slices.ts';

/** What the CPU controller says of a pod; seconds. */
interface CpuStat {
  cpuTime: number;
  periods: number;
  throttledPeriods: number;
  throttled: number;
}

/**
 * Whether a pod was running at all: CPU limit (cpu.stat of its cgroup, v1 or v2) and time on run queues (schedstat of its threads, since that of
 * a process speaks of its first thread only). Threads that begin and end between two collections are not seen.
 */
export class SchedScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #cgroups: Cgroups;
  readonly #delays = new Map<string, Accumulator>();
  readonly #slots: { runDelay: number } & CpuStat;

  constructor(context: ScrapeContext, cgroups: Cgroups) {
    this.#context = context;
    this.#cgroups = cgroups;
    const add = (name: keyof typeof m) => this.series.addIf(context.enabled, m[name]);
    this.#slots = {
      runDelay: add('skoop.sched.run_delay'),
      cpuTime: add('skoop.sched.cpu_time'),
      periods: add('skoop.sched.periods'),
      throttledPeriods: add('skoop.sched.throttled_periods'),
      throttled: add('skoop.sched.throttled'),
    };
  }

  /** Forgets pods that are gone. */
  keep(alive: ReadonlySet<string>): void {
    for (const key of this.#delays.keys()) if (!alive.has(key)) this.#delays.delete(key);
  }

  /** Pods only; undefined for the node. */
  async collect(group: ProcessGroup, slices: Slices): Promise<Float64Array | undefined> {
    if (group.owner === undefined || this.series.version === 0) return undefined;
    const values = this.series.blank();
    const put = (slot: number, value: number) => {
      if (slot >= 0) values[slot] = value;
    };
    const stat = this.#cpuStat(this.#cgroups.of(group));
    put(this.#slots.cpuTime, stat.cpuTime);
    put(this.#slots.periods, stat.periods);
    put(this.#slots.throttledPeriods, stat.throttledPeriods);
    put(this.#slots.throttled, stat.throttled);
    if (this.#slots.runDelay >= 0) put(this.#slots.runDelay, await this.#runDelay(group, slices));
    return values.every(Number.isNaN) ? undefined : values;
  }

  #cpuStat(cgroup: PodCgroup | undefined): CpuStat {
    const { root, reject } = this.#context;
    const read = (path: string) => {
      const text = root.tryRead(path, 'record');
      return text === undefined ? new Map<string, number>() : parseKeyed(text, reject);
    };
    const nothing = Number.NaN;
    if (cgroup?.cpu !== undefined) {
      const stat = read(`${cgroup.cpu}/cpu.stat`);
      const usage =
        cgroup.cpuacct === undefined ? undefined : root.tryRead(`${cgroup.cpuacct}/cpuacct.usage`, 'record');
      const usageNs = usage === undefined ? undefined : parseNumberFile(usage);
      return {
        cpuTime: (usageNs ?? nothing) / 1e9,
        periods: stat.get('nr_periods') ?? nothing,
        throttledPeriods: stat.get('nr_throttled') ?? nothing,
        throttled: (stat.get('throttled_time') ?? nothing) / 1e9,
      };
    }
    const stat = cgroup?.unified === undefined ? new Map<string, number>() : read(`${cgroup.unified}/cpu.stat`);
    return {
      cpuTime: (stat.get('usage_usec') ?? nothing) / 1e6,
      periods: stat.get('nr_periods') ?? nothing,
      throttledPeriods: stat.get('nr_throttled') ?? nothing,
      throttled: (stat.get('throttled_usec') ?? nothing) / 1e6,
    };
  }

  async #runDelay(group: ProcessGroup, slices: Slices): Promise<number> {
    const { root } = this.#context;
    const members: Member[] = [];
    for (const { pid } of group.processes) {
      const directory = root.proc(pid, 'task');
      for (const tid of root.list(directory)) {
        if (slices.due()) await slices.turn();
        const text = root.tryRead(`${directory}/${tid}/schedstat`, 'record');
        const ns = text && parseRunDelayNs(text);
        if (ns !== undefined) members.push({ key: tid, values: [ns] });
      }
    }
    let sums = this.#delays.get(group.key);
    if (members.length === 0 && sums === undefined) return Number.NaN;
    if (sums === undefined) {
      sums = new Accumulator(1);
      this.#delays.set(group.key, sums);
    }
    return (sums.round(members)[0] as number) / 1e9;
  }
}
