import {
  catchError,
  concat,
  defer,
  EMPTY,
  filter,
  map,
  merge,
  type Observable,
  of,
  repeat,
  retry,
  tap,
  throwError,
  timer,
} from 'rxjs';
import type { ContainerEntity, PodEntity } from '../../pipeline/batch.ts';
import type { ComponentContext } from '../../pipeline/component.ts';
import type { CriConfig } from './config.ts';
import { eventFilters, isChange } from './containerd-events.ts';
import { GrpcChannel, GrpcError } from './grpc-channel.ts';
import type { ContainerExit, NamespaceDoor, PodSource } from './pod-source.ts';
import { Events } from './proto/events_pb.ts';
import { type Container, type PodSandbox, PodSandboxState, RuntimeService } from './proto/runtime_pb.ts';
import { byName, containersOf, detailOf, isAlive, netnsOf, podOf, type SandboxDetail } from './sandbox.ts';
import { parseVerboseInfo } from './verbose-info.ts';

const { version, listPodSandbox, listContainers, podSandboxStatus, containerStatus, getContainerEvents } =
  RuntimeService.method;

/** What is remembered of a sandbox between two lists. */
interface Known {
  readonly state: number;
  detail: SandboxDetail | undefined;
  /** When an incomplete detail is asked for again, monotonic ms; waits double from one second to a minute. */
  retryAtMs: number;
  waitMs: number;
  entity: PodEntity | undefined;
}

export interface CriSourceOptions {
  readonly socketPath: string;
  readonly config: CriConfig;
  readonly context: Pick<ComponentContext, 'clock' | 'telemetry' | 'log'>;
  readonly door: NamespaceDoor;
  /** cri-dockerd gives no verbose info: the engine behind it is asked for the pid. */
  readonly inspectPid?: (sandboxId: string, signal: AbortSignal) => Promise<number | undefined>;
}

/**
 * Pods from a CRI v1 runtime. A round costs two calls (both lists) and one PodSandboxStatus for each sandbox that is new, changed
 * its state, or could not be read in full before.
 */
export class CriSource implements PodSource {
  readonly endpoint: string;
  readonly wake$: Observable<string>;
  readonly #options: CriSourceOptions;
  readonly #channel: GrpcChannel;
  readonly #known = new Map<string, Known>();
  #runtime = '';

  constructor(options: CriSourceOptions) {
    this.#options = options;
    this.endpoint = options.socketPath;
    this.#channel = new GrpcChannel(options.socketPath);
    this.wake$ = this.#wakeUps();
  }

  get runtime(): string {
    return this.#runtime;
  }

  async list(signal: AbortSignal): Promise<readonly PodEntity[]> {
    const call = { timeoutMs: this.#options.config.timeout, signal };
    if (this.#runtime === '') {
      const answer = await this.#channel.unary(version, { version: 'v1' }, call);
      this.#runtime = answer.runtimeName || 'cri';
    }
    const [sandboxes, containers] = await Promise.all([
      this.#channel.unary(listPodSandbox, {}, call),
      this.#channel.unary(listContainers, {}, call),
    ]);
    const usable = this.#usable(sandboxes.items);
    const ofSandbox = Map.groupBy(containers.containers, (c) => c.podSandboxId);
    await this.#refresh(usable, ofSandbox, signal);
    return this.#entities(usable, ofSandbox);
  }

  async exitOf(containerId: string): Promise<ContainerExit | undefined> {
    try {
      const { timeout } = this.#options.config;
      const answer = await this.#channel.unary(containerStatus, { containerId }, { timeoutMs: timeout });
      const status = answer.status;
      if (status === undefined) return undefined;
      return { exitCode: status.exitCode, reason: status.reason, finishedAtNs: status.finishedAt };
    } catch {
      // Removed by now: the list already said that it ended, and that is reported without the exit code.
      return undefined;
    }
  }

  close(): void {
    this.#channel.close();
  }

  /** Sandboxes with an identity, each id once, newest first where there are too many. */
  #usable(items: readonly PodSandbox[]): readonly PodSandbox[] {
    const { telemetry } = this.#options.context;
    const byId = new Map<string, PodSandbox>();
    for (const item of items) {
      if (item.id === '' || !item.metadata?.uid || !item.metadata.name) telemetry.rejected('sandbox_without_identity');
      else if (byId.has(item.id)) telemetry.rejected('duplicate_sandbox');
      else byId.set(item.id, item);
    }
    const all = [...byId.values()];
    const { max_pods: max } = this.#options.config;
    if (all.length <= max) return all;
    telemetry.dropped('too_many_pods', all.length - max, 'entities');
    return all.sort((a, b) => Number(a.state) - Number(b.state) || Number(b.createdAt - a.createdAt)).slice(0, max);
  }

  /** Asks for the details that are missing, a few at once, until the round's time is over. */
  async #refresh(
    sandboxes: readonly PodSandbox[],
    containers: ReadonlyMap<string, readonly Container[]>,
    signal: AbortSignal,
  ): Promise<void> {
    const { config, context } = this.#options;
    const present = new Set(sandboxes.map((s) => s.id));
    for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
    const startedMs = context.clock.monotonicMs();
    const queue = sandboxes.filter((s) => this.#needsDetail(s, startedMs)).values();
    const endMs = startedMs + 2 * config.timeout;
    const worker = async () => {
      for (const sandbox of queue) {
        if (signal.aborted || context.clock.monotonicMs() >= endMs) return;
        await this.#ask(sandbox, containers.get(sandbox.id) ?? [], signal);
      }
    };
    await Promise.all(Array.from({ length: config.parallelism }, worker));
  }

  #needsDetail(sandbox: PodSandbox, nowMs: number): boolean {
    const known = this.#known.get(sandbox.id);
    if (known === undefined || known.state !== sandbox.state) return true;
    return nowMs >= known.retryAtMs;
  }

  async #ask(sandbox: PodSandbox, containers: readonly Container[], signal: AbortSignal): Promise<void> {
    const { config, context } = this.#options;
    const before = this.#known.get(sandbox.id);
    let detail = before?.detail;
    try {
      const call = { timeoutMs: config.timeout, signal };
      const request = { podSandboxId: sandbox.id, verbose: true };
      detail = detailOf(await this.#channel.unary(podSandboxStatus, request, call));
      if (detail.badInfo) context.telemetry.rejected('bad_verbose_info');
      if (!detail.hostNetwork && detail.pid === undefined && detail.netnsPath === undefined) {
        const pid = (await this.#pidElsewhere(sandbox, containers, signal)) ?? undefined;
        detail = { ...detail, pid };
      }
    } catch (error) {
      // Removed between list and status is normal; the next list will not have it.
      if (!signal.aborted && !(error instanceof GrpcError && error.code === 'NOT_FOUND')) {
        context.telemetry.rejected('status_failed');
        context.log.debug({ sandbox: sandbox.id, err: error }, 'Sandbox status not available.');
      }
    }
    const complete = this.#isComplete(sandbox, detail);
    const waitMs = complete ? 1000 : Math.min((before?.waitMs ?? 500) * 2, 60_000);
    const retryAtMs = complete ? Number.POSITIVE_INFINITY : context.clock.monotonicMs() + waitMs;
    this.#known.set(sandbox.id, { state: sandbox.state, detail, retryAtMs, waitMs, entity: before?.entity });
  }

  /** Complete: nothing would be won by asking again while the state stays. */
  #isComplete(sandbox: PodSandbox, detail: SandboxDetail | undefined): boolean {
    if (detail === undefined) return false;
    if (sandbox.state !== PodSandboxState.SANDBOX_READY) return true;
    if (detail.hostNetwork) return true;
    return detail.ips.length > 0 && netnsOf(sandbox.metadata?.uid ?? '', detail, this.#options.door) !== undefined;
  }

  /** The pid of the sandbox by Docker, or of one of its containers: all share the namespace. */
  async #pidElsewhere(
    sandbox: PodSandbox,
    containers: readonly Container[],
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const inspected = await this.#options.inspectPid?.(sandbox.id, signal);
    if (inspected !== undefined) return inspected;
    const running = containersOf(containers).find((c) => c.state === 'running');
    if (running === undefined) return undefined;
    const request = { containerId: running.id, verbose: true };
    const call = { timeoutMs: this.#options.config.timeout, signal };
    return parseVerboseInfo((await this.#channel.unary(containerStatus, request, call)).info)?.pid;
  }

  #entities(
    sandboxes: readonly PodSandbox[],
    containers: ReadonlyMap<string, readonly Container[]>,
  ): readonly PodEntity[] {
    const out: PodEntity[] = [];
    for (const sandbox of sandboxes) {
      const known = this.#known.get(sandbox.id);
      const entity = this.#entity(sandbox, known, containersOf(containers.get(sandbox.id) ?? []));
      if (known !== undefined) known.entity = entity;
      if (isAlive(entity)) out.push(entity);
    }
    return Object.freeze(out.sort(byName));
  }

  /** The same object as last time when nothing changed. A namespace once found is looked for again only when it may have gone. */
  #entity(sandbox: PodSandbox, known: Known | undefined, containers: readonly ContainerEntity[]): PodEntity {
    const before = known?.entity;
    const ready = sandbox.state === PodSandboxState.SANDBOX_READY;
    const settled = ready && before?.state === 'ready' && before.netns !== undefined;
    const uid = sandbox.metadata?.uid ?? '';
    const inode = settled ? before.netns : netnsOf(uid, known?.detail, this.#options.door);
    const cookie = settled ? before.netnsCookie : this.#cookieOf(inode, known?.detail, before);
    const same = before !== undefined && sameContainers(before.containers, containers);
    const entity = podOf(
      sandbox,
      this.#runtime,
      known?.detail,
      { inode, cookie },
      same ? before.containers : containers,
    );
    return before !== undefined && samePod(before, entity) ? before : entity;
  }

  /** A namespace's cookie is asked once: hostNetwork pods share the node's, where there is nothing to tell apart. */
  #cookieOf(
    inode: number | undefined,
    detail: SandboxDetail | undefined,
    before: PodEntity | undefined,
  ): number | undefined {
    if (inode === undefined || detail === undefined || detail.hostNetwork) return undefined;
    if (before?.netns === inode && before.netnsCookie !== undefined) return before.netnsCookie;
    return this.#options.door.cookieOf(inode, { path: detail.netnsPath, pid: detail.pid });
  }

  #wakeUps(): Observable<string> {
    const { containerd_events: containerd, cri_events: cri } = this.#options.config.wake_up;
    const filters = [...eventFilters];
    const ofContainerd$ = defer(() => this.#channel.stream(Events.method.subscribe, { filters })).pipe(
      filter(isChange),
      map((envelope) => envelope.topic),
    );
    const ofCri$ = defer(() => this.#channel.stream(getContainerEvents, {})).pipe(map(() => 'cri'));
    return merge(
      containerd ? this.#steady(ofContainerd$, 'containerd events') : EMPTY,
      cri ? this.#steady(ofCri$, 'CRI events') : EMPTY,
    );
  }

  /** Subscribes again after a break; gives up, as absent, where the runtime has no such service. */
  #steady(stream$: Observable<string>, what: string): Observable<string> {
    const { clock, telemetry } = this.#options.context;
    let connected = true;
    return stream$.pipe(
      tap(() => {
        connected = true;
      }),
      // What happened while nobody listened is found by looking: once when the stream breaks, which also finds out whether the runtime is back.
      catchError((error) => {
        const first = connected;
        connected = false;
        return concat(
          first ? of('stream lost') : EMPTY,
          throwError(() => error),
        );
      }),
      repeat({ delay: () => timer(1000, clock.scheduler) }),
      retry({
        delay: (error, count) => {
          if (error instanceof GrpcError && error.code === 'UNIMPLEMENTED') throw error;
          return timer(
            Math.min(1000 * 2 ** Math.min(count - 1, 5), 30_000) * (0.5 + clock.random() / 2),
            clock.scheduler,
          );
        },
        resetOnSuccess: true,
      }),
      catchError((error) => {
        telemetry.absent(what, String((error as Error).message));
        return EMPTY;
      }),
    );
  }
}

function sameContainers(a: readonly ContainerEntity[], b: readonly ContainerEntity[]): boolean {
  return (
    a.length === b.length &&
    a.every((x, i) => {
      const y = b[i];
      return x.id === y?.id && x.state === y.state && x.restartCount === y.restartCount && x.image === y.image;
    })
  );
}

function samePod(a: PodEntity, b: PodEntity): boolean {
  return (
    a.state === b.state &&
    a.netns === b.netns &&
    a.netnsCookie === b.netnsCookie &&
    a.hostNetwork === b.hostNetwork &&
    a.containers === b.containers &&
    a.name === b.name &&
    a.createdAtMs === b.createdAtMs &&
    a.ips.join() === b.ips.join() &&
    sameRecord(a.labels, b.labels) &&
    sameRecord(a.annotations, b.annotations)
  );
}

function sameRecord(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((k) => a[k] === b[k]);
}
