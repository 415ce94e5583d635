import { fdMetrics as m } from './metrics-pod.ts';
import type { ProcessGroup } from './pods.ts';
import { parseOpenFilesLimit } from './process-files.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';
import type { Slices } from './slices.ts';

/** Links read between two looks at the clock; one takes about a microsecond. */
const stride = 64;
/** Directories with more entries than this are listed by a pool thread the next time: it takes milliseconds. */
const many = 2000;

/** Open file descriptors of a group of processes. Threads share them with their process: only processes are counted. */
export class FdScraper {
  readonly series = new SeriesSet();
  readonly #context: ScrapeContext;
  readonly #open: number;
  readonly #sockets: number;
  readonly #utilization: number;
  /** Processes with many descriptors, as last seen. */
  readonly #large = new Set<number>();

  constructor(context: ScrapeContext) {
    this.#context = context;
    this.#open = this.series.addIf(context.enabled, m['skoop.fd.open']);
    this.#sockets = this.series.addIf(context.enabled, m['skoop.fd.sockets']);
    this.#utilization = this.series.addIf(context.enabled, m['skoop.fd.limit_utilization']);
  }

  /** Undefined when none of the processes could be read. */
  async collect(group: ProcessGroup, slices: Slices): Promise<Float64Array | undefined> {
    let open = 0;
    let sockets = 0;
    let utilization = Number.NaN;
    let read = 0;
    for (const { pid } of group.processes) {
      if (slices.due()) await slices.turn();
      const directory = this.#context.root.proc(pid, 'fd');
      const names = await this.#list(pid, directory);
      // Kernel threads, zombies and processes that just ended have none.
      if (names === undefined || names.length === 0) continue;
      read++;
      open += names.length;
      if (this.#sockets >= 0) sockets += await this.#countSockets(directory, names, slices);
      if (this.#utilization >= 0) utilization = maximum(utilization, names.length / this.#limit(pid));
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
      const names = permitted('fd', () => root.list(directory));
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

  #limit(pid: number): number {
    const text = this.#context.root.tryRead(this.#context.root.proc(pid, 'limits'));
    return (text && parseOpenFilesLimit(text)) ?? Number.NaN;
  }
}

const maximum = (a: number, b: number): number => (Number.isNaN(a) || b > a ? b : a);
