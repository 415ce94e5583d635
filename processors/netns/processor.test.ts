import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EntitiesBatch, Entity, LogsBatch } from '../../pipeline/batch.ts';
import { hostInode, hostNetns, logRecord, logs, pod, start } from './testing.ts';

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
    t.clock.advance(2000);
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
    t.clock.advance(2000);
    assert.equal(t.lastMetrics()?.snapshots.length, 0);
    assert.deepEqual(t.telemetry.dropCalls, [{ reason: 'unknown_netns', n: 1, signal: 'metrics' }]);
  });
});

describe('collections that come before the name', () => {
  test('they wait as a whole and go on with the first list that names what is new in them', () => {
    const t = start();
    t.know(pod('old', 10));
    t.metricOf({ netns: 10 }, { netns: 11 });
    assert.deepEqual(t.measured(), []);
    t.clock.advance(150);
    t.know(pod('old', 10), pod('new', 11));
    assert.deepEqual(t.measured(), ['old', 'new']);
    assert.equal(t.clock.pending, 0);
  });

  test('a namespace that gets no name delays one collection, once', () => {
    const t = start();
    t.metric({ netns: 77 });
    t.clock.advance(1999);
    assert.deepEqual(t.measured(), []);
    t.clock.advance(1);
    assert.deepEqual(t.measured(), ['netns:77']);
    t.metric({ netns: 77 });
    assert.deepEqual(t.measured(), ['netns:77', 'netns:77']);
  });

  test('a source’s collections stay in order, and those of others do not wait', () => {
    const t = start();
    t.metric({ netns: 77 }, t.clock.nowMs(), 1, 'a');
    t.metric(undefined, t.clock.nowMs(), 2, 'b');
    t.clock.advance(500);
    t.metric({ netns: 77 }, t.clock.nowMs(), 3, 'a');
    t.clock.advance(2000);
    const values = t.out.values.flatMap((b) => (b.kind === 'metrics' ? b.snapshots.map((s) => s.values[0]) : []));
    assert.deepEqual(values, [2, 1, 3]);
  });

  test('at the end of the stream they go on; at a stop they are counted as dropped', () => {
    const t = start();
    t.metric({ netns: 77 });
    t.input$.complete();
    assert.deepEqual(t.measured(), ['netns:77']);
    const u = start();
    u.metricOf({ netns: 77 }, { netns: 78 }, undefined);
    u.out.subscription.unsubscribe();
    assert.deepEqual(u.telemetry.dropCalls, [{ reason: 'stopped', n: 3, signal: 'metrics' }]);
    assert.equal(u.clock.pending, 0);
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
