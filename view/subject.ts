import type { Owner, PodEntity, Resource } from '../pipeline/batch.ts';
import { lineOwner } from '../pipeline/event-line.ts';
import type { BucketHistory } from './distribution.ts';
import { History, Occurrences } from './history.ts';
import { quantityNames } from './quantities.ts';
import type { SubjectKind, ViewEvent } from './types.ts';

/** Break-downs kept for each subject: labels × steps. */
const maxOccurrences = 512;

/** Events kept for each subject beside the log of all: a noisy neighbour must not push a pod's few out of sight. */
const maxSubjectEvents = 25;

/** What is kept of one pod, container, namespace or the node. */
export class Subject {
  readonly key: string;
  readonly kind: SubjectKind;
  /** Newest resource of its data; undefined = known from the runtime alone. */
  resource: Resource | undefined;
  entity: PodEntity | undefined;
  /** Sources whose last batch holds it. */
  presence = 0;
  readonly history: History;
  readonly occurrences = new Occurrences(maxOccurrences);
  /** By index of the latency; those with observations. */
  readonly latencies = new Map<number, BucketHistory>();

  /** The last of its own, oldest first. */
  events: readonly ViewEvent[] = [];

  constructor(key: string, kind: SubjectKind, points: number) {
    this.key = key;
    this.kind = kind;
    this.history = new History(points, quantityNames.length);
  }

  addEvent(event: ViewEvent): void {
    this.events = [...this.events.slice(1 - maxSubjectEvents), event];
  }

  get name(): string {
    return this.entity?.name ?? (this.resource ? lineOwner(this.resource).pod : this.key);
  }
  get namespace(): string {
    return this.entity?.namespace || (this.resource ? lineOwner(this.resource).namespace : '-');
  }
}

/** Key of the node itself. */
export const nodeKey = 'node';

/** What a resource is of. The same rules as the names in event lines (`lineOwner`), by identity in place of names. */
export function keyOf({ attributes: a }: Resource): { key: string; kind: SubjectKind } {
  const uid = a['k8s.pod.uid'];
  if (uid !== undefined) return { key: `pod/${uid}`, kind: 'pod' };
  const name = a['k8s.pod.name'];
  if (name !== undefined) return { key: `pod/${a['k8s.namespace.name'] ?? ''}/${name}`, kind: 'pod' };
  const container = a['container.id'] ?? a['container.name'];
  if (container !== undefined) return { key: `container/${container}`, kind: 'container' };
  const inode = a['skoop.netns.inode'];
  if (inode !== undefined) return { key: `netns/${inode}`, kind: 'netns' };
  return { key: nodeKey, kind: 'node' };
}

/** Key of a pod that the runtime told of: the same as {@link keyOf} its resource. */
export function keyOfPod(pod: PodEntity): { key: string; kind: SubjectKind } {
  return pod.namespace === ''
    ? { key: `container/${pod.sandboxId}`, kind: 'container' }
    : { key: `pod/${pod.uid}`, kind: 'pod' };
}

const ownerIds = new WeakMap<Owner, string>();

/** Tells owners of one source apart. */
export function ownerId(owner: Owner | undefined): string {
  if (!owner) return '';
  let id = ownerIds.get(owner);
  if (id === undefined) {
    const { netns, netnsCookie, podUid, containerId, cgroupId } = owner;
    id = `${netns ?? ''} ${netnsCookie ?? ''} ${podUid ?? ''} ${containerId ?? ''} ${cgroupId ?? ''}`;
    ownerIds.set(owner, id);
  }
  return id;
}
