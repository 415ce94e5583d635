import { DiagExtension, dumpSockets, IPPROTO_TCP, type SocketRecord, stateMask } from '../../host/netlink/sock-diag.ts';
import type { TcpInfo } from '../../host/netlink/tcp-info.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import { makeSchema, type Schema, type Snapshot, slotsOf } from '../../pipeline/batch.ts';
import type { HistogramLayout, MetricDefinition } from '../../pipeline/catalogue.ts';
import { ConnectionTable, remembered } from './connection-table.ts';
import { observe } from './histogram.ts';
import { tcpInfoMetrics as m } from './metrics-tcp-info.ts';
import { type Enabled, type NetnsVisit, prune, type Scraper, snapshot } from './scraper.ts';
import type { WorstPeers } from './worst-peers.ts';

/** Connections that carry data: established, close_wait (the peer has closed), fin_wait_1 (the rest is being sent). */
const states = stateMask(1, 8, 4);

/** What a namespace's connections have said so far. */
interface State {
  readonly startTimeMs: number;
  readonly table: ConnectionTable;
  /** Cumulative values in the order of the schema. */
  readonly values: Float64Array;
  /** Connections met in the first round of the agent began before it: only what comes later is counted. */
  baseline: boolean;
  lastVisitMs: number;
  observed: boolean;
}

/**
 * Whether a namespace has established connections of either IP version, by `Tcp: CurrEstab` of /proc/PID/net/snmp (RFC 1213
 * tcpCurrEstab: established and close_wait). True when it cannot be told.
 */
export function mayHaveConnections(root: ProcRoot, pid: number | undefined): boolean {
  const text = pid === undefined ? undefined : root.tryReadText(root.proc(pid, 'net/snmp'));
  const [names, values] = text?.split('\n').filter((line) => line.startsWith('Tcp: ')) ?? [];
  const at = names?.split(' ').indexOf('CurrEstab') ?? -1;
  return at < 0 || values?.split(' ')[at] !== '0';
}

/** One histogram of the schema, or undefined when it is switched off. */
interface Histogram {
  readonly at: number;
  readonly layout: HistogramLayout;
}

/** Histograms over the established connections of each namespace. */
export class TcpInfoScraper implements Scraper {
  readonly families = ['diag'] as const;
  readonly #maxConnections: number;
  readonly #intervalMs: number;
  readonly #peers: WorstPeers;
  readonly #root: ProcRoot;
  readonly #schema: Schema;
  readonly #rtt: Histogram | undefined;
  readonly #ratio: Histogram | undefined;
  readonly #window: Histogram | undefined;
  readonly #unacked: Histogram | undefined;
  readonly #rate: Histogram | undefined;
  readonly #busyAt: number;
  readonly #states = new Map<number, State>();
  readonly #delta = new Float64Array(remembered);
  #snapshots: Snapshot[] = [];
  #firstRound = true;
  #rememberedNow = 0;
  #notRemembered = 0;

  constructor(maxConnections: number, intervalMs: number, enabled: Enabled, peers: WorstPeers, root: ProcRoot) {
    this.#root = root;
    this.#maxConnections = maxConnections;
    this.#intervalMs = intervalMs;
    this.#peers = peers;
    const limits = ['network', 'receive_window', 'send_buffer'];
    const all = [
      m['skoop.tcp.connection.rtt'],
      m['skoop.tcp.connection.retransmit_ratio'],
      m['skoop.tcp.connection.congestion_window'],
      m['skoop.tcp.connection.unacked'],
      m['skoop.tcp.connection.delivery_rate'],
    ].filter((metric) => enabled(metric));
    const busy = enabled(m['skoop.tcp.busy_time']) ? limits : [];
    this.#schema = makeSchema([
      ...all.map((metric) => ({ metric })),
      ...busy.map((limit) => ({ metric: m['skoop.tcp.busy_time'], attributes: { 'skoop.tcp.limit': limit } })),
    ]);
    const find = (metric: MetricDefinition): Histogram | undefined => {
      const series = this.#schema.series.find((s) => s.metric === metric);
      return series && metric.histogram ? { at: series.offset, layout: metric.histogram } : undefined;
    };
    this.#rtt = find(m['skoop.tcp.connection.rtt']);
    this.#ratio = find(m['skoop.tcp.connection.retransmit_ratio']);
    this.#window = find(m['skoop.tcp.connection.congestion_window']);
    this.#unacked = find(m['skoop.tcp.connection.unacked']);
    this.#rate = find(m['skoop.tcp.connection.delivery_rate']);
    this.#busyAt = busy.length === 0 ? -1 : all.reduce((at, metric) => at + slotsOf(metric), 0);
  }

  begin(): void {
    this.#snapshots = [];
    this.#rememberedNow = 0;
  }

  async visit(ns: NetnsVisit): Promise<void> {
    const state = this.#state(ns);
    const sinceMs = Math.max(1, ns.timeMs - state.lastVisitMs);
    state.table.turn();
    this.#peers.open();
    this.#notRemembered = 0;
    const query = { family: 0, protocol: IPPROTO_TCP, states, extensions: DiagExtension.info };
    // The kernel walks the whole machine's table for a dump: a tenth of that tells whether there is anything to find.
    if (mayHaveConnections(this.#root, ns.info.pid)) {
      const outcome = await dumpSockets(ns.diag, query, (socket) => this.#take(state, socket, sinceMs));
      if (outcome.malformed > 0) ns.rejected('malformed_socket', outcome.malformed);
    }
    this.#peers.close(ns);
    if (this.#notRemembered > 0) ns.dropped('connection_limit', this.#notRemembered);
    state.lastVisitMs = ns.timeMs;
    state.baseline = false;
    // A namespace without a connection so far has no series.
    if (state.observed) {
      this.#snapshots.push(snapshot(ns, this.#schema, state.values.slice(), state.startTimeMs));
    }
  }

  finish(alive: ReadonlySet<number>): readonly Snapshot[] {
    prune(this.#states, alive);
    this.#firstRound = false;
    return this.#snapshots;
  }

  #state(ns: NetnsVisit): State {
    let state = this.#states.get(ns.info.life);
    if (state === undefined) {
      state = {
        startTimeMs: ns.timeMs - (this.#firstRound ? 0 : Math.min(this.#intervalMs, ns.timeMs - ns.info.firstSeenMs)),
        table: new ConnectionTable(),
        values: new Float64Array(this.#schema.slots),
        baseline: this.#firstRound,
        lastVisitMs: ns.timeMs - this.#intervalMs,
        observed: false,
      };
      this.#states.set(ns.info.life, state);
    }
    return state;
  }

  #take(state: State, socket: SocketRecord, sinceMs: number): void {
    const info = socket.info;
    if (info === undefined) return;
    const delta = this.#delta;
    delta[0] = info.totalRetransmits;
    delta[1] = info.dataSegmentsOut;
    delta[2] = info.busyUs;
    delta[3] = info.receiveWindowLimitedUs;
    delta[4] = info.sendBufferLimitedUs;
    if (!this.#difference(state, socket)) delta.fill(0);
    else this.#addBusyTime(state.values);
    const values = state.values;
    state.observed = true;
    const segments = delta[1] as number;
    const retransmitted = delta[0] as number;
    if (this.#ratio && segments > 0) {
      observe(values, this.#ratio.at, this.#ratio.layout, Math.min(1, retransmitted / segments));
    }
    const idleMs = Math.min(info.lastDataSentMs, info.lastDataReceivedMs, info.lastAckReceivedMs);
    if (idleMs > sinceMs) return;
    this.#observeActive(values, info);
    if (this.#peers.wanted) this.#peers.add(socket.remoteKey(), info.rttUs, retransmitted, segments);
  }

  /** Turns {@link #delta} into what came since the last round. False: not known, nothing can be said. */
  #difference(state: State, socket: SocketRecord): boolean {
    if (this.#rememberedNow >= this.#maxConnections) {
      this.#notRemembered++;
      return false;
    }
    this.#rememberedNow++;
    const known = state.table.difference(socket.cookieLow, socket.cookieHigh, this.#delta);
    // A connection that was not there a round ago began since: all of it is of this round.
    return known || !state.baseline;
  }

  #addBusyTime(values: Float64Array): void {
    const at = this.#busyAt;
    const [, , busy = 0, window = 0, buffer = 0] = this.#delta;
    if (at < 0 || Number.isNaN(busy)) return;
    values[at] = (values[at] as number) + Math.max(0, busy - window - buffer) / 1e6;
    values[at + 1] = (values[at + 1] as number) + window / 1e6;
    values[at + 2] = (values[at + 2] as number) + buffer / 1e6;
  }

  #observeActive(values: Float64Array, info: TcpInfo): void {
    const rttUs = info.rttUs;
    if (this.#rtt && rttUs > 0) observe(values, this.#rtt.at, this.#rtt.layout, rttUs / 1e6);
    if (this.#window) observe(values, this.#window.at, this.#window.layout, info.congestionWindow);
    if (this.#unacked) observe(values, this.#unacked.at, this.#unacked.layout, info.unacked);
    const rate = info.deliveryRate;
    if (this.#rate && rate > 0 && !info.appLimited) observe(values, this.#rate.at, this.#rate.layout, rate);
  }
}
