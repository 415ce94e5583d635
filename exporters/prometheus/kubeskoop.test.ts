// biome-ignore-all lint/suspicious/noTemplateCurlyInString: KubeSkoop writes its templates so.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { noResource } from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { additionalValue, parseAdditionalLabel } from './additional-labels.ts';
import { countAbove } from './layout.ts';
import { metricsBatch, pod, podA, textOf, viewOf } from './testing.ts';

const direction = 'network.io.direction';
const m = defineMetrics({
  'system.network.io': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes.',
    source: 'net/dev',
    scope: 'netns',
    kubeskoop: [
      { name: 'kubeskoop_netdev_rxbytes', where: { [direction]: 'receive' }, type: 'gauge' },
      { name: 'kubeskoop_netdev_txbytes', where: { [direction]: 'transmit' }, type: 'gauge' },
    ],
  },
  'skoop.softirq.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Waiting.',
    source: 'tracepoint',
    scope: 'node',
    histogram: { scale: 0, offset: -12, buckets: 12 },
    kubeskoop: [
      { name: 'kubeskoop_softirq_schedslow', labels: { 'skoop.softirq.vector': 'softirq_type' }, above: 0.01 },
      { name: 'kubeskoop_softirq_sched100ms', labels: { 'skoop.softirq.vector': 'softirq_type' }, above: 0.125 },
    ],
  },
  'skoop.socket.memory': {
    instrument: 'gauge',
    unit: 'By',
    description: 'Memory.',
    source: 'net/sockstat',
    scope: 'node',
    kubeskoop: [{ name: 'kubeskoop_sock_mem', scale: 1 / 4096 }],
  },
  'skoop.sockets': {
    instrument: 'gauge',
    unit: '{socket}',
    description: 'Sockets.',
    source: 'net/sockstat',
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_sock_inuse', nodeOnly: true, except: { 'network.interface.name': 'lo' } }],
  },
  'skoop.only.ours': { instrument: 'gauge', unit: '{x}', description: 'Ours.', source: 'x', scope: 'netns' },
});

const io = (name: string, dir: string, value: number) => ({
  metric: m['system.network.io'],
  attributes: { 'network.interface.name': name, [direction]: dir },
  value,
});

const samples = (text: string) => text.split('\n').filter((l) => l !== '' && !l.startsWith('#'));

describe('naming: kubeskoop', () => {
  it('sums attributes away that KubeSkoop has no label for, over the series with the right values', () => {
    const batch = metricsBatch('a', [
      {
        resource: podA,
        series: [
          io('eth0', 'receive', 100),
          io('eth1', 'receive', 23),
          io('eth0', 'transmit', 7),
          io('eth1', 'transmit', Number.NaN),
        ],
      },
    ]);
    assert.equal(
      textOf(viewOf([batch], { naming: 'kubeskoop' })),
      [
        '# HELP kubeskoop_netdev_rxbytes Bytes.',
        '# TYPE kubeskoop_netdev_rxbytes gauge',
        'kubeskoop_netdev_rxbytes{k8s_node="node-1",k8s_namespace="shop",k8s_pod="web-1"} 123',
        '# HELP kubeskoop_netdev_txbytes Bytes.',
        '# TYPE kubeskoop_netdev_txbytes gauge',
        'kubeskoop_netdev_txbytes{k8s_node="node-1",k8s_namespace="shop",k8s_pod="web-1"} 7',
        '',
      ].join('\n'),
    );
  });

  it('shows the node with empty namespace and pod, and nobody else so', () => {
    const series = [io('eth0', 'receive', 1)];
    const node = { attributes: { 'k8s.node.name': 'node-1', 'os.type': 'linux' } };
    const view = viewOf(
      [
        metricsBatch('a', [
          { resource: node, owner: { netns: 5 }, series },
          { resource: { attributes: { 'skoop.netns.inode': 9, 'k8s.node.name': 'node-1' } }, series },
          { resource: { attributes: { 'container.id': 'c0ffee', 'container.name': 'lone' } }, series },
          { resource: noResource, owner: { netns: 6 }, series },
        ]),
      ],
      { naming: 'kubeskoop' },
    );
    assert.deepEqual(samples(textOf(view)), [
      'kubeskoop_netdev_rxbytes{k8s_node="node-1",k8s_namespace="",k8s_pod=""} 1',
    ]);
  });

  it('leaves out the values a name excepts, and pods where KubeSkoop has the node only', () => {
    const sockets = (name: string, value: number) => ({
      metric: m['skoop.sockets'],
      attributes: { 'network.interface.name': name },
      value,
    });
    const series = [sockets('eth0', 7), sockets('lo', 100), sockets('eth1', 4)];
    const node = { attributes: { 'k8s.node.name': 'node-1', 'os.type': 'linux' } };
    const batch = metricsBatch('a', [{ series }, { resource: node, owner: { netns: 5 }, series }]);
    assert.deepEqual(samples(textOf(viewOf([batch], { naming: 'kubeskoop' }))), [
      'kubeskoop_sock_inuse{k8s_node="node-1",k8s_namespace="",k8s_pod=""} 11',
    ]);
  });

  it('counts what lies above a threshold from the histogram', () => {
    // Buckets end at 2^-11 … 2^0 s; 0.01 s lies in (2^-7, 2^-6], of which log2(2^-6 / 0.01) = 0.644 is above.
    const value = [1000, 9, 10, 100, 0, 0, 0, 0, 100, 300, 200, 50, 40, 100, 100];
    const batch = metricsBatch('a', [
      {
        resource: { attributes: { 'k8s.node.name': 'node-1', 'os.type': 'linux' } },
        series: [{ metric: m['skoop.softirq.wait'], attributes: { 'skoop.softirq.vector': 'net_rx' }, value }],
      },
    ]);
    const found = samples(textOf(viewOf([batch], { naming: 'kubeskoop' })));
    assert.deepEqual(found, [
      'kubeskoop_softirq_sched100ms{softirq_type="net_rx",k8s_node="node-1",k8s_namespace="",k8s_pod=""} 240',
      // 300 + 200 + 50 + 40 + 100 + 100 in the buckets above, and 64.4 of the 100 in the bucket itself.
      'kubeskoop_softirq_schedslow{softirq_type="net_rx",k8s_node="node-1",k8s_namespace="",k8s_pod=""} 854',
    ]);
  });

  it('scales, and leaves out what KubeSkoop has no name for, unless extras are asked for', () => {
    const batch = metricsBatch('a', [
      {
        resource: podA,
        series: [
          { metric: m['skoop.socket.memory'], value: 40_960 },
          { metric: m['skoop.only.ours'], value: 5 },
        ],
      },
    ]);
    const labels = '{k8s_node="node-1",k8s_namespace="shop",k8s_pod="web-1"}';
    assert.deepEqual(samples(textOf(viewOf([batch], { naming: 'kubeskoop' }))), [`kubeskoop_sock_mem${labels} 10`]);
    assert.deepEqual(samples(textOf(viewOf([batch], { naming: 'kubeskoop', kubeskoop_extras: true }))), [
      `kubeskoop_sock_mem${labels} 10`,
      `skoop_only_ours${labels} 5`,
    ]);
  });

  it('adds additional labels made of pod labels', () => {
    const resource = pod('web-1', 'shop', {
      'k8s.pod.label.app': 'web',
      'k8s.pod.label.app.kubernetes.io/name': 'front',
    });
    const view = viewOf([metricsBatch('a', [{ resource, series: [io('eth0', 'receive', 1)] }])], {
      naming: 'kubeskoop',
      additional_labels: [
        'app=${labels:app}',
        'who=${labels:app}/${labels:app.kubernetes.io/name}-${labels:absent}.',
        'dc=fra',
      ],
    });
    assert.deepEqual(samples(textOf(view)), [
      'kubeskoop_netdev_rxbytes{k8s_node="node-1",k8s_namespace="shop",k8s_pod="web-1",app="web",who="web/front-.",dc="fra"} 1',
    ]);
  });
});

describe('observations above a bound', () => {
  it('are exact at a bucket bound, and never fall while the histogram grows', () => {
    const layout = { scale: 1, offset: -8, buckets: 16 };
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 1000 }), { minLength: 17, maxLength: 17 }),
        fc.array(fc.nat({ max: 1000 }), { minLength: 17, maxLength: 17 }),
        fc.integer({ min: -10, max: 10 }),
        fc.double({ min: 1e-4, max: 100, noNaN: true }),
        (before, growth, k, anywhere) => {
          const slots = (parts: number[]) => Float64Array.from([parts.reduce((a, b) => a + b, 0), 0, ...parts]);
          const bound = 2 ** (k / 2);
          const exact = before.slice(1).reduce((a, n, i) => (layout.offset + i >= k ? a + n : a), 0);
          assert.equal(countAbove(slots(before), 0, layout, bound), exact);
          const after = before.map((n, i) => n + growth[i]!);
          const grown = countAbove(slots(after), 0, layout, anywhere) - countAbove(slots(before), 0, layout, anywhere);
          assert.ok(grown >= 0);
        },
      ),
    );
  });

  it('are absent where the histogram is', () => {
    assert.ok(
      Number.isNaN(countAbove(Float64Array.of(Number.NaN, 0, 0, 0), 0, { scale: 0, offset: 0, buckets: 1 }, 1)),
    );
  });
});

describe('additional_labels', () => {
  it('are refused with a reason', () => {
    for (const text of ['app', '=x', '1a=x', '__name__=x', 'a-b=x', 'app=${env:X}', 'app=${labels:app']) {
      assert.equal(typeof parseAdditionalLabel(text), 'string', text);
    }
  });

  it('may hold an = in their expression', () => {
    const label = parseAdditionalLabel('q=a=b');
    assert.ok(typeof label !== 'string');
    assert.equal(additionalValue(label, {}), 'a=b');
  });
});
