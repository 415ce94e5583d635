import {
  type Batch,
  type Entity,
  type LogRecord,
  makeSchema,
  noResource,
  type Owner,
  type Snapshot,
  slotsOf,
} from '../../pipeline/batch.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, testEpochMs } from '../../pipeline/testing.ts';

/** Batches of every kind and shape, deeply frozen: whoever changes one throws. */

export const sampleMetrics = defineMetrics({
  'skoop.sample.packets': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets.',
    source: 'test',
    scope: 'netns',
  },
  'skoop.sample.flow': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes to an address.',
    attributes: { 'source.address': { description: 'From.' }, 'destination.address': { description: 'To.' } },
    source: 'test',
    scope: 'netns',
  },
  'skoop.sample.queue': { instrument: 'gauge', unit: 'By', description: 'Queue.', source: 'test', scope: 'pod' },
  'skoop.sample.memory': {
    instrument: 'updowncounter',
    unit: 'By',
    description: 'Memory.',
    source: 'test',
    scope: 'node',
  },
  'skoop.sample.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Wait.',
    source: 'test',
    scope: 'netns',
    histogram: { scale: 0, offset: -10, buckets: 7 },
  },
});

export const sampleEvents = defineEvents({
  'skoop.sample.dropped': { description: 'Dropped.', source: 'test', attributes: {} },
});

const schema = makeSchema([
  {
    metric: sampleMetrics['skoop.sample.packets'],
    attributes: { 'network.io.direction': 'receive', 'network.interface.name': 'eth0' },
  },
  {
    metric: sampleMetrics['skoop.sample.packets'],
    attributes: { 'network.io.direction': 'transmit', 'network.interface.name': 'eth0' },
  },
  {
    metric: sampleMetrics['skoop.sample.flow'],
    attributes: { 'source.address': '10.0.0.1', 'destination.address': '10.0.0.5' },
  },
  { metric: sampleMetrics['skoop.sample.queue'] },
  { metric: sampleMetrics['skoop.sample.memory'] },
  {
    metric: sampleMetrics['skoop.sample.wait'],
    attributes: { cpu: 3, 'skoop.sample.on': true, 'skoop.sample.list': ['a', 'b'] },
  },
]);

const scope = { name: 'sample', version: '0' };
const hostNetns = 4026531840;
const podNetns = 4026532001;
const strangeNetns = 4026539999;
const podUid = '6c0b1f0e-7a3c-4b1e-9d55-0a1b2c3d4e5f';
const containerId = 'c0ffee'.repeat(10).padEnd(64, '0');

const owners: readonly (Owner | undefined)[] = [
  undefined,
  {},
  { netns: hostNetns },
  { netns: podNetns },
  { netns: strangeNetns },
  { podUid },
  { netns: hostNetns, podUid, containerId },
  { cgroupId: 77 },
];

function snapshot(owner: Owner | undefined, seed: number): Snapshot {
  const values = Float64Array.from({ length: schema.slots }, (_, i) =>
    i === 1 && seed % 2 ? Number.NaN : seed * 100 + i,
  );
  return { owner, resource: noResource, startTimeMs: testEpochMs - 60_000, timeMs: testEpochMs, schema, values };
}

function record(owner: Owner | undefined, seed: number): LogRecord {
  return {
    timeUnixNs: BigInt(testEpochMs) * 1_000_000n + BigInt(seed),
    observedTimeUnixNs: BigInt(testEpochMs) * 1_000_000n + 5_000n,
    severityNumber: seed % 2 ? 13 : 9,
    eventName: 'skoop.sample.dropped',
    body: `Packet ${seed} was dropped.`,
    attributes: {
      'source.address': '10.0.0.1',
      'source.port': 40_000 + seed,
      'destination.address': '10.0.0.5',
      'skoop.stack': ['0xffffffff81000000', '0xffffffff81000010'],
      'kubeskoop.type': 'PACKETLOSS',
    },
    owner,
    resource: noResource,
  };
}

const entities: readonly Entity[] = [
  {
    kind: 'pod',
    uid: podUid,
    name: 'web-7c5b-x',
    namespace: 'shop',
    hostNetwork: false,
    netns: podNetns,
    sandboxId: 'sandbox',
    state: 'ready',
    createdAtMs: testEpochMs - 3_600_000,
    ips: ['10.0.0.5', 'fd00::5'],
    labels: { app: 'web', 'pod-template-hash': '7c5b' },
    annotations: {},
    containers: [{ id: containerId, name: 'web', image: 'nginx:1', state: 'running', pid: 4242 }],
    runtime: 'containerd',
  },
  {
    kind: 'netns',
    netns: hostNetns,
    host: true,
    pid: 1,
    comm: 'systemd',
    podUids: [],
    containerIds: [],
    firstSeenMs: testEpochMs,
  },
  {
    kind: 'netns',
    netns: podNetns,
    host: false,
    pid: 4242,
    comm: 'nginx',
    podUids: [podUid],
    containerIds: [containerId],
    firstSeenMs: testEpochMs,
  },
  {
    kind: 'peer',
    peer: 'pod',
    uid: '0d1e2f3a-7a3c-4b1e-9d55-0a1b2c3d4e5f',
    name: 'api-0',
    namespace: 'shop',
    ips: ['10.0.0.1'],
    createdAtMs: testEpochMs - 60_000,
    workload: { kind: 'StatefulSet', name: 'api', attributes: { 'k8s.statefulset.name': 'api' } },
    node: 'other-node',
  },
];

/** Fresh batches: data before anybody is named, the entities, data again, and empty ones. */
export function sampleBatches(): Batch[] {
  const metrics = (): Batch => ({ kind: 'metrics', source: 'sample/a', scope, snapshots: owners.map(snapshot) });
  const logs = (): Batch => ({ kind: 'logs', source: 'sample/b', scope, records: owners.map(record) });
  const known = (): Batch => ({ kind: 'entities', source: 'sample/c', timeMs: testEpochMs, entities });
  const empty: Batch[] = [
    { kind: 'metrics', source: 'sample/a', scope, snapshots: [] },
    { kind: 'logs', source: 'sample/b', scope, records: [] },
    { kind: 'entities', source: 'sample/c', timeMs: testEpochMs, entities: [] },
  ];
  return [metrics(), logs(), known(), metrics(), logs(), ...empty].map((b) => deepFreeze(b));
}

/** A copy to compare with: freezing does not reach into typed arrays. */
export function copyOf(batches: readonly Batch[]): unknown {
  return structuredClone(batches);
}

/** Slots of the sample schema, for checks that it is sound. */
export const sampleSlots = schema.series.reduce((n, s) => n + slotsOf(s.metric), 0);
