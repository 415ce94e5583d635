import { map } from 'rxjs';
import type { Batch, EntitiesBatch, PeerEntity, PodEntity, Resource } from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { PodConfig } from './config.ts';
import { type Enrich, type Enrichment, enricher } from './enrichment.ts';

/** Makes the processor. It learns of pods from the entities that pass, and finds them again by `k8s.pod.uid` of a resource. */
export function createProcessor(config: PodConfig, context: ComponentContext): Processor {
  const enrich = enricher(config, context.node.name, () => context.telemetry.rejected('value_too_long'));
  return (source$) => {
    const pods = new Pods(enrich, context.node.name);
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
  /** What the API server says of it, where a source asks it. */
  readonly api: PeerEntity | undefined;
  readonly enrichment: Enrichment;
}

/** Pods by UID, with what they add to resources. */
class Pods {
  readonly #enrich: Enrich;
  readonly #node: string;
  /** Source → UID → pod, of the source's last complete list. */
  readonly #sources = new Map<string, Map<string, Known>>();
  /** Source → UID → this node's pod as the API server tells it. */
  readonly #apis = new Map<string, ReadonlyMap<string, PeerEntity>>();
  /** A resource that was enriched once stays so: late events of a gone pod carry the same object. */
  readonly #done = new WeakMap<Resource, { readonly enrichment: Enrichment; readonly resource: Resource }>();

  constructor(enrich: Enrich, node: string) {
    this.#enrich = enrich;
    this.#node = node;
  }

  apply(batch: EntitiesBatch): void {
    const before = this.#sources.get(batch.source);
    const now = new Map<string, Known>();
    const apis = new Map<string, PeerEntity>();
    for (const entity of batch.entities) {
      if (entity.kind === 'peer' && entity.node === this.#node) apis.set(entity.uid, entity);
      if (entity.kind !== 'pod') continue;
      const earlier = now.get(entity.uid);
      // Two sandboxes of one pod: the newer one's labels.
      if (earlier !== undefined && earlier.pod.createdAtMs > entity.createdAtMs) continue;
      now.set(entity.uid, this.#look(entity, before?.get(entity.uid)));
    }
    if (now.size > 0 || before !== undefined) this.#sources.set(batch.source, now);
    if (apis.size === 0 && !this.#apis.has(batch.source)) return;
    this.#apis.set(batch.source, apis);
    for (const pods of this.#sources.values()) {
      for (const [uid, known] of pods) pods.set(uid, this.#look(known.pod, known));
    }
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

  #apiOf(uid: string): PeerEntity | undefined {
    for (const apis of this.#apis.values()) {
      const api = apis.get(uid);
      if (api !== undefined) return api;
    }
    return undefined;
  }

  /** The old enrichment object when the new one says the same, so that resources stay the same objects. */
  #look(pod: PodEntity, before: Known | undefined): Known {
    const api = this.#apiOf(pod.uid);
    if (before?.pod === pod && before.api === api) return before;
    const enrichment = this.#enrich(pod, api);
    const same = before !== undefined && sameEnrichment(before.enrichment, enrichment);
    return { pod, api, enrichment: same ? before.enrichment : enrichment };
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
