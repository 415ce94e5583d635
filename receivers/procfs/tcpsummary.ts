import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { dumpSockets, IPPROTO_TCP, type SocketRecord, TCP_LISTEN, tcpStates } from '../../host/netlink/sock-diag.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { connectionStates, tcpsummaryMetrics as m } from './metrics-net.ts';
import type { ScrapeContext } from './scrape.ts';
import { SeriesSet } from './series.ts';

/**
 * The TCP sockets of a namespace by sock_diag(7): one walk of the kernel's tables for both IP versions. /proc/net/tcp would cost as much to walk and
 * twice as much again to print and parse.
 */

/**
 * The states there is a series for. Sockets that are bound and nothing more have another since Linux 6.8 (TCPF_BOUND_INACTIVE in
 * inet_diag_dump_icsk()): asking for those too would make the kernel walk the table of bound ports, a fifth of the cost.
 */
const shownStates = (1 << tcpStates.length) - 1;

/** One address and port that is listened on; sockets that share it (SO_REUSEPORT) are summed. */
interface Listener {
  readonly attributes: Attributes;
  waiting: number;
  limit: number;
}

/** What one namespace's sockets come to. Used again for each. */
export class SocketCounts {
  readonly byState = new Float64Array(tcpStates.length);
  receiveBytes = 0;
  sendBytes = 0;
  readonly listeners = new Map<string, Listener>();
  readonly #maxListeners: number;

  constructor(maxListeners: number) {
    this.#maxListeners = maxListeners;
  }

  reset(): void {
    this.byState.fill(0);
    this.receiveBytes = 0;
    this.sendBytes = 0;
    this.listeners.clear();
  }

  take(socket: SocketRecord): void {
    const { state } = socket;
    if (state < this.byState.length) this.byState[state] = (this.byState[state] as number) + 1;
    if (state === TCP_LISTEN) this.#listener(socket);
    else {
      this.receiveBytes += socket.receiveQueue;
      this.sendBytes += socket.sendQueue;
    }
  }

  #listener(socket: SocketRecord): void {
    const address = socket.localAddress();
    const port = socket.localPort;
    const wanted = `${address} ${port}`;
    const key = this.listeners.has(wanted) || this.listeners.size < this.#maxListeners ? wanted : 'overflow';
    let listener = this.listeners.get(key);
    if (listener === undefined) {
      const attributes: Attributes =
        key === 'overflow'
          ? { 'otel.metric.overflow': true }
          : { 'network.local.address': address, 'network.local.port': port };
      listener = { attributes, waiting: 0, limit: 0 };
      this.listeners.set(key, listener);
    }
    listener.waiting += socket.receiveQueue;
    listener.limit += socket.sendQueue;
  }
}

/** Series and reading of the tcpsummary scraper. */
export class TcpsummaryScraper {
  /** States and queues: the same for each namespace. */
  readonly series = new SeriesSet();
  readonly counts: SocketCounts;
  readonly #context: ScrapeContext;
  readonly #receive: number;
  readonly #send: number;
  readonly #states: readonly (readonly [state: number, slot: number])[];
  /** Sets of listeners → their series, of this round and the one before. */
  #listeners = new Map<string, SeriesSet>();
  #listenersBefore = new Map<string, SeriesSet>();

  constructor(context: ScrapeContext, maxListeners: number) {
    this.#context = context;
    this.counts = new SocketCounts(maxListeners);
    const { enabled } = context;
    this.#states = connectionStates.map((state) => {
      const attributes = { 'network.transport': 'tcp', 'network.connection.state': state };
      const slot = this.series.addIf(enabled, m['system.network.connection.count'], attributes);
      return [tcpStates.indexOf(state), slot] as const;
    });
    const queue = m['skoop.tcp.socket_queue'];
    this.#receive = this.series.addIf(enabled, queue, { 'network.io.direction': 'receive' });
    this.#send = this.series.addIf(enabled, queue, { 'network.io.direction': 'transmit' });
  }

  endRound(): void {
    this.#listenersBefore = this.#listeners;
    this.#listeners = new Map();
  }

  /**
   * Reads one namespace into `counts`.
   *
   * @param path the namespace's file.
   * @throws SysError: the namespace is gone, or the kernel has no tcp_diag.
   */
  async read(path: string): Promise<void> {
    const { counts } = this;
    counts.reset();
    const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.sockDiag, netns: path });
    try {
      const visit = (record: SocketRecord) => counts.take(record);
      const outcome = await dumpSockets(socket, { family: 0, protocol: IPPROTO_TCP, states: shownStates }, visit, {
        restart: () => counts.reset(),
      });
      for (let i = 0; i < outcome.malformed; i++) this.#context.reject('bad_line');
    } finally {
      socket.close();
    }
  }

  /** States and queues of the namespace just read. */
  values(): Float64Array {
    const { counts } = this;
    const values = this.series.blank();
    for (const [state, slot] of this.#states) if (slot >= 0) values[slot] = counts.byState[state] as number;
    if (this.#receive >= 0) values[this.#receive] = counts.receiveBytes;
    if (this.#send >= 0) values[this.#send] = counts.sendBytes;
    return values;
  }

  /** Listeners of the namespace just read; undefined when there are none, or nobody wants them. */
  listenerValues(): { series: SeriesSet; values: Float64Array } | undefined {
    const { enabled } = this.#context;
    const [queue, limit] = [m['skoop.tcp.accept_queue'], m['skoop.tcp.accept_queue_limit']];
    const { listeners } = this.counts;
    if (listeners.size === 0 || !(enabled(queue) || enabled(limit))) return undefined;
    const sorted = [...listeners].sort(([a], [b]) => (a < b ? -1 : 1));
    const key = sorted.map(([name]) => name).join('\n');
    let series = this.#listeners.get(key) ?? this.#listenersBefore.get(key);
    if (series === undefined) {
      series = new SeriesSet();
      for (const [, { attributes }] of sorted) {
        series.addIf(enabled, queue, attributes);
        series.addIf(enabled, limit, attributes);
      }
    }
    this.#listeners.set(key, series);
    const values: number[] = [];
    for (const [, { waiting, limit: most }] of sorted) {
      if (enabled(queue)) values.push(waiting);
      if (enabled(limit)) values.push(most);
    }
    return { series, values: Float64Array.from(values) };
  }
}
