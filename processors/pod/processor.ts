import { map } from 'rxjs';
import type { Batch, EntitiesBatch, PodEntity, Resource } from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { PodConfig } from './config.ts';
import { type Enrichment, enricher } from './enrichment.ts';

/** Makes the processor. It learns of pods from the entities that pass, and finds them again by `k8s.pod.uid` of a resource. */
export function createProcessor(config: PodConfig, context: ComponentContext): Processor {
  const enrich = enricher(config, context.node.name, () => context.telemetry.rejected('value_too_long'));
  return (source$) => {
    const pods = new Pods(enrich);
    return source$.pipe(map((batch) => process(batch, pods)));
  };
}

function process(batch: Batch, pods: Pods): Batch {
  switch (batch.kind) {
    case 'entities':
      pods.apply(batch);
      return batch;
    case 'metrics': {
      const snapshots = mapChanged(batch.snapshots, (s) => {
        const resource = pods.resourceOf(s.resource);
        return resource === s.resource ? s : Object.freeze({ ...s, resource });
      });
      return snapshots === batch.snapshots ? batch : Object.freeze({ ...batch, snapshots });
    }
    case 'logs': {
      const records = mapChanged(batch.records, (r) => {
        const resource = pods.resourceOf(r.resource);
        return resource === r.resource ? r : Object.freeze({ ...r, resource });
      });
      return records === batch.records ? batch : Object.freeze({ ...batch, records });
    }
  }
}

/** As `map`, and the same array when nothing changed. */
function mapChanged<T>(list: readonly T[], change: (item: T) => T): readonly T[] {
  let changed = false;
  const out = list.map((item) => {
    const next = change(item);
    if (next !== item) changed = true;
    return next;
  });
  return changed ? Object.freeze(out) : list;
}

interface Known {
  readonly pod: PodEntity;
  readonly enrichment: Enrichment;
}

/** Pods by UID, with what they add to resources. */
class Pods {
  readonly #enrich: (pod: PodEntity) => Enrichment;
  /** Source → UID → pod, of the source's last complete list. */
  readonly #sources = new Map<string, Map<string, Known>>();
  /** A resource that was enriched once stays so: late events of a gone pod carry the same object. */
  readonly #done = new WeakMap<Resource, { readonly enrichment: Enrichment; readonly resource: Resource }>();

  constructor(enrich: (pod: PodEntity) => Enrichment) {
    this.#enrich = enrich;
  }

  apply(batch: EntitiesBatch): void {
    const before = this.#sources.get(batch.source);
    const now = new Map<string, Known>();
    for (const entity of batch.entities) {
      if (entity.kind !== 'pod') continue;
      const earlier = now.get(entity.uid);
      // Two sandboxes of one pod: the newer one's labels.
      if (earlier !== undefined && earlier.pod.createdAtMs > entity.createdAtMs) continue;
      const known = before?.get(entity.uid);
      now.set(entity.uid, known?.pod === entity ? known : this.#look(entity, known));
    }
    if (now.size > 0 || before !== undefined) this.#sources.set(batch.source, now);
  }

  resourceOf(resource: Resource): Resource {
    const done = this.#done.get(resource);
    const enrichment = this.#enrichmentOf(resource) ?? done?.enrichment;
    if (enrichment === undefined) return resource;
    if (done?.enrichment === enrichment) return done.resource;
    const made = enriched(resource, enrichment);
    this.#done.set(resource, { enrichment, resource: made });
    return made;
  }

  /** A pod without Kubernetes namespace is a container by itself and is known by its id. */
  #enrichmentOf({ attributes }: Resource): Enrichment | undefined {
    const uid = attributes['k8s.pod.uid'] ?? attributes['container.id'];
    if (typeof uid !== 'string') return undefined;
    for (const pods of this.#sources.values()) {
      const known = pods.get(uid);
      if (known !== undefined) return known.enrichment;
    }
    return undefined;
  }

  /** The old enrichment object when the new one says the same, so that resources stay the same objects. */
  #look(pod: PodEntity, before: Known | undefined): Known {
    const enrichment = this.#enrich(pod);
    const same = before !== undefined && sameEnrichment(before.enrichment, enrichment);
    return { pod, enrichment: same ? before.enrichment : enrichment };
  }
}

function enriched(resource: Resource, { attributes, serviceName }: Enrichment): Resource {
  const own = resource.attributes;
  const podName = own['k8s.pod.name'] ?? own['container.name'];
  const service = own['service.name'] === podName && podName !== undefined ? { 'service.name': serviceName } : {};
  return Object.freeze({ attributes: Object.freeze({ ...own, ...attributes, ...service }) });
}

function sameEnrichment(a: Enrichment, b: Enrichment): boolean {
  const keys = Object.keys(a.attributes);
  return (
    a.serviceName === b.serviceName &&
    keys.length === Object.keys(b.attributes).length &&
    keys.every((k) => a.attributes[k] === b.attributes[k])
  );
}
