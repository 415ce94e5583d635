import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { eachLine, NEWLINE, parseNumber, parseNumbers, type Reject, SPACE } from './lines.ts';
import { icmpTypeMetrics } from './metrics-icmp.ts';
import { type MibTable, maxUnlisted, unlistedKey } from './mib-table.ts';
import { type Enabled, SeriesSet } from './series.ts';

/** Where a kernel field's number goes. */
interface Destination {
  readonly slot: number;
  readonly scale: number;
}

const nowhere: Destination = Object.freeze({ slot: -1, scale: 1 });

/** The series of one scraper (`tcp`, `udp`, `ip`, `icmp`, `tcpext`) and the kernel fields they come from. */
export class MibTarget {
  readonly series = new SeriesSet();
  /** Values of the namespace that is being read. */
  values: Float64Array;
  readonly #fields = new Map<string, Destination>();
  readonly #unlisted = new Map<string, MetricDefinition>();
  /** For rows that no table knows. */
  readonly #anyRow: MetricDefinition | undefined;
  readonly #icmpTypes: boolean;
  #grown = 0;

  constructor(tables: readonly MibTable[], enabled: Enabled) {
    for (const table of tables) {
      for (const { metric, scale, fields } of table.entries) {
        for (const [field, attributes] of fields) {
          const slot = this.series.addIf(enabled, metric, attributes);
          this.#fields.set(field, slot < 0 ? nowhere : { slot, scale });
          if (enabled(table.unlisted)) this.#unlisted.set(rowOf(field), table.unlisted);
        }
      }
    }
    this.#anyRow = this.#unlisted.values().next().value;
    this.#icmpTypes = enabled(icmpTypeMetrics['skoop.icmp.messages']) && this.#fields.has('Icmp.InMsgs');
    this.values = this.series.blank();
  }

  /** Rows it takes fields of: `Tcp`, `Ip6`. */
  rows(): Set<string> {
    const rows = new Set([...this.#fields].filter(([, d]) => d.slot >= 0).map(([field]) => rowOf(field)));
    for (const row of this.#unlisted.keys()) rows.add(row);
    if (this.#icmpTypes) rows.add('IcmpMsg').add('Icmp6');
    return rows;
  }

  /** True when it also takes rows that no table knows. */
  get takesAnyRow(): boolean {
    return this.#anyRow !== undefined;
  }

  /** Where a field goes; the first sight of an unlisted one makes a series for it. */
  destination(row: string, name: string): Destination {
    const field = `${row}.${name}`;
    let d = this.#fields.get(field);
    if (d === undefined) {
      d = this.#learn(row, name, field);
      if (this.#fields.size < 4096) this.#fields.set(field, d);
    }
    return d;
  }

  #learn(row: string, name: string, field: string): Destination {
    const type = row === 'IcmpMsg' || row === 'Icmp6' ? /^(In|Out)Type(\d+)$/.exec(name) : null;
    const metric = type
      ? this.#icmpTypes && icmpTypeMetrics['skoop.icmp.messages']
      : (this.#unlisted.get(row) ?? this.#anyRow);
    if (!metric || this.#grown >= maxUnlisted) return nowhere;
    this.#grown++;
    const attributes: Attributes = type
      ? {
          'network.type': row === 'Icmp6' ? 'ipv6' : 'ipv4',
          'network.io.direction': type[1] === 'In' ? 'receive' : 'transmit',
          'skoop.icmp.type': Number(type[2]),
        }
      : { [unlistedKey]: field };
    return { slot: this.series.add(metric, attributes), scale: 1 };
  }
}

const rowOf = (field: string): string => field.slice(0, field.indexOf('.'));

/** A header line that was seen: which value of the line below goes where. */
interface RowLayout {
  readonly row: Row;
  /** The header line, or only `Row:` when nothing of the row is wanted. */
  readonly header: Buffer;
  readonly target: MibTarget | undefined;
  readonly columns: number;
  readonly destinations: readonly Destination[];
}

interface Row {
  readonly name: string;
  /** `Tcp:`. */
  readonly prefix: Buffer;
  readonly layouts: RowLayout[];
  /** Number of the file it was last seen in: twice in one file is a duplicate. */
  seen: number;
}

/** Rows that a table may have switched off entirely: those are not "unknown". */
const knownRows: ReadonlySet<string> = new Set([
  'Ip',
  'Icmp',
  'IcmpMsg',
  'Tcp',
  'Udp',
  'UdpLite',
  'TcpExt',
  'IpExt',
  'MPTcpExt',
]);

const COLON = 0x3a;
/** Rows of one file and layouts of one row that are remembered; a kernel has 7 and 1 (IcmpMsg: one for each set of types seen). */
const maxRows = 64;
const maxLayouts = 32;
const maxColumns = 512;

/**
 * net/snmp and net/netstat: pairs of lines, `Tcp: NAMES` and `Tcp: VALUES`. The names differ between kernels and never change on one, so
 * a header is compared byte by byte with the one seen before, and what is left is to parse numbers.
 */
export class MibFile {
  readonly #targets: ReadonlyMap<string, MibTarget>;
  readonly #other: MibTarget | undefined;
  readonly #reject: Reject;
  readonly #rows = new Map<string, Row>();
  /** The layouts of the last file, in order: what is expected next. */
  readonly #expected: RowLayout[] = [];
  readonly #numbers = new Float64Array(maxColumns);
  #files = 0;

  /**
   * @param targets by row.
   * @param other takes rows that are not in `targets` and in no table, when its `unlisted` metric is on.
   */
  constructor(targets: ReadonlyMap<string, MibTarget>, reject: Reject, other?: MibTarget) {
    this.#targets = targets;
    this.#other = other?.takesAnyRow ? other : undefined;
    this.#reject = reject;
  }

  /** Parses a file into the `values` of the targets. Bad rows are rejected, the others used. */
  parse(text: Buffer): void {
    this.#files++;
    let at = 0;
    for (let index = 0; at < text.length; ) {
      const headerEnd = text.indexOf(NEWLINE, at);
      const valuesAt = headerEnd + 1;
      const end = headerEnd < 0 ? -1 : text.indexOf(NEWLINE, valuesAt);
      if (end < 0) {
        this.#reject('truncated');
        return;
      }
      const layout = this.#layout(text, at, headerEnd, index);
      if (layout === undefined || !valuesBelong(text, valuesAt, layout.row.prefix)) {
        // Not a pair: go on with the next line, which may be the first of one.
        this.#reject('bad_line');
        at = valuesAt;
        continue;
      }
      this.#expected[index++] = layout;
      this.#take(layout, text, valuesAt, end);
      at = end + 1;
    }
  }

  #take(layout: RowLayout, text: Buffer, at: number, end: number): void {
    const { row, target, columns, destinations } = layout;
    if (row.seen === this.#files) {
      this.#reject('duplicate');
      return;
    }
    row.seen = this.#files;
    if (target === undefined) return;
    const numbers = this.#numbers;
    const count = parseNumbers(text, at + row.prefix.length, end, numbers);
    if (count !== columns) {
      this.#reject(count < 0 ? 'bad_number' : 'columns');
      return;
    }
    const { values } = target;
    for (let i = 0; i < count; i++) {
      const d = destinations[i] as Destination;
      if (d.slot >= 0) values[d.slot] = (numbers[i] as number) * d.scale;
    }
  }

  #layout(text: Buffer, at: number, end: number, index: number): RowLayout | undefined {
    const expected = this.#expected[index];
    if (expected !== undefined && fits(expected, text, at, end)) return expected;
    const colon = text.indexOf(COLON, at);
    if (colon <= at || colon >= end) return undefined;
    const name = text.toString('latin1', at, colon);
    const row = this.#row(name);
    if (row === undefined) return undefined;
    const known = row.layouts.find((l) => fits(l, text, at, end));
    return known ?? this.#learn(row, text, at, end);
  }

  #row(name: string): Row | undefined {
    let row = this.#rows.get(name);
    if (row === undefined) {
      if (this.#rows.size >= maxRows) return undefined;
      row = { name, prefix: Buffer.from(`${name}:`, 'latin1'), layouts: [], seen: 0 };
      this.#rows.set(name, row);
    }
    return row;
  }

  #learn(row: Row, text: Buffer, at: number, end: number): RowLayout | undefined {
    const target = this.#targets.get(row.name) ?? (knownRows.has(row.name) ? undefined : this.#other);
    const names = text
      .toString('latin1', at + row.prefix.length, end)
      .split(' ')
      .filter(Boolean);
    if (names.length > maxColumns) return undefined;
    const layout: RowLayout = {
      row,
      header: target ? Buffer.from(text.subarray(at, end)) : row.prefix,
      target,
      columns: names.length,
      destinations: target ? names.map((name) => target.destination(row.name, name)) : [],
    };
    if (row.layouts.length >= maxLayouts) row.layouts.shift();
    row.layouts.push(layout);
    return layout;
  }
}

function fits(layout: RowLayout, text: Buffer, at: number, end: number): boolean {
  const { header, target } = layout;
  const length = header.length;
  if (target === undefined ? end - at < length : end - at !== length) return false;
  return text.compare(header, 0, length, at, at + length) === 0;
}

/** The second line of a pair begins with the same `Row:` and goes on with a number. */
function valuesBelong(text: Buffer, at: number, prefix: Buffer): boolean {
  if (at + prefix.length > text.length) return false;
  if (text.compare(prefix, 0, prefix.length, at, at + prefix.length) !== 0) return false;
  const next = text[at + prefix.length + 1];
  return next === undefined || next < 0x41;
}

/** A name of net/snmp6 and where its value goes. */
interface Snmp6Name {
  readonly name: Buffer;
  readonly target: MibTarget | undefined;
  readonly slot: number;
  readonly scale: number;
  seen: number;
  /** The name that came after this one when it was last seen. */
  next: Snmp6Name | undefined;
}

const snmp6Rows = ['UdpLite6', 'Icmp6', 'Udp6', 'Ip6'] as const;
const maxNames = 1024;

/**
 * net/snmp6: a line for each counter, `Ip6InReceives   <tab>1`. Types of ICMP messages appear as they are first seen, so that the lines
 * differ between namespaces; each name remembers which one follows it.
 */
export class Snmp6File {
  readonly #targets: ReadonlyMap<string, MibTarget>;
  readonly #reject: Reject;
  readonly #names = new Map<string, Snmp6Name>();
  readonly #start: Snmp6Name = entryFor(Buffer.alloc(0));
  #files = 0;

  constructor(targets: ReadonlyMap<string, MibTarget>, reject: Reject) {
    this.#targets = targets;
    this.#reject = reject;
  }

  parse(text: Buffer): void {
    const file = ++this.#files;
    let previous = this.#start;
    eachLine(text, this.#reject, (at, end) => {
      const entry = this.#entry(text, at, end, previous);
      if (entry === undefined) {
        this.#reject('bad_line');
        return;
      }
      previous.next = entry;
      previous = entry;
      if (entry.seen === file) {
        this.#reject('duplicate');
        return;
      }
      entry.seen = file;
      if (entry.slot < 0 || entry.target === undefined) return;
      let from = at + entry.name.length;
      while (from < end && isBlank(text[from] as number)) from++;
      const n = parseNumber(text, from, end);
      if (n < 0) {
        this.#reject('bad_number');
        return;
      }
      entry.target.values[entry.slot] = n * entry.scale;
    });
  }

  #entry(text: Buffer, at: number, end: number, previous: Snmp6Name): Snmp6Name | undefined {
    const guess = previous.next;
    if (guess !== undefined && isName(guess.name, text, at, end)) return guess;
    let nameEnd = at;
    while (nameEnd < end && !isBlank(text[nameEnd] as number)) nameEnd++;
    if (nameEnd === at || nameEnd === end) return undefined;
    const key = text.toString('latin1', at, nameEnd);
    return this.#names.get(key) ?? this.#learn(key);
  }

  #learn(key: string): Snmp6Name | undefined {
    if (this.#names.size >= maxNames) return undefined;
    const row = snmp6Rows.find((r) => key.startsWith(r)) ?? '';
    const target = this.#targets.get(row);
    const d = target?.destination(row, key.slice(row.length)) ?? nowhere;
    const entry = entryFor(Buffer.from(key, 'latin1'), target, d);
    this.#names.set(key, entry);
    return entry;
  }
}

function entryFor(name: Buffer, target?: MibTarget, d: Destination = nowhere): Snmp6Name {
  return { name, target, slot: d.slot, scale: d.scale, seen: 0, next: undefined };
}

const isBlank = (byte: number): boolean => byte === SPACE || byte === 0x09;

function isName(name: Buffer, text: Buffer, at: number, end: number): boolean {
  const after = at + name.length;
  if (after >= end || !isBlank(text[after] as number)) return false;
  for (let i = 0; i < name.length; i++) if (text[at + i] !== name[i]) return false;
  return true;
}
