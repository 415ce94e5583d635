import { FakeClock } from '../../pipeline/testing.ts';
import { NodeView } from '../../view/node-view.ts';
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

/** A node with a fault in it: `web` lost 23 packets to a firewall, `cart` is calm, one namespace is no pod. Used by tests only. */

const stepMs = 15_000;

const traffic = (packets: number, bytes: number): Point[] =>
  (['receive', 'transmit'] as const).flatMap((direction): Point[] => {
    const attributes = { 'network.io.direction': direction, 'network.interface.name': 'eth0' };
    return [
      { metric: 'system.network.packet.count', attributes, value: packets },
      { metric: 'system.network.io', attributes, value: bytes },
    ];
  });

export function troubledNode(names: { pod?: string; reason?: string } = {}): { view: NodeView; clock: FakeClock } {
  const { pod = 'web', reason = 'NETFILTER_DROP' } = names;
  const clock = new FakeClock();
  const view = new NodeView({ nodeName: 'node-x', clock, stepMs });
  const [web, cart] = [podResource(pod, 'shop', 'uid-web'), podResource('cart')];
  const lab = { attributes: { 'skoop.netns.inode': 4026532401, 'skoop.netns.name': 'lab' } };
  const drops: Point = {
    metric: 'skoop.packet.drops',
    attributes: { 'skoop.drop.reason': reason, 'skoop.drop.location': 'nft_do_chain' },
    value: 23,
  };
  const round = (n: number, dropped: readonly Point[]) => {
    clock.advance(stepMs);
    const now = clock.nowMs();
    const of = (
      source: string,
      ...snapshots: readonly (readonly [number | undefined, typeof web, readonly Point[]])[]
    ) =>
      view.accept(
        metricsBatch(
          source,
          snapshots.map(([netns, resource, points]) => snapshot(now, netns, resource, points)),
        ),
      );
    of(
      'procfs/netdev',
      [1, web, traffic(30 * n, 3000 * n)],
      [2, cart, traffic(345 * n, 4e6 * n)],
      [3, lab, traffic(0, 0)],
    );
    of('procfs/tcp', [1, web, [{ metric: 'skoop.tcp.retrans_segs', value: 0 }]]);
    of('ebpf/packetloss', ...(dropped.length > 0 ? [[1, web, dropped] as const] : []));
    of('ebpf/tcprtt', [2, cart, [{ metric: 'skoop.tcp.rtt', value: Array.from({ length: 100 * n }, () => 0.0003) }]]);
    of('netlink/conntrack', [
      undefined,
      nodeResource,
      [
        { metric: 'skoop.conntrack.entries', value: 13 },
        { metric: 'skoop.conntrack.limit', value: 26 },
      ],
    ]);
    of('procfs/tcpsummary', [
      1,
      web,
      [
        {
          metric: 'system.network.connection.count',
          attributes: { 'network.transport': 'tcp', 'network.connection.state': 'established' },
          value: 7,
        },
        {
          metric: 'skoop.tcp.accept_queue',
          attributes: { 'network.local.address': '*', 'network.local.port': 80 },
          value: 5,
        },
        {
          metric: 'skoop.tcp.accept_queue_limit',
          attributes: { 'network.local.address': '*', 'network.local.port': 80 },
          value: 5,
        },
      ],
    ]);
  };
  view.accept({
    kind: 'entities',
    source: 'cri/pods',
    timeMs: clock.nowMs(),
    entities: [podEntity(pod, { uid: 'uid-web' }), podEntity('cart', { ips: ['10.0.0.3'] })],
  });
  round(1, []);
  round(2, [drops]);
  const dropped = event(clock.nowMs(), web, 'skoop.packet.dropped', {
    'kubeskoop.type': 'PACKETLOSS',
    'network.transport': 'udp',
    'destination.port': 5353,
    'skoop.drop.reason': reason,
    'process.executable.name': 'evil\u001b[2Jname\u009b31m\u202e',
    'skoop.stack': 'kfree_skb+0x1 nf_hook_slow+0x2',
  });
  view.accept(logsBatch([dropped, event(clock.nowMs(), cart, 'skoop.socket.slow', { 'skoop.latency': 0.25 })]));
  return { view, clock };
}
