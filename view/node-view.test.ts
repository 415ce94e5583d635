import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Batch } from '../pipeline/batch.ts';
import { deepFreeze, FakeClock } from '../pipeline/testing.ts';
import { NodeView } from './node-view.ts';
import {
  event,
  logsBatch,
  metricsBatch,
  nodeResource,
  type Point,
  podEntity,
  podResource,
  snapshot,
} from './testing.ts';
import type { NodeViewOptions } from './types.ts';

const stepMs = 15_000;
const web = podResource('web');
const cart = podResource('cart');

const packets = (receive: number, transmit: number, lo = 0): Point[] => [
  {
    metric: 'system.network.packet.count',
    attributes: { 'network.io.direction': 'receive', 'network.interface.name': 'eth0' },
    value: receive,
  },
  {
    metric: 'system.network.packet.count',
    attributes: { 'network.io.direction': 'transmit', 'network.interface.name': 'eth0' },
    value: transmit,
  },
  {
    metric: 'system.network.packet.count',
    attributes: { 'network.io.direction': 'receive', 'network.interface.name': 'lo' },
    value: lo,
  },
];
const drop = (reason: string, value: number, location = 'nft_do_chain'): Point => ({
  metric: 'skoop.packet.drops',
  attributes: { 'skoop.drop.reason': reason, 'skoop.drop.location': location },
  value,
});

function setup(options: Partial<NodeViewOptions> = {}) {
  const clock = new FakeClock();
  const view = new NodeView({ nodeName: 'node-x', clock, stepMs, ...options });
  const give = (batch: Batch) => view.accept(deepFreeze(batch));
  /** One collection of each source, `stepMs` after the one before. */
  const collect = (...batches: (readonly [source: string, of: Record<string, Point[]>])[]) => {
    clock.advance(stepMs);
    for (const [source, of] of batches) {
      const snapshots = Object.entries(of).map(([name, points], i) =>
        name === 'node'
          ? snapshot(clock.nowMs(), undefined, nodeResource, points)
          : snapshot(clock.nowMs(), 100 + i, resources[name]!, points),
      );
      give(metricsBatch(source, snapshots));
    }
  };
  const resources: Record<string, ReturnType<typeof podResource>> = { web, cart };
  const pod = (name: string) => view.pod(`pod/uid-${name}`);
  return { clock, view, give, collect, pod };
}

describe('the view of the node', () => {
  it('tells rates from two collections and counts within its window, loopback left out', () => {
    const { collect, pod, clock } = setup();
    collect(['procfs/netdev', { web: packets(1000, 2000, 5000) }]);
    assert.equal(pod('web')!.recent.rxPackets, 0, 'what was before the first collection is not recent');
    collect(['procfs/netdev', { web: packets(1030, 2345, 9000) }]);
    assert.deepEqual([pod('web')!.rates.rxPackets, pod('web')!.rates.txPackets], [2, 23]);
    assert.deepEqual([pod('web')!.recent.rxPackets, pod('web')!.recent.txPackets], [30, 345]);
    clock.advance(400_000);
    assert.equal(pod('web')!.recent.txPackets, 0, 'the window moved on');
  });

  it('sees 23 drops in a namespace that never had one, and ranks its pod first for that reason', () => {
    const { collect, view, pod } = setup();
    collect(['procfs/netdev', { web: packets(0, 0), cart: packets(0, 0) }], ['ebpf/packetloss', {}]);
    assert.equal(pod('web')!.recent.drops, 0, 'observed, and none');
    assert.equal(pod('web')!.recent.resets, undefined, 'not observed on this node');
    collect(
      ['procfs/netdev', { web: packets(0, 0), cart: packets(900, 900) }],
      ['ebpf/packetloss', { web: [drop('NETFILTER_DROP', 23)] }],
    );
    const [first, second] = view.pods();
    assert.deepEqual(
      [first!.name, first!.worst],
      ['web', { quantity: 'drops', count: 23, label: 'NETFILTER_DROP', labelCount: 23 }],
    );
    assert.equal(first!.trouble, 4 * Math.log2(24));
    assert.deepEqual([second!.name, second!.trouble, second!.worst], ['cart', 0, undefined]);
    assert.deepEqual(pod('web')!.drops, [{ labels: ['NETFILTER_DROP', 'nft_do_chain'], recent: 23, total: 23 }]);
    collect(
      ['procfs/netdev', { web: packets(0, 0), cart: packets(900, 900) }],
      ['ebpf/packetloss', { web: [drop('NETFILTER_DROP', 23), drop('NO_SOCKET', 7, '')] }],
    );
    assert.deepEqual(
      view.drops().map((d) => [d.labels[0], d.recent, d.total, d.subjects.map((s) => s.name)]),
      [
        ['NETFILTER_DROP', 23, 23, ['web']],
        ['NO_SOCKET', 7, 7, ['web']],
      ],
      'another schema, the same series',
    );
    assert.equal(pod('web')!.rates.drops, 7 / 15);
    assert.deepEqual(
      [pod('web')!.worst!.count, pod('web')!.worst!.labelCount],
      [30, 23],
      'its label has a count of its own',
    );
    const node = view.node();
    assert.deepEqual([node.pods, node.inTrouble, node.recent.drops, node.rates.drops], [2, 1, 30, 7 / 15]);
  });

  it('lets a rate end when its series is gone', () => {
    const { collect, pod } = setup();
    collect(['procfs/netdev', { web: packets(0, 0) }], ['ebpf/packetloss', {}]);
    collect(['procfs/netdev', { web: packets(0, 0) }], ['ebpf/packetloss', { web: [drop('NO_SOCKET', 7)] }]);
    assert.ok(pod('web')!.rates.drops! > 0);
    collect(['procfs/netdev', { web: packets(0, 0) }], ['ebpf/packetloss', {}]);
    assert.equal(pod('web')!.rates.drops, 0);
    assert.equal(pod('web')!.recent.drops, 7);
  });

  it('takes a counter that fell as begun anew: no rate is negative', () => {
    const { collect, pod } = setup();
    collect(['procfs/netdev', { web: packets(5000, 0) }]);
    collect(['procfs/netdev', { web: packets(30, 0) }]);
    assert.equal(pod('web')!.rates.rxPackets, 2);
    assert.equal(pod('web')!.recent.rxPackets, 30);
  });

  it('takes NaN as absent', () => {
    const { collect, pod } = setup();
    collect(['procfs/netdev', { web: packets(Number.NaN, 7) }]);
    collect(['procfs/netdev', { web: packets(Number.NaN, 37) }]);
    assert.deepEqual([pod('web')!.rates.rxPackets, pod('web')!.rates.txPackets], [0, 2]);
  });

  it('forgets a pod at the collection it is not in, and knows one that the runtime alone tells of', () => {
    const { collect, view, give, clock } = setup();
    const names = () => view.pods().map((p) => p.name);
    collect(['procfs/netdev', { web: packets(0, 0), cart: packets(0, 0) }], ['procfs/tcp', { web: [], cart: [] }]);
    assert.deepEqual(names().sort(), ['cart', 'web']);
    collect(['procfs/netdev', { web: packets(0, 0) }]);
    assert.deepEqual(names().sort(), ['cart', 'web'], 'another source still has it');
    collect(['procfs/tcp', { web: [] }]);
    assert.deepEqual(names(), ['web']);
    give({
      kind: 'entities',
      source: 'cri/pods',
      timeMs: clock.nowMs(),
      entities: [podEntity('web'), podEntity('new')],
    });
    assert.deepEqual(names(), ['new', 'web']);
    assert.deepEqual([view.pod('pod/uid-new')!.state, view.pod('pod/uid-new')!.ips], ['ready', ['10.0.0.2']]);
    give({ kind: 'entities', source: 'cri/pods', timeMs: clock.nowMs(), entities: [podEntity('web')] });
    assert.deepEqual(names(), ['web']);
    give({ kind: 'entities', source: 'cri/pods', timeMs: clock.nowMs(), entities: [] });
    assert.deepEqual(names(), ['web'], 'its data still comes');
  });

  it('tells percentiles of the window alone, by rank within the bucket', () => {
    const { collect, view, pod, clock } = setup();
    const rtt = (...value: number[]): Point[] => [{ metric: 'skoop.tcp.rtt', value }];
    collect(['ebpf/tcprtt', { web: rtt(4, 4, 4) }]);
    assert.deepEqual(pod('web')!.latencies, []);
    const fast = Array.from({ length: 97 }, () => 0.0009);
    collect(['ebpf/tcprtt', { web: rtt(4, 4, 4, ...fast, 0.9, 0.9, 0.9) }]);
    const [found] = pod('web')!.latencies;
    assert.deepEqual([found!.latency, found!.label, found!.count, found!.max], ['rtt', 'round trip', 100, 1]);
    assert.ok(found!.p50 > 2 ** -11 && found!.p50 <= 2 ** -10);
    assert.ok(found!.p90 > found!.p50 && found!.p90 <= 2 ** -10);
    assert.ok(found!.p99 > 0.5 && found!.p99 <= 1);
    assert.deepEqual(view.latencies(), pod('web')!.latencies, 'the node has nothing else');
    const heat = view.latencyHistory('pod/uid-web', 'rtt')!;
    const filled = heat.counts.filter((c) => c !== undefined);
    assert.equal(filled.length, 1);
    assert.deepEqual([filled[0]!.reduce((a, b) => a + b), heat.bounds.length, filled[0]!.length], [100, 36, 36]);
    clock.advance(400_000);
    assert.deepEqual(pod('web')!.latencies, []);
  });

  it('tells apart latencies that one metric holds', () => {
    const { collect, pod } = setup();
    const of = (read: number[], write: number[]): Point[] => [
      { metric: 'skoop.socket.latency', attributes: { 'skoop.socket.direction': 'read' }, value: read },
      { metric: 'skoop.socket.latency', attributes: { 'skoop.socket.direction': 'write' }, value: write },
    ];
    collect(['ebpf/socketlatency', { web: of([], []) }]);
    collect(['ebpf/socketlatency', { web: of([0.1, 0.1], [0.001]) }]);
    assert.deepEqual(
      pod('web')!.latencies.map((l) => [l.latency, l.count]),
      [
        ['socketRead', 2],
        ['socketWrite', 1],
      ],
    );
  });

  it('shows connections, listeners, conntrack and peers as last collected', () => {
    const { collect, pod, view } = setup();
    const connections = (state: string, value: number): Point => ({
      metric: 'system.network.connection.count',
      attributes: { 'network.transport': 'tcp', 'network.connection.state': state },
      value,
    });
    const at = { 'network.local.address': '0.0.0.0', 'network.local.port': 80 };
    const flow = (receive: number, transmit: number): Point[] => [
      {
        metric: 'skoop.flow.io',
        attributes: {
          'network.io.direction': 'receive',
          'source.address': '10.0.0.9',
          'destination.address': '10.0.0.2',
        },
        value: receive,
      },
      {
        metric: 'skoop.flow.io',
        attributes: {
          'network.io.direction': 'transmit',
          'source.address': '10.0.0.2',
          'destination.address': '10.0.0.9',
          // Named from the second round on: it is the same flow.
          ...(transmit > 0 ? { 'skoop.peer.k8s.service.name': 'payments' } : {}),
        },
        value: transmit,
      },
    ];
    const round = (receive: number, transmit: number) =>
      collect(
        [
          'procfs/tcpsummary',
          {
            web: [
              connections('established', 7),
              connections('close_wait', 0),
              { metric: 'skoop.tcp.accept_queue', attributes: at, value: 3 },
              { metric: 'skoop.tcp.accept_queue_limit', attributes: at, value: 5 },
            ],
          },
        ],
        [
          'netlink/tcp_info',
          { web: [{ metric: 'skoop.tcp.peer.rtt', attributes: { 'network.peer.address': '10.0.0.7' }, value: 0.25 }] },
        ],
        [
          'netlink/conntrack',
          {
            node: [
              { metric: 'skoop.conntrack.entries', value: 13 },
              { metric: 'skoop.conntrack.limit', value: 26 },
            ],
          },
        ],
        ['ebpf/flow', { web: flow(receive, transmit) }],
      );
    round(1500, 0);
    round(3000, 3000);
    const page = pod('web')!;
    assert.deepEqual(page.tcpConnections, { established: 7 });
    assert.deepEqual(page.listeners, [{ address: '0.0.0.0', port: '80', queue: 3, limit: 5 }]);
    assert.deepEqual(page.peers, [
      { address: '10.0.0.7', name: undefined, rttSeconds: 0.25, retransmitRatio: undefined, bytesPerSecond: undefined },
      { address: '10.0.0.9', name: 'payments', rttSeconds: undefined, retransmitRatio: undefined, bytesPerSecond: 300 },
    ]);
    assert.deepEqual(view.flows(), {
      observed: true,
      flows: [
        {
          key: 'pod/uid-web',
          pod: 'web',
          namespace: 'shop',
          peer: '10.0.0.9',
          peerName: 'payments',
          peerKey: undefined,
          transport: '',
          sentBytesPerSecond: 200,
          receivedBytesPerSecond: 100,
        },
      ],
    });
    assert.deepEqual(view.node().conntrack, { entries: 13, limit: 26 });
    assert.deepEqual(page.conntrack, undefined);
  });

  it('keeps the last events, filters them, and tells listeners of new ones', () => {
    const { view, give, clock, pod } = setup({ maxEvents: 7 });
    give({ kind: 'entities', source: 'cri/pods', timeMs: 0, entities: [podEntity('web'), podEntity('cart')] });
    const heard: number[] = [];
    const end = view.subscribe((e) => heard.push(e.sequence));
    const now = clock.nowMs();
    const dropped = (port: number) =>
      event(now, web, 'skoop.packet.dropped', { 'kubeskoop.type': 'PACKETLOSS', 'destination.port': port });
    give(logsBatch([dropped(1), dropped(2), dropped(3)]));
    give(logsBatch([event(now, cart, 'skoop.socket.slow'), event(now, nodeResource, 'skoop.softirq.slow')]));
    end();
    give(logsBatch([dropped(4), dropped(5), dropped(6)]));
    assert.deepEqual(heard, [1, 2, 3, 4, 5]);
    const sequences = (...args: Parameters<typeof view.events>) => view.events(...args).map((e) => e.sequence);
    assert.deepEqual(sequences({}, 7), [8, 7, 6, 5, 4, 3, 2]);
    assert.deepEqual(sequences().slice(7), [1], 'that one its pod keeps');
    assert.deepEqual(sequences({ types: ['packetl*'] }, 2), [8, 7]);
    assert.deepEqual(sequences({ types: ['skoop.*.slow'] }), [5, 4]);
    assert.deepEqual(sequences({ pod: 'c?rt' }), [4]);
    assert.deepEqual(sequences({ named: true }, 1), [8]);
    assert.deepEqual(sequences({ namespace: 'hostNetwork' }), [5]);
    assert.deepEqual(sequences({ text: 'DPORT=3 packetloss' }), [3]);
    assert.deepEqual(sequences({ text: 'port=3' }), [], 'a field from its begin');
    assert.deepEqual(sequences({ key: 'pod/uid-web', after: 6 }), [8, 7]);
    assert.deepEqual(
      pod('cart')!.events.map((e) => e.type),
      ['skoop.socket.slow'],
    );
    assert.deepEqual([pod('web')!.recent.events, pod('cart')!.recent.slow], [6, 1]);
    assert.deepEqual([view.node().recent.events, view.node().recent.slow], [8, 2]);
    give(logsBatch([event(now, podResource('stranger'), 'skoop.socket.slow')]));
    assert.equal(view.node().recent.slow, 3, 'in the sum of the node');
    assert.equal(view.node().own!.recent.slow, 1, 'and nobody else has it');
    for (let i = 0; i < 23; i++) give(logsBatch([dropped(i)]));
    assert.deepEqual(
      [pod('cart')!.events.length, view.events({ pod: 'cart' }).length, view.events({ pod: 'cart', after: 4 }).length],
      [1, 1, 0],
      "a noisy neighbour does not push a pod's few out of sight",
    );
  });

  it('keeps a history on a grid that is spread over slow collections', () => {
    const { view, give, clock } = setup({ points: 4 });
    const round = (n: number) =>
      give(
        metricsBatch('procfs/tcp', [
          snapshot(clock.nowMs(), 100, web, [{ metric: 'skoop.tcp.retrans_segs', value: n }]),
        ]),
      );
    round(0);
    clock.advance(3 * stepMs);
    round(45);
    const history = view.history('pod/uid-web')!;
    assert.equal(history.timesMs.length, 4);
    const values = history.values.retransmits!;
    const sum = values.reduce((a, b) => a + b) * (stepMs / 1000);
    assert.ok(Math.abs(sum - 45) < 1e-9);
    assert.ok(
      values.every((v) => v <= 1.0000001),
      `1/s in each full step: ${values}`,
    );
    assert.equal(history.values.resets, undefined);
  });

  it('stays within its bounds and says what it left out', () => {
    const { view, give, clock } = setup({ maxPods: 23 });
    const round = (from: number, to: number) => {
      clock.advance(stepMs);
      const pods = Array.from({ length: to - from }, (_, i) =>
        snapshot(clock.nowMs(), from + i, podResource(`p${from + i}`), packets(0, 0)),
      );
      give(metricsBatch('procfs/netdev', pods));
    };
    round(0, 30);
    assert.deepEqual([view.pods().length, view.node().untracked], [23, 7]);
    round(100, 110);
    round(100, 110);
    assert.deepEqual([view.pods().length, view.node().untracked], [10, 0], 'room again');
  });

  it('holds breakdowns within bounds without losing the sum', () => {
    const { collect, pod } = setup();
    collect(['ebpf/packetloss', {}], ['procfs/netdev', { web: packets(0, 0) }]);
    const reasons = Array.from({ length: 700 }, (_, i) => drop(`REASON_${i}`, 1));
    collect(['ebpf/packetloss', { web: reasons }], ['procfs/netdev', { web: packets(0, 0) }]);
    assert.equal(pod('web')!.recent.drops, 700);
    assert.equal(pod('web')!.drops.filter((d) => d.recent > 0).length, 512);
    assert.equal(pod('web')!.drops.length, 700, 'totals come from the batch itself');
  });
});
