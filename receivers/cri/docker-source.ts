import { defer, EMPTY, type Observable, repeat, retry, timer } from 'rxjs';
import type { ContainerEntity, PodEntity } from '../../pipeline/batch.ts';
import type { ComponentContext } from '../../pipeline/component.ts';
import { messageOf } from '../../pipeline/errors.ts';
import type { CriConfig } from './config.ts';
import { DockerApi } from './docker-api.ts';
import { type DockerContainer, parseContainer, parseIds } from './docker-container.ts';
import type { ContainerExit, NamespaceDoor, PodSource } from './pod-source.ts';
import { byName } from './sandbox.ts';

export interface DockerSourceOptions {
  readonly socketPath: string;
  readonly config: CriConfig;
  readonly context: Pick<ComponentContext, 'clock' | 'telemetry' | 'log'>;
  readonly door: NamespaceDoor;
}

/**
 * Containers of a Docker engine. Those that dockershim made are put together to pods by their labels. Any other container stands for
 * itself: an entity with an empty namespace, named after the container.
 */
export class DockerSource implements PodSource {
  readonly runtime = 'docker';
  readonly endpoint: string;
  readonly wake$: Observable<string>;
  readonly #options: DockerSourceOptions;
  readonly #api: DockerApi;
  #entities = new Map<string, PodEntity>();
  #exits = new Map<string, ContainerExit>();

  constructor(options: DockerSourceOptions) {
    this.#options = options;
    this.endpoint = options.socketPath;
    this.#api = new DockerApi(options.socketPath, options.config.timeout);
    this.wake$ = options.config.wake_up.docker_events ? this.#wakeUps() : EMPTY;
  }

  async list(signal: AbortSignal): Promise<readonly PodEntity[]> {
    const { config, context } = this.#options;
    const ids = parseIds(await this.#api.get('/containers/json?all=1', signal));
    if (ids.length > config.max_pods)
      context.telemetry.dropped('too_many_pods', ids.length - config.max_pods, 'entities');
    const containers = await this.#inspectAll(ids.slice(0, config.max_pods), signal);
    this.#exits = new Map(containers.filter((c) => c.state === 'exited').map((c) => [c.id, exitOf(c)]));
    const before = this.#entities;
    this.#entities = new Map();
    for (const pod of podsOf(containers, this.#options.door)) {
      const same = before.get(pod.sandboxId);
      this.#entities.set(
        pod.sandboxId,
        same !== undefined && JSON.stringify(same) === JSON.stringify(pod) ? same : pod,
      );
    }
    return Object.freeze([...this.#entities.values()].sort(byName));
  }

  async exitOf(containerId: string): Promise<ContainerExit | undefined> {
    return this.#exits.get(containerId);
  }

  close(): void {}

  async #inspectAll(ids: readonly string[], signal: AbortSignal): Promise<readonly DockerContainer[]> {
    const { config, context } = this.#options;
    const out: DockerContainer[] = [];
    const queue = ids.values();
    const worker = async () => {
      for (const id of queue) {
        const container = await this.#inspect(id, signal);
        if (container !== undefined) out.push(container);
      }
    };
    await Promise.all(Array.from({ length: config.parallelism }, worker));
    context.log.trace({ containers: out.length }, 'Docker containers inspected.');
    return out;
  }

  /** Removed between list and inspect is normal (404); the rest is counted. */
  async #inspect(id: string, signal: AbortSignal): Promise<DockerContainer | undefined> {
    const { telemetry } = this.#options.context;
    try {
      const container = parseContainer(await this.#api.get(`/containers/${id}/json`, signal));
      if (container === undefined) telemetry.rejected('bad_container');
      return container;
    } catch (error) {
      if (!signal.aborted && !messageOf(error).includes('answered 404')) telemetry.rejected('status_failed');
      return undefined;
    }
  }

  #wakeUps(): Observable<string> {
    const { clock } = this.#options.context;
    return defer(() => this.#api.events()).pipe(
      repeat({ delay: () => timer(1000, clock.scheduler) }),
      retry({
        delay: (_, n) => timer(Math.min(1000 * 2 ** Math.min(n - 1, 5), 30_000), clock.scheduler),
        resetOnSuccess: true,
      }),
    );
  }
}

/** The pid of a container by the engine; undefined when it has none or the engine does not answer. For cri-dockerd. */
export function dockerPidOf(socketPath: string, timeoutMs: number) {
  const api = new DockerApi(socketPath, timeoutMs);
  return async (id: string, signal: AbortSignal): Promise<number | undefined> => {
    try {
      return parseContainer(await api.get(`/containers/${id}/json`, signal))?.pid;
    } catch {
      return undefined;
    }
  };
}

function exitOf(c: DockerContainer): ContainerExit {
  const reason = c.oomKilled ? 'OOMKilled' : c.exitCode === 0 ? 'Completed' : 'Error';
  return { exitCode: c.exitCode, reason, finishedAtNs: c.finishedAtNs };
}

/** Labels that the kubelet's Docker shims put on what they make. */
const label = {
  type: 'io.kubernetes.docker.type',
  sandbox: 'io.kubernetes.sandbox.id',
  pod: 'io.kubernetes.pod.name',
  namespace: 'io.kubernetes.pod.namespace',
  uid: 'io.kubernetes.pod.uid',
  container: 'io.kubernetes.container.name',
} as const;

/** Pods of containers: shim-made ones by sandbox, each other running container by itself. */
export function podsOf(containers: readonly DockerContainer[], door: NamespaceDoor): readonly PodEntity[] {
  const members = Map.groupBy(containers, (c) => c.labels[label.sandbox] ?? '');
  const byId = new Map(containers.map((c) => [c.id, c]));
  const out: PodEntity[] = [];
  for (const c of containers) {
    if (c.labels[label.type] === 'container') continue;
    const isPod = c.labels[label.type] === 'podsandbox' && Boolean(c.labels[label.uid]);
    const inside = isPod ? (members.get(c.id) ?? []) : [c];
    if (!inside.some((m) => m.state === 'running') && c.state !== 'running') continue;
    out.push(entityOf(c, isPod, inside, networkOwner(c, byId), door));
  }
  return out;
}

/** Whose namespace a container uses: its own, or the one it joined (`--network container:ID`). */
function networkOwner(c: DockerContainer, byId: ReadonlyMap<string, DockerContainer>): DockerContainer {
  const joined = /^container:(.+)$/.exec(c.networkMode)?.[1];
  return (joined === undefined ? undefined : byId.get(joined)) ?? c;
}

function entityOf(
  c: DockerContainer,
  isPod: boolean,
  inside: readonly DockerContainer[],
  network: DockerContainer,
  door: NamespaceDoor,
): PodEntity {
  const hostNetwork = network.networkMode === 'host';
  const netns = netnsOf(network, hostNetwork, door) ?? netnsOf(c, hostNetwork, door);
  return Object.freeze({
    kind: 'pod',
    uid: isPod ? (c.labels[label.uid] ?? c.id) : c.id,
    name: isPod ? (c.labels[label.pod] ?? c.name) : c.name,
    namespace: isPod ? (c.labels[label.namespace] ?? '') : '',
    hostNetwork,
    ...(netns !== undefined && { netns }),
    sandboxId: c.id,
    state: c.state === 'running' ? 'ready' : 'notready',
    createdAtMs: c.createdAtMs,
    ips: Object.freeze([...network.ips]),
    labels: Object.freeze({ ...c.labels }),
    annotations: Object.freeze({}),
    containers: Object.freeze(inside.map(containerOf)),
    runtime: 'docker',
  });
}

function netnsOf(c: DockerContainer, hostNetwork: boolean, door: NamespaceDoor): number | undefined {
  const own = c.pid === undefined ? undefined : door.ofPid(c.pid);
  if (hostNetwork) return own ?? door.host();
  const held = c.netnsPath === undefined ? undefined : door.ofPath(c.netnsPath);
  return held ?? (own === door.host() ? undefined : own);
}

function containerOf(c: DockerContainer): ContainerEntity {
  return Object.freeze({
    id: c.id,
    name: c.labels[label.container] ?? c.name,
    image: c.image,
    state: c.state,
    ...(c.pid !== undefined && { pid: c.pid }),
    restartCount: c.restartCount,
  });
}
