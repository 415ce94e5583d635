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

/** Says whether an interface is wanted. */
export type InterfaceFilter = (name: string) => boolean;

/** Interfaces that are gone and may come back: beyond so many, they are forgotten. */
const maxRemembered = 256;

/**
 * The interfaces of one namespace over the rounds. The kernel's counters begin anew when an interface is made anew under its old name; here they go on
 * from where they were, so that one interface does not make a new beginning for the others.
 */
export class InterfaceCounters {
  readonly #known = new Map<string, { raw: Float64Array; base: Float64Array | undefined; round: number }>();
  #round = 0;

  /** Takes the kernel's numbers. @returns what has been counted under this name since it was first seen. */
  carry(name: string, raw: Float64Array): Float64Array {
    const known = this.#known.get(name);
    let base = known?.base;
    known?.raw.forEach((before, i) => {
      if ((raw[i] as number) >= before) return;
      base ??= new Float64Array(raw.length);
      base[i] = (base[i] as number) + before;
    });
    this.#known.set(name, { raw, base, round: this.#round });
    return base === undefined ? raw : raw.map((v, i) => v + (base?.[i] as number));
  }

  endRound(): void {
    if (this.#known.size > maxRemembered) {
      for (const [name, { round }] of this.#known) if (round !== this.#round) this.#known.delete(name);
    }
    this.#round++;
  }
}

/** The interfaces of one namespace. */
export interface InterfaceValues {
  /** Their names. */
  readonly key: string;
  readonly schema: Schema;
  readonly values: Float64Array;
}

/** Parser of net/dev with the series it makes. Keep one: it remembers the header, and the schema of each set of interfaces. */
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

  /** Forgets schemas of sets that were not seen since the last call: names of veths never come back. */
  endRound(): void {
    this.#schemasBefore = this.#schemas;
    this.#schemas = new Map();
  }

  /** Values that are as they were are used again: so is their schema. */
  keep({ key, schema }: InterfaceValues): void {
    if (!this.#schemas.has(key) && this.#schemasBefore.get(key) === schema) this.#schemas.set(key, schema);
  }

  /** Undefined when there is no interface that is wanted, or no file worth the name. */
  parse(text: Buffer, filter: InterfaceFilter, counters: InterfaceCounters): InterfaceValues | undefined {
    let line = 0;
    let usable = false;
    const found = new Map<string, Float64Array>();
    eachLine(text, this.#reject, (at, end) => {
      line++;
      if (line === 1) return;
      if (line === 2) usable = this.#readHeader(text, at, end);
      else if (usable) {
        const wrong = this.#interface(text, at, end, filter, found);
        if (wrong) this.#reject(wrong);
      }
    });
    if (!usable) this.#reject('bad_line');
    const width = this.#wanted.length;
    if (found.size === 0 || width === 0) return undefined;
    const values = new Float64Array(found.size * width);
    let offset = 0;
    for (const [name, raw] of found) {
      values.set(counters.carry(name, raw), offset);
      offset += width;
    }
    counters.endRound();
    // No interface has a slash in its name (dev_valid_name() in net/core/dev.c).
    const names = [...found.keys()];
    const key = names.join('/');
    return { key, schema: this.#schema(key, names), values };
  }

  /** @returns why the line was not used. */
  #interface(
    text: Buffer,
    at: number,
    end: number,
    filter: InterfaceFilter,
    found: Map<string, Float64Array>,
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
    if (found.has(name)) return 'duplicate';
    if (found.size >= this.#maxInterfaces) return 'too_many';
    const values = new Float64Array(this.#wanted.length);
    for (let i = 0; i < count; i++) {
      const slot = this.#slots[i] as number;
      if (slot >= 0) values[slot] = numbers[i] as number;
    }
    found.set(name, values);
    return undefined;
  }

  #schema(key: string, names: readonly string[]): Schema {
    let schema = this.#schemas.get(key) ?? this.#schemasBefore.get(key);
    if (schema === undefined) {
      const series = new SeriesSet();
      for (const name of names) {
        for (const [metric, direction] of this.#wanted) {
          const attributes: Attributes = {
            'network.interface.name': name,
            ...(direction !== undefined && { 'network.io.direction': direction }),
          };
          series.add(metric, attributes);
        }
      }
      schema = series.schema;
    }
    this.#schemas.set(key, schema);
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
