import type { PodEntity } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';

/** Who made a pod. */
export interface Workload {
  /** `Deployment`, `StatefulSet`, ... as Kubernetes writes kinds; `StaticPod` for pods from a file of the kubelet; `Pod` for a lone one. */
  readonly kind: string;
  readonly name: string;
  /** Semantic convention attributes: `k8s.deployment.name`, ... */
  readonly attributes: Attributes;
}

/** Kubernetes' suffix for generated names: five characters without vowels and look-alikes (k8s.io/apimachinery rand.String). */
const generated = '[bcdfghjklmnpqrstvwxz2456789]{5}';

/**
 * The workload by what controllers write on their pods, without asking the API server. Only what is certain from the labels together
 * with the name is told: a name that was cut at 63 characters leaves the pod as its own workload.
 */
export function workloadOf(pod: PodEntity): Workload {
  return ofReplicaSet(pod) ?? ofStatefulSet(pod) ?? ofJob(pod) ?? ofDaemonSet(pod) ?? ofFile(pod) ?? alone(pod);
}

/** `<deployment>-<pod-template-hash>-<generated>`; Argo Rollouts writes a label of its own. */
function ofReplicaSet({ name, labels }: PodEntity): Workload | undefined {
  const rollout = labels['rollouts-pod-template-hash'];
  const hash = rollout ?? labels['pod-template-hash'];
  if (hash === undefined || hash === '') return undefined;
  const at = name.lastIndexOf(`-${hash}`);
  const owner = name.slice(0, Math.max(at, 0));
  if (owner === '') return undefined;
  const replicaSet = { 'k8s.replicaset.name': `${owner}-${hash}` };
  if (rollout !== undefined) return { kind: 'Rollout', name: owner, attributes: replicaSet };
  return { kind: 'Deployment', name: owner, attributes: { 'k8s.deployment.name': owner, ...replicaSet } };
}

/** `<set>-<ordinal>`. */
function ofStatefulSet({ name, labels }: PodEntity): Workload | undefined {
  if (labels['statefulset.kubernetes.io/pod-name'] === undefined) return undefined;
  const owner = /^(.+)-\d+$/.exec(name)?.[1];
  return owner === undefined
    ? undefined
    : { kind: 'StatefulSet', name: owner, attributes: { 'k8s.statefulset.name': owner } };
}

const maxCronAgeMs = 7 * 86_400_000;

/** The Job is named by label; a CronJob's Jobs end with the scheduled time in minutes, which must fit the pod's birth. */
function ofJob({ labels, createdAtMs }: PodEntity): Workload | undefined {
  const job = labels['batch.kubernetes.io/job-name'] ?? labels['job-name'];
  if (job === undefined || job === '') return undefined;
  const attributes = { 'k8s.job.name': job };
  const cron = /^(.+)-(\d{8})$/.exec(job);
  const ageMs = createdAtMs - Number(cron?.[2]) * 60_000;
  if (cron?.[1] === undefined || !(ageMs > -60_000 && ageMs < maxCronAgeMs))
    return { kind: 'Job', name: job, attributes };
  return { kind: 'CronJob', name: cron[1], attributes: { 'k8s.cronjob.name': cron[1], ...attributes } };
}

const daemonName = new RegExp(`^(.+)-${generated}$`);

/** `<set>-<generated>`; StatefulSets write this label too and are told before. */
function ofDaemonSet({ name, labels }: PodEntity): Workload | undefined {
  if (labels['controller-revision-hash'] === undefined) return undefined;
  const owner = daemonName.exec(name)?.[1];
  return owner === undefined
    ? undefined
    : { kind: 'DaemonSet', name: owner, attributes: { 'k8s.daemonset.name': owner } };
}

/** Static pods: the kubelet notes where the manifest came from, and `<name>-<node>` is their name. */
function ofFile({ name, annotations }: PodEntity): Workload | undefined {
  const source = annotations['kubernetes.io/config.source'];
  return source === 'file' || source === 'http' ? { kind: 'StaticPod', name, attributes: {} } : undefined;
}

function alone({ name }: PodEntity): Workload {
  return { kind: 'Pod', name, attributes: {} };
}
