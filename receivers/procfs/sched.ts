import { Accumulator, type Member } from './accumulate.ts';
import { schedMetrics as m } from './metrics-pod.ts';
import type { Cgroups, PodCgroup, ProcessGroup } from './pods.ts';
import { parseKeyed, parseNumberFile, parseRunDelayNs } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';
import type { Slices } from './slices.ts';

/** What a limit did to a pod; `throttled` in seconds. */
interface Throttling {
  periods: number;
  throttledPeriods: number;
  throttled: number;
}

/**
 * Whether a pod was running at all: CPU limit (cpu.stat of its cgroups, v1 or v2) and time on run queues (schedstat of its threads, since that of
 * a process speaks of its first thread only). Threads that begin and end between two collections are not seen.
 */
export class SchedScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #cgroups: Cgroups;
  readonly #delays = new Map<string, Accumulator>();
  /** Sums over the cgroups of a pod's containers, which end and begin anew. */
  readonly #throttled = new Map<string, { readonly sums: Accumulator; byContainer: boolean }>();
  readonly #slots: { readonly runDelay: number; readonly cpuTime: number } & Readonly<Throttling>;

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
    for (const map of [this.#delays, this.#throttled]) {
      for (const key of map.keys()) if (!alive.has(key)) map.delete(key);
    }
  }

  /** Pods only; undefined for the node. */
  async collect(group: ProcessGroup, slices: Slices): Promise<Float64Array | undefined> {
    if (group.owner === undefined || this.series.version === 0) return undefined;
    const values = this.series.blank();
    const put = (slot: number, value: number) => {
      if (slot >= 0) values[slot] = value;
    };
    const cgroup = this.#cgroups.of(group);
    put(this.#slots.cpuTime, this.#cpuTime(cgroup));
    const { periods, throttledPeriods, throttled } = this.#throttling(group, cgroup);
    put(this.#slots.periods, periods);
    put(this.#slots.throttledPeriods, throttledPeriods);
    put(this.#slots.throttled, throttled);
    if (this.#slots.runDelay >= 0) put(this.#slots.runDelay, await this.#runDelay(group, slices));
    return values.every(Number.isNaN) ? undefined : values;
  }

  /** Of the pod's cgroup, which counts for those in it, too; seconds. */
  #cpuTime(cgroup: PodCgroup | undefined): number {
    const { root } = this.#context;
    if (cgroup?.cpuacct !== undefined) {
      const usage = root.tryRead(`${cgroup.cpuacct}/cpuacct.usage`, 'record');
      return ((usage && parseNumberFile(usage)) ?? Number.NaN) / 1e9;
    }
    return (this.#stat(cgroup?.unified)?.get('usage_usec') ?? Number.NaN) / 1e6;
  }

  #stat(directory: string | undefined): ReadonlyMap<string, number> | undefined {
    const { root, reject } = this.#context;
    const text = directory === undefined ? undefined : root.tryRead(`${directory}/cpu.stat`, 'record');
    return text && parseKeyed(text, reject);
  }

  /**
   * A cgroup counts the periods of its own limit only (cpu_cfs_stat_show() in kernel/sched/core.c), and containers have theirs below the pod's: those
   * are summed. The pod's own counts where no container has one, since both stop the same threads at the same time.
   */
  #throttling(group: ProcessGroup, cgroup: PodCgroup | undefined): Throttling {
    const directory = cgroup?.cpu ?? cgroup?.unified;
    const own = this.#throttlingOf(directory);
    if (directory === undefined || own === undefined) return none;
    const members = this.#cgroups.children(group, directory).flatMap((child) => {
      const values = this.#throttlingOf(`${directory}/${child}`);
      return values === undefined || values[0] === 0 ? [] : [{ key: child, values }];
    });
    const state = getOrMake(this.#throttled, group.key, () => ({ sums: new Accumulator(3), byContainer: false }));
    state.byContainer ||= members.length > 0;
    if (!state.byContainer) members.push({ key: '', values: own });
    const [periods, throttledPeriods, throttled] = state.sums.round(members) as [number, number, number];
    return { periods, throttledPeriods, throttled: throttled / 1e9 };
  }

  /** Periods, periods stopped in, ns stopped; undefined where the kernel has no limits (CONFIG_CFS_BANDWIDTH) or the cgroup is gone. */
  #throttlingOf(directory: string | undefined): readonly [number, number, number] | undefined {
    const stat = this.#stat(directory);
    const [periods, stopped] = [stat?.get('nr_periods'), stat?.get('nr_throttled')];
    const us = stat?.get('throttled_usec');
    const ns = us === undefined ? stat?.get('throttled_time') : us * 1000;
    return periods === undefined || stopped === undefined || ns === undefined ? undefined : [periods, stopped, ns];
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
    if (members.length === 0 && !this.#delays.has(group.key)) return Number.NaN;
    const sums = getOrMake(this.#delays, group.key, () => new Accumulator(1));
    return (sums.round(members)[0] as number) / 1e9;
  }
}

const none: Throttling = { periods: Number.NaN, throttledPeriods: Number.NaN, throttled: Number.NaN };

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}
