import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import { Accumulator, type Member } from './accumulate.ts';
import { ioMetrics as m } from './metrics-pod.ts';
import type { Process, ProcessGroup } from './pods.ts';
import { type ProcessIo, parseIo, parseParentPid } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';
import type { Slices } from './slices.ts';

const parts: readonly (readonly [metric: MetricDefinition, direction: 'read' | 'write', field: keyof ProcessIo])[] = [
  [m['skoop.io.syscalls'], 'read', 'syscr'],
  [m['skoop.io.syscalls'], 'write', 'syscw'],
  [m['skoop.io.transferred'], 'read', 'rchar'],
  [m['skoop.io.transferred'], 'write', 'wchar'],
  [m['skoop.io.disk'], 'read', 'readBytes'],
  [m['skoop.io.disk'], 'write', 'writeBytes'],
];

interface GroupState {
  readonly sums: Accumulator;
  /** Parents by process key, as last seen. */
  readonly parents: Map<string, number>;
  /** Pids of the last round. */
  pids: Set<number>;
}

/** Reads and writes of a group of processes as counters that do not fall when a process ends. */
export class IoScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #wanted: typeof parts;
  readonly #groups = new Map<string, GroupState>();

  constructor(context: ScrapeContext) {
    this.#context = context;
    this.#wanted = parts.filter(([metric]) => context.enabled(metric));
    for (const [metric, direction] of this.#wanted) this.series.add(metric, { 'disk.io.direction': direction });
  }

  /** Forgets groups that are gone. */
  keep(alive: ReadonlySet<string>): void {
    for (const key of this.#groups.keys()) if (!alive.has(key)) this.#groups.delete(key);
  }

  /** Undefined when none of the processes could ever be read. */
  async collect(group: ProcessGroup, slices: Slices): Promise<Float64Array | undefined> {
    const state = this.#state(group.key);
    const read: { process: Process; key: string; values: readonly number[] }[] = [];
    for (const process of group.processes) {
      if (slices.due()) await slices.turn();
      const key = this.#keyOf(process);
      const values = key === undefined ? undefined : this.#read(process.pid);
      if (key !== undefined && values !== undefined) read.push({ process, key, values });
    }
    if (read.length === 0 && state.pids.size === 0) return undefined;
    await this.#refreshParents(state, read, slices);
    const keys = new Map(read.map((r) => [r.process.pid, r.key]));
    const members = read.map((r): Member => {
      const parent = state.parents.get(r.key);
      return { key: r.key, values: r.values, reaper: parent === undefined ? undefined : keys.get(parent) };
    });
    return Float64Array.from(state.sums.round(members));
  }

  #state(key: string): GroupState {
    let state = this.#groups.get(key);
    if (state === undefined) {
      state = { sums: new Accumulator(this.#wanted.length), parents: new Map(), pids: new Set() };
      this.#groups.set(key, state);
    }
    return state;
  }

  /** A pid is used again; pid and start time (or the inode of its directory) are not. */
  #keyOf(process: Process): string | undefined {
    const id = process.starttime ?? this.#context.root.statInode(this.#context.root.proc(process.pid));
    return id === undefined ? undefined : `${process.pid}.${id}`;
  }

  #read(pid: number): readonly number[] | undefined {
    const { root, permitted, reject } = this.#context;
    const text = permitted('io', () => root.tryRead(root.proc(pid, 'io'), 'record'));
    const io = text && parseIo(text, reject);
    return io && this.#wanted.map(([, , field]) => io[field]);
  }

  /** Parents are read once, and again when they ended: their children have got another one. */
  async #refreshParents(
    state: GroupState,
    read: readonly { process: Process; key: string }[],
    slices: Slices,
  ): Promise<void> {
    const pids = new Set(read.map((r) => r.process.pid));
    const keys = new Set(read.map((r) => r.key));
    for (const { process, key } of read) {
      const parent = state.parents.get(key);
      if (parent !== undefined && (pids.has(parent) || !state.pids.has(parent))) continue;
      if (slices.due()) await slices.turn();
      const text = this.#context.root.tryRead(this.#context.root.proc(process.pid, 'stat'), 'record');
      const now = text && parseParentPid(text);
      if (now !== undefined) state.parents.set(key, now);
    }
    for (const key of state.parents.keys()) if (!keys.has(key)) state.parents.delete(key);
    state.pids = pids;
  }
}
