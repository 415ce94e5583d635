import type { ContainerEntity, NetnsEntity, Owner, PodEntity, Resource } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';

/** What is known of the node without asking anybody. */
export interface NodeFacts {
  /** `k8s.node.name`. */
  readonly name: string;
  /** `host.name`: what `uname -n` says. */
  readonly hostName: string;
  /** `os.version`: the kernel's release. */
  readonly kernel: string;
}

/** Resource attributes by OpenTelemetry's semantic conventions for k8s, container, host, os and service. */
export function nodeResource(node: NodeFacts): Resource {
  return resource({ ...nodeAttributes(node), 'os.type': 'linux', 'os.version': node.kernel });
}

/**
 * A pod. An entity without Kubernetes namespace is a container that stands for itself (Docker without Kubernetes).
 * `service.*` follow the conventions for what Kubernetes runs: without better knowledge the pod is the service.
 */
export function podResource(pod: PodEntity, node: NodeFacts): Resource {
  if (pod.namespace === '') {
    return resource({
      'container.name': pod.name,
      'container.id': pod.sandboxId,
      ...nodeAttributes(node),
      'service.name': pod.name,
      'service.instance.id': pod.sandboxId,
    });
  }
  return resource({
    'k8s.pod.name': pod.name,
    'k8s.namespace.name': pod.namespace,
    'k8s.pod.uid': pod.uid,
    'k8s.node.name': node.name,
    'service.name': pod.name,
    'service.namespace': pod.namespace,
    'service.instance.id': `${pod.namespace}.${pod.name}`,
  });
}

/** A container of a pod: the pod's attributes and its own. */
export function containerResource(container: ContainerEntity, pod: PodEntity, ofPod: Resource): Resource {
  return resource({
    ...ofPod.attributes,
    'container.id': container.id,
    'k8s.container.name': container.name,
    ...(pod.namespace !== '' && { 'service.instance.id': `${pod.namespace}.${pod.name}.${container.name}` }),
  });
}

/**
 * A namespace that no runtime knows: what the kernel says of it. Pod UID and container id are the owner's own where it has them: pods share a
 * namespace that is not this node's when they are hostNetwork pods of a node within this one (kind), and must not become one. Else they come from cgroup
 * paths, when there is exactly one.
 */
export function netnsResource(owner: Owner, inode: number, entity: NetnsEntity | undefined, node: NodeFacts): Resource {
  const attributes: Record<string, AttributeValue> = { 'skoop.netns.inode': inode };
  if (entity?.name !== undefined) attributes['skoop.netns.name'] = entity.name;
  if (entity?.comm !== undefined) attributes['process.executable.name'] = entity.comm;
  const uid = owner.podUid ?? only(entity?.podUids);
  if (uid !== undefined) attributes['k8s.pod.uid'] = uid;
  const id = owner.containerId ?? only(entity?.containerIds);
  if (id !== undefined) attributes['container.id'] = id;
  return resource({ ...attributes, ...nodeAttributes(node) });
}

/** The one element; undefined when there are none or several. */
function only(list: readonly string[] | undefined): string | undefined {
  return list?.length === 1 ? list[0] : undefined;
}

/** A pod or container of which only the id is known: it shares the node's namespace and no runtime has named it. */
export function strangerResource(
  podUid: string | undefined,
  containerId: string | undefined,
  node: NodeFacts,
): Resource {
  return resource({
    ...(podUid !== undefined && { 'k8s.pod.uid': podUid }),
    ...(containerId !== undefined && { 'container.id': containerId }),
    ...nodeAttributes(node),
  });
}

/** True when both say the same; lets a resource object live on. */
export function sameAttributes(a: Attributes, b: Attributes): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((k) => a[k] === b[k]);
}

function nodeAttributes(node: NodeFacts): Attributes {
  return { 'k8s.node.name': node.name, 'host.name': node.hostName };
}

function resource(attributes: Record<string, AttributeValue>): Resource {
  return Object.freeze({ attributes: Object.freeze(attributes) });
}
