import { fdMetrics as m } from './metrics-pod.ts';
import type { Process, ProcessGroup } from './pods.ts';
import { parseOpenFilesLimit } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';
import type { Slices } from './slices.ts';

/** Links read between two looks at the clock; one takes about a microsecond. */
const stride = 64;
/** Directories with more entries than this are listed by a pool thread the next time: it takes milliseconds. */
const many = 2000;

/** A limit is read again once in so many rounds: prlimit(2) may have changed it. */
const limitRounds = 16;

/** Open file descriptors of a group of processes. Threads share them with their process: only processes are counted. */
export class FdScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #open: number;
  readonly #sockets: number;
  readonly #utilization: number;
  /** Processes with many descriptors, as last seen. */
  readonly #large = new Set<number>();
  /** Limits by pid, of this round and the one before. */
  #limits = new Map<number, { readonly starttime: number; readonly limit: number }>();
  #limitsBefore = new Map<number, { readonly starttime: number; readonly limit: number }>();
  #rounds = 0;

  constructor(context: ScrapeContext) {
    this.#context = context;
    this.#open = this.series.addIf(context.enabled, m['skoop.fd.open']);
    this.#sockets = this.series.addIf(context.enabled, m['skoop.fd.sockets']);
    this.#utilization = this.series.addIf(context.enabled, m['skoop.fd.limit_utilization']);
  }

  /** Forgets processes that nobody asked for since the last call. */
  endRound(): void {
    this.#limitsBefore = this.#limits;
    this.#limits = new Map();
    this.#rounds++;
  }

  /** Undefined when none of the processes could be read. */
  async collect(group: ProcessGroup, slices: Slices): Promise<Float64Array | undefined> {
    let open = 0;
    let sockets = 0;
    let utilization = Number.NaN;
    let read = 0;
    for (const process of group.processes) {
      if (process.kernelThread) continue;
      const { pid } = process;
      if (slices.due()) await slices.turn();
      const directory = this.#context.root.proc(pid, 'fd');
      const names = await this.#list(pid, directory);
      // Zombies and processes that just ended have none.
      if (names === undefined || names.length === 0) continue;
      read++;
      open += names.length;
      if (this.#sockets >= 0) sockets += await this.#countSockets(directory, names, slices);
      if (this.#utilization >= 0) utilization = maximum(utilization, names.length / this.#limit(process));
    }
    if (read === 0) return undefined;
    const values = this.series.blank();
    if (this.#open >= 0) values[this.#open] = open;
    if (this.#sockets >= 0) values[this.#sockets] = sockets;
    if (this.#utilization >= 0) values[this.#utilization] = utilization;
    return values;
  }

  async #list(pid: number, directory: string): Promise<readonly string[] | undefined> {
    const { root, permitted } = this.#context;
    if (!this.#large.delete(pid)) {
      const names = permitted('descriptors', () => root.list(directory));
      if (names !== undefined && names.length > many) this.#large.add(pid);
      return names;
    }
    const names = await root.listAsync(directory);
    if (names.length > many) this.#large.add(pid);
    return names;
  }

  async #countSockets(directory: string, names: readonly string[], slices: Slices): Promise<number> {
    let sockets = 0;
    for (let i = 0; i < names.length; i++) {
      if (i % stride === stride - 1 && slices.due()) await slices.turn();
      if (this.#context.root.readlink(`${directory}/${names[i]}`)?.startsWith('socket:')) sockets++;
    }
    return sockets;
  }

  #limit({ pid, starttime }: Process): number {
    const before = this.#limitsBefore.get(pid);
    const known = before !== undefined && before.starttime === starttime && (pid + this.#rounds) % limitRounds !== 0;
    const limit = known ? before.limit : this.#readLimit(pid);
    if (starttime !== undefined) this.#limits.set(pid, known ? before : { starttime, limit });
    return limit;
  }

  #readLimit(pid: number): number {
    const text = this.#context.root.tryRead(this.#context.root.proc(pid, 'limits'), 'record');
    return (text && parseOpenFilesLimit(text)) ?? Number.NaN;
  }
}

const maximum = (a: number, b: number): number => (Number.isNaN(a) || b > a ? b : a);
