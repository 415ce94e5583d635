import type { Schema } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { eachLine, parseNumbers, type Reject, type RejectReason } from './lines.ts';
import { netdevMetrics as m } from './metrics-net.ts';
import { type Enabled, SeriesSet } from './series.ts';

/**
 * net/dev (dev_seq_show() in net/core/net-procfs.c): two header lines, then a line for each interface. 64-bit counters, made anew with the
 * interface.
 */

type Column = readonly [metric: MetricDefinition, direction: 'receive' | 'transmit' | undefined];

/** Side and name of a column of the header → metric. */
const columns: Readonly<Record<string, Column>> = {
  'receive bytes': [m['system.network.io'], 'receive'],
  'receive packets': [m['system.network.packet.count'], 'receive'],
  'receive errs': [m['system.network.errors'], 'receive'],
  'receive drop': [m['system.network.packet.dropped'], 'receive'],
  'receive fifo': [m['skoop.netdev.fifo_errors'], 'receive'],
  'receive frame': [m['skoop.netdev.frame_errors'], undefined],
  'receive compressed': [m['skoop.netdev.compressed'], 'receive'],
  'receive multicast': [m['skoop.netdev.multicast'], undefined],
  'transmit bytes': [m['system.network.io'], 'transmit'],
  'transmit packets': [m['system.network.packet.count'], 'transmit'],
  'transmit errs': [m['system.network.errors'], 'transmit'],
  'transmit drop': [m['system.network.packet.dropped'], 'transmit'],
  'transmit fifo': [m['skoop.netdev.fifo_errors'], 'transmit'],
  'transmit colls': [m['skoop.netdev.collisions'], undefined],
  'transmit carrier': [m['skoop.netdev.carrier_errors'], undefined],
  'transmit compressed': [m['skoop.netdev.compressed'], 'transmit'],
};

const COLON = 0x3a;
const SPACE = 0x20;

/** What one interface showed. */
export type VisitInterface = (name: string, schema: Schema, values: Float64Array) => void;

/** Says whether an interface is wanted. */
export type InterfaceFilter = (name: string) => boolean;

/** Parser of net/dev with the series it makes. Keep one: it remembers the header and the interfaces' schemas. */
export class NetdevFile {
  readonly #enabled: Enabled;
  readonly #reject: Reject;
  readonly #maxInterfaces: number;
  #header: Buffer = Buffer.alloc(0);
  /** For each number of a line: its place among the wanted ones, or -1. */
  #slots: readonly number[] = [];
  #wanted: readonly Column[] = [];
  #schemas = new Map<string, Schema>();
  #schemasBefore = new Map<string, Schema>();
  readonly #numbers = new Float64Array(64);

  constructor(enabled: Enabled, maxInterfaces: number, reject: Reject) {
    this.#enabled = enabled;
    this.#maxInterfaces = maxInterfaces;
    this.#reject = reject;
  }

  /** Forgets schemas of interfaces that were not seen since the last call: names of veths never come back. */
  endRound(): void {
    this.#schemasBefore = this.#schemas;
    this.#schemas = new Map();
  }

  parse(text: Buffer, filter: InterfaceFilter, visit: VisitInterface): void {
    let line = 0;
    let usable = false;
    const seen = new Set<string>();
    eachLine(text, this.#reject, (at, end) => {
      line++;
      if (line === 1) return;
      if (line === 2) usable = this.#readHeader(text, at, end);
      else if (usable) {
        const wrong = this.#interface(text, at, end, filter, seen, visit);
        if (wrong) this.#reject(wrong);
      }
    });
    if (!usable) this.#reject('bad_line');
  }

  /** @returns why the line was not used. */
  #interface(
    text: Buffer,
    at: number,
    end: number,
    filter: InterfaceFilter,
    seen: Set<string>,
    visit: VisitInterface,
  ): RejectReason | undefined {
    const colon = text.lastIndexOf(COLON, end - 1);
    let start = at;
    while (start < end && text[start] === SPACE) start++;
    if (colon <= start) return 'bad_line';
    const name = text.toString('utf8', start, colon);
    if (!filter(name)) return undefined;
    const numbers = this.#numbers;
    const count = parseNumbers(text, colon + 1, end, numbers);
    if (count !== this.#slots.length) return count < 0 ? 'bad_number' : 'columns';
    if (seen.has(name)) return 'duplicate';
    if (seen.size >= this.#maxInterfaces) return 'too_many';
    seen.add(name);
    const schema = this.#schema(name);
    const values = new Float64Array(schema.slots).fill(Number.NaN);
    for (let i = 0; i < count; i++) {
      const slot = this.#slots[i] as number;
      if (slot >= 0) values[slot] = numbers[i] as number;
    }
    visit(name, schema, values);
    return undefined;
  }

  #schema(name: string): Schema {
    let schema = this.#schemas.get(name) ?? this.#schemasBefore.get(name);
    if (schema === undefined) {
      const series = new SeriesSet();
      for (const [metric, direction] of this.#wanted) {
        const attributes: Attributes = {
          'network.interface.name': name,
          ...(direction !== undefined && { 'network.io.direction': direction }),
        };
        series.add(metric, attributes);
      }
      schema = series.schema;
    }
    this.#schemas.set(name, schema);
    return schema;
  }

  /** ` face |bytes packets …|bytes packets …`: the names of the columns. False when it is not such a line. */
  #readHeader(text: Buffer, at: number, end: number): boolean {
    const known = this.#header;
    if (known.length === end - at && text.compare(known, 0, known.length, at, end) === 0) return true;
    const sides = text.toString('latin1', at, end).split('|');
    if (sides.length !== 3) return false;
    const slots: number[] = [];
    const wanted: Column[] = [];
    for (const [side, names] of [
      ['receive', sides[1]],
      ['transmit', sides[2]],
    ]) {
      for (const name of names?.split(' ').filter(Boolean) ?? []) {
        const column = columns[`${side} ${name}`];
        slots.push(column && this.#enabled(column[0]) ? wanted.push(column) - 1 : -1);
      }
    }
    if (slots.length === 0 || slots.length > this.#numbers.length) return false;
    this.#header = Buffer.from(text.subarray(at, end));
    this.#slots = slots;
    this.#wanted = wanted;
    this.#schemas.clear();
    this.#schemasBefore.clear();
    return true;
  }
}

/** `veth*` → a test; `*` stands for any characters, everything else for itself. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  if (patterns.length === 0) return () => false;
  const sources = patterns.map((p) =>
    p
      .split('*')
      .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
      .join('.*'),
  );
  const pattern = new RegExp(`^(?:${sources.join('|')})$`, 's');
  return (name) => pattern.test(name);
}
