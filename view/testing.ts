import {
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type Owner,
  type PodEntity,
  type Resource,
  type Schema,
  type Snapshot,
  slotsOf,
} from '../pipeline/batch.ts';
import { type Attributes, defineMetrics, type MetricDefinition } from '../pipeline/catalogue.ts';
import { testEpochMs } from '../pipeline/testing.ts';

/** Batches in the shape that receivers and processors give them. Used by tests only. */

const duration = { scale: 0, offset: -30, buckets: 36 };
const rest = { description: 'For tests.', source: 'test', scope: 'netns' } as const;

/** Those of the catalogue's metrics that the tests fill. */
export const metrics = defineMetrics({
  'system.network.packet.count': { instrument: 'counter', unit: '{packet}', ...rest },
  'system.network.io': { instrument: 'counter', unit: 'By', ...rest },
  'skoop.packet.drops': { instrument: 'counter', unit: '{packet}', ...rest },
  'skoop.tcp.resets': { instrument: 'counter', unit: '{segment}', ...rest },
  'skoop.tcp.retrans_segs': { instrument: 'counter', unit: '{segment}', ...rest },
  'skoop.event.lost': { instrument: 'counter', unit: '{event}', ...rest },
  'skoop.tcp.rtt': { instrument: 'histogram', unit: 's', histogram: duration, ...rest },
  'skoop.socket.latency': { instrument: 'histogram', unit: 's', histogram: duration, ...rest },
  'system.network.connection.count': { instrument: 'updowncounter', unit: '{connection}', ...rest },
  'skoop.tcp.accept_queue': { instrument: 'updowncounter', unit: '{connection}', ...rest },
  'skoop.tcp.accept_queue_limit': { instrument: 'updowncounter', unit: '{connection}', ...rest },
  'skoop.tcp.peer.rtt': { instrument: 'gauge', unit: 's', ...rest },
  'skoop.conntrack.entries': { instrument: 'updowncounter', unit: '{entry}', ...rest },
  'skoop.conntrack.limit': { instrument: 'updowncounter', unit: '{entry}', ...rest },
  'skoop.flow.io': { instrument: 'counter', unit: 'By', ...rest },
});
export type TestMetric = keyof typeof metrics;

/** A value of a metric: a number, or the observations of a histogram, seconds. */
export interface Point {
  readonly metric: TestMetric;
  readonly attributes?: Attributes;
  readonly value: number | readonly number[];
}

const owners = new Map<number, Owner>();

/** The owner of a namespace: one object, as receivers keep it. */
export function ownerOf(netns: number): Owner {
  const owner = owners.get(netns) ?? { netns };
  owners.set(netns, owner);
  return owner;
}

export function podResource(name: string, namespace = 'shop', uid = `uid-${name}`): Resource {
  return {
    attributes: {
      'k8s.pod.name': name,
      'k8s.namespace.name': namespace,
      'k8s.pod.uid': uid,
      'k8s.node.name': 'node-x',
    },
  };
}

export const nodeResource: Resource = { attributes: { 'k8s.node.name': 'node-x', 'host.name': 'node-x' } };

const schemas = new Map<string, Schema>();

/** One owner's values; the same series in the same order share a schema. */
export function snapshot(
  timeMs: number,
  netns: number | undefined,
  resource: Resource,
  points: readonly Point[],
): Snapshot {
  const series = points.map(({ metric, attributes = {} }) => ({
    metric: metrics[metric] as MetricDefinition,
    attributes,
  }));
  const shape = JSON.stringify(series);
  const schema = schemas.get(shape) ?? makeSchema(series);
  schemas.set(shape, schema);
  const values = new Float64Array(schema.slots);
  schema.series.forEach(({ metric, offset }, i) => {
    const { value } = points[i]!;
    if (typeof value === 'number') values[offset] = value;
    else values.set(histogram(metric, value), offset);
  });
  const owner = netns === undefined ? undefined : ownerOf(netns);
  return { owner, resource, startTimeMs: testEpochMs, timeMs, schema, values };
}

function histogram(metric: MetricDefinition, observations: readonly number[]): Float64Array {
  const out = new Float64Array(slotsOf(metric));
  const { offset, buckets } = metric.histogram!;
  for (const seconds of observations) {
    out[0]! += 1;
    out[1]! += seconds;
    const bucket = Math.ceil(Math.log2(seconds)) - 1 - offset;
    out[3 + Math.min(Math.max(bucket, 0), buckets - 1)]! += 1;
  }
  return out;
}

export function metricsBatch(source: string, snapshots: readonly Snapshot[]): MetricsBatch {
  return { kind: 'metrics', source, scope: { name: 'test' }, snapshots };
}

export function event(timeMs: number, resource: Resource, eventName: string, attributes: Attributes = {}): LogRecord {
  const ns = BigInt(timeMs) * 1_000_000n;
  return {
    timeUnixNs: ns,
    observedTimeUnixNs: ns,
    severityNumber: 13,
    eventName,
    body: 'One body.',
    attributes,
    owner: undefined,
    resource,
  };
}

export function logsBatch(records: readonly LogRecord[], source = 'ebpf/packetloss'): LogsBatch {
  return { kind: 'logs', source, scope: { name: 'test' }, records };
}

export function podEntity(name: string, more: Partial<PodEntity> = {}): PodEntity {
  return {
    kind: 'pod',
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    hostNetwork: false,
    sandboxId: `sandbox-${name}`,
    state: 'ready',
    createdAtMs: testEpochMs,
    ips: ['10.0.0.2'],
    labels: {},
    annotations: {},
    containers: [],
    runtime: 'containerd',
    ...more,
  };
}
