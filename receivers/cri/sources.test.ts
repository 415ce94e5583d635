import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import { ProcRoot } from '../../host/proc-root.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { AbsentError, AgentError } from '../../pipeline/errors.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { containerdPod, FakeRuntime } from '../../test/cri/fake-runtime.ts';
import { config } from './config.ts';
import { connect } from './connect.ts';
import { parseContainer, parseIds } from './docker-container.ts';
import component from './index.ts';
import { namespaceDoor } from './namespace-door.ts';
import { watchNetns } from './netns-watch.ts';
import type { NamespaceDoor } from './pod-source.ts';
import { createReceiver } from './receiver.ts';
import { candidates } from './sockets.ts';
import { parseVerboseInfo } from './verbose-info.ts';

const directory = mkdtempSync(join(tmpdir(), 'skl-cri-sources-'));
const cleanUp: (() => void)[] = [() => rmSync(directory, { recursive: true, force: true })];
after(() => {
  for (const f of cleanUp.reverse()) f();
});

const door: NamespaceDoor = {
  ofPid: (pid) => ({ 501: 51, 502: 52, 503: 53, 1: 1 })[pid],
  ofPath: (path) => ({ '/var/run/docker/netns/abc': 61 })[path],
  cookieOf: () => undefined,
  ofPodUid: () => undefined,
  host: () => 1,
};

const id = (c: string) => c.repeat(64);

/** A Docker engine with these containers; `answer` may take over. */
async function fakeDocker(
  containers: Record<string, object>,
  answer?: (url: string) => { code: number; body: string } | undefined,
) {
  const path = join(directory, `docker-${cleanUp.length}.sock`);
  const state = { requests: [] as string[], push: (_: string) => {} };
  const server: Server = createServer((request, response) => {
    const url = request.url ?? '';
    state.requests.push(url);
    const special = answer?.(url);
    if (special) return void response.writeHead(special.code).end(special.body);
    if (url.startsWith('/events')) {
      response.writeHead(200);
      response.flushHeaders();
      state.push = (text) => response.write(text);
      return;
    }
    if (url.startsWith('/containers/json'))
      return void response.end(JSON.stringify(Object.keys(containers).map((Id) => ({ Id }))));
    const found = containers[/^\/containers\/(\w+)\/json$/.exec(url)?.[1] ?? ''];
    if (found === undefined) return void response.writeHead(404).end('{}');
    response.end(JSON.stringify(found));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanUp.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { path, state };
}

async function dockerSource(path: string, settings: object = {}) {
  const context = { ...testContext(), clock: systemClock };
  const source = await connect(
    { config: config.parse({ mode: 'docker', endpoint: path, ...settings }), context, door, env: {} },
    AbortSignal.timeout(10_000),
  );
  return { source, context, list: () => source.list(AbortSignal.timeout(10_000)) };
}

const shimLabels = (type: string, name: string, more: object = {}) => ({
  'io.kubernetes.docker.type': type,
  'io.kubernetes.pod.name': name,
  'io.kubernetes.pod.namespace': 'shop',
  'io.kubernetes.pod.uid': `uid-${name}`,
  ...more,
});

describe('the Docker engine', () => {
  test('containers of dockershim are put together to pods, others stand for themselves', async () => {
    const { path } = await fakeDocker({
      [id('a')]: {
        Id: id('a'),
        Name: '/k8s_POD_web-0',
        Created: '2026-01-02T03:04:05.123456789Z',
        State: { Status: 'running', Pid: 501 },
        Config: { Image: 'pause', Labels: shimLabels('podsandbox', 'web-0') },
        HostConfig: { NetworkMode: 'none' },
        NetworkSettings: {
          SandboxKey: '/var/run/docker/netns/abc',
          IPAddress: '172.17.0.2',
          GlobalIPv6Address: 'fd00::2',
        },
      },
      [id('b')]: {
        Id: id('b'),
        Name: '/k8s_app_web-0',
        RestartCount: 3,
        State: { Status: 'running', Pid: 502 },
        Config: {
          Image: 'web:1',
          Labels: shimLabels('container', 'web-0', {
            'io.kubernetes.sandbox.id': id('a'),
            'io.kubernetes.container.name': 'app',
          }),
        },
        HostConfig: { NetworkMode: `container:${id('a')}` },
      },
      [id('c')]: {
        Id: id('c'),
        Name: '/redis',
        State: { Status: 'running', Pid: 503 },
        Config: { Image: 'redis:7', Labels: null },
        HostConfig: { NetworkMode: 'shop_default' },
        NetworkSettings: { Networks: { shop_default: { IPAddress: '172.18.0.2' }, more: { IPAddress: '172.19.0.2' } } },
      },
      [id('d')]: {
        Id: id('d'),
        Name: '/exporter',
        State: { Status: 'running', Pid: 1 },
        HostConfig: { NetworkMode: 'host' },
      },
      [id('e')]: {
        Id: id('e'),
        Name: '/done',
        State: { Status: 'exited', ExitCode: 137, OOMKilled: true, FinishedAt: '2026-01-02T03:04:05Z' },
      },
    });
    const { source, list } = await dockerSource(path);
    const pods = await list();
    assert.deepEqual(
      pods.map((p) => [p.namespace, p.name, p.uid, p.netns, p.hostNetwork, p.ips, p.containers.map((c) => c.name)]),
      [
        ['', 'exporter', id('d'), 1, true, [], ['exporter']],
        ['', 'redis', id('c'), 53, false, ['172.18.0.2', '172.19.0.2'], ['redis']],
        ['shop', 'web-0', 'uid-web-0', 61, false, ['172.17.0.2', 'fd00::2'], ['app']],
      ],
    );
    assert.equal(pods[2]?.createdAtMs, Date.UTC(2026, 0, 2, 3, 4, 5, 123));
    assert.equal(pods[2]?.containers[0]?.restartCount, 3);
    assert.deepEqual(await source.exitOf(id('e')), {
      exitCode: 137,
      reason: 'OOMKilled',
      finishedAtNs: BigInt(Date.UTC(2026, 0, 2, 3, 4, 5)) * 1_000_000n,
    });
    const again = await list();
    assert.ok(
      again.every((p, i) => p === pods[i]),
      'what did not change is the same object',
    );
  });

  test('events wake; a broken answer is counted and costs that container only', async () => {
    const containers = {
      [id('a')]: { Id: id('a'), State: { Status: 'running', Pid: 501 }, Name: '/a' },
      [id('b')]: {},
    };
    const { path, state } = await fakeDocker(containers);
    const { source, context, list } = await dockerSource(path);
    assert.deepEqual(
      (await list()).map((p) => p.name),
      ['a'],
    );
    assert.deepEqual(context.telemetry.rejections, { bad_container: 2 });
    const wakes = record(source.wake$);
    while (!state.requests.some((r) => r.startsWith('/events'))) await new Promise((r) => setImmediate(r));
    state.push('{"Type":"container","Action":"start"}\n');
    await wakes.until((v) => v.length === 1);
    wakes.subscription.unsubscribe();
  });

  test('an engine that answers with errors or rubbish: the list fails', async () => {
    for (const special of [
      { code: 500, body: '{}' },
      { code: 200, body: '<html>' },
    ]) {
      const { path } = await fakeDocker({}, () => special);
      await assert.rejects(dockerSource(path), /answered 500|JSON/);
    }
  });

  test('fields of any type do not throw', () => {
    for (const value of [null, 7, 'x', [], {}, true, { a: 1 }]) {
      assert.equal(parseContainer(value), undefined);
      assert.deepEqual(parseIds(value), []);
      const odd = parseContainer({
        Id: 'x',
        Name: value,
        State: value,
        Config: value,
        HostConfig: value,
        NetworkSettings: value,
        Created: value,
        RestartCount: value,
      });
      assert.equal(odd?.id, 'x');
      assert.equal(odd?.pid, undefined);
    }
    assert.deepEqual(parseIds([{ Id: id('a') }, { Id: '../../etc' }, {}, null]), [id('a')]);
  });
});

describe('finding the runtime', () => {
  const sockets = (there: Record<string, string>) => (path: string) => there[path];

  test('well-known sockets in order, each once although /var/run is /run', () => {
    const all = {
      '/run/containerd/containerd.sock': '1',
      '/var/run/containerd/containerd.sock': '1',
      '/var/run/crio/crio.sock': '2',
      '/run/docker.sock': '3',
    };
    assert.deepEqual(candidates(undefined, ['cri', 'docker'], sockets(all)), [
      { kind: 'cri', path: '/run/containerd/containerd.sock' },
      { kind: 'cri', path: '/var/run/crio/crio.sock' },
      { kind: 'docker', path: '/run/docker.sock' },
    ]);
    assert.deepEqual(candidates(undefined, ['docker'], sockets(all)), [{ kind: 'docker', path: '/run/docker.sock' }]);
    assert.deepEqual(candidates(undefined, ['cri', 'docker'], sockets({})), []);
  });

  test('a configured one is used as it is', () => {
    const find = (endpoint: string, kinds: ('cri' | 'docker')[] = ['cri', 'docker']) => candidates(endpoint, kinds);
    assert.deepEqual(find('unix:///run/x.sock'), [{ kind: 'cri', path: '/run/x.sock' }]);
    assert.deepEqual(find('/mnt/docker.sock'), [{ kind: 'docker', path: '/mnt/docker.sock' }]);
    assert.deepEqual(find('/mnt/docker.sock', ['cri']), [{ kind: 'cri', path: '/mnt/docker.sock' }]);
  });

  test('a socket that is no CRI is passed over; the next one is taken', async () => {
    const bad = new FakeRuntime();
    const good = new FakeRuntime();
    await bad.start();
    await good.start();
    cleanUp.push(
      () => bad.close(),
      () => good.close(),
    );
    bad.misbehave = () => ({ code: status.UNIMPLEMENTED, details: 'unknown service runtime.v1.RuntimeService' });
    good.pods = [containerdPod(1)];
    const context = { ...testContext(), clock: systemClock };
    const find = () => [bad, good].map(({ path }) => ({ kind: 'cri', path }) as const);
    const source = await connect({ config: config.parse({}), context, door, env: {}, find }, AbortSignal.timeout(5000));
    assert.equal(source.endpoint, good.path);
    source.close();
  });

  test('none at all is absent, with a hint', async () => {
    const context = { ...testContext(), clock: systemClock };
    const options = { config: config.parse({}), context, door, env: {}, find: () => [] };
    await assert.rejects(
      connect(options, AbortSignal.timeout(5000)),
      (e: AgentError) => e instanceof AbsentError && /endpoint/.test(e.hint ?? ''),
    );
  });

  test('cri-dockerd gives no pid: the engine behind it is asked', async () => {
    const runtime = new FakeRuntime();
    const dockerd = join(directory, 'cri-dockerd.sock');
    await runtime.start();
    cleanUp.push(() => runtime.close());
    symlinkSync(runtime.path, dockerd);
    runtime.runtimeName = 'docker';
    const pod = containerdPod(10, { info: {} });
    runtime.pods = [pod];
    const docker = await fakeDocker({ [pod.sandbox.id]: { Id: pod.sandbox.id, State: { Pid: 502 } } });
    const context = { ...testContext(), clock: systemClock };
    const find: typeof candidates = (_, kinds) =>
      kinds.includes('cri') ? [{ kind: 'cri', path: dockerd }] : [{ kind: 'docker', path: docker.path }];
    const source = await connect({ config: config.parse({}), context, door, env: {}, find }, AbortSignal.timeout(5000));
    const [entity] = await source.list(AbortSignal.timeout(5000));
    assert.equal(entity?.netns, 52);
    source.close();
  });
});

describe('sidecar', () => {
  const make = (env: Record<string, string>) =>
    connect(
      { config: config.parse({ mode: 'sidecar' }), context: testContext(), door: { ...door, ofPid: () => 77 }, env },
      AbortSignal.timeout(5000),
    );

  test('the pod of the downward API, in the own namespace', async () => {
    const source = await make({ POD_NAME: 'web-0', POD_NAMESPACE: 'shop', POD_UID: 'u1', POD_IPS: '10.0.0.1,fd00::1' });
    const [pod] = await source.list(AbortSignal.timeout(1000));
    assert.deepEqual(
      [pod?.name, pod?.namespace, pod?.uid, pod?.netns, pod?.ips],
      ['web-0', 'shop', 'u1', 77, ['10.0.0.1', 'fd00::1']],
    );
  });

  test('KubeSkoop’s variables', async () => {
    const source = await make({ KUBESKOOP_POD_NAME: 'web-0', KUBESKOOP_POD_NAMESPACE: 'shop' });
    const [pod] = await source.list(AbortSignal.timeout(1000));
    assert.deepEqual([pod?.name, pod?.namespace], ['web-0', 'shop']);
  });

  test('without a name the receiver is not made', () => {
    const around = { root: new ProcRoot({ proc: directory }), env: {} };
    assert.throws(() => createReceiver(config.parse({ mode: 'sidecar' }), testContext(), around), AgentError);
  });
});

describe('namespaces', () => {
  test('paths of the host are found below /run, and through pid 1’s root', () => {
    const proc = join(directory, 'proc');
    const run = join(directory, 'run');
    mkdirSync(join(run, 'netns'), { recursive: true });
    mkdirSync(join(proc, '7/ns'), { recursive: true });
    mkdirSync(join(proc, '1/root/opt'), { recursive: true });
    symlinkSync('net:[4026532001]', join(run, 'netns/cni-1'));
    symlinkSync('net:[4026532002]', join(proc, '7/ns/net'));
    symlinkSync('net:[4026532003]', join(proc, '1/root/opt/ns'));
    writeFileSync(join(run, 'netns/plain'), '');
    const root = new ProcRoot({ proc, run });
    const d = namespaceDoor(root, () => [
      fakeNetns(1, { host: true, podUids: ['u'] }),
      fakeNetns(2, { podUids: ['u'] }),
    ]);
    assert.equal(d.ofPath('/var/run/netns/cni-1'), 4026532001);
    assert.equal(d.ofPath('/run/netns/cni-1'), 4026532001);
    assert.equal(d.ofPath('/opt/ns'), 4026532003);
    assert.equal(d.ofPath('/run/netns/plain'), undefined, 'a file that is no namespace');
    assert.equal(d.ofPath(`/${'x'.repeat(5000)}`), undefined);
    assert.equal(d.ofPid(7), 4026532002);
    assert.equal(d.ofPid(8), undefined);
    assert.equal(d.ofPodUid('u'), 2, 'the host’s own namespace is nobody’s');
    assert.equal(d.host(), 1);
  });

  test('a name that appears or goes in the directory wakes; a directory that appears later is found', async () => {
    const context = testContext();
    const path = join(directory, 'netns-watched');
    const wakes = record(watchNetns(path, 10_000, context.clock.scheduler));
    assert.equal(context.clock.pending, 1);
    mkdirSync(path);
    context.clock.advance(10_000);
    writeFileSync(join(path, 'cni-1'), '');
    await wakes.until((v) => v.length > 0);
    wakes.subscription.unsubscribe();
    assert.equal(context.clock.pending, 0);
  });
});

test('verbose info with a namespace list but without network means hostNetwork', () => {
  const info = (namespaces: object[]) =>
    parseVerboseInfo({ info: JSON.stringify({ pid: 5, runtimeSpec: { linux: { namespaces } } }) });
  assert.equal(info([{ type: 'pid' }])?.hostNetwork, true);
  assert.equal(info([{ type: 'pid' }, { type: 'network' }])?.hostNetwork, false);
  assert.equal(info([])?.hostNetwork, false);
});

test('an empty section gives the defaults', () => {
  assert.deepEqual(component.config.parse({}), config.parse({}));
});
