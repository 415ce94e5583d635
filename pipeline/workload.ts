import type { PodEntity } from './batch.ts';
import type { Attributes } from './catalogue.ts';

/** Who made a pod. */
export interface Workload {
  /** `Deployment`, `StatefulSet`, ... as Kubernetes writes kinds; `StaticPod` for pods from a file of the kubelet; `Pod` for a lone one. */
  readonly kind: string;
  readonly name: string;
  /** Semantic convention attributes: `k8s.deployment.name`, ... */
  readonly attributes: Attributes;
}

/** What of a pod tells its workload. */
export type PodFacts = Pick<PodEntity, 'name' | 'labels' | 'annotations' | 'createdAtMs'>;

/** The owner reference of a pod's controller (metav1.OwnerReference with `controller: true`). */
export interface OwnerReference {
  readonly kind: string;
  readonly name: string;
}

/** Kubernetes' suffix for generated names: five characters without vowels and look-alikes (k8s.io/apimachinery rand.String). */
const generated = '[bcdfghjklmnpqrstvwxz2456789]{5}';

/**
 * The workload by what controllers write on their pods, without asking the API server. Only what is certain from the labels together
 * with the name is told: a name that was cut at 63 characters leaves the pod as its own workload.
 *
 * @param node the node it runs on: a static pod's name ends with it.
 */
export function workloadOf(pod: PodFacts, node: string): Workload {
  return (
    ofTemplateHash(pod) ?? ofStatefulSet(pod) ?? ofJobLabel(pod) ?? ofDaemonSet(pod) ?? ofFile(pod, node) ?? alone(pod)
  );
}

/** The workload by the pod's owner reference, as the API server tells it; that of the owner's owner where the name and a label tell it for certain. */
export function workloadOfOwner(owner: OwnerReference | undefined, pod: PodFacts, node: string): Workload {
  if (owner === undefined) return alone(pod);
  switch (owner.kind) {
    case 'ReplicaSet':
      // Only Deployments and Rollouts write the hash: a ReplicaSet without one is its pods' workload itself.
      return ofHashedOwner(owner.name, pod) ?? named('ReplicaSet', owner.name, 'k8s.replicaset.name');
    case 'Job':
      return ofJob(owner.name, pod.createdAtMs);
    case 'StatefulSet':
      return named('StatefulSet', owner.name, 'k8s.statefulset.name');
    case 'DaemonSet':
      return named('DaemonSet', owner.name, 'k8s.daemonset.name');
    case 'Node':
      return staticPod(pod.name, node);
    default:
      return { kind: owner.kind, name: owner.name, attributes: {} };
  }
}

function named(kind: string, name: string, key: string): Workload {
  return { kind, name, attributes: { [key]: name } };
}

/** The label that a Deployment (or Argo's Rollout) puts on its ReplicaSets and their pods. */
function hashOf({ labels }: PodFacts): { readonly kind: 'Deployment' | 'Rollout'; readonly hash: string } | undefined {
  const rollout = labels['rollouts-pod-template-hash'];
  const hash = rollout ?? labels['pod-template-hash'];
  return hash ? { kind: rollout === undefined ? 'Deployment' : 'Rollout', hash } : undefined;
}

/** `<deployment>-<pod-template-hash>-<generated>`. */
function ofTemplateHash(pod: PodFacts): Workload | undefined {
  const { hash } = hashOf(pod) ?? {};
  if (hash === undefined) return undefined;
  const at = pod.name.lastIndexOf(`-${hash}`);
  return at < 0 ? undefined : ofHashedOwner(`${pod.name.slice(0, at)}-${hash}`, pod);
}

/** A ReplicaSet `<deployment>-<pod-template-hash>`. */
function ofHashedOwner(replicaSet: string, pod: PodFacts): Workload | undefined {
  const { kind, hash } = hashOf(pod) ?? {};
  if (kind === undefined || !replicaSet.endsWith(`-${hash}`)) return undefined;
  const owner = withoutSuffix(replicaSet, `-${hash}`);
  if (owner === replicaSet) return undefined;
  const attributes = { 'k8s.replicaset.name': replicaSet };
  if (kind === 'Rollout') return { kind, name: owner, attributes };
  return { kind, name: owner, attributes: { 'k8s.deployment.name': owner, ...attributes } };
}

/** `<set>-<ordinal>`. */
function ofStatefulSet({ name, labels }: PodFacts): Workload | undefined {
  if (labels['statefulset.kubernetes.io/pod-name'] === undefined) return undefined;
  const owner = /^(.+)-\d+$/.exec(name)?.[1];
  return owner === undefined ? undefined : named('StatefulSet', owner, 'k8s.statefulset.name');
}

/** The Job is named by label. */
function ofJobLabel({ labels, createdAtMs }: PodFacts): Workload | undefined {
  const job = labels['batch.kubernetes.io/job-name'] ?? labels['job-name'];
  return job ? ofJob(job, createdAtMs) : undefined;
}

const maxCronAgeMs = 7 * 86_400_000;

/** A CronJob's Jobs end with the scheduled time in minutes, which must fit the pod's birth. */
function ofJob(job: string, createdAtMs: number): Workload {
  const attributes = { 'k8s.job.name': job };
  const cron = /^(.+)-(\d{8})$/.exec(job);
  const ageMs = createdAtMs - Number(cron?.[2]) * 60_000;
  if (cron?.[1] === undefined || !(ageMs > -60_000 && ageMs < maxCronAgeMs))
    return { kind: 'Job', name: job, attributes };
  return { kind: 'CronJob', name: cron[1], attributes: { 'k8s.cronjob.name': cron[1], ...attributes } };
}

const daemonName = new RegExp(`^(.+)-${generated}$`);

/** `<set>-<generated>`; StatefulSets write this label too and are told before. */
function ofDaemonSet({ name, labels }: PodFacts): Workload | undefined {
  if (labels['controller-revision-hash'] === undefined) return undefined;
  const owner = daemonName.exec(name)?.[1];
  return owner === undefined ? undefined : named('DaemonSet', owner, 'k8s.daemonset.name');
}

/** Static pods: the kubelet notes where the manifest came from. */
function ofFile({ name, annotations }: PodFacts, node: string): Workload | undefined {
  const source = annotations['kubernetes.io/config.source'];
  return source === 'file' || source === 'http' ? staticPod(name, node) : undefined;
}

/** `<name>-<node>`. */
function staticPod(name: string, node: string): Workload {
  return { kind: 'StaticPod', name: withoutSuffix(name, `-${node}`), attributes: {} };
}

function alone({ name }: PodFacts): Workload {
  return { kind: 'Pod', name, attributes: {} };
}

function withoutSuffix(text: string, suffix: string): string {
  return text.endsWith(suffix) && text.length > suffix.length ? text.slice(0, -suffix.length) : text;
}
