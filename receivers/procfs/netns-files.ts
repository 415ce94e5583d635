import { inNetns } from '../../host/netns/enter.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { isGone } from '../../host/proc-root.ts';
import type { Snapshot } from '../../pipeline/batch.ts';
import type { ProcfsConfig } from './config.ts';
import { LastText } from './last-text.ts';
import type { Reject } from './lines.ts';
import type { ScraperName } from './metrics.ts';
import { icmpTable } from './metrics-icmp.ts';
import { ipTable } from './metrics-ip.ts';
import { mptcpTable } from './metrics-mptcp.ts';
import { tcpTable } from './metrics-tcp.ts';
import { tcpextTable } from './metrics-tcpext.ts';
import { udpliteTable, udpTable } from './metrics-udp.ts';
import { MibFile, MibTarget, Snmp6File } from './mib.ts';
import type { MibTable } from './mib-table.ts';
import { InterfaceCounters, type InterfaceFilter, type InterfaceValues, matcher, NetdevFile } from './netdev.ts';
import type { OwnerState } from './owners.ts';
import type { ScrapeContext } from './scrape.ts';
import { SockFiles } from './sock.ts';

/** Scrapers of the kernel's MIBs and their tables. */
const mibTables = {
  tcp: [tcpTable],
  udp: [udpTable, udpliteTable],
  ip: [ipTable],
  icmp: [icmpTable],
  tcpext: [tcpextTable, mptcpTable],
} as const satisfies Partial<Record<ScraperName, readonly MibTable[]>>;
type MibScraper = keyof typeof mibTables;

type MibFileName = 'snmp' | 'netstat' | 'snmp6';

/** Takes a snapshot of a scraper; undefined is ignored. */
export type Emit = (scraper: ScraperName, snapshot: Snapshot | undefined) => void;

/** What the files of a namespace said last, and what was made of it: when they say the same, so do the values, which are frozen anyway. */
class Memory {
  readonly counters = new InterfaceCounters();
  readonly dev = new LastText();
  interfaces: InterfaceValues | undefined;
  readonly mibs = new Map<MibFileName, LastText>();
  /** In the order of the targets; empty: nothing to go by. */
  mibValues: readonly Float64Array[] = [];
}

/** What reading a namespace came to. */
export interface NetnsReading {
  /** TCP sockets in use and in TIME_WAIT, by net/sockstat; NaN when it was not read. */
  readonly tcpSockets: number;
}

/**
 * The files of one network namespace: each is read once, whatever number of scrapers and pods share it. The work of a round is done here, so it
 * allocates little more than what it emits.
 */
export class NetnsFiles {
  readonly #context: ScrapeContext;
  readonly #targets = new Map<MibScraper, MibTarget>();
  readonly #mibFiles = new Map<MibFileName, Pick<MibFile, 'parse'>>();
  readonly #netdev: NetdevFile | undefined;
  readonly #memories = new WeakMap<OwnerState, Memory>();
  /** Something was rejected since this was last set to false: such a text is parsed, and counted, each time. */
  #rejected = false;
  readonly #interfaces: InterfaceFilter;
  readonly #hostInterfaces: InterfaceFilter;
  readonly #sock: SockFiles | undefined;
  readonly #emitsSock: boolean;

  constructor(context: ScrapeContext, config: ProcfsConfig, pageSize: number) {
    this.#context = context;
    const { scrapers } = config;
    const { enabled } = context;
    const reject: Reject = (reason) => {
      this.#rejected = true;
      context.reject(reason);
    };
    const rows = new Map<string, MibTarget>();
    for (const name of Object.keys(mibTables) as MibScraper[]) {
      if (!scrapers[name].enabled) continue;
      const target = new MibTarget(mibTables[name], enabled);
      this.#targets.set(name, target);
      for (const row of target.rows()) rows.set(row, target);
    }
    const names = [...rows.keys()];
    const wanted = (test: (row: string) => boolean, other?: MibTarget) => names.some(test) || other?.takesAnyRow;
    const [ip, tcpext] = [this.#targets.get('ip'), this.#targets.get('tcpext')];
    if (wanted((r) => !r.endsWith('6') && !r.endsWith('Ext'), ip))
      this.#mibFiles.set('snmp', new MibFile(rows, reject, ip));
    if (wanted((r) => r.endsWith('Ext'), tcpext)) this.#mibFiles.set('netstat', new MibFile(rows, reject, tcpext));
    if (wanted((r) => r.endsWith('6'))) this.#mibFiles.set('snmp6', new Snmp6File(rows, reject));
    const { netdev } = scrapers;
    if (netdev.enabled) this.#netdev = new NetdevFile(enabled, netdev.max_interfaces, reject);
    const [include, exclude, hostExclude] = [netdev.include, netdev.exclude, netdev.host_exclude].map(matcher);
    this.#interfaces = (name) => include?.(name) === true && exclude?.(name) !== true;
    this.#hostInterfaces = (name) => this.#interfaces(name) && hostExclude?.(name) !== true;
    this.#emitsSock = scrapers.sock.enabled;
    if (scrapers.sock.enabled || scrapers.tcpsummary.enabled) this.#sock = new SockFiles(enabled, pageSize, reject);
  }

  endRound(): void {
    this.#netdev?.endRound();
  }

  /**
   * Reads one namespace and emits its snapshots.
   *
   * @param node takes what the kernel counts for the whole machine; given for the node's own namespace.
   * @returns undefined when the namespace ended meanwhile: then nothing is emitted.
   */
  read(info: NetnsInfo, state: OwnerState, node: OwnerState | undefined, timeMs: number, emit: Emit) {
    const snapshots: [ScraperName, Snapshot | undefined][] = [];
    const keep: Emit = (scraper, snapshot) => snapshots.push([scraper, snapshot]);
    const { root } = this.#context;
    const reading =
      info.pid === undefined
        ? this.#readNamed(info, () => this.#readAll(root.proc('thread-self/net'), info, state, node, timeMs, keep))
        : this.#readAll(root.proc(info.pid, 'net'), info, state, node, timeMs, keep);
    // A process may have ended and its pid been used again, or have moved to another namespace.
    const still = info.pid === undefined || root.netnsInode(root.proc(info.pid, 'ns/net')) === info.netns;
    if (reading === undefined || !still) return undefined;
    for (const [scraper, snapshot] of snapshots) emit(scraper, snapshot);
    return reading;
  }

  /** No process lives in it: this thread goes in for the time of the reading. */
  #readNamed<T>(info: NetnsInfo, read: () => T): T | undefined {
    try {
      return this.#context.permitted('namespaces', () => inNetns(info.path, read));
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  #readAll(
    directory: string,
    info: NetnsInfo,
    state: OwnerState,
    node: OwnerState | undefined,
    timeMs: number,
    emit: Emit,
  ): NetnsReading | undefined {
    // All but dev are printed in one piece (proc_create_net_single(); net/ipv4/proc.c and net/ipv6/proc.c).
    const read: Read = (file) => this.#context.root.tryRead(`${directory}/${file}`, file === 'dev' ? 'any' : 'record');
    const memory = this.#memory(state);
    const found = this.#readNetdev(read, memory, info, state, timeMs, emit);
    const foundMib = this.#readMibs(read, memory, state, timeMs, emit);
    const { found: foundSock, tcpSockets } = this.#readSock(read, state, node, timeMs, emit);
    return found || foundMib || foundSock ? { tcpSockets } : undefined;
  }

  #memory(state: OwnerState): Memory {
    let memory = this.#memories.get(state);
    if (memory === undefined) {
      memory = new Memory();
      for (const name of this.#mibFiles.keys()) memory.mibs.set(name, new LastText());
      this.#memories.set(state, memory);
    }
    return memory;
  }

  #readNetdev(read: Read, memory: Memory, info: NetnsInfo, state: OwnerState, timeMs: number, emit: Emit): boolean {
    const netdev = this.#netdev;
    if (netdev === undefined) return false;
    const text = read('dev');
    const changed = memory.dev.take(text);
    if (text === undefined) return false;
    let interfaces = changed ? undefined : memory.interfaces;
    if (interfaces !== undefined) netdev.keep(interfaces);
    else {
      this.#rejected = false;
      interfaces = netdev.parse(text, info.host ? this.#hostInterfaces : this.#interfaces, memory.counters);
      memory.interfaces = this.#rejected ? undefined : interfaces;
    }
    if (interfaces) emit('netdev', state.snapshot('netdev', interfaces.schema, interfaces.values, timeMs));
    return true;
  }

  #readMibs(read: Read, memory: Memory, state: OwnerState, timeMs: number, emit: Emit): boolean {
    let found = false;
    let changed = false;
    for (const [name, last] of memory.mibs) {
      const text = read(name);
      if (text !== undefined) found = true;
      if (last.take(text)) changed = true;
    }
    const targets = [...this.#targets.values()];
    let values = memory.mibValues;
    const grown = () => targets.some((t, i) => t.series.version !== values[i]?.length);
    this.#rejected = false;
    // A field never seen before makes the series grow: then once more, with room for it.
    for (; changed || grown(); changed = false) values = this.#parseMibs(memory);
    memory.mibValues = this.#rejected ? [] : values;
    for (const [i, [scraper, { series }]] of [...this.#targets].entries()) {
      emit(scraper, state.snapshot(scraper, series.schema, values[i] as Float64Array, timeMs));
    }
    return found;
  }

  #parseMibs(memory: Memory): readonly Float64Array[] {
    for (const target of this.#targets.values()) target.values = target.series.blank();
    for (const [name, { text }] of memory.mibs) if (text !== undefined) this.#mibFiles.get(name)?.parse(text);
    return Array.from(this.#targets.values(), (t) => t.values);
  }

  #readSock(read: Read, state: OwnerState, node: OwnerState | undefined, timeMs: number, emit: Emit) {
    const sock = this.#sock;
    if (sock === undefined) return { found: false, tcpSockets: Number.NaN };
    const values = sock.netns.series.blank();
    const nodeValues = node && sock.node.series.blank();
    let v4 = Number.NaN;
    // Without IPv6 there is no sockstat6, and no socket of it.
    let v6 = 0;
    const text = read('sockstat');
    if (text !== undefined) v4 = sock.parse(text, values, nodeValues);
    const text6 = read('sockstat6');
    if (text6 !== undefined) v6 = sock.parse(text6, values);
    if (this.#emitsSock) {
      emit('sock', state.snapshot('sock', sock.netns.series.schema, values, timeMs));
      if (node && nodeValues) emit('sock', node.snapshot('sock', sock.node.series.schema, nodeValues, timeMs));
    }
    return { found: text !== undefined, tcpSockets: v4 + v6 };
  }
}

/** Reads a file of the namespace; undefined when it is not there. The next call overwrites it. */
type Read = (file: string) => Buffer | undefined;
