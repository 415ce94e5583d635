import { open } from 'node:fs/promises';
import { hostRoot, type ProcRoot } from '../proc-root.ts';

export interface KernelSymbol {
  readonly name: string;
  /** Bytes into the function. */
  readonly offset: number;
  /** Name of the module; undefined for the kernel itself. */
  readonly module: string | undefined;
}

/** Offsets beyond this are taken for an address of no function we know (BPF programs, vmalloc): functions are smaller. */
const maxFunctionBytes = 256 * 1024;

/**
 * Functions of the kernel and its modules in compact arrays: 12 bytes and the name for each. Addresses are kept as distances from
 * the first one, which a double holds exactly.
 */
export class SymbolTable {
  readonly size: number;
  /** False when all addresses are zero: /proc/kallsyms hides them without CAP_SYSLOG (kernel.kptr_restrict). */
  readonly readable: boolean;
  readonly #baseHigh: number;
  readonly #baseLow: number;
  readonly #distance: Float64Array;
  readonly #name: Uint32Array;
  readonly #names: Buffer;
  readonly #textEnd: number;

  constructor(lines: ParsedLines, names: Buffer, textEnd: readonly [number, number] | undefined) {
    this.readable = lines.count > 0;
    this.size = lines.count;
    this.#baseHigh = lines.high[0] ?? 0;
    this.#baseLow = lines.low[0] ?? 0;
    const distance = Float64Array.from({ length: lines.count }, (_, i) => this.#from(lines.high[i]!, lines.low[i]!));
    const order = Uint32Array.from(distance.keys()).sort((a, b) => distance[a]! - distance[b]!);
    this.#distance = Float64Array.from(order, (i) => distance[i]!);
    this.#name = order.map((i) => lines.name[i]!);
    this.#names = names;
    this.#textEnd = textEnd ? this.#from(textEnd[0], textEnd[1]) : Number.POSITIVE_INFINITY;
  }

  #from(high: number, low: number): number {
    return (high - this.#baseHigh) * 2 ** 32 + (low - this.#baseLow);
  }

  #index(distance: number): number {
    let low = 0;
    let high = this.#distance.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#distance[middle]! <= distance) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The function an address lies in, the address as its upper and lower 32 bits. */
  lookup(high: number, low: number): KernelSymbol | undefined {
    const distance = this.#from(high, low);
    const i = this.#index(distance);
    if (i < 0) return undefined;
    const start = this.#distance[i]!;
    const offset = distance - start;
    if (offset > maxFunctionBytes || (start < this.#textEnd && distance >= this.#textEnd)) return undefined;
    const from = this.#name[i]!;
    const text = this.#names.toString('latin1', from, this.#names.indexOf(10, from));
    const tab = text.indexOf('\t');
    if (tab < 0) return { name: text, offset, module: undefined };
    return { name: text.slice(0, tab), offset, module: text.slice(tab + 2, -1) };
  }

  /** Whether there is a function of this name. Scans all names: for start-up only. */
  has(name: string): boolean {
    for (const end of ['\n', '\t']) {
      const needle = Buffer.from(`\n${name}${end}`, 'latin1');
      if (this.#names.includes(needle)) return true;
    }
    return false;
  }
}

/**
 * Lines with an address, in arrays that grow: an object for each of 100 000 symbols would cost 25 MiB of memory that the process never gives
 * back.
 */
class ParsedLines {
  high = new Uint32Array(0);
  low = new Uint32Array(0);
  /** Offset of its name in the buffer of names. */
  name = new Uint32Array(0);
  count = 0;

  add(high: number, low: number, name: number): void {
    if (high === 0 && low === 0) return;
    if (this.count === this.high.length) this.#grow();
    this.high[this.count] = high;
    this.low[this.count] = low;
    this.name[this.count++] = name;
  }

  #grow(): void {
    const bigger = (old: Uint32Array) => {
      const out = new Uint32Array(Math.max(16_384, old.length * 2));
      out.set(old);
      return out;
    };
    this.high = bigger(this.high);
    this.low = bigger(this.low);
    this.name = bigger(this.name);
  }
}

/** T, t: functions; W, w: weak ones. */
const functionTypes: ReadonlySet<number> = new Set([0x54, 0x74, 0x57, 0x77]);

/** Takes /proc/kallsyms in pieces of any size, so that the event loop is not held for its 100 ms. */
export class SymbolTableBuilder {
  readonly #lines = new ParsedLines();
  /** Memory that is never written to is never resident. */
  #names = Buffer.alloc(8 * 1024 * 1024);
  #used = 0;
  #rest: Buffer = Buffer.alloc(0);
  #textEnd: readonly [number, number] | undefined;

  constructor() {
    // Names stand between line feeds, so that a search for a whole name is a search for bytes.
    this.#names[this.#used++] = 10;
  }

  push(chunk: Buffer): void {
    let from = 0;
    if (this.#rest.length > 0) {
      // Only the line that the last piece was cut in is put together: copies of whole pieces would pile up.
      from = chunk.indexOf(10) + 1;
      this.#rest = Buffer.concat([this.#rest, from > 0 ? chunk.subarray(0, from) : chunk]);
      if (from === 0) return;
      this.#line(this.#rest, 0, this.#rest.length - 1);
    }
    for (;;) {
      const end = chunk.indexOf(10, from);
      if (end < 0) break;
      this.#line(chunk, from, end);
      from = end + 1;
    }
    this.#rest = Buffer.from(chunk.subarray(from));
  }

  /** `ffffffff81000000 T _stext` or, in a module, `ffffffffc0000000 t name\t[module]`; anything else is passed over. */
  #line(text: Buffer, from: number, end: number): void {
    const space = text.indexOf(32, from);
    if (space < 0 || space - from > 16 || space === from || space + 3 >= end || text[space + 2] !== 32) return;
    const split = Math.max(from, space - 8);
    const high = split === from ? 0 : hex(text, from, split);
    const low = hex(text, split, space);
    if (high < 0 || low < 0) return;
    const name = space + 3;
    if (end - name === 6 && text.toString('latin1', name, end) === '_etext') {
      this.#textEnd = [high, low];
      return;
    }
    if (!functionTypes.has(text[space + 1]!)) return;
    this.#lines.add(high, low, this.#used);
    this.#room(end - name + 1);
    text.copy(this.#names, this.#used, name, end);
    this.#used += end - name;
    this.#names[this.#used++] = 10;
  }

  #room(bytes: number): void {
    if (this.#used + bytes <= this.#names.length) return;
    const bigger = Buffer.alloc(this.#names.length * 2);
    this.#names.copy(bigger);
    this.#names = bigger;
  }

  finish(): SymbolTable {
    this.push(Buffer.from('\n'));
    const end = this.#textEnd;
    const hidden = end?.[0] === 0 && end[1] === 0;
    return new SymbolTable(this.#lines, this.#names.subarray(0, this.#used), hidden ? undefined : end);
  }
}

/** Value of hexadecimal digits (at most eight); -1 for anything else. */
function hex(text: Buffer, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const c = text[i]!;
    const digit = c >= 48 && c <= 57 ? c - 48 : c >= 97 && c <= 102 ? c - 87 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** Parses a whole kallsyms text. */
export function parseKallsyms(text: Buffer): SymbolTable {
  const builder = new SymbolTableBuilder();
  builder.push(text);
  return builder.finish();
}

/**
 * The running kernel's functions by address: read once, read again when modules came or went. Empty until {@link refresh} has
 * resolved for the first time.
 */
export class KernelSymbols {
  readonly #root: ProcRoot;
  #table: SymbolTable = new SymbolTable(new ParsedLines(), Buffer.alloc(0), undefined);
  #modules: string | undefined;
  #reading: Promise<SymbolTable> | undefined;

  constructor(root: ProcRoot = hostRoot) {
    this.#root = root;
  }

  get table(): SymbolTable {
    return this.#table;
  }

  /** Reads the symbols if they were never read or modules changed since. Calls at the same time share one reading. */
  refresh(): Promise<SymbolTable> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<SymbolTable> {
    const modules = loadedModules(this.#root.tryReadText(this.#root.proc('modules')) ?? '');
    if (modules === this.#modules) return this.#table;
    const builder = new SymbolTableBuilder();
    const file = await open(this.#root.proc('kallsyms'), 'r');
    try {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
        if (bytesRead === 0) break;
        builder.push(buffer.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
    this.#table = builder.finish();
    this.#modules = modules;
    return this.#table;
  }

  /** `tcp_v4_rcv+0x1A2`, with ` [module]` where it is one; undefined when no function is there. @param address `0x…` or bare hex */
  describe(address: string): string | undefined {
    const symbol = this.lookup(address);
    return symbol && `${symbol.name}+0x${symbol.offset.toString(16).toUpperCase()}`;
  }

  lookup(address: string): KernelSymbol | undefined {
    const digits = (address.startsWith('0x') ? address.slice(2) : address).padStart(16, '0');
    const high = Number.parseInt(digits.slice(0, 8), 16);
    const low = Number.parseInt(digits.slice(8), 16);
    if (digits.length !== 16 || Number.isNaN(high) || Number.isNaN(low)) return undefined;
    return this.#table.lookup(high, low);
  }
}

/** What tells that modules came, went or moved: name, size and address of each, without use counts and users. */
function loadedModules(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      const [name, size, , , , address] = line.split(' ');
      return `${name} ${size} ${address}`;
    })
    .join('\n');
}

const shared = new WeakMap<ProcRoot, KernelSymbols>();

/** The one symbol table of a root: the receiver and the symbolizer share it. */
export function sharedSymbols(root: ProcRoot = hostRoot): KernelSymbols {
  let symbols = shared.get(root);
  if (!symbols) {
    symbols = new KernelSymbols(root);
    shared.set(root, symbols);
  }
  return symbols;
}
