import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Subject } from 'rxjs';
import {
  type Batch,
  type Entity,
  itemCount,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type PeerEntity,
  type PodEntity,
  type Resource,
} from '../../pipeline/batch.ts';
import { type Attributes, defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext, testEpochMs } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

const addresses = { 'source.address': { description: '' }, 'destination.address': { description: '' } };
const metrics = defineMetrics({
  'skoop.flow.io': {
    instrument: 'counter',
    unit: 'By',
    description: 'B.',
    source: 't',
    scope: 'netns',
    attributes: addresses,
  },
  'skoop.peer.rtt': {
    instrument: 'gauge',
    unit: 's',
    description: 'R.',
    source: 't',
    scope: 'netns',
    attributes: { 'network.peer.address': { description: '' } },
  },
  'skoop.other': { instrument: 'counter', unit: '1', description: 'O.', source: 't', scope: 'netns' },
  'skoop.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'W.',
    source: 't',
    scope: 'netns',
    histogram: { scale: 0, offset: 0, buckets: 2 },
  },
});
const flow = metrics['skoop.flow.io'];
const scope = { name: 'test' };

const cart: PodEntity = {
  kind: 'pod',
  uid: 'cart-0',
  name: 'cart-0',
  namespace: 'shop',
  hostNetwork: false,
  sandboxId: 's',
  state: 'ready',
  createdAtMs: testEpochMs - 100_000,
  ips: ['10.1.0.9'],
  labels: { 'statefulset.kubernetes.io/pod-name': 'cart-0' },
  annotations: {},
  containers: [],
  runtime: 'containerd',
};
const cartResource: Resource = deepFreeze({
  attributes: {
    'k8s.pod.name': 'cart-0',
    'k8s.namespace.name': 'shop',
    'k8s.pod.uid': 'cart-0',
    'k8s.node.name': 'node-a',
    'skoop.workload.kind': 'StatefulSet',
    'skoop.workload.name': 'cart',
  },
});
const nodeResource: Resource = deepFreeze({ attributes: { 'k8s.node.name': 'node-a' } });

function peer(name: string, ip: string, more: Partial<PeerEntity> = {}): PeerEntity {
  const workload = { kind: 'Deployment', name: name.replace(/-\d+$/, ''), attributes: {} };
  const createdAtMs = testEpochMs - 50_000;
  return {
    kind: 'peer',
    peer: 'pod',
    uid: name,
    name,
    namespace: 'shop',
    ips: [ip],
    createdAtMs,
    workload,
    node: 'node-b',
    ...more,
  };
}
const service = (name: string, ip: string): PeerEntity => {
  const { workload: _, node: __, ...bare } = peer(name, ip, { peer: 'service' });
  return bare;
};
const node = (name: string, ip: string, zone: string): PeerEntity => {
  const { workload: _, node: __, ...bare } = peer(name, ip, { peer: 'node', namespace: '', zone });
  return bare;
};

function start(settings: object = {}) {
  const context = testContext({ node: 'node-a' });
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse(settings), context)));
  const push = (batch: Batch) => {
    input$.next(deepFreeze(batch));
    return out.values.at(-1)!;
  };
  const know = (source: string, timeMs: number, ...entities: Entity[]) =>
    push({ kind: 'entities', source, timeMs, entities });
  const event = (attributes: Attributes, resource = cartResource, timeMs = testEpochMs) => {
    const at = BigInt(timeMs) * 1_000_000n;
    const common = { timeUnixNs: at, observedTimeUnixNs: at, severityNumber: 9, eventName: 'e', body: '' } as const;
    const batch = push({
      kind: 'logs',
      source: 's',
      scope,
      records: [{ ...common, attributes, owner: undefined, resource }],
    });
    const own = (batch as LogsBatch).records[0]!.attributes;
    return Object.fromEntries(Object.entries(own).filter(([k]) => !(k in attributes)));
  };
  return { ...context, out, push, know, event };
}

const tuple = (source: string, destination: string, more: Attributes = {}): Attributes => ({
  'source.address': source,
  'source.port': 40_000,
  'destination.address': destination,
  'destination.port': 80,
  ...more,
});
const web1 = {
  'skoop.peer.kind': 'pod',
  'skoop.peer.workload.kind': 'Deployment',
  'skoop.peer.workload.name': 'web',
  'skoop.peer.k8s.pod.name': 'web-1',
  'skoop.peer.k8s.namespace.name': 'shop',
  'skoop.peer.k8s.node.name': 'node-b',
};

describe('events', () => {
  test('the end that is not the owner’s, whichever it is and whatever the direction says', () => {
    const t = start();
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    assert.deepEqual(t.event(tuple('10.1.0.9', '10.2.0.7')), web1);
    assert.deepEqual(t.event(tuple('10.2.0.7', '10.1.0.9', { 'network.io.direction': 'transmit' })), web1);
    assert.deepEqual(t.event({ 'network.peer.address': '10.2.0.7' }), web1);
  });

  test('without an API server: pods of this node, by what the runtime tells', () => {
    const t = start();
    const web = {
      ...cart,
      uid: 'w',
      name: 'web-6d4b75cb6d-hwd5b',
      ips: ['10.1.0.7', 'fd00::7'],
      labels: { 'pod-template-hash': '6d4b75cb6d' },
    };
    t.know('cri', testEpochMs, cart, web);
    const named = {
      'skoop.peer.kind': 'pod',
      'skoop.peer.workload.kind': 'Deployment',
      'skoop.peer.workload.name': 'web',
      'skoop.peer.k8s.pod.name': 'web-6d4b75cb6d-hwd5b',
      'skoop.peer.k8s.namespace.name': 'shop',
      'skoop.peer.k8s.node.name': 'node-a',
    };
    assert.deepEqual(t.event(tuple('10.1.0.9', '10.1.0.7')), named);
    assert.deepEqual(t.event(tuple('fd00::9', 'fd00::7')), named);
  });

  test('a service and a node are named as such; strangers stay addresses; itself is no peer', () => {
    const t = start();
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, service('web', '10.96.0.7'), node('node-b', '192.0.2.11', 'z2'));
    assert.deepEqual(t.event(tuple('10.1.0.9', '10.96.0.7')), {
      'skoop.peer.kind': 'service',
      'skoop.peer.workload.kind': 'Service',
      'skoop.peer.workload.name': 'web',
      'skoop.peer.k8s.service.name': 'web',
      'skoop.peer.k8s.namespace.name': 'shop',
    });
    assert.deepEqual(t.event(tuple('10.1.0.9', '192.0.2.11')), {
      'skoop.peer.kind': 'node',
      'skoop.peer.workload.kind': 'Node',
      'skoop.peer.workload.name': 'node-b',
      'skoop.peer.k8s.node.name': 'node-b',
      'skoop.peer.zone': 'z2',
    });
    assert.deepEqual(t.event(tuple('10.1.0.9', '203.0.113.5')), {});
    assert.deepEqual(t.event(tuple('10.1.0.9', '10.1.0.9')), {});
    assert.deepEqual(t.event({ 'destination.address': '10.1.0.9' }), {}, 'where it listens is its own');
    assert.deepEqual(t.event({}), {});
  });

  test('the zone of a pod is its node’s, whoever is told of first; zone: false leaves it out', () => {
    for (const zone of [true, false]) {
      const t = start({ zone });
      t.know('cri', testEpochMs, cart);
      t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
      assert.equal(t.event(tuple('10.1.0.9', '10.2.0.7'))['skoop.peer.zone'], undefined);
      t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'), node('node-b', '192.0.2.11', 'z2'));
      assert.equal(t.event(tuple('10.1.0.9', '10.2.0.7'))['skoop.peer.zone'], zone ? 'z2' : undefined);
    }
  });

  test('a packet that the node forwards has two far ends', () => {
    const t = start();
    t.know(
      'k8s',
      testEpochMs,
      peer('web-1', '10.2.0.7'),
      peer('api-1', '10.2.0.8'),
      node('node-a', '192.0.2.10', 'z1'),
    );
    const both = t.event(tuple('10.2.0.8', '10.2.0.7'), nodeResource);
    assert.equal(both['skoop.peer.k8s.pod.name'], 'web-1');
    assert.equal(both['skoop.local.k8s.pod.name'], 'api-1');
    const own = t.event(tuple('192.0.2.10', '10.2.0.7'), nodeResource);
    assert.deepEqual([own['skoop.peer.k8s.pod.name'], own['skoop.local.k8s.node.name']], ['web-1', undefined]);
  });

  test('a hostNetwork pod’s end is the node’s; a pod that nobody told of has no end of its own', () => {
    const t = start();
    const agent = { ...cart, uid: 'agent', name: 'agent', hostNetwork: true, ips: [] };
    t.know('cri', testEpochMs, agent);
    t.know('k8s', testEpochMs, node('node-a', '192.0.2.10', 'z1'), peer('web-1', '10.2.0.7'));
    const of = (uid: string) =>
      t.event(tuple('10.2.0.7', '192.0.2.10'), deepFreeze({ attributes: { 'k8s.pod.uid': uid } }));
    assert.equal(of('agent')['skoop.peer.k8s.pod.name'], 'web-1');
    assert.equal(of('unknown')['skoop.peer.k8s.node.name'], 'node-a');
  });

  test('an address that is given again: the newest, and for what came before it the former', () => {
    const t = start();
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7', { createdAtMs: testEpochMs - 60_000 }));
    t.know('k8s', testEpochMs + 10_000, peer('api-1', '10.2.0.7', { createdAtMs: testEpochMs + 5000 }));
    const at = (ms: number) => t.event(tuple('10.1.0.9', '10.2.0.7'), cartResource, testEpochMs + ms);
    assert.equal(at(11_000)['skoop.peer.k8s.pod.name'], 'api-1');
    assert.equal(at(11_000)['skoop.peer.gone'], undefined);
    assert.deepEqual(at(4000), web1);
  });

  test('who is gone keeps its address for a while, and it is said', () => {
    const t = start({ tombstone: '60s' });
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    t.know('k8s', testEpochMs + 1000);
    const at = (ms: number) => t.event(tuple('10.1.0.9', '10.2.0.7'), cartResource, testEpochMs + ms);
    assert.deepEqual(at(500), web1, 'an event that comes late');
    assert.deepEqual(at(2000), { ...web1, 'skoop.peer.gone': true });
    t.know('k8s', testEpochMs + 61_000);
    assert.deepEqual(at(2000), { ...web1, 'skoop.peer.gone': true });
    t.know('k8s', testEpochMs + 61_001);
    assert.deepEqual(at(2000), {});
    assert.equal(t.telemetry.read('peer_addresses'), 1, 'cart’s own');
  });

  test('of two tellings of one pod the API server’s is taken; a hostNetwork pod has no address; events: false', () => {
    const t = start();
    const web = { ...cart, uid: 'web-1', name: 'web-1', ips: ['10.2.0.7'], createdAtMs: testEpochMs - 1000 };
    const agent = { ...cart, uid: 'agent', name: 'agent', hostNetwork: true, ips: ['192.0.2.10'] };
    t.know('cri', testEpochMs, cart, web, agent);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    assert.deepEqual(t.event(tuple('10.1.0.9', '10.2.0.7')), web1);
    assert.deepEqual(t.event(tuple('10.1.0.9', '192.0.2.10')), {});
    const off = start({ events: false });
    off.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    assert.deepEqual(off.event(tuple('10.1.0.9', '10.2.0.7')), {});
  });
});

type Row = readonly [attributes: Attributes, value: number];

const batchOf = (rows: readonly Row[], resource = cartResource, metric = flow): MetricsBatch => ({
  kind: 'metrics',
  source: 'ebpf/flow',
  scope,
  snapshots: [
    {
      owner: { netns: 7 },
      resource,
      startTimeMs: testEpochMs,
      timeMs: testEpochMs,
      schema: makeSchema(rows.map(([attributes]) => ({ metric, attributes }))),
      values: Float64Array.from(rows, ([, value]) => value),
    },
  ],
});
const transmit = (to: string, port = 0): Attributes => ({
  'network.io.direction': 'transmit',
  'network.transport': 'tcp',
  'source.address': '10.1.0.9',
  'destination.address': to,
  ...(port > 0 && { 'destination.port': port }),
});
const receive = (from: string): Attributes => ({
  'network.io.direction': 'receive',
  'network.transport': 'tcp',
  'source.address': from,
  'destination.address': '10.1.0.9',
});
const rest: Attributes = { 'network.io.direction': 'transmit', 'otel.metric.overflow': true };

/** `name=value` of each series by what an operator would group by. */
const rowsOf = (batch: Batch) =>
  (batch as MetricsBatch).snapshots.flatMap(({ schema, values }) =>
    schema.series.map(({ attributes: a, offset }) => {
      const far = a['skoop.peer.workload.name'] ?? (a['otel.metric.overflow'] ? 'rest' : a['destination.address']);
      return `${a['network.io.direction']} ${far} ${values[offset]}`;
    }),
  );
const totalOf = (batch: Batch) =>
  (batch as MetricsBatch).snapshots.reduce((n, s) => n + s.values.reduce((a, b) => a + b, 0), 0);

describe('series by address', () => {
  test('get names by their direction; values and schema are shared', () => {
    const t = start();
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    const batch = batchOf([
      [transmit('10.2.0.7'), 23],
      [receive('10.2.0.7'), 7],
      [transmit('203.0.113.5'), 5],
      [rest, 3],
    ]);
    const first = (t.push(batch) as MetricsBatch).snapshots[0]!;
    assert.deepEqual(
      first.schema.series.map((s) => s.attributes),
      [{ ...transmit('10.2.0.7'), ...web1 }, { ...receive('10.2.0.7'), ...web1 }, transmit('203.0.113.5'), rest],
    );
    assert.equal(first.values, batch.snapshots[0]!.values);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'), peer('other-1', '10.2.0.99'));
    assert.equal((t.push(batch) as MetricsBatch).snapshots[0]!.schema, first.schema, 'others do not matter');
    t.know('k8s', testEpochMs, peer('api-1', '10.2.0.7', { createdAtMs: testEpochMs }));
    const later = (t.push(batch) as MetricsBatch).snapshots[0]!;
    assert.equal(later.schema.series[0]!.attributes['skoop.peer.k8s.pod.name'], 'api-1');
  });

  test('local: both ends; a gauge by peer address; nothing known: the same batch', () => {
    const t = start({ local: true });
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    const named = (t.push(batchOf([[transmit('10.2.0.7'), 23]])) as MetricsBatch).snapshots[0]!.schema.series[0]!;
    assert.equal(named.attributes['skoop.local.k8s.pod.name'], 'cart-0');
    assert.equal(named.attributes['skoop.local.k8s.node.name'], 'node-a');
    const plain = start();
    plain.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    const rtt = plain.push(
      batchOf([[{ 'network.peer.address': '10.2.0.7' }, 0.2]], cartResource, metrics['skoop.peer.rtt']),
    );
    assert.deepEqual((rtt as MetricsBatch).snapshots[0]!.schema.series[0]!.attributes, {
      'network.peer.address': '10.2.0.7',
      ...web1,
    });
    for (const same of [
      batchOf([[transmit('203.0.113.5'), 1]]),
      batchOf([[{}, 1]], cartResource, metrics['skoop.other']),
    ]) {
      assert.equal(plain.push(same), same);
    }
    const off = start({ by: 'off' });
    off.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'));
    const batch = batchOf([[transmit('10.2.0.7'), 23]]);
    assert.equal(off.push(batch), batch);
  });
});

describe('series by workload', () => {
  const begin = (settings: object = {}) => {
    const t = start({ by: 'workload', ...settings });
    t.know('cri', testEpochMs, cart);
    t.know('k8s', testEpochMs, peer('web-1', '10.2.0.7'), peer('web-2', '10.2.0.8'), peer('api-1', '10.2.0.9'));
    return t;
  };

  test('are sums of what they have in common; strangers stay by themselves; points are accounted for', () => {
    const t = begin();
    const batch = batchOf([
      [transmit('10.2.0.7', 80), 23],
      [transmit('10.2.0.7', 81), 2],
      [transmit('10.2.0.8', 80), 7],
      [receive('10.2.0.8'), 5],
      [transmit('10.2.0.9'), 3],
      [transmit('203.0.113.5'), 11],
      [rest, 13],
    ]);
    const out = t.push(batch);
    assert.deepEqual(rowsOf(out).sort(), [
      'receive web 5',
      'transmit 203.0.113.5 11',
      'transmit api 3',
      'transmit rest 13',
      'transmit web 32',
    ]);
    assert.equal(totalOf(out), totalOf(batch));
    assert.deepEqual((out as MetricsBatch).snapshots[0]!.schema.series[0]!.attributes, {
      'network.io.direction': 'transmit',
      'network.transport': 'tcp',
      'skoop.peer.kind': 'pod',
      'skoop.peer.workload.kind': 'Deployment',
      'skoop.peer.workload.name': 'web',
      'skoop.peer.k8s.namespace.name': 'shop',
      'skoop.local.kind': 'pod',
      'skoop.local.workload.kind': 'StatefulSet',
      'skoop.local.workload.name': 'cart',
      'skoop.local.k8s.namespace.name': 'shop',
    });
    assert.equal(itemCount(batch) + t.telemetry.count('created_items'), itemCount(out) + t.telemetry.drops['folded']!);
  });

  test('an exemplar goes with its histogram, wherever that stands', () => {
    const t = begin();
    const schema = makeSchema([
      { metric: flow, attributes: transmit('10.2.0.7') },
      { metric: metrics['skoop.wait'] },
      { metric: flow, attributes: transmit('10.2.0.8') },
    ]);
    const [snapshot] = batchOf([]).snapshots;
    const exemplars = [{ offset: 1, value: 1.5, timeUnixNs: 7n, attributes: { 'source.port': 23 } }];
    const values = Float64Array.of(23, 2, 3, 0, 2, 0, 7);
    const out = t.push({ ...batchOf([]), snapshots: [{ ...snapshot!, schema, values, exemplars }] });
    const [moved] = (out as MetricsBatch).snapshots;
    const histogram = moved!.schema.series.find((s) => s.metric === metrics['skoop.wait'])!;
    assert.notEqual(histogram.offset, 1);
    assert.deepEqual([...moved!.values.subarray(histogram.offset, histogram.offset + 5)], [2, 3, 0, 2, 0]);
    assert.deepEqual(moved!.exemplars, [{ ...exemplars[0], offset: histogram.offset }]);
  });

  test('the schema is the same object while the pairs are', () => {
    const t = begin();
    const schema = (rows: readonly Row[]) => (t.push(batchOf(rows)) as MetricsBatch).snapshots[0]!.schema;
    const first = schema([[transmit('10.2.0.7'), 1]]);
    assert.equal(schema([[transmit('10.2.0.7'), 2]]), first);
    assert.equal(
      schema([
        [transmit('10.2.0.7'), 2],
        [transmit('10.2.0.8'), 2],
      ]),
      first,
      'another pod of the workload',
    );
    assert.notEqual(
      schema([
        [transmit('10.2.0.7'), 2],
        [transmit('10.2.0.9'), 2],
      ]),
      first,
    );
  });

  test('a flow that ends and joins the overflow stays with its pair and is not counted twice', () => {
    const t = begin();
    t.push(
      batchOf([
        [transmit('10.2.0.7'), 100],
        [transmit('10.2.0.8'), 50],
      ]),
    );
    const out = t.push(
      batchOf([
        [transmit('10.2.0.8'), 57],
        [rest, 103],
      ]),
    );
    assert.deepEqual(rowsOf(out), ['transmit web 157', 'transmit rest 3']);
    const again = t.push(
      batchOf([
        [transmit('10.2.0.7'), 11],
        [transmit('10.2.0.8'), 57],
        [rest, 103],
      ]),
    );
    assert.deepEqual(rowsOf(again), ['transmit web 168', 'transmit rest 3']);
    // It ended and came again between two collections: the counter fell.
    const fell = t.push(
      batchOf([
        [transmit('10.2.0.7'), 2],
        [transmit('10.2.0.8'), 57],
        [rest, 114],
      ]),
    );
    assert.deepEqual(rowsOf(fell), ['transmit web 170', 'transmit rest 3']);
  });

  test('an address that changes hands: what was counted stays where it was', () => {
    const t = begin();
    t.push(batchOf([[transmit('10.2.0.7'), 100]]));
    t.know('k8s', testEpochMs + 1, peer('web-2', '10.2.0.8'), peer('api-2', '10.2.0.7', { createdAtMs: testEpochMs }));
    assert.deepEqual(rowsOf(t.push(batchOf([[transmit('10.2.0.7'), 123]]))), ['transmit web 100', 'transmit api 23']);
  });

  test('a pair without a flow joins the overflow when it has been idle; the sum never falls', async () => {
    const t = begin({ idle: '10m' });
    t.push(batchOf([[transmit('10.2.0.7'), 100]]));
    assert.deepEqual(
      rowsOf(
        t.push(
          batchOf([
            [transmit('10.2.0.9'), 7],
            [rest, 100],
          ]),
        ),
      ),
      ['transmit web 100', 'transmit api 7', 'transmit rest 0'],
    );
    t.clock.advance(600_000);
    assert.deepEqual(
      rowsOf(
        t.push(
          batchOf([
            [transmit('10.2.0.9'), 8],
            [rest, 100],
          ]),
        ),
      ),
      ['transmit api 8', 'transmit rest 100'],
    );
  });

  test('above max_pairs the rest is summed, and has its place again when there is one', () => {
    const t = begin({ max_pairs: 2 });
    const rows: Row[] = [
      [transmit('10.2.0.7'), 1],
      [transmit('10.2.0.9'), 2],
      [transmit('203.0.113.5'), 4],
    ];
    assert.deepEqual(rowsOf(t.push(batchOf(rows))), ['transmit web 1', 'transmit api 2', 'transmit rest 4']);
    assert.equal(t.telemetry.read('peer_pairs'), 2);
    t.push(batchOf([rows[1]!, [transmit('203.0.113.5'), 5], [rest, 1]]));
    const out = t.push(batchOf([rows[1]!, [transmit('203.0.113.5'), 7], [transmit('203.0.113.6'), 1], [rest, 1]]));
    assert.deepEqual(rowsOf(out), ['transmit api 2', 'transmit 203.0.113.5 2', 'transmit rest 7']);
    assert.equal(totalOf(out), 11);
  });

  test('an owner that is gone leaves nothing behind', () => {
    const t = begin();
    t.push(batchOf([[transmit('10.2.0.7'), 100]]));
    t.push({ ...batchOf([]), snapshots: [] });
    assert.equal(t.telemetry.read('peer_pairs'), 0);
  });

  test('whatever flows come, end, move and come again: what comes out sums up to what came in, and nothing falls', () => {
    const ips = ['10.2.0.7', '10.2.0.8', '10.2.0.9', '203.0.113.5', '203.0.113.6'];
    const step = fc.oneof(
      fc.record({ do: fc.constant('count' as const), flow: fc.nat(4), n: fc.nat(100) }),
      fc.record({ do: fc.constant('end' as const), flow: fc.nat(4), n: fc.nat(9) }),
      fc.record({ do: fc.constant('move' as const), flow: fc.nat(4), n: fc.nat(3) }),
      fc.record({ do: fc.constant('wait' as const), flow: fc.constant(0), n: fc.nat(700) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 2, max: 6 }), (steps, max_pairs) => {
        const t = begin({ max_pairs });
        const live = new Map<number, number>();
        let moved = 0;
        let time = testEpochMs;
        let before = new Map<string, number>();
        for (const s of steps) {
          if (s.do === 'count') live.set(s.flow, (live.get(s.flow) ?? 0) + s.n);
          else if (s.do === 'end') {
            // Some more came between the last look and its end.
            if (live.has(s.flow)) moved += live.get(s.flow)! + s.n;
            live.delete(s.flow);
          } else if (s.do === 'move') t.know('k8s', ++time, peer(`w${s.n}-1`, ips[s.flow]!, { createdAtMs: time }));
          else t.clock.advance(s.n * 1000);
          const rows: Row[] = [...[...live].map(([i, v]): Row => [transmit(ips[i]!), v]), [rest, moved]];
          const out = t.push(batchOf(rows)) as MetricsBatch;
          assert.equal(totalOf(out), totalOf(batchOf(rows)));
          const now = new Map(
            out.snapshots[0]!.schema.series.map((d) => [
              JSON.stringify(d.attributes),
              out.snapshots[0]!.values[d.offset]!,
            ]),
          );
          assert.equal(now.size, out.snapshots[0]!.schema.series.length, 'two series of one name');
          for (const [key, value] of now) assert.ok(value >= (before.get(key) ?? 0), key);
          before = now;
        }
      }),
      { numRuns: 300 },
    );
  });
});
