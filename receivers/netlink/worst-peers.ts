import { type AddressKey, addressOfKey } from '../../host/netlink/sock-diag.ts';
import { makeSchema, type Snapshot } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { tcpInfoMetrics as m } from './metrics-tcp-info.ts';
import { type Enabled, type NetnsVisit, type Scraper, snapshot } from './scraper.ts';

export interface WorstPeersOptions {
  readonly limit: number;
  /** Milliseconds. */
  readonly min_rtt: number;
  readonly min_retransmit_ratio: number;
  readonly min_segments: number;
}

interface Peer {
  connections: number;
  rttSumUs: number;
  retransmitted: number;
  segments: number;
}

/** Peers told apart in one namespace and round. */
const maxPeers = 20_000;

/** The remote ends that are slow or lossy, named while they are: in a healthy network there is not one series. */
export class WorstPeers implements Scraper {
  readonly families = [] as const;
  readonly #options: WorstPeersOptions;
  readonly #byRtt: boolean;
  readonly #byRetransmits: boolean;
  readonly #peers = new Map<AddressKey, Peer>();
  #ignored = 0;
  #snapshots: Snapshot[] = [];

  constructor(options: WorstPeersOptions, enabled: Enabled) {
    this.#options = options;
    this.#byRtt = options.limit > 0 && enabled(m['skoop.tcp.peer.rtt']);
    this.#byRetransmits = options.limit > 0 && enabled(m['skoop.tcp.peer.retransmit_ratio']);
  }

  /** False when nothing is asked of it. */
  get wanted(): boolean {
    return this.#byRtt || this.#byRetransmits;
  }

  begin(): void {
    this.#snapshots = [];
  }

  /** The connections are given by the tcp_info scraper: {@link add}, {@link close}. */
  async visit(): Promise<void> {}

  /** A namespace begins; what one left that could not be read to its end is not the next one's. */
  open(): void {
    this.#peers.clear();
    this.#ignored = 0;
  }

  /** One active connection. `retransmitted` and `segments` of this round. */
  add(key: AddressKey, rttUs: number, retransmitted: number, segments: number): void {
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      if (this.#peers.size >= maxPeers) {
        this.#ignored++;
        return;
      }
      peer = { connections: 0, rttSumUs: 0, retransmitted: 0, segments: 0 };
      this.#peers.set(key, peer);
    }
    if (rttUs > 0) {
      peer.connections++;
      peer.rttSumUs += rttUs;
    }
    peer.retransmitted += retransmitted;
    peer.segments += segments;
  }

  /** The namespace is complete. */
  close(ns: NetnsVisit): void {
    const { min_rtt, min_retransmit_ratio, min_segments } = this.#options;
    const series: { metric: MetricDefinition; attributes: Attributes; value: number }[] = [];
    if (this.#byRtt) {
      const rtt = (p: Peer) => (p.connections === 0 ? 0 : p.rttSumUs / p.connections / 1e6);
      series.push(...this.#worst(m['skoop.tcp.peer.rtt'], rtt, min_rtt / 1000));
    }
    if (this.#byRetransmits) {
      const ratio = (p: Peer) => (p.segments < min_segments ? 0 : p.retransmitted / p.segments);
      series.push(...this.#worst(m['skoop.tcp.peer.retransmit_ratio'], ratio, min_retransmit_ratio));
    }
    if (this.#ignored > 0) ns.dropped('peer_limit', this.#ignored);
    if (series.length === 0) return;
    this.#snapshots.push(
      snapshot(
        ns,
        makeSchema(series),
        Float64Array.from(series, (s) => s.value),
      ),
    );
  }

  finish(): readonly Snapshot[] {
    return this.#snapshots;
  }

  #worst(metric: MetricDefinition, value: (peer: Peer) => number, threshold: number) {
    return [...this.#peers]
      .map(([key, peer]) => ({ key, value: value(peer) }))
      .filter((p) => p.value >= threshold && p.value > 0)
      .sort((a, b) => b.value - a.value)
      .slice(0, this.#options.limit)
      .map((p) => ({ metric, attributes: { 'network.peer.address': addressOfKey(p.key) }, value: p.value }));
  }
}
