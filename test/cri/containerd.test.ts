import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { merge, type Observable, Subject } from 'rxjs';
import { ProcRoot } from '../../host/proc-root.ts';
import {
  type Batch,
  type EntitiesBatch,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  noResource,
  type Owner,
  type PodEntity,
} from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { type Recording, record, testContext } from '../../pipeline/testing.ts';
import netns from '../../processors/netns/index.ts';
import { config } from '../../receivers/cri/config.ts';
import { CriSource } from '../../receivers/cri/cri-source.ts';
import { createReceiver } from '../../receivers/cri/receiver.ts';
import { type Bed, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';

/**
 * The receiver and the netns processor against a real containerd with real pods. They run in the test's process and look at the test
 * node through its proc root.
 */
const lacking =
  process.getuid?.() !== 0
    ? 'needs root'
    : ['/usr/bin/containerd', '/usr/lib/cni/bridge', '/bin/busybox'].find((f) => !existsSync(f));

const metric = defineMetrics({
  'skoop.test': { instrument: 'counter', unit: '1', description: 'A test.', source: 'test', scope: 'netns' },
})['skoop.test'];
const schema = makeSchema([{ metric }]);
const scope = { name: 'test' };

describe('pods of a real containerd', { skip: lacking === undefined ? false : `${lacking} is missing` }, () => {
  let bed: Bed;
  let out: Recording;
  let context: ReturnType<typeof testContext>;
  const injected$ = new Subject<Batch>();

  before(async () => {
    bed = await startBed({ name: 'node-cri' });
    const { node, containerd } = bed;
    const root = new ProcRoot({ proc: node.path('/proc'), sys: node.path('/sys'), run: node.path('/run') });
    context = { ...testContext({ id: 'cri', node: 'node-cri' }), clock: systemClock } as never;
    // The interval is out of the way: everything here is noticed by wake-ups.
    const settings = config.parse({ endpoint: node.path(containerd.socket), collection_interval: '1h' });
    const receiver = createReceiver(settings, context, { root, env: {} });
    const stream$: Observable<Batch> = merge(receiver.run(), injected$);
    out = record(stream$.pipe(netns.create(netns.config.parse({}), context)));
    await out.until((v) => v.some((b) => b.source === 'cri'));
  });
  after(async () => {
    out?.subscription.unsubscribe();
    await bed?.stop();
  });

  const pods = (): readonly PodEntity[] =>
    (out.values.findLast((b): b is EntitiesBatch => b.kind === 'entities' && b.source === 'cri')?.entities ??
      []) as PodEntity[];
  const named = (name: string) => pods().find((p) => p.name === name);
  const records = (): LogRecord[] => out.values.flatMap((b) => (b.kind === 'logs' ? (b as LogsBatch).records : []));

  let serial = 0;
  /** Sends an event and a counter of an owner through the processor; gives the pod's name that each got. */
  async function namesOf(owner: Owner): Promise<[unknown, unknown]> {
    const body = `probe ${++serial}`;
    const nowNs = systemClock.nowUnixNs();
    const base = { owner, resource: noResource };
    const snapshot = { ...base, startTimeMs: 0, timeMs: systemClock.nowMs(), schema, values: Float64Array.of(1) };
    injected$.next({ kind: 'metrics', source: body, scope, snapshots: [snapshot] });
    const common = {
      timeUnixNs: nowNs,
      observedTimeUnixNs: nowNs,
      severityNumber: 9,
      eventName: 'x',
      attributes: {},
    } as const;
    injected$.next({ kind: 'logs', source: body, scope, records: [{ ...base, ...common, body }] });
    const values = await out.until((v) => v.some((b) => b.kind === 'logs' && b.source === body));
    const log = values.find((b): b is LogsBatch => b.kind === 'logs' && b.source === body)?.records[0];
    const metrics = values.find((b): b is MetricsBatch => b.kind === 'metrics' && b.source === body)?.snapshots[0];
    return [log?.resource.attributes['k8s.pod.name'], metrics?.resource.attributes['k8s.pod.name']];
  }

  test('a pod: name, namespace, addresses, labels, containers and the inode the kernel gives', async () => {
    const pod = await bed.runPod({
      name: 'web-0',
      namespace: 'shop',
      labels: { app: 'web' },
      containers: [{ name: 'app' }, { name: 'side' }],
    });
    const entity = await waitFor('the pod', () => {
      const found = named('web-0');
      return found?.containers.every((c) => c.state === 'running') && found.containers.length === 2 ? found : undefined;
    });
    assert.equal(entity.netns, pod.netnsInode);
    assert.equal(entity.uid, pod.uid);
    assert.equal(entity.namespace, 'shop');
    assert.deepEqual(entity.ips, pod.ips);
    assert.equal(entity.labels['app'], 'web');
    assert.deepEqual(
      entity.containers.map((c) => c.name),
      ['app', 'side'],
    );
    assert.equal(entity.runtime, 'containerd');
    assert.deepEqual(await namesOf({ netns: pod.netnsInode }), ['web-0', 'web-0']);
    const started = records().filter(
      (r) => r.eventName === 'skoop.pod.started' && r.resource.attributes['k8s.pod.name'] === 'web-0',
    );
    assert.equal(started.length, 1);
    assert.equal(started[0]?.resource.attributes['k8s.pod.uid'], pod.uid);
  });

  test('hostNetwork: the node’s namespace stays the node’s, the pod is known by its UID', async () => {
    const pod = await bed.runPod({ name: 'agent', namespace: 'kube-system', hostNetwork: true });
    const entity = await waitFor('the pod', () => named('agent'));
    assert.equal(entity.hostNetwork, true);
    assert.equal(entity.netns, bed.node.netnsInode);
    assert.deepEqual(await namesOf({ netns: bed.node.netnsInode }), [undefined, undefined]);
    assert.deepEqual(await namesOf({ netns: bed.node.netnsInode, podUid: pod.uid }), ['agent', 'agent']);
    // Its sockets carry the cgroup of the container: the directory's inode, as the kernel numbers it.
    const known = await waitFor('its container’s cgroup', () =>
      named('agent')?.cgroups?.find((c) => c.containerId === pod.containers[0]),
    );
    const path = `kubepods/besteffort/pod${pod.uid}/${pod.containers[0]}`;
    const inodes = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].map(
      (mount) => statSync(`${mount}${bed.node.cgroup}/${path}`, { throwIfNoEntry: false })?.ino,
    );
    assert.ok(inodes.includes(known.id), `${known.id} is one of ${inodes}`);
    assert.deepEqual(await namesOf({ netns: bed.node.netnsInode, cgroupId: known.id }), ['agent', 'agent']);
    assert.deepEqual(await namesOf({ netns: bed.node.netnsInode, cgroupId: 1 }), [undefined, undefined]);
  });

  test('a container that fails: its exit code', async () => {
    await bed.runPod({ name: 'crash', command: ['sh', '-c', 'exit 23'] });
    const exited = await waitFor('the exit', () =>
      records().find(
        (r) => r.eventName === 'skoop.container.exited' && r.resource.attributes['k8s.pod.name'] === 'crash',
      ),
    );
    assert.equal(exited.attributes['process.exit.code'], 23);
    assert.equal(exited.attributes['skoop.container.exit_reason'], 'Error');
  });

  test('a pause process that is killed: NOTREADY, and the name stays while the namespace lives', async () => {
    const pod = await bed.runPod({ name: 'paused' });
    await waitFor('the pod', () => named('paused')?.containers[0]?.state === 'running');
    await bed.killPause(pod);
    const entity = await waitFor('NOTREADY', () =>
      named('paused')?.state === 'notready' ? named('paused') : undefined,
    );
    assert.equal(entity.netns, pod.netnsInode);
    assert.deepEqual(await namesOf({ netns: pod.netnsInode }), ['paused', 'paused']);
    assert.equal(
      records().some((r) => r.eventName === 'skoop.pod.stopped' && r.resource.attributes['k8s.pod.name'] === 'paused'),
      false,
    );
    await bed.removePod(pod);
    await waitFor('the end', () => named('paused') === undefined);
  });

  test('commands that are run in a container, as probes are, cause no list; the end of a container does', async () => {
    const pod = await bed.runPod({ name: 'probed' });
    await waitFor('the pod', () => named('probed')?.containers[0]?.state === 'running');
    const settings = config.parse({ endpoint: bed.node.path(bed.containerd.socket) });
    const door = {
      ofPid: () => undefined,
      ofPath: () => undefined,
      cookieOf: () => undefined,
      ofPodUid: () => undefined,
      host: () => undefined,
    };
    const source = new CriSource({ socketPath: settings.endpoint ?? '', config: settings, context, door });
    const wake = record(source.wake$);
    // Subscribed once something arrives: a container of another pod, made until it does.
    const ready = await bed.runPod({ name: 'ready' });
    await waitFor('the first event', async () => {
      if (wake.values.length > 0) return true;
      await bed.containerd.cri.call('StopContainer', { containerId: ready.containers[0]! });
      return false;
    });
    const deletions = () => wake.values.filter((topic) => topic === '/containers/delete').length;
    const earlier = deletions();
    await bed.removePod(ready);
    // Its container and its sandbox: the last that is told of it.
    await waitFor('the end of the other pod', () => deletions() === earlier + 2);
    const before = wake.values.length;
    for (let i = 0; i < 7; i++) assert.equal((await pod.exec(['true'])).code, 0);
    await bed.containerd.cri.call('StopContainer', { containerId: pod.containers[0]! });
    await wake.until((v) => v.length > before);
    wake.subscription.unsubscribe();
    source.close();
    assert.deepEqual(wake.values.slice(before), ['/tasks/exit']);
    await waitFor('the event of its end', () =>
      records().some(
        (r) => r.eventName === 'skoop.container.exited' && r.resource.attributes['k8s.pod.name'] === 'probed',
      ),
    );
  });

  test('containerd restarts: nothing is lost, nothing is invented, and new pods are seen again', async () => {
    const known = pods().map((p) => p.name);
    const told = records().length;
    await bed.containerd.restart();
    const pod = await bed.runPod({ name: 'after-restart' });
    const entity = await waitFor('the new pod', () => named('after-restart'));
    assert.equal(entity.netns, pod.netnsInode);
    assert.deepEqual(
      pods()
        .map((p) => p.name)
        .sort(),
      [...known, 'after-restart'].sort(),
    );
    const since = records()
      .slice(told)
      .map((r) => r.resource.attributes['k8s.pod.name']);
    assert.deepEqual([...new Set(since)], ['after-restart']);
  });

  test('50 pods of one name killed and recreated leave no entity and no descriptor, and each is named right', async () => {
    const before = pods().length;
    const descriptors = () => readdirSync('/proc/self/fd').length;
    let fdsBefore = 0;
    for (let i = 0; i < 50; i++) {
      const pod = await bed.runPod({ name: 'phoenix', uid: `uid-${i}` });
      await waitFor(
        `pod ${i}`,
        () => named('phoenix')?.uid === `uid-${i}` && named('phoenix')?.netns === pod.netnsInode,
      );
      assert.deepEqual(await namesOf({ netns: pod.netnsInode }), ['phoenix', 'phoenix']);
      await bed.removePod(pod);
      if (i === 9) fdsBefore = descriptors();
    }
    await waitFor('the last one to be gone', () => named('phoenix') === undefined);
    assert.equal(pods().length, before);
    assert.ok(descriptors() <= fdsBefore + 2, `${descriptors()} descriptors, ${fdsBefore} before`);
    const count = (name: string) =>
      records().filter((r) => r.eventName === name && r.resource.attributes['k8s.pod.name'] === 'phoenix').length;
    await waitFor('the last event', () => count('skoop.pod.stopped') === 50);
    assert.equal(count('skoop.pod.started'), 50);
    assert.deepEqual(context.telemetry.drops, {});
  });
});
