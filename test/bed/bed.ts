import { randomUUID } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import type { JsonObject } from '@bufbuild/protobuf';
import { type Agent, type AgentOptions, startAgent } from './agent.ts';
import type { CommandOptions, Finished } from './command.ts';
import { waitFor } from './command.ts';
import { type Cni, type Containerd, startContainerd } from './containerd.ts';
import { busyboxImage } from './image.ts';
import { startNode, type TestNode } from './node.ts';

export interface BedOptions {
  /** The node's host name, `k8s.node.name` of what is observed. Default `node-a`. */
  readonly name?: string;
  readonly cni?: Cni;
  /** Pods' IPv4 range. Beds do not see one another, so the default (198.18.0.0/22, RFC 2544) suits them all. */
  readonly subnet?: string;
  /** Pods' IPv6 range with `cni: 'ptp'`. */
  readonly subnet6?: string;
}

export interface ContainerSpec {
  readonly name: string;
  /** Default: sleep for ever. */
  readonly command?: readonly string[];
  readonly image?: string;
  readonly privileged?: boolean;
  readonly addCapabilities?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface PodSpec {
  readonly name: string;
  /** Default `default`. */
  readonly namespace?: string;
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly qos?: 'besteffort' | 'burstable';
  /** Command of the one container `app`; ignored when `containers` is given. */
  readonly command?: readonly string[];
  readonly containers?: readonly ContainerSpec[];
}

/** A running pod. */
export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly hostNetwork: boolean;
  readonly sandboxId: string;
  /** Container ids, in the order of the specification. */
  readonly containers: readonly string[];
  /** The sandbox's process, as the node numbers it. */
  readonly pid: number;
  readonly netnsInode: number;
  /** All addresses, IPv4 first; none with hostNetwork. */
  readonly ips: readonly string[];
  /** The first of {@link ips}, or the empty string. */
  readonly ip: string;
  /** Runs a command in the first container (or the one named). */
  exec(
    argv: readonly string[],
    options?: { readonly container?: string; readonly timeoutS?: number },
  ): Promise<Finished>;
  /** Runs a command of this machine (ip, tc, nft, node) in the pod's network namespace. */
  inNetns(argv: readonly string[], options?: CommandOptions): Promise<Finished>;
  /** Path under /proc/PID of the pod, as this process can open it: `proc('net/snmp')`. */
  proc(file: string): string;
}

/** A Kubernetes node for tests: containerd with CRI and CNI in a {@link TestNode}, and the agent in it on demand. */
export interface Bed {
  readonly node: TestNode;
  readonly containerd: Containerd;
  runPod(spec: PodSpec): Promise<Pod>;
  /** Stops and removes a pod. */
  removePod(pod: Pod): Promise<void>;
  /** Kills the sandbox's process and waits until the runtime has noticed: the sandbox is NOTREADY, its containers live on. */
  killPause(pod: Pod): Promise<void>;
  /** Starts the agent in the node. @param config `pipeline.yaml` as text or as an object. */
  startAgent(config: string | object, options?: AgentOptions): Promise<Agent>;
  /** Ends the agents, the pods and the node. Twice is safe. */
  stop(): Promise<void>;
}

interface SandboxStatus {
  readonly status: { state: string; network?: { ip: string; additionalIps: { ip: string }[] } };
  readonly info: { info: string };
}

function sandboxConfig(node: TestNode, spec: PodSpec, uid: string): JsonObject {
  const { name, namespace = 'default', hostNetwork = false, qos = 'besteffort' } = spec;
  const logs = `/run/skl/logs/${namespace}_${name}_${uid}`;
  mkdirSync(node.path(logs), { recursive: true });
  return {
    metadata: { name, uid, namespace, attempt: 0 },
    hostname: hostNetwork ? '' : name,
    logDirectory: logs,
    // What the kubelet sets.
    labels: {
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
      ...spec.labels,
    },
    annotations: { 'kubernetes.io/config.source': 'api', ...spec.annotations },
    linux: {
      // As the kubelet with the cgroupfs driver and --cgroup-root, which is how kind's nodes look.
      cgroupParent: `${node.cgroup}/kubepods/${qos}/pod${uid}`,
      securityContext: {
        namespaceOptions: { network: hostNetwork ? 'NODE' : 'POD', pid: 'CONTAINER', ipc: 'POD' },
      },
    },
  };
}

function containerConfig(sandbox: JsonObject, spec: ContainerSpec): JsonObject {
  const labels = sandbox['labels'] as JsonObject;
  const linux = sandbox['linux'] as { securityContext: { namespaceOptions: JsonObject } };
  return {
    metadata: { name: spec.name, attempt: 0 },
    image: { image: spec.image ?? busyboxImage },
    command: [...(spec.command ?? ['sleep', '2147483647'])],
    logPath: `${spec.name}.log`,
    envs: Object.entries(spec.env ?? {}).map(([key, value]) => ({ key, value })),
    labels: {
      'io.kubernetes.container.name': spec.name,
      'io.kubernetes.pod.name': labels['io.kubernetes.pod.name']!,
      'io.kubernetes.pod.namespace': labels['io.kubernetes.pod.namespace']!,
      'io.kubernetes.pod.uid': labels['io.kubernetes.pod.uid']!,
    },
    annotations: { 'io.kubernetes.container.restartCount': '0' },
    linux: {
      securityContext: {
        privileged: spec.privileged ?? false,
        capabilities: { addCapabilities: [...(spec.addCapabilities ?? [])] },
        namespaceOptions: linux.securityContext.namespaceOptions,
      },
    },
  };
}

/** Starts a bed in about a second. Always `await bed.stop()` in an `after` hook. */
export async function startBed(options: BedOptions = {}): Promise<Bed> {
  const { name = 'node-a', cni = 'bridge', subnet = '198.18.0.0/22', subnet6 = 'fd00:18::/64' } = options;
  const node = await startNode(name);
  let containerd: Containerd;
  try {
    containerd = await startContainerd(node, { cni, subnet, subnet6 });
  } catch (error) {
    await node.stop();
    throw error;
  }
  const { cri } = containerd;
  const agents: Agent[] = [];

  async function runPod(spec: PodSpec): Promise<Pod> {
    const uid = spec.uid ?? randomUUID();
    const config = sandboxConfig(node, spec, uid);
    const { podSandboxId: sandboxId } = await cri.call<{ podSandboxId: string }>('RunPodSandbox', { config });
    const specs = spec.containers ?? [{ name: 'app', ...(spec.command ? { command: spec.command } : {}) }];
    const containers: string[] = [];
    for (const c of specs) {
      const create = { podSandboxId: sandboxId, config: containerConfig(config, c), sandboxConfig: config };
      const { containerId } = await cri.call<{ containerId: string }>('CreateContainer', create);
      await cri.call('StartContainer', { containerId });
      containers.push(containerId);
    }
    const { status, info } = await cri.call<SandboxStatus>('PodSandboxStatus', {
      podSandboxId: sandboxId,
      verbose: true,
    });
    const { pid } = JSON.parse(info.info) as { pid: number };
    const proc = (file: string) => node.path(`/proc/${pid}/${file}`);
    const ips = status.network?.ip ? [status.network.ip, ...status.network.additionalIps.map((a) => a.ip)] : [];
    return {
      name: spec.name,
      namespace: spec.namespace ?? 'default',
      uid,
      hostNetwork: spec.hostNetwork ?? false,
      sandboxId,
      containers,
      pid,
      netnsInode: statSync(proc('ns/net')).ino,
      ips,
      ip: ips[0] ?? '',
      proc,
      inNetns: (argv, o) => node.run(argv, { ...o, netnsOfPid: pid }),
      async exec(argv, o = {}) {
        const containerId = o.container ?? containers[0]!;
        const timeout = o.timeoutS ?? 60;
        type Executed = { exitCode: number; stdout: string; stderr: string };
        const request = { containerId, cmd: [...argv], timeout: String(timeout) };
        const r = await cri.call<Executed>('ExecSync', request, (timeout + 5) * 1000);
        const text = (base64: string) => Buffer.from(base64, 'base64').toString();
        return { code: r.exitCode, stdout: text(r.stdout), stderr: text(r.stderr) };
      },
    };
  }

  async function removePod(pod: Pod): Promise<void> {
    await cri.call('StopPodSandbox', { podSandboxId: pod.sandboxId });
    await cri.call('RemovePodSandbox', { podSandboxId: pod.sandboxId });
  }

  async function killPause(pod: Pod): Promise<void> {
    const { code, stderr } = await node.run(['kill', '-KILL', String(pod.pid)]);
    if (code !== 0) throw new Error(`Cannot kill the sandbox of ${pod.name}: ${stderr}`);
    await waitFor(`the sandbox of ${pod.name} to be NOTREADY`, async () => {
      const { status } = await cri.call<SandboxStatus>('PodSandboxStatus', { podSandboxId: pod.sandboxId });
      return status.state === 'SANDBOX_NOTREADY';
    });
  }

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    await Promise.all(agents.map((a) => a.stop().catch(() => undefined)));
    cri.close();
    // Pods, shims and containerd end with the node: the kernel kills what lives in its pid namespace.
    await node.stop();
  };
  return {
    node,
    containerd,
    runPod,
    removePod,
    killPause,
    async startAgent(config, agentOptions) {
      const agent = await startAgent(node, config, agentOptions);
      agents.push(agent);
      return agent;
    },
    stop: () => (stopping ??= stop()),
  };
}
