/**
 * The DaemonSet of deploy/manifests as the kubelet would start it on a test node: its capabilities, mounts, host namespaces, read-only root,
 * seccomp profile and memory limit, through the real containerd and runc. Only the image is not pulled: its files are mounted.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { buildAsImage, deployFolder, type KubernetesObject, objectsOf, only } from '../../deploy/testing.ts';
import { parseEventLine } from '../bed/agent.ts';
import type { Bed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { parseExposition, type Sample } from '../bed/exposition.ts';
import { busyboxImage } from '../bed/image.ts';

/** What the kubelet masks and protects in every container that is not privileged (pkg/securitycontext in Kubernetes). */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** /opt/skoopline of the image, made as the Dockerfile makes it. */
export interface ImageFiles {
  readonly folder: string;
  remove(): void;
}

export function buildImageFiles(): ImageFiles {
  const work = mkdtempSync(`${tmpdir()}/skl-deploy-`);
  buildAsImage(work);
  const folder = `${work}/image`;
  mkdirSync(`${folder}/node_modules`, { recursive: true });
  cpSync(`${work}/dist`, `${folder}/dist`, { recursive: true });
  cpSync(`${work}/package.json`, `${folder}/package.json`);
  return { folder, remove: () => rmSync(work, { recursive: true, force: true }) };
}

/** The agent in its container. */
export interface DeployedAgent {
  /** Standard output and standard error, as the runtime's log has them. */
  lines(stream: 'stdout' | 'stderr'): string[];
  events(): Record<string, string>[];
  samples(): Promise<Sample[]>;
  /** HTTP status of a path of its health address, which is what the kubelet asks. */
  health(path: string): Promise<number>;
  /** Runs a subcommand of the agent in its container. */
  skoopline(...args: string[]): Promise<string>;
  /** /proc/self/status of a process in its container, as key → value. */
  status(): Promise<Map<string, string>>;
  stop(): Promise<void>;
}

const manifest = () => objectsOf(readFileSync(`${deployFolder}/manifests/skoopline.yaml`, 'utf8'));
export const listedCapabilities = (): string[] =>
  only(manifest(), 'DaemonSet').spec.template.spec.containers[0].securityContext.capabilities.add;

function mountsOf(bed: Bed, pod: KubernetesObject, image: ImageFiles, pipeline: string, id: string): JsonObject[] {
  const folder = `/run/skl/${id}`;
  mkdirSync(bed.node.path(`${folder}/tmp`), { recursive: true });
  mkdirSync(bed.node.path(`${folder}/pipeline`));
  writeFileSync(bed.node.path(`${folder}/pipeline/pipeline.yaml`), pipeline);
  const [container] = pod.containers;
  const hostPaths = new Map<string, string>(
    pod.volumes.map((v: KubernetesObject) => [
      v.name,
      v.hostPath?.path ?? (v.configMap ? `${folder}/pipeline` : `${folder}/tmp`),
    ]),
  );
  const volumes = container.volumeMounts.map((m: KubernetesObject) => ({
    containerPath: m.mountPath,
    hostPath: hostPaths.get(m.name)!,
    readonly: m.readOnly === true,
    propagation: m.mountPropagation === 'HostToContainer' ? 'PROPAGATION_HOST_TO_CONTAINER' : 'PROPAGATION_PRIVATE',
  }));
  const files: readonly (readonly [string, string])[] = [
    ['/usr', '/usr'],
    ['/lib', '/usr/lib'],
    ['/lib64', '/usr/lib64'],
    ['/node', dirname(process.execPath)],
    ['/opt/skoopline', image.folder],
    ['/opt/skoopline/node_modules', `${deployFolder}/../node_modules`],
  ];
  const mounted = files.map(([containerPath, hostPath]) => ({ containerPath, hostPath, readonly: true }));
  return [...mounted, ...volumes];
}

function securityOf(pod: KubernetesObject, capabilities: readonly string[]): JsonObject {
  const { securityContext: s } = pod.containers[0];
  return {
    privileged: s.privileged,
    readonlyRootfs: s.readOnlyRootFilesystem,
    noNewPrivs: !s.allowPrivilegeEscalation,
    runAsUser: { value: String(s.runAsUser) },
    capabilities: { dropCapabilities: s.capabilities.drop, addCapabilities: [...capabilities] },
    seccomp: { profileType: pod.securityContext.seccompProfile.type },
    namespaceOptions: namespacesOf(pod),
    maskedPaths,
    readonlyPaths,
  };
}

const namespacesOf = (pod: KubernetesObject): JsonObject => ({
  network: pod.hostNetwork ? 'NODE' : 'POD',
  pid: pod.hostPID ? 'NODE' : 'CONTAINER',
  ipc: 'POD',
});

const program = ['/node/node', '/opt/skoopline/dist/cli/main.js'];
let serial = 0;

export interface DeployOptions {
  /** In place of the listed ones. */
  readonly capabilities?: readonly string[];
  /** Changes the pipeline of the ConfigMap. */
  readonly pipeline?: (text: string) => string;
}

/** Starts the DaemonSet's pod and waits for its readiness probe. */
export async function deployAgent(bed: Bed, image: ImageFiles, options: DeployOptions = {}): Promise<DeployedAgent> {
  const { capabilities = listedCapabilities(), pipeline = (text: string) => text } = options;
  const { cri } = bed.containerd;
  const objects = manifest();
  const pod = only(objects, 'DaemonSet').spec.template.spec;
  const [spec] = pod.containers;
  const id = `deployed-${++serial}`;
  const logDirectory = `/run/skl/logs/${id}`;
  mkdirSync(bed.node.path(logDirectory), { recursive: true });
  const uid = `5c0071fe-0000-4000-8000-${String(serial).padStart(12, '0')}`;
  const labels = {
    'io.kubernetes.pod.name': id,
    'io.kubernetes.pod.namespace': 'kube-system',
    'io.kubernetes.pod.uid': uid,
  };
  const sandboxConfig: JsonObject = {
    metadata: { name: id, uid, namespace: 'kube-system', attempt: 0 },
    logDirectory,
    labels,
    linux: {
      cgroupParent: `${bed.node.cgroup}/kubepods/burstable/pod${uid}`,
      securityContext: { namespaceOptions: namespacesOf(pod) },
    },
  };
  const memory = Number.parseInt(spec.resources.limits.memory, 10) * 2 ** 20;
  const config: JsonObject = {
    metadata: { name: spec.name, attempt: 0 },
    image: { image: busyboxImage },
    command: program,
    args: spec.args,
    envs: [{ key: 'NODE_NAME', value: bed.node.name }],
    logPath: 'agent.log',
    labels: { ...labels, 'io.kubernetes.container.name': spec.name },
    mounts: mountsOf(bed, pod, image, pipeline(only(objects, 'ConfigMap').data['pipeline.yaml']), id),
    linux: { resources: { memoryLimitInBytes: String(memory) }, securityContext: securityOf(pod, capabilities) },
  };
  const { podSandboxId } = await cri.call<{ podSandboxId: string }>('RunPodSandbox', { config: sandboxConfig });
  const { containerId } = await cri.call<{ containerId: string }>('CreateContainer', {
    podSandboxId,
    config,
    sandboxConfig,
  });
  await cri.call('StartContainer', { containerId });

  const lines = (stream: 'stdout' | 'stderr') =>
    readFileSync(bed.node.path(`${logDirectory}/agent.log`), 'utf8')
      .split('\n')
      .map((l) => /^\S+ (stdout|stderr) \S (.*)$/.exec(l))
      .flatMap((m) => (m?.[1] === stream ? [m[2]!] : []));
  const exec = async (cmd: readonly string[]) => {
    const request = { containerId, cmd: [...cmd], timeout: '60' };
    const r = await cri.call<{ exitCode: number; stdout: string; stderr: string }>('ExecSync', request, 65_000);
    const text = (base64: string) => Buffer.from(base64 ?? '', 'base64').toString();
    if (r.exitCode) throw new Error(`${cmd.join(' ')}: ${text(r.stderr)}`);
    return text(r.stdout);
  };
  const get = (args: readonly string[]) => bed.node.run(['curl', '-sS', '--max-time', '20', ...args]);
  const stop = async () => {
    await cri.call('StopContainer', { containerId, timeout: '20' }, 30_000);
    await cri.call('StopPodSandbox', { podSandboxId });
    await cri.call('RemovePodSandbox', { podSandboxId });
  };
  const agent: DeployedAgent = {
    lines,
    stop,
    events: () =>
      lines('stdout')
        .filter((l) => /(^| )type=/.test(l))
        .map(parseEventLine),
    samples: async () => {
      const { code, stdout, stderr } = await get([
        '--fail-with-body',
        `http://127.0.0.1:${portOf(spec, 'metrics')}/metrics`,
      ]);
      if (code !== 0) throw new Error(`${stderr} ${stdout.slice(0, 200)}`);
      return parseExposition(stdout);
    },
    health: async (path) => {
      const url = `http://127.0.0.1:${portOf(spec, 'health')}${path}`;
      return Number((await get(['-o', '/dev/null', '-w', '%{http_code}', url])).stdout);
    },
    skoopline: (...args) => exec([...program, ...args]),
    status: async () => {
      const text = await exec(['/bin/cat', '/proc/self/status']);
      return new Map(text.split('\n').map((l) => l.split(':\t') as [string, string]));
    },
  };
  try {
    const path = spec.readinessProbe.httpGet.path;
    await waitFor('the readiness probe', async () => (await agent.health(path)) === 200, {
      timeoutMs: 60_000,
      everyMs: 200,
    });
  } catch (error) {
    throw new Error(`The agent did not become ready: ${lines('stderr').slice(-20).join('\n')}`, { cause: error });
  }
  return agent;
}

const portOf = (spec: KubernetesObject, name: string): number =>
  spec.ports.find((p: KubernetesObject) => p.name === name).containerPort;
