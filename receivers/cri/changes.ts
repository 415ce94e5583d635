import type { ContainerEntity, LogRecord, Owner, PodEntity } from '../../pipeline/batch.ts';
import { noResource } from '../../pipeline/batch.ts';
import type { AttributeValue } from '../../pipeline/catalogue.ts';
import { events } from './metrics.ts';
import type { ContainerExit } from './pod-source.ts';

/** What differs between two lists. */
export interface Changes {
  readonly started: readonly PodEntity[];
  readonly stopped: readonly PodEntity[];
  readonly containersStarted: readonly { readonly pod: PodEntity; readonly container: ContainerEntity }[];
  readonly containersExited: readonly { readonly pod: PodEntity; readonly container: ContainerEntity }[];
}

/**
 * Compares two lists by sandbox id. A pod whose sandbox is not ready any more but whose namespace lives has not stopped. A container
 * that started and ended between two lists is told as exited; one whose pod went with it, as well.
 */
export function changesOf(before: readonly PodEntity[], after: readonly PodEntity[]): Changes {
  const old = new Map(before.map((p) => [p.sandboxId, p]));
  const changes = {
    started: [] as PodEntity[],
    stopped: [] as PodEntity[],
    containersStarted: [] as { pod: PodEntity; container: ContainerEntity }[],
    containersExited: [] as { pod: PodEntity; container: ContainerEntity }[],
  };
  for (const pod of after) {
    const earlier = old.get(pod.sandboxId);
    old.delete(pod.sandboxId);
    if (earlier === pod) continue;
    if (earlier === undefined) changes.started.push(pod);
    compareContainers(pod, earlier?.containers ?? [], changes);
  }
  for (const pod of old.values()) {
    changes.stopped.push(pod);
    for (const container of pod.containers) {
      if (container.state === 'running')
        changes.containersExited.push({ pod, container: { ...container, state: 'exited' } });
    }
  }
  return changes;
}

function compareContainers(
  pod: PodEntity,
  before: readonly ContainerEntity[],
  into: {
    containersStarted: Changes['containersStarted'][number][];
    containersExited: Changes['containersExited'][number][];
  },
): void {
  const old = new Map(before.map((c) => [c.id, c]));
  const now = new Set(pod.containers.map((c) => c.id));
  for (const container of pod.containers) {
    const was = old.get(container.id)?.state;
    if (container.state === 'running' && was !== 'running') into.containersStarted.push({ pod, container });
    if (container.state === 'exited' && was !== 'exited') into.containersExited.push({ pod, container });
  }
  // Replaced by its next attempt before we saw it exited.
  for (const container of before) {
    if (container.state !== 'running' || now.has(container.id)) continue;
    into.containersExited.push({ pod, container: { ...container, state: 'exited' } });
  }
}

interface Times {
  readonly nowNs: bigint;
}

type MutableAttributes = Record<string, AttributeValue>;

/** A log record of a pod's start. Its time is the sandbox's creation by the runtime's clock. */
export function podStarted(pod: PodEntity, { nowNs }: Times): LogRecord {
  const attributes = { ...sandboxAttributes(pod), 'skoop.pod.ips': pod.ips };
  const body = `Pod ${pod.namespace}/${pod.name} started.`;
  const timeUnixNs = pod.createdAtMs > 0 ? BigInt(pod.createdAtMs) * 1_000_000n : nowNs;
  return record(events['skoop.pod.started'].name, ownerOf(pod), body, attributes, timeUnixNs, nowNs);
}

/** A log record of a pod's end. Its time is when it was noticed: the runtime does not keep it. */
export function podStopped(pod: PodEntity, { nowNs }: Times): LogRecord {
  const body = `Pod ${pod.namespace}/${pod.name} stopped.`;
  return record(events['skoop.pod.stopped'].name, ownerOf(pod), body, sandboxAttributes(pod), nowNs, nowNs);
}

export function containerStarted(pod: PodEntity, container: ContainerEntity, { nowNs }: Times): LogRecord {
  const body = `Container ${container.name} of pod ${pod.namespace}/${pod.name} started.`;
  const owner = { ...ownerOf(pod), containerId: container.id };
  const attributes = containerAttributes(container);
  return record(events['skoop.container.started'].name, owner, body, attributes, nowNs, nowNs);
}

export function containerExited(
  pod: PodEntity,
  container: ContainerEntity,
  exit: ContainerExit | undefined,
  { nowNs }: Times,
): LogRecord {
  const attributes: MutableAttributes = containerAttributes(container);
  if (exit !== undefined) attributes['process.exit.code'] = exit.exitCode;
  if (exit !== undefined && exit.reason !== '') attributes['skoop.container.exit_reason'] = exit.reason;
  const how = exit === undefined ? '' : ` with code ${exit.exitCode}${exit.reason === '' ? '' : ` (${exit.reason})`}`;
  const body = `Container ${container.name} of pod ${pod.namespace}/${pod.name} exited${how}.`;
  const owner = { ...ownerOf(pod), containerId: container.id };
  const at = exit !== undefined && exit.finishedAtNs > 0n ? exit.finishedAtNs : nowNs;
  return record(events['skoop.container.exited'].name, owner, body, attributes, at, nowNs, exit);
}

/** Whose data this is: the pod by its UID, which also tells pods of the node's namespace apart. */
export function ownerOf(pod: PodEntity): Owner {
  return { podUid: pod.uid, ...(pod.netns !== undefined && { netns: pod.netns }) };
}

function record(
  eventName: string,
  owner: Owner,
  body: string,
  attributes: MutableAttributes,
  timeUnixNs: bigint,
  observedTimeUnixNs: bigint,
  exit?: ContainerExit,
): LogRecord {
  return Object.freeze({
    timeUnixNs,
    observedTimeUnixNs,
    severityNumber: exit !== undefined && exit.exitCode !== 0 ? 13 : 9,
    eventName,
    body,
    attributes: Object.freeze(attributes),
    owner: Object.freeze(owner),
    resource: noResource,
  });
}

function sandboxAttributes(pod: PodEntity): MutableAttributes {
  const attributes: MutableAttributes = {
    'skoop.sandbox.id': pod.sandboxId,
    'skoop.pod.host_network': pod.hostNetwork,
  };
  if (pod.netns !== undefined) attributes['skoop.netns.inode'] = pod.netns;
  return attributes;
}

function containerAttributes(container: ContainerEntity): MutableAttributes {
  return {
    'container.id': container.id,
    'k8s.container.name': container.name,
    'container.image.name': container.image,
    'k8s.container.restart_count': container.restartCount ?? 0,
  };
}
