import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import { eachLine, parseHexNumbers, type Reject } from './lines.ts';
import { softnetMetrics as m } from './metrics-net.ts';
import { type Enabled, SeriesSet } from './series.ts';

/**
 * net/softnet_stat (softnet_seq_show() in net/core/net-procfs.c): a line of hexadecimal numbers for each CPU that is online. Not per network
 * namespace, although every namespace shows it. Since kernel 5.10 column 13 is the CPU's number; before, lines are CPUs in order.
 */

const columns: readonly (readonly [index: number, metric: MetricDefinition])[] = [
  [0, m['skoop.softnet.processed']],
  [1, m['skoop.softnet.dropped']],
  [2, m['skoop.softnet.time_squeeze']],
  [9, m['skoop.softnet.received_rps']],
  [10, m['skoop.softnet.flow_limit']],
  [11, m['skoop.softnet.backlog_len']],
];
const cpuColumn = 12;
/** Columns of the oldest kernels in use. */
const fewestColumns = 9;
const maxCpus = 8192;
const wrap = 2 ** 32;

/** One CPU's counters, as 64-bit ones. */
interface Cpu {
  readonly number: number;
  readonly raw: Float64Array;
  /** What wrapped counters had reached. */
  readonly base: Float64Array;
  /** Which of them this kernel prints. */
  columns: number;
}

/**
 * The kernel's counters have 32 bits and wrap within hours on a busy node. They are carried on here as they wrap, and a CPU that goes offline
 * keeps its share, so that the sums never fall.
 */
export class SoftnetFile {
  readonly #cpus = new Map<number, Cpu>();
  readonly #reject: Reject;
  readonly #numbers = new Float64Array(32);
  readonly #wanted: typeof columns;
  readonly #perCpu: boolean;
  readonly series = new SeriesSet();

  constructor(enabled: Enabled, perCpu: boolean, reject: Reject) {
    this.#wanted = columns.filter(([, metric]) => enabled(metric));
    this.#perCpu = perCpu;
    this.#reject = reject;
    if (!perCpu) for (const [, metric] of this.#wanted) this.series.add(metric);
  }

  /** Takes a file. @returns the values in the order of `series`. */
  parse(text: Buffer): Float64Array {
    let line = 0;
    const online = new Set<number>();
    eachLine(text, this.#reject, (at, end) => {
      const numbers = this.#numbers;
      const count = parseHexNumbers(text, at, end, numbers);
      const number = count > cpuColumn ? (numbers[cpuColumn] as number) : line;
      line++;
      if (count < 0) return this.#reject('bad_number');
      if (count < fewestColumns || count > numbers.length) return this.#reject('columns');
      if (online.has(number)) return this.#reject('duplicate');
      if (number >= maxCpus) return this.#reject('too_many');
      online.add(number);
      this.#take(number, numbers, count);
    });
    return this.#perCpu ? this.#valuesPerCpu(online) : this.#sums(online);
  }

  #take(number: number, numbers: Float64Array, count: number): void {
    let cpu = this.#cpus.get(number);
    if (cpu === undefined) {
      cpu = { number, raw: new Float64Array(cpuColumn), base: new Float64Array(cpuColumn), columns: count };
      this.#cpus.set(number, cpu);
      if (this.#perCpu)
        for (const [, metric] of this.#wanted) this.series.add(metric, { 'cpu.logical_number': number });
    }
    cpu.columns = count;
    for (const [index] of this.#wanted) {
      if (index >= count) continue;
      const now = numbers[index] as number;
      if (now < (cpu.raw[index] as number)) cpu.base[index] = (cpu.base[index] as number) + wrap;
      cpu.raw[index] = now;
    }
  }

  #value(cpu: Cpu, index: number, metric: MetricDefinition, online: ReadonlySet<number>): number {
    if (index >= cpu.columns) return Number.NaN;
    if (metric.instrument === 'counter') return (cpu.base[index] as number) + (cpu.raw[index] as number);
    return online.has(cpu.number) ? (cpu.raw[index] as number) : 0;
  }

  #sums(online: ReadonlySet<number>): Float64Array {
    const values = this.series.blank();
    this.#wanted.forEach(([index, metric], slot) => {
      for (const cpu of this.#cpus.values()) {
        const v = this.#value(cpu, index, metric, online);
        if (!Number.isNaN(v)) values[slot] = v + (Number.isNaN(values[slot]) ? 0 : (values[slot] as number));
      }
    });
    return values;
  }

  #valuesPerCpu(online: ReadonlySet<number>): Float64Array {
    const values = this.series.blank();
    let slot = 0;
    for (const cpu of this.#cpus.values()) {
      for (const [index, metric] of this.#wanted) values[slot++] = this.#value(cpu, index, metric, online);
    }
    return values;
  }
}
