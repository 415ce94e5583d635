import { inNetns } from '../../host/netns/enter.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { isGone } from '../../host/proc-root.ts';
import type { Snapshot } from '../../pipeline/batch.ts';
import type { ProcfsConfig } from './config.ts';
import type { ScraperName } from './metrics.ts';
import { icmpTable } from './metrics-icmp.ts';
import { ipTable } from './metrics-ip.ts';
import { mptcpTable } from './metrics-mptcp.ts';
import { tcpTable } from './metrics-tcp.ts';
import { tcpextTable } from './metrics-tcpext.ts';
import { udpliteTable, udpTable } from './metrics-udp.ts';
import { MibFile, MibTarget, Snmp6File } from './mib.ts';
import type { MibTable } from './mib-table.ts';
import { InterfaceCounters, type InterfaceFilter, matcher, NetdevFile } from './netdev.ts';
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

/** Takes a snapshot of a scraper; undefined is ignored. */
export type Emit = (scraper: ScraperName, snapshot: Snapshot | undefined) => void;

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
  readonly #snmp: MibFile | undefined;
  readonly #netstat: MibFile | undefined;
  readonly #snmp6: Snmp6File | undefined;
  readonly #netdev: NetdevFile | undefined;
  readonly #counters = new WeakMap<OwnerState, InterfaceCounters>();
  readonly #interfaces: InterfaceFilter;
  readonly #hostInterfaces: InterfaceFilter;
  readonly #sock: SockFiles | undefined;
  readonly #emitsSock: boolean;

  constructor(context: ScrapeContext, config: ProcfsConfig, pageSize: number) {
    this.#context = context;
    const { scrapers } = config;
    const { enabled, reject } = context;
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
    if (wanted((r) => !r.endsWith('6') && !r.endsWith('Ext'), ip)) this.#snmp = new MibFile(rows, reject, ip);
    if (wanted((r) => r.endsWith('Ext'), tcpext)) this.#netstat = new MibFile(rows, reject, tcpext);
    if (wanted((r) => r.endsWith('6'))) this.#snmp6 = new Snmp6File(rows, reject);
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
    const read = (file: string, parse: (text: Buffer) => void): boolean => {
      // All but dev are printed in one piece (proc_create_net_single(); net/ipv4/proc.c and net/ipv6/proc.c).
      const text = this.#context.root.tryRead(`${directory}/${file}`, file === 'dev' ? 'any' : 'record');
      if (text === undefined) return false;
      parse(text);
      return true;
    };
    const found = this.#readNetdev(read, info, state, timeMs, emit);
    const foundMib = this.#readMibs(read, state, timeMs, emit);
    const { found: foundSock, tcpSockets } = this.#readSock(read, state, node, timeMs, emit);
    return found || foundMib || foundSock ? { tcpSockets } : undefined;
  }

  #readNetdev(read: Read, info: NetnsInfo, state: OwnerState, timeMs: number, emit: Emit): boolean {
    const netdev = this.#netdev;
    if (netdev === undefined) return false;
    const filter = info.host ? this.#hostInterfaces : this.#interfaces;
    let counters = this.#counters.get(state);
    if (counters === undefined) {
      counters = new InterfaceCounters();
      this.#counters.set(state, counters);
    }
    const own = counters;
    return read('dev', (text) => {
      const found = netdev.parse(text, filter, own);
      if (found) emit('netdev', state.snapshot('netdev', found.schema, found.values, timeMs));
    });
  }

  #readMibs(read: Read, state: OwnerState, timeMs: number, emit: Emit): boolean {
    let found = false;
    // A field never seen before makes the series grow: then once more, with room for it.
    for (let grown = true; grown; ) {
      for (const target of this.#targets.values()) target.values = target.series.blank();
      if (this.#snmp && read('snmp', (text) => this.#snmp?.parse(text))) found = true;
      if (this.#netstat && read('netstat', (text) => this.#netstat?.parse(text))) found = true;
      if (this.#snmp6 && read('snmp6', (text) => this.#snmp6?.parse(text))) found = true;
      grown = [...this.#targets.values()].some((t) => t.series.version > t.values.length);
    }
    for (const [scraper, { series, values }] of this.#targets) {
      emit(scraper, state.snapshot(scraper, series.schema, values, timeMs));
    }
    return found;
  }

  #readSock(read: Read, state: OwnerState, node: OwnerState | undefined, timeMs: number, emit: Emit) {
    const sock = this.#sock;
    if (sock === undefined) return { found: false, tcpSockets: Number.NaN };
    const values = sock.netns.series.blank();
    const nodeValues = node && sock.node.series.blank();
    let v4 = Number.NaN;
    // Without IPv6 there is no sockstat6, and no socket of it.
    let v6 = 0;
    const found = read('sockstat', (text) => {
      v4 = sock.parse(text, values, nodeValues);
    });
    read('sockstat6', (text) => {
      v6 = sock.parse(text, values);
    });
    if (this.#emitsSock) {
      emit('sock', state.snapshot('sock', sock.netns.series.schema, values, timeMs));
      if (node && nodeValues) emit('sock', node.snapshot('sock', sock.node.series.schema, nodeValues, timeMs));
    }
    return { found, tcpSockets: v4 + v6 };
  }
}

type Read = (file: string, parse: (text: Buffer) => void) => boolean;
