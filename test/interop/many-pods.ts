import type { LogRecord } from '../../pipeline/batch.ts';
import type { Exporter } from '../../pipeline/component.ts';
import {
  event,
  logsBatch,
  metricsBatch,
  nodeResource,
  type Point,
  podEntity,
  podResource,
  snapshot,
} from '../../view/testing.ts';

/** A node's worth of made-up pods: what a few receivers would tell of them. */
export interface ManyPods {
  /** Gives the exporter the next collection, `atMs` Unix epoch ms. */
  collect(exporter: Exporter, atMs: number): Promise<void>;
  readonly names: readonly string[];
}

const apps = ['web', 'cart', 'catalog', 'search', 'payments', 'ledger', 'images', 'gateway', 'mailer', 'statsd'];
const never = new AbortController().signal;

/** @param troubled every how manieth pod has something wrong with it */
export function manyPods(count: number, troubled = 23): ManyPods {
  const names = Array.from({ length: count }, (_, i) => `${apps[i % apps.length]}-${String(i).padStart(3, '0')}`);
  const resources = names.map((name, i) => podResource(name, i % 3 === 0 ? 'shop' : 'data'));
  const entities = names.map((name, i) =>
    podEntity(name, { namespace: i % 3 === 0 ? 'shop' : 'data', ips: [`10.0.0.${i}`] }),
  );
  let round = 0;
  const io = (i: number): Point[] => [
    {
      metric: 'system.network.io',
      attributes: { 'network.interface.name': 'eth0', 'network.io.direction': 'receive' },
      value: round * 1000 * (1 + (i % 17)),
    },
    {
      metric: 'system.network.io',
      attributes: { 'network.interface.name': 'eth0', 'network.io.direction': 'transmit' },
      value: round * 700 * (1 + (i % 13)),
    },
  ];
  const drops = (i: number): Point => ({
    metric: 'skoop.packet.drops',
    attributes: { 'skoop.drop.reason': 'NETFILTER_DROP', 'skoop.drop.location': 'nft_do_chain' },
    value: i % troubled === 0 ? round * 7 : 0,
  });
  const rtt = (i: number): Point => ({
    metric: 'skoop.tcp.rtt',
    // All there were so far: a histogram is cumulative.
    value: Array.from({ length: 5 * round }, (_, k) => 2 ** (-12 + ((i + k * k + (k >> 3)) % 6)) * (1 + (k % 3) / 4)),
  });
  const flows = (i: number): Point[] =>
    ['transmit', 'receive'].map((direction) => ({
      metric: 'skoop.flow.io',
      attributes: {
        'network.io.direction': direction,
        'network.transport': 'tcp',
        [direction === 'transmit' ? 'source.address' : 'destination.address']: `10.0.0.${i}`,
        [direction === 'transmit' ? 'destination.address' : 'source.address']: `10.1.${i % 7}.${i % 31}`,
      },
      value: round * 100 * (1 + i),
    }));
  const of = (make: (i: number) => Point[], atMs: number) =>
    names.map((_, i) => snapshot(atMs, 1000 + i, resources[i]!, make(i)));
  return {
    names,
    async collect(exporter, atMs) {
      round++;
      await exporter.push({ kind: 'entities', source: 'cri', timeMs: atMs, entities }, never);
      await exporter.push(metricsBatch('procfs/netdev', of(io, atMs)), never);
      await exporter.push(
        metricsBatch(
          'ebpf/packetloss',
          of((i) => [drops(i)], atMs),
        ),
        never,
      );
      await exporter.push(
        metricsBatch(
          'ebpf/tcprtt',
          of((i) => [rtt(i)], atMs),
        ),
        never,
      );
      await exporter.push(metricsBatch('ebpf/flow', of(flows, atMs)), never);
      const records = names.flatMap((_, i): LogRecord[] =>
        i % troubled === 0 ? [event(atMs, resources[i]!, 'skoop.packet.dropped', dropAttributes(i))] : [],
      );
      records.push(event(atMs, nodeResource, 'skoop.softirq.slow', { 'skoop.latency': 0.013 }));
      await exporter.push(logsBatch(records), never);
    },
  };
}

function dropAttributes(i: number) {
  return {
    'kubeskoop.type': 'PACKETLOSS',
    'network.transport': 'udp',
    'source.address': `10.1.0.${i % 31}`,
    'source.port': 40_000 + i,
    'destination.address': `10.0.0.${i}`,
    'destination.port': 8125,
    'skoop.drop.reason': 'NETFILTER_DROP',
  };
}
