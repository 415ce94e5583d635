import type { PeerEntity, PodEntity } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import { type Workload, workloadOf } from '../../pipeline/workload.ts';

/** Which end of a connection is named. */
export type Side = 'peer' | 'local';

/** Something with addresses, and what it is called. The attribute sets are one object each as long as they say the same. */
export class Named {
  readonly entity: PeerEntity | PodEntity;
  readonly kind: 'pod' | 'service' | 'node';
  readonly workload: { readonly kind: string; readonly name: string };
  /** The node a pod is on; a node's own name. */
  readonly node: string | undefined;
  readonly #sets = new Map<string, Attributes>();
  #zone: string | undefined;

  /** @param ownNode this agent's node: where pods that the runtime tells of are. */
  constructor(entity: PeerEntity | PodEntity, ownNode: string) {
    this.entity = entity;
    this.kind = entity.kind === 'pod' ? 'pod' : entity.peer;
    this.workload = workloadOfEntity(entity, ownNode);
    this.node = entity.kind === 'pod' ? ownNode : entity.peer === 'node' ? entity.name : entity.node;
  }

  /** All its names. @param zone where it is, when that is wanted and known. */
  names(side: Side, zone: string | undefined): Attributes {
    return this.#set(`${side} names`, zone, () => {
      const { name, namespace } = this.entity;
      return {
        ...this.#head(side),
        ...(this.kind === 'pod' && { [`skoop.${side}.k8s.pod.name`]: name }),
        ...(this.kind === 'service' && { [`skoop.${side}.k8s.service.name`]: name }),
        ...(namespace !== '' && { [`skoop.${side}.k8s.namespace.name`]: namespace }),
        ...(this.node !== undefined && { [`skoop.${side}.k8s.node.name`]: this.node }),
        ...(zone !== undefined && { [`skoop.${side}.zone`]: zone }),
      };
    });
  }

  /** What all pods of its workload have in common. */
  group(side: Side, zone: string | undefined): Attributes {
    return this.#set(`${side} group`, zone, () => ({
      ...this.#head(side),
      ...(this.entity.namespace !== '' && { [`skoop.${side}.k8s.namespace.name`]: this.entity.namespace }),
      ...(zone !== undefined && { [`skoop.${side}.zone`]: zone }),
    }));
  }

  #head(side: Side): Record<string, AttributeValue> {
    return {
      [`skoop.${side}.kind`]: this.kind,
      [`skoop.${side}.workload.kind`]: this.workload.kind,
      [`skoop.${side}.workload.name`]: this.workload.name,
    };
  }

  #set(key: string, zone: string | undefined, make: () => Attributes): Attributes {
    if (zone !== this.#zone) {
      this.#sets.clear();
      this.#zone = zone;
    }
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = Object.freeze(make());
      this.#sets.set(key, set);
    }
    return set;
  }
}

/** Services and nodes stand for themselves, so that one attribute tells all peers apart. */
function workloadOfEntity(entity: PeerEntity | PodEntity, ownNode: string): Pick<Workload, 'kind' | 'name'> {
  if (entity.kind === 'pod') return workloadOf(entity, ownNode);
  if (entity.workload !== undefined) return entity.workload;
  const kind = entity.peer === 'service' ? 'Service' : entity.peer === 'node' ? 'Node' : 'Pod';
  return { kind, name: entity.name };
}
