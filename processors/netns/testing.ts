import { Subject } from 'rxjs';
import {
  type Batch,
  type EntitiesBatch,
  type Entity,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  noResource,
  type Owner,
  type PodEntity,
} from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext, testEpochMs } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

/** What the tests of this processor share. */

export const facts = { name: 'node-a', hostName: 'host-a', kernel: '6.18.0' };
export const hostInode = 4026531840;
export const scope = { name: 'test' };
const metric = defineMetrics({
  'skoop.test': { instrument: 'counter', unit: '1', description: 'A test.', source: 'test', scope: 'netns' },
})['skoop.test'];
const schema = makeSchema([{ metric }]);

export function pod(name: string, netns: number | undefined, more: Partial<PodEntity> = {}): PodEntity {
  return deepFreeze({
    kind: 'pod',
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    hostNetwork: false,
    ...(netns !== undefined && { netns }),
    sandboxId: `sandbox-${name}`,
    state: 'ready',
    createdAtMs: testEpochMs,
    ips: [],
    labels: {},
    annotations: {},
    containers: [{ id: `container-${name}`, name: 'app', image: 'i', state: 'running' }],
    runtime: 'containerd',
    ...more,
  });
}

export const hostNetns: Entity = {
  kind: 'netns',
  netns: hostInode,
  host: true,
  podUids: [],
  containerIds: [],
  firstSeenMs: 0,
};

export function start(settings: object = {}) {
  const context = testContext();
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse(settings), context, facts)));
  const push = (batch: Batch) => input$.next(deepFreeze(batch));
  const nowMs = () => context.clock.nowMs();
  const entities = (list: readonly Entity[], source = 'cri'): EntitiesBatch => ({
    kind: 'entities',
    source,
    timeMs: nowMs(),
    entities: list,
  });
  return {
    ...context,
    out,
    input$,
    know: (...list: Entity[]) => push(entities(list)),
    knowNetns: (...list: Entity[]) => push(entities([hostNetns, ...list], 'cri/netns')),
    log: (owner: Owner | undefined, body = 'event', timeMs = nowMs(), source = 'ebpf') =>
      push(logs([logRecord(owner, body, timeMs)], source)),
    logAll: (records: LogRecord[]) => push(logs(records)),
    metric: (owner: Owner | undefined, timeMs = nowMs(), value = 23, source = 'procfs/test') =>
      push(metrics([owner], timeMs, value, source)),
    /** One collection of several owners. */
    metricOf: (...owners: (Owner | undefined)[]) => push(metrics(owners, nowMs(), 23, 'procfs/test')),
    /** Records that came out, as `name body`. */
    said: () =>
      out.values.flatMap((b) =>
        b.kind === 'logs' ? b.records.map((r) => `${nameOf(r.resource.attributes)} ${r.body}`) : [],
      ),
    /** Names on the metrics that came out. */
    measured: () =>
      out.values.flatMap((b) => (b.kind === 'metrics' ? b.snapshots.map((s) => nameOf(s.resource.attributes)) : [])),
    lastMetrics: () => out.values.filter((b): b is MetricsBatch => b.kind === 'metrics').at(-1),
  };
}

function metrics(owners: readonly (Owner | undefined)[], timeMs: number, value: number, source: string): MetricsBatch {
  const snapshots = owners.map((owner) => ({
    owner,
    resource: noResource,
    startTimeMs: 0,
    timeMs,
    schema,
    values: Float64Array.of(value),
  }));
  return { kind: 'metrics', source, scope, snapshots };
}

export function logRecord(owner: Owner | undefined, body: string, timeMs: number): LogRecord {
  const ns = BigInt(timeMs) * 1_000_000n;
  return {
    timeUnixNs: ns,
    observedTimeUnixNs: ns,
    severityNumber: 9,
    eventName: 'skoop.test.event',
    body,
    attributes: {},
    owner,
    resource: noResource,
  };
}

export function logs(records: LogRecord[], source = 'ebpf'): LogsBatch {
  return { kind: 'logs', source, scope, records };
}

function nameOf(attributes: Readonly<Record<string, unknown>>): string {
  const inode = attributes['skoop.netns.inode'];
  const container = attributes['k8s.container.name'];
  const name = attributes['k8s.pod.name'] ?? (inode === undefined ? 'node' : `netns:${inode}`);
  return container === undefined ? String(name) : `${name}/${container}`;
}
