import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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

const facts = { name: 'node-a', hostName: 'host-a', kernel: '6.18.0' };
const hostInode = 4026531840;
const scope = { name: 'test' };
const metric = defineMetrics({
  'skoop.test': { instrument: 'counter', unit: '1', description: 'A test.', source: 'test', scope: 'netns' },
})['skoop.test'];
const schema = makeSchema([{ metric }]);

function pod(name: string, netns: number | undefined, more: Partial<PodEntity> = {}): PodEntity {
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

const hostNetns: Entity = {
  kind: 'netns',
  netns: hostInode,
  host: true,
  podUids: [],
  containerIds: [],
  firstSeenMs: 0,
};

function start(settings: object = {}) {
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
    metric: (owner: Owner | undefined, timeMs = nowMs(), value = 23) =>
      push({
        kind: 'metrics',
        source: 'procfs/test',
        scope,
        snapshots: [{ owner, resource: noResource, startTimeMs: 0, timeMs, schema, values: Float64Array.of(value) }],
      }),
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

function logRecord(owner: Owner | undefined, body: string, timeMs: number): LogRecord {
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

function logs(records: LogRecord[], source = 'ebpf'): LogsBatch {
  return { kind: 'logs', source, scope, records };
}

function nameOf(attributes: Readonly<Record<string, unknown>>): string {
  const inode = attributes['skoop.netns.inode'];
  const container = attributes['k8s.container.name'];
  const name = attributes['k8s.pod.name'] ?? (inode === undefined ? 'node' : `netns:${inode}`);
  return container === undefined ? String(name) : `${name}/${container}`;
}

describe('names by kernel identity', () => {
  test('a namespace inode gives the pod, its attributes follow the semantic conventions', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.metric({ netns: 11 });
    assert.deepEqual(t.lastMetrics()?.snapshots[0]?.resource.attributes, {
      'k8s.pod.name': 'web-0',
      'k8s.namespace.name': 'shop',
      'k8s.pod.uid': 'uid-web-0',
      'k8s.node.name': 'node-a',
      'service.name': 'web-0',
      'service.namespace': 'shop',
      'service.instance.id': 'shop.web-0',
    });
  });

  test('no owner, and the node’s own namespace, give the node', () => {
    const t = start();
    t.knowNetns();
    t.metric(undefined);
    t.metric({ netns: hostInode });
    const expected = { 'k8s.node.name': 'node-a', 'host.name': 'host-a', 'os.type': 'linux', 'os.version': '6.18.0' };
    const resources = t.out.values.flatMap((b) => (b.kind === 'metrics' ? [b.snapshots[0]?.resource] : []));
    assert.deepEqual(
      resources.map((r) => r?.attributes),
      [expected, expected],
    );
    assert.equal(resources[0], resources[1]);
  });

  test('hostNetwork pods: told apart by pod UID and container id, the shared namespace is the node’s', () => {
    const t = start();
    t.know(pod('a', 500, { hostNetwork: true }), pod('b', 500, { hostNetwork: true }));
    t.metric({ netns: 500 });
    t.metric({ netns: 500, podUid: 'uid-b' });
    t.metric({ netns: 500, containerId: 'container-a' });
    t.metric({ netns: 500, containerId: 'sandbox-b' });
    assert.deepEqual(t.measured(), ['node', 'b', 'a/app', 'b']);
  });

  test('hostNetwork pods: a socket’s cgroup tells them apart where data has no pod UID; a service of the node stays the node’s', () => {
    const t = start();
    t.know(
      pod('a', 500, { hostNetwork: true, cgroups: [{ id: 71, containerId: 'container-a' }, { id: 72 }] }),
      pod('b', 501, { cgroups: [{ id: 73 }] }),
    );
    t.metric({ netns: 500, cgroupId: 71 });
    t.metric({ netns: 500, cgroupId: 72 });
    t.metric({ netns: 500, cgroupId: 1 });
    t.metric({ netns: 501, cgroupId: 71 });
    assert.deepEqual(t.measured(), ['a/app', 'a', 'node', 'b'], 'a pod’s own namespace is stronger than any cgroup');
    t.know();
    t.clock.advance(61_000);
    t.knowNetns({ ...hostNetns, netns: 500 } as Entity);
    t.know();
    t.metric({ netns: 500, cgroupId: 71 });
    assert.equal(t.measured().at(-1), 'node');
  });

  test('the resource is one object while nothing changes, also when lists come again with new objects', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.metric({ netns: 11 });
    t.know(pod('web-0', 11));
    t.metric({ netns: 11 });
    t.know(pod('web-0', 11, { state: 'notready', labels: { changed: 'yes' } }));
    t.metric({ netns: 11 });
    const resources = t.out.values.flatMap((b) => (b.kind === 'metrics' ? [b.snapshots[0]?.resource] : []));
    assert.equal(resources.length, 3);
    assert.equal(new Set(resources).size, 1);
  });

  test('a container without Kubernetes stands for itself', () => {
    const t = start();
    t.know(pod('redis', 11, { namespace: '', runtime: 'docker' }));
    t.metric({ netns: 11 });
    assert.deepEqual(t.lastMetrics()?.snapshots[0]?.resource.attributes, {
      'container.name': 'redis',
      'container.id': 'sandbox-redis',
      'k8s.node.name': 'node-a',
      'host.name': 'host-a',
      'service.name': 'redis',
      'service.instance.id': 'sandbox-redis',
    });
  });

  test('as a sidecar all data is the pod’s, although its namespace looks like the node’s', () => {
    const t = start();
    t.knowNetns();
    t.know(pod('me', hostInode, { runtime: 'sidecar' }));
    t.metric(undefined);
    t.metric({ netns: hostInode });
    assert.deepEqual(t.measured(), ['me', 'me']);
  });

  test('what has a resource already keeps it; entities pass as they are', () => {
    const t = start();
    const resource = { attributes: { own: 'yes' } };
    t.input$.next({ ...logs([{ ...logRecord({ netns: 11 }, 'x', 0), resource }]) });
    const batch: EntitiesBatch = { kind: 'entities', source: 'cri', timeMs: 0, entities: [] };
    t.input$.next(batch);
    assert.equal((t.out.values[0] as LogsBatch).records[0]?.resource, resource);
    assert.equal(t.out.values[1], batch);
  });
});

describe('namespaces without a pod', () => {
  test('metrics carry what the kernel knows', () => {
    const t = start();
    t.knowNetns({
      kind: 'netns',
      netns: 77,
      host: false,
      comm: 'dnsmasq',
      name: 'lab',
      podUids: [],
      containerIds: ['c1'],
      firstSeenMs: 0,
    });
    t.metric({ netns: 77 });
    assert.deepEqual(t.lastMetrics()?.snapshots[0]?.resource.attributes, {
      'skoop.netns.inode': 77,
      'skoop.netns.name': 'lab',
      'process.executable.name': 'dnsmasq',
      'container.id': 'c1',
      'k8s.node.name': 'node-a',
      'host.name': 'host-a',
    });
  });

  test('they can be dropped, counted; the batch stays complete', () => {
    const t = start({ unknown_netns: 'drop' });
    t.metric({ netns: 77 });
    assert.equal(t.lastMetrics()?.snapshots.length, 0);
    assert.deepEqual(t.telemetry.dropCalls, [{ reason: 'unknown_netns', n: 1, signal: 'metrics' }]);
  });
});

describe('events that come before the name', () => {
  test('they wait, keep their order and get it', () => {
    const t = start();
    t.log({ netns: 11 }, 'first');
    t.log({ netns: 11 }, 'second', t.clock.nowMs(), 'other');
    t.log(undefined, 'of the node');
    assert.deepEqual(t.said(), ['node of the node']);
    t.clock.advance(1999);
    t.know(pod('web-0', 11));
    assert.deepEqual(t.said(), ['node of the node', 'web-0 first', 'web-0 second']);
    const last = t.out.values.slice(-3);
    assert.deepEqual(
      last.map((b) => (b.kind === 'entities' ? 'entities' : b.source)),
      ['entities', 'ebpf', 'other'],
    );
    assert.equal(t.clock.pending, 0);
  });

  test('after the wait they go on without a name, counted; later ones do not wait again', () => {
    const t = start();
    t.log({ netns: 11 }, 'one');
    t.clock.advance(1999);
    assert.deepEqual(t.said(), []);
    t.clock.advance(1);
    assert.deepEqual(t.said(), ['netns:11 one']);
    t.log({ netns: 11 }, 'two');
    assert.deepEqual(t.said(), ['netns:11 one', 'netns:11 two']);
    assert.equal(t.telemetry.count('netns_unnamed_log_records', { reason: 'not_in_time' }), 1);
    assert.equal(t.telemetry.count('netns_unnamed_log_records', { reason: 'no_pod' }), 1);
  });

  test('each waits for its own time', () => {
    const t = start();
    t.log({ netns: 11 }, 'one');
    t.clock.advance(500);
    t.log({ netns: 12 }, 'two');
    t.clock.advance(1500);
    assert.deepEqual(t.said(), ['netns:11 one']);
    t.clock.advance(500);
    assert.deepEqual(t.said(), ['netns:11 one', 'netns:12 two']);
  });

  test('no room: they go on at once, counted; nothing is lost', () => {
    const t = start({ max_waiting: 3 });
    for (let i = 0; i < 23; i++) t.log({ netns: 100 + i }, `e${i}`);
    assert.equal(t.said().length, 20);
    assert.equal(t.telemetry.count('netns_unnamed_log_records', { reason: 'no_room' }), 20);
    assert.equal(t.telemetry.read('netns_waiting_log_records'), 3);
    t.clock.advance(2000);
    assert.equal(t.said().length, 23);
  });

  test('wait: 0s holds nothing back', () => {
    const t = start({ wait: '0s' });
    t.log({ netns: 11 });
    assert.deepEqual(t.said(), ['netns:11 event']);
  });

  test('at the end of the stream what waits goes on; at a stop it is counted as dropped', () => {
    const t = start();
    t.log({ netns: 11 }, 'kept');
    t.input$.complete();
    assert.deepEqual(t.said(), ['netns:11 kept']);
    assert.equal(t.out.ended, 'completed');
    const u = start();
    u.log({ netns: 11 });
    u.log({ netns: 12 });
    u.out.subscription.unsubscribe();
    assert.deepEqual(u.telemetry.dropCalls, [{ reason: 'stopped', n: 2, signal: 'logs' }]);
    assert.equal(u.clock.pending, 0);
  });

  test('a hostNetwork pod that nobody named yet waits too, and is not taken for the node', () => {
    const t = start();
    t.knowNetns();
    t.log({ netns: hostInode, podUid: 'uid-new' }, 'e');
    assert.deepEqual(t.said(), []);
    t.know(pod('new', hostInode, { hostNetwork: true }));
    assert.deepEqual(t.said(), ['new e']);
  });

  test('an inode that is gone and comes back may wait again', () => {
    const t = start();
    t.log({ netns: 11 }, 'old');
    t.clock.advance(2000);
    t.knowNetns();
    t.log({ netns: 11 }, 'new');
    assert.deepEqual(t.said(), ['netns:11 old']);
    t.know(pod('web-0', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual(t.said(), ['netns:11 old', 'web-0 new']);
  });
});

describe('the dead', () => {
  test('late events keep their name for a minute, metrics end at once', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.clock.advance(10_000);
    const before = t.clock.nowMs() - 5000;
    t.know();
    t.clock.advance(59_000);
    t.log({ netns: 11 }, 'late', before);
    t.log({ podUid: 'uid-web-0' }, 'by uid', before);
    t.metric({ netns: 11 });
    assert.deepEqual(t.said(), ['web-0 late', 'web-0 by uid']);
    assert.deepEqual(t.measured(), ['netns:11']);
    t.clock.advance(2000);
    t.know();
    t.log({ netns: 11 }, 'too late', before);
    t.clock.advance(2000);
    assert.deepEqual(t.said().slice(2), ['netns:11 too late']);
  });

  test('an inode that comes back belongs to nobody until it is named, and never to the dead', () => {
    const t = start();
    t.know(pod('old', 11));
    t.clock.advance(10_000);
    t.know();
    t.clock.advance(100);
    t.log({ netns: 11 }, 'of the new one');
    t.metric({ netns: 11 });
    assert.deepEqual(t.said(), []);
    assert.deepEqual(t.measured(), ['netns:11']);
    t.know(pod('new', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual(t.said(), ['new of the new one']);
  });

  test('both in one list change: each event gets who had the inode when it happened', () => {
    const t = start();
    t.know(pod('old', 11));
    const seen = t.clock.nowMs();
    t.clock.advance(10_000);
    const born = t.clock.nowMs() - 3000;
    t.know(pod('new', 11, { createdAtMs: born }));
    t.log({ netns: 11 }, 'long ago', seen);
    t.log({ netns: 11 }, 'before the birth', born - 2000);
    t.log({ netns: 11 }, 'while it was made', born - 500);
    t.log({ netns: 11 }, 'now');
    assert.deepEqual(t.said(), ['old long ago', 'old before the birth', 'new while it was made', 'new now']);
    t.metric({ netns: 11 });
    assert.deepEqual(t.measured(), ['new']);
  });

  test('what happened long before a pod was made is not the pod’s', () => {
    const t = start({ wait: '0s' });
    t.know(pod('web-0', 11));
    t.log({ netns: 11 }, 'while CNI worked', testEpochMs - 60_000);
    t.log({ netns: 11 }, 'of somebody else', testEpochMs - 121_000);
    assert.deepEqual(t.said(), ['web-0 while CNI worked', 'netns:11 of somebody else']);
  });

  test('a pod whose sandbox was stopped but is still listed loses its namespace, not its name', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.clock.advance(1000);
    t.know(pod('web-0', undefined, { state: 'notready' }));
    t.clock.advance(1000);
    t.log({ podUid: 'uid-web-0' }, 'by uid');
    t.log({ netns: 11 }, 'someone else');
    assert.deepEqual(t.said(), ['web-0 by uid']);
    t.know(pod('web-0', undefined, { state: 'notready' }), pod('next', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual(t.said(), ['web-0 by uid', 'next someone else']);
  });

  test('a pause process that was killed changes nothing: NOTREADY with its namespace', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.know(pod('web-0', 11, { state: 'notready' }));
    t.clock.advance(100_000);
    t.log({ netns: 11 });
    assert.deepEqual(t.said(), ['web-0 event']);
  });

  test('a container that crashes all day keeps its last names only, and the pod’s', () => {
    const t = start();
    for (let i = 0; i < 100; i++) {
      t.know(pod('web-0', 11, { containers: [{ id: `c${i}`, name: 'app', image: 'i', state: 'running' }] }));
    }
    t.metric({ netns: 11, containerId: 'c99' });
    t.metric({ netns: 11, containerId: 'c90' });
    t.metric({ netns: 11, containerId: 'c1' });
    assert.deepEqual(t.measured(), ['web-0/app', 'web-0/app', 'web-0']);
  });

  test('1000 pods come and go on the same ten inodes: every event of a living one is right', () => {
    const t = start();
    for (let i = 0; i < 1000; i++) {
      t.know(pod(`p${i}`, 10 + (i % 10), { createdAtMs: t.clock.nowMs() }));
      t.clock.advance(1500);
      t.log({ netns: 10 + (i % 10) }, `e${i}`);
    }
    assert.deepEqual(
      t.said(),
      Array.from({ length: 1000 }, (_, i) => `p${i} e${i}`),
    );
  });
});
