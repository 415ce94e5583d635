import type { ContainerEntity, PodEntity } from '../../pipeline/batch.ts';
import type { NamespaceDoor } from './pod-source.ts';
import {
  type Container,
  ContainerState,
  NamespaceMode,
  type PodSandbox,
  PodSandboxState,
  type PodSandboxStatusResponse,
} from './proto/runtime_pb.ts';
import { parseVerboseInfo } from './verbose-info.ts';

/** What PodSandboxStatus said of a sandbox, as far as it is used. Kept while id and state stay the same. */
export interface SandboxDetail {
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly pid: number | undefined;
  readonly netnsPath: string | undefined;
  /** The runtime gave verbose info that is no JSON. */
  readonly badInfo: boolean;
}

/** Reads a status answer. Addresses: the first and the additional ones, without empty ones. */
export function detailOf(answer: PodSandboxStatusResponse): SandboxDetail {
  const info = parseVerboseInfo(answer.info);
  const network = answer.status?.network;
  const ips = [network?.ip ?? '', ...(network?.additionalIps ?? []).map((a) => a.ip)].filter((ip) => ip !== '');
  const mode = answer.status?.linux?.namespaces?.options?.network;
  return {
    ips,
    hostNetwork: mode === NamespaceMode.NODE || (mode === undefined && info?.hostNetwork === true),
    pid: info?.pid,
    netnsPath: info?.netnsPath,
    badInfo: info === undefined && answer.info['info'] !== undefined,
  };
}

/**
 * Inode of the sandbox's namespace. The bind mount is asked first: it belongs to this sandbox alone and outlives the pause process,
 * whereas a pid may belong to another process by now.
 */
export function netnsOf(uid: string, detail: SandboxDetail | undefined, door: NamespaceDoor): number | undefined {
  if (detail === undefined) return door.ofPodUid(uid);
  const { hostNetwork, pid, netnsPath } = detail;
  if (hostNetwork) return (pid === undefined ? undefined : door.ofPid(pid)) ?? door.host();
  if (netnsPath !== undefined) {
    const inode = door.ofPath(netnsPath);
    if (inode !== undefined) return inode;
  }
  const own = pid === undefined ? undefined : door.ofPid(pid);
  // A pid that lives in the node's namespace is another process by now, or a sandbox that is still being made.
  if (own !== undefined && own !== door.host()) return own;
  return door.ofPodUid(uid);
}

const containerStates: Readonly<Record<number, ContainerEntity['state']>> = {
  [ContainerState.CONTAINER_CREATED]: 'created',
  [ContainerState.CONTAINER_RUNNING]: 'running',
  [ContainerState.CONTAINER_EXITED]: 'exited',
};

/** The containers of one sandbox: the newest attempt of each name, sorted by name. */
export function containersOf(list: readonly Container[]): readonly ContainerEntity[] {
  const newest = new Map<string, Container>();
  for (const c of list) {
    if (c.id === '') continue;
    const name = c.metadata?.name ?? '';
    const before = newest.get(name);
    if (before === undefined || c.createdAt > before.createdAt) newest.set(name, c);
  }
  return Object.freeze(
    [...newest.values()]
      .map((c) =>
        Object.freeze({
          id: c.id,
          name: c.metadata?.name ?? '',
          image: c.image?.image || c.imageRef,
          state: containerStates[c.state] ?? 'unknown',
          restartCount: c.metadata?.attempt ?? 0,
        }),
      )
      .sort((a, b) => compare(a.name, b.name)),
  );
}

/** Puts an entity together from what the calls and the kernel said. */
export function podOf(
  sandbox: PodSandbox,
  runtime: string,
  detail: SandboxDetail | undefined,
  netns: { readonly inode: number | undefined; readonly cookie: number | undefined },
  containers: readonly ContainerEntity[],
): PodEntity {
  return Object.freeze({
    kind: 'pod',
    uid: sandbox.metadata?.uid ?? '',
    name: sandbox.metadata?.name ?? '',
    namespace: sandbox.metadata?.namespace ?? '',
    hostNetwork: detail?.hostNetwork ?? false,
    ...(netns.inode !== undefined && { netns: netns.inode }),
    ...(netns.cookie !== undefined && { netnsCookie: netns.cookie }),
    sandboxId: sandbox.id,
    state: sandbox.state === PodSandboxState.SANDBOX_READY ? 'ready' : 'notready',
    createdAtMs: Number(sandbox.createdAt / 1_000_000n),
    ips: Object.freeze(detail?.ips ?? []),
    labels: Object.freeze({ ...sandbox.labels }),
    annotations: Object.freeze({ ...sandbox.annotations }),
    containers,
    runtime,
  });
}

/**
 * True for a sandbox that still says something: it is ready, or its namespace or one of its containers lives. What is left are the
 * shells of finished pods, which the kubelet removes in its own time.
 */
export function isAlive(pod: PodEntity): boolean {
  if (pod.state === 'ready') return true;
  if (pod.netns !== undefined && !pod.hostNetwork) return true;
  return pod.containers.some((c) => c.state === 'running');
}

/** Order of entities in a batch, since runtimes list in any order: namespace, name, oldest sandbox first. */
export function byName(a: PodEntity, b: PodEntity): number {
  return (
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name) ||
    a.createdAtMs - b.createdAtMs ||
    compare(a.sandboxId, b.sandboxId)
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
