import {
  type MetricsBatch,
  makeSchema,
  noResource,
  type PodEntity,
  type Schema,
  type Scope,
  type Snapshot,
} from '../../pipeline/batch.ts';
import { ownerOf } from './changes.ts';
import { metrics } from './metrics.ts';

const one = Float64Array.of(1);

/** Schemas of container snapshots, one for each state: container identity is in the resource and not in attributes. */
const containerSchemas = new Map<string, Schema>();

function containerSchema(state: string): Schema {
  let schema = containerSchemas.get(state);
  if (schema === undefined) {
    schema = makeSchema([
      { metric: metrics['skoop.container.state'], attributes: { 'skoop.container.state': state } },
      { metric: metrics['k8s.container.restart.count'] },
    ]);
    containerSchemas.set(state, schema);
  }
  return schema;
}

/** One schema for each pod, since its address is an attribute; kept while the entity is the same object. */
const podSchemas = new WeakMap<PodEntity, Schema>();

function podSchema(pod: PodEntity): Schema {
  let schema = podSchemas.get(pod);
  if (schema === undefined) {
    const attributes = {
      'skoop.pod.ip': pod.ips[0] ?? '',
      'skoop.pod.state': pod.state,
      'skoop.pod.host_network': pod.hostNetwork,
      'container.runtime.name': pod.runtime,
    };
    schema = makeSchema([{ metric: metrics['skoop.pod.info'], attributes }]);
    podSchemas.set(pod, schema);
  }
  return schema;
}

/**
 * One snapshot for each pod and one for each of its containers. Of several sandboxes of the same pod (the old one of a pod that is being
 * restarted) only the newest counts: they would be the same series.
 */
export function podMetrics(pods: readonly PodEntity[], source: string, scope: Scope, timeMs: number): MetricsBatch {
  const newest = new Map<string, PodEntity>();
  for (const pod of pods) {
    const other = newest.get(pod.uid);
    if (other === undefined || pod.createdAtMs >= other.createdAtMs) newest.set(pod.uid, pod);
  }
  const snapshots: Snapshot[] = [];
  for (const pod of newest.values()) {
    const owner = Object.freeze(ownerOf(pod));
    const startTimeMs = pod.createdAtMs;
    const common = { resource: noResource, startTimeMs, timeMs };
    snapshots.push({ ...common, owner, schema: podSchema(pod), values: one });
    for (const c of pod.containers) {
      const values = Float64Array.of(1, c.restartCount ?? 0);
      const ofContainer = Object.freeze({ ...owner, containerId: c.id });
      snapshots.push({ ...common, owner: ofContainer, schema: containerSchema(c.state), values });
    }
  }
  return Object.freeze({ kind: 'metrics', source, scope, snapshots: Object.freeze(snapshots) });
}
