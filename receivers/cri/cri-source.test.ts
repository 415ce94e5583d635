import assert from 'node:assert/strict';
import { after, beforeEach, describe, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { systemClock } from '../../pipeline/clock.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { containerdPod, FakeRuntime, runningContainer } from '../../test/cri/fake-runtime.ts';
import { config } from './config.ts';
import { CriSource } from './cri-source.ts';
import { GrpcError } from './grpc-channel.ts';
import type { NamespaceDoor } from './pod-source.ts';
import { ContainerState, NamespaceMode, PodSandboxState } from './proto/runtime_pb.ts';
import { TaskExitSchema } from './proto/task_pb.ts';

const hostInode = 4026531840;

/** A machine with these namespaces: by path and by pid. */
function fakeDoor(paths: Record<string, number> = {}, pids: Record<number, number> = {}): NamespaceDoor {
  return {
    ofPath: (path) => paths[path],
    ofPid: (pid) => pids[pid],
    cookieOf: (inode: number) => inode * 1000,
    ofPodUid: () => undefined,
    host: () => hostInode,
  };
}

const open: { close(): void }[] = [];
after(() => {
  for (const o of open) o.close();
});

async function start(settings: object = {}, door: NamespaceDoor = fakeDoor()) {
  const runtime = new FakeRuntime();
  await runtime.start();
  const context = { ...testContext(), clock: systemClock };
  const source = new CriSource({ socketPath: runtime.path, config: config.parse(settings), context, door });
  open.push(source, runtime);
  return { runtime, source, context, list: () => source.list(AbortSignal.timeout(20_000)) };
}

/** As CRI-O answers: no netNamespaceClosed, a privileged flag, the same spec. */
function crioInfo(pid: number, path: string | undefined): Record<string, string> {
  const namespaces = [{ type: 'ipc', path: '/var/run/ipcns/1' }, ...(path ? [{ type: 'network', path }] : [])];
  return {
    info: JSON.stringify({
      image: 'registry.example/pause',
      pid,
      runtimeSpec: { ociVersion: '1.1.0', linux: { namespaces } },
    }),
  };
}

describe('pods from a CRI runtime', () => {
  let clean: Awaited<ReturnType<typeof start>>;
  beforeEach(async () => {
    clean = await start(
      {},
      fakeDoor({ '/var/run/netns/cni-1': 11, '/var/run/netns/cni-2': 12, '/var/run/netns/cni-3': 13 }),
    );
  });

  test('a pod carries its names, addresses of both versions, namespace and containers', async () => {
    clean.runtime.pods = [containerdPod(1)];
    const [pod] = await clean.list();
    assert.deepEqual(pod, {
      kind: 'pod',
      uid: 'uid-1',
      name: 'web-1',
      namespace: 'shop',
      hostNetwork: false,
      netns: 11,
      netnsCookie: 11_000,
      sandboxId: '1'.padStart(64, '0'),
      state: 'ready',
      createdAtMs: 1_700_000_000_000,
      ips: ['10.0.0.1', 'fd00::1'],
      labels: { app: 'web' },
      annotations: {},
      containers: [
        { id: 'c1'.padEnd(64, '0'), name: 'app', image: 'registry.example/web:1', state: 'running', restartCount: 0 },
      ],
      runtime: 'containerd',
    });
  });

  test('the order of the runtime does not matter, and nothing is asked twice about what did not change', async () => {
    clean.runtime.pods = [containerdPod(3), containerdPod(1), containerdPod(2)];
    const first = await clean.list();
    clean.runtime.pods.reverse();
    const second = await clean.list();
    assert.deepEqual(
      first.map((p) => p.name),
      ['web-1', 'web-2', 'web-3'],
    );
    assert.ok(
      second.every((p, i) => p === first[i]),
      'entities are the same objects',
    );
    assert.equal(clean.runtime.calls['PodSandboxStatus'], 3);
    assert.equal(clean.runtime.calls['ListPodSandbox'], 2);
  });

  test('a changed state is asked about, once, and only for that pod', async () => {
    clean.runtime.pods = [containerdPod(1), containerdPod(2)];
    const [, before] = await clean.list();
    const dead = containerdPod(1);
    clean.runtime.pods[0] = { ...dead, sandbox: { ...dead.sandbox, state: PodSandboxState.SANDBOX_NOTREADY } };
    const [changed, same] = await clean.list();
    assert.equal(changed?.state, 'notready');
    assert.equal(same, before);
    assert.equal(clean.runtime.calls['PodSandboxStatus'], 3);
  });

  test('status calls run side by side, never more than configured', async () => {
    const { runtime, list } = await start({ parallelism: 3 });
    runtime.pods = Array.from({ length: 31 }, (_, i) => containerdPod(i + 1));
    await list();
    assert.equal(runtime.calls['PodSandboxStatus'], 31);
    assert.equal(runtime.mostRunning, 3);
  });

  test('CRI-O: pid and namespace from its own JSON', async () => {
    clean.runtime.runtimeName = 'cri-o';
    clean.runtime.pods = [containerdPod(1, { info: crioInfo(77, '/var/run/netns/cni-2') })];
    const [pod] = await clean.list();
    assert.equal(pod?.netns, 12);
    assert.equal(pod?.runtime, 'cri-o');
  });

  test('hostNetwork: the namespace of its process, else the node’s', async () => {
    const { runtime, list } = await start({}, fakeDoor({}, { 1001: 555 }));
    runtime.pods = [
      containerdPod(1, { mode: NamespaceMode.NODE, ips: [] }),
      containerdPod(2, { mode: NamespaceMode.NODE, ips: [] }),
    ];
    const pods = await list();
    assert.deepEqual(
      pods.map((p) => [p.hostNetwork, p.netns]),
      [
        [true, 555],
        [true, hostInode],
      ],
    );
    await list();
    assert.equal(runtime.calls['PodSandboxStatus'], 2, 'an address that it never gets is not waited for');
  });

  test('pause process killed: pid 0, but the namespace file is there and the pod keeps it', async () => {
    const info = {
      pid: 0,
      processStatus: 'deleted',
      netNamespaceClosed: false,
      runtimeSpec: { linux: { namespaces: [{ type: 'network', path: '/var/run/netns/cni-1' }] } },
    };
    const pod = containerdPod(1, { info: { info: JSON.stringify(info) } });
    clean.runtime.pods = [{ ...pod, sandbox: { ...pod.sandbox, state: PodSandboxState.SANDBOX_NOTREADY } }];
    const [entity] = await clean.list();
    assert.equal(entity?.netns, 11);
    assert.equal(entity?.state, 'notready');
  });

  test('a stopped pod without namespace and running containers is no pod any more', async () => {
    const pod = containerdPod(9, { ips: [], info: { info: JSON.stringify({ pid: 0, netNamespaceClosed: true }) } });
    const ended = { ...runningContainer('e'.repeat(64), 'app'), state: ContainerState.CONTAINER_EXITED };
    clean.runtime.pods = [
      { ...pod, sandbox: { ...pod.sandbox, state: PodSandboxState.SANDBOX_NOTREADY }, containers: [ended] },
    ];
    assert.deepEqual(await clean.list(), []);
  });

  test('the newest attempt of a container counts', async () => {
    const old = { ...runningContainer('a'.repeat(64), 'app', 0), state: ContainerState.CONTAINER_EXITED };
    clean.runtime.pods = [containerdPod(1, { containers: [old, runningContainer('b'.repeat(64), 'app', 7)] })];
    const [pod] = await clean.list();
    assert.deepEqual(
      pod?.containers.map((c) => [c.id[0], c.restartCount, c.state]),
      [['b', 7, 'running']],
    );
  });

  test('without verbose info a container’s process leads to the namespace', async () => {
    const { runtime, list } = await start({}, fakeDoor({}, { 4321: 99 }));
    runtime.pods = [containerdPod(1, { info: {} })];
    runtime.statuses['c1'.padEnd(64, '0')] = { info: { info: JSON.stringify({ pid: 4321 }) } };
    const [pod] = await list();
    assert.equal(pod?.netns, 99);
  });

  test('a pid in the node’s namespace is not believed for a pod with a namespace of its own', async () => {
    const { runtime, list } = await start({}, fakeDoor({}, { 1001: hostInode }));
    runtime.pods = [containerdPod(1)];
    const [pod] = await list();
    assert.equal(pod?.netns, undefined);
  });
});

describe('a runtime that does not mean well', () => {
  test('garbage in verbose info: the pod is listed without namespace', async () => {
    const { runtime, list, context } = await start();
    const infos = [
      '',
      '{',
      'null',
      '[]',
      '7',
      '{"pid":"1"}',
      '{"pid":-4}',
      '{"pid":1e400}',
      '{"runtimeSpec":[]}',
      '{"runtimeSpec":{"linux":{"namespaces":7}}}',
      '{"runtimeSpec":{"linux":{"namespaces":[null,3,{"type":"network","path":{}}]}}}',
    ];
    runtime.pods = infos.map((info, i) => containerdPod(i + 1, { info: { info } }));
    const pods = await list();
    assert.equal(pods.length, 11);
    assert.ok(pods.every((p) => p.netns === undefined && !p.hostNetwork));
    assert.deepEqual(context.telemetry.rejections, { bad_verbose_info: 2 });
  });

  test('sandboxes without identity and twice the same one are rejected and counted', async () => {
    const { runtime, list, context } = await start();
    const good = containerdPod(1);
    runtime.pods = [good, good, { sandbox: { id: 'x' } }, { sandbox: { id: '', metadata: { name: 'n', uid: 'u' } } }];
    assert.equal((await list()).length, 1);
    assert.equal(context.telemetry.rejections['sandbox_without_identity'], 2);
    assert.equal(context.telemetry.rejections['duplicate_sandbox'], 1);
  });

  test('more sandboxes than configured: the newest are kept, the rest counted', async () => {
    const { runtime, list, context } = await start({ max_pods: 7 });
    runtime.pods = Array.from({ length: 20 }, (_, i) => containerdPod(i + 1));
    const pods = await list();
    assert.equal(pods.length, 7);
    assert.equal(context.telemetry.drops['too_many_pods'], 13);
    assert.ok(pods.some((p) => p.name === 'web-20') && !pods.some((p) => p.name === 'web-13'));
  });

  test('bytes that are no message: the list fails and says so', async () => {
    const { runtime, list } = await start();
    runtime.misbehave = (call) => (call === 'ListPodSandbox' ? Buffer.from([0x0a, 0xff, 0xff, 0x01]) : undefined);
    await assert.rejects(list(), /ListPodSandbox answered/);
  });

  test('any bytes at all as an answer: a list, or an error, and nothing else', async () => {
    const { runtime, list } = await start({}, fakeDoor({ '/var/run/netns/cni-1': 11 }));
    runtime.pods = [containerdPod(1)];
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('ListPodSandbox', 'ListContainers', 'PodSandboxStatus', 'ContainerStatus'),
        async (bytes, name) => {
          runtime.misbehave = (call) => (call === name ? Buffer.from(bytes) : undefined);
          const pods = await list().catch((error: Error) => error);
          assert.ok(pods instanceof GrpcError || Array.isArray(pods), String(pods));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('an answer above 16 MiB: the list fails, below it does not', async () => {
    const { runtime, list } = await start();
    const pod = containerdPod(1);
    const annotate = (bytes: number) => {
      runtime.pods = [{ ...pod, sandbox: { ...pod.sandbox, annotations: { big: 'x'.repeat(bytes) } } }];
    };
    annotate(15 * 1024 * 1024);
    assert.equal((await list()).length, 1);
    annotate(17 * 1024 * 1024);
    await assert.rejects(list(), /RESOURCE_EXHAUSTED/);
  });

  test('a call that is never answered ends at its deadline', async () => {
    const { runtime, list } = await start({ timeout: '100ms' });
    runtime.misbehave = (call) => (call === 'ListContainers' ? 'never' : undefined);
    await assert.rejects(list(), /DEADLINE_EXCEEDED/);
  });

  test('a status that fails costs that pod its namespace, is counted and asked again later', async () => {
    const { runtime, list, context } = await start({}, fakeDoor({ '/var/run/netns/cni-1': 11 }));
    runtime.pods = [containerdPod(1)];
    runtime.misbehave = (call) =>
      call === 'PodSandboxStatus' ? { code: status.INTERNAL, details: 'not today' } : undefined;
    const [pod] = await list();
    assert.equal(pod?.name, 'web-1');
    assert.equal(pod?.netns, undefined);
    assert.equal(context.telemetry.rejections['status_failed'], 1);
    runtime.misbehave = () => undefined;
    await list();
    assert.equal(runtime.calls['PodSandboxStatus'], 1, 'not before a second has gone by');
  });

  test('a pod that is removed between list and status is nothing to complain of', async () => {
    const { runtime, list, context } = await start();
    runtime.pods = [containerdPod(1)];
    runtime.misbehave = (call) =>
      call === 'PodSandboxStatus' ? { code: status.NOT_FOUND, details: 'gone' } : undefined;
    await list();
    assert.deepEqual(context.telemetry.rejections, {});
  });
});

describe('events', () => {
  test('each event of the runtime wakes; other subscribers get theirs too', async () => {
    const { runtime, source } = await start();
    const one = record(source.wake$);
    const two = record(source.wake$);
    while (runtime.subscribers < 2) await new Promise((r) => setImmediate(r));
    runtime.emit('/tasks/start');
    runtime.emit('/tasks/exit');
    runtime.emit('/containers/delete');
    assert.deepEqual(
      [...(await one.until((v) => v.length === 3))],
      ['/tasks/start', '/tasks/exit', '/containers/delete'],
    );
    await two.until((v) => v.length === 3);
    one.subscription.unsubscribe();
    two.subscription.unsubscribe();
    assert.equal(runtime.calls['GetContainerEvents'], undefined);
  });

  test('the exec probes of the kubelet do not wake', async () => {
    const { runtime, source } = await start();
    const wake = record(source.wake$);
    while (runtime.subscribers < 1) await new Promise((r) => setImmediate(r));
    const exit = (containerId: string, id: string) =>
      runtime.emit('/tasks/exit', {
        typeUrl: 'containerd.events.TaskExit',
        value: toBinary(TaskExitSchema, create(TaskExitSchema, { containerId, id })),
      });
    for (let i = 0; i < 23; i++) {
      runtime.emit('/tasks/exec-added');
      runtime.emit('/tasks/exec-started');
      exit('c1', `probe-${i}`);
    }
    exit('c1', 'c1');
    runtime.emit('/tasks/exit', { typeUrl: 'containerd.events.TaskExit', value: Uint8Array.of(0x0a, 0xff) });
    await wake.until((v) => v.length === 2);
    wake.subscription.unsubscribe();
    assert.deepEqual(
      wake.values,
      ['/tasks/exit', '/tasks/exit'],
      'the container’s own end, and one that cannot be read',
    );
  });

  test('CRI’s own events are asked for only when configured', async () => {
    const { runtime, source } = await start({ wake_up: { cri_events: true, containerd_events: false } });
    const wake = record(source.wake$);
    assert.deepEqual([...(await wake.until((v) => v.length === 1))], ['cri']);
    wake.subscription.unsubscribe();
    assert.equal(runtime.calls['GetContainerEvents'], 1);
    assert.equal(runtime.calls['Subscribe'], undefined);
  });

  test('a stream that breaks wakes once and is taken up again when the runtime is back', async () => {
    const { runtime, source } = await start();
    const wake = record(source.wake$);
    while (runtime.subscribers < 1) await new Promise((r) => setImmediate(r));
    runtime.stop();
    await wake.until((v) => v.length === 1);
    assert.deepEqual(wake.values, ['stream lost']);
    await runtime.start();
    while (runtime.subscribers < 1) await new Promise((r) => setTimeout(r, 20));
    runtime.emit('/tasks/start');
    await wake.until((v) => v.includes('/tasks/start'));
    wake.subscription.unsubscribe();
  });

  test('a runtime without the events service: absent, and nothing breaks', async () => {
    const runtime = new FakeRuntime();
    runtime.hasEvents = false;
    await runtime.start();
    const context = { ...testContext(), clock: systemClock };
    const source = new CriSource({ socketPath: runtime.path, config: config.parse({}), context, door: fakeDoor() });
    open.push(source, runtime);
    const wake = record(source.wake$);
    await wake
      .until(() => wake.ended === 'completed' || 'containerd events' in context.telemetry.absences)
      .catch(() => {});
    assert.match(context.telemetry.absences['containerd events'] ?? '', /UNIMPLEMENTED/);
    assert.equal(wake.ended, 'completed');
  });
});
