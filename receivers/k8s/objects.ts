import { isIP, SocketAddress } from 'node:net';
import type { PeerEntity } from '../../pipeline/batch.ts';
import { type OwnerReference, type Workload, workloadOfOwner } from '../../pipeline/workload.ts';
import { asObject, type JsonObject, listAt, objectAt, textAt, textsAt } from './json.ts';

/** What is watched. */
export type ResourceName = 'pods' | 'services' | 'nodes';

/** An object of the API, trimmed to what is kept of it. */
export interface Trimmed {
  readonly uid: string;
  /** Undefined: it has no address that is its own. */
  readonly peer: PeerEntity | undefined;
}

/** Texts and workloads kept at most; beyond that sharing begins anew. */
const maxShared = 50_000;
/** Addresses taken from one object. Two are usual, a load balancer may have more. */
const maxIps = 16;

/**
 * Makes peers of `v1` objects (API reference: Pod, Service, Node). Whatever is missing or of another type is left out; what has no identity is
 * refused. Texts that many objects have in common are kept once.
 */
export class Trimmer {
  /** Name of the agent's own node: its pods' labels and annotations are kept. */
  readonly #node: string;
  readonly #texts = new Map<string, string>();
  readonly #workloads = new Map<string, Workload>();

  constructor(node: string) {
    this.#node = node;
  }

  /** Undefined when the object has no uid or name. */
  trim(resource: ResourceName, object: unknown): Trimmed | undefined {
    const whole = asObject(object);
    const metadata = objectAt(whole, 'metadata');
    const uid = textAt(metadata, 'uid');
    const name = textAt(metadata, 'name');
    if (whole === undefined || uid === undefined || name === undefined) return undefined;
    const createdAtMs = Date.parse(textAt(metadata, 'creationTimestamp') ?? '') || 0;
    const identity = { uid, name, namespace: this.#shared(textAt(metadata, 'namespace') ?? ''), createdAtMs };
    const peer =
      resource === 'pods'
        ? this.#pod(identity, whole, metadata)
        : resource === 'services'
          ? service(identity, whole)
          : this.#nodePeer(identity, whole, metadata);
    return { uid, peer: peer && Object.freeze(peer) };
  }

  #pod(identity: Identity, pod: JsonObject, metadata: JsonObject | undefined): PeerEntity | undefined {
    const spec = objectAt(pod, 'spec');
    const status = objectAt(pod, 'status');
    const node = this.#shared(textAt(spec, 'nodeName') ?? '');
    const own = node !== '' && node === this.#node;
    // The address of a hostNetwork pod is its node's.
    const ips = spec?.['hostNetwork'] === true ? [] : podIps(status);
    if (ips.length === 0 && !own) return undefined;
    const labels = textsAt(metadata, 'labels');
    const annotations = textsAt(metadata, 'annotations');
    const facts = { name: identity.name, labels, annotations, createdAtMs: identity.createdAtMs };
    const workload = this.#sharedWorkload(identity.namespace, workloadOfOwner(controllerOf(metadata), facts, node));
    return {
      kind: 'peer',
      peer: 'pod',
      ...identity,
      ips,
      workload,
      ...(node !== '' && { node }),
      ...(own && { labels: Object.freeze(labels), annotations: Object.freeze(annotations) }),
    };
  }

  #nodePeer(identity: Identity, node: JsonObject, metadata: JsonObject | undefined): PeerEntity {
    const labels = objectAt(metadata, 'labels');
    // The second is the first's name before Kubernetes 1.17.
    const zone =
      textAt(labels, 'topology.kubernetes.io/zone') ?? textAt(labels, 'failure-domain.beta.kubernetes.io/zone');
    const addresses = listAt(objectAt(node, 'status'), 'addresses').map(asObject);
    const ips = addresses
      .filter((a) => a?.['type'] === 'InternalIP' || a?.['type'] === 'ExternalIP')
      .map((a) => a?.['address']);
    const shared = zone === undefined ? {} : { zone: this.#shared(zone) };
    return { kind: 'peer', peer: 'node', ...identity, ips: usableIps(ips), ...shared };
  }

  #shared(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= maxShared) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }

  #sharedWorkload(namespace: string, workload: Workload): Workload {
    const { kind, name, attributes } = workload;
    const key = JSON.stringify([namespace, kind, name, attributes]);
    const known = this.#workloads.get(key);
    if (known !== undefined) return known;
    if (this.#workloads.size >= maxShared) this.#workloads.clear();
    const made = Object.freeze({ kind: this.#shared(kind), name, attributes: Object.freeze(attributes) });
    this.#workloads.set(key, made);
    return made;
  }
}

type Identity = Pick<PeerEntity, 'uid' | 'name' | 'namespace' | 'createdAtMs'>;

/** A service by its cluster addresses and those by which it is reached from outside; a headless one has none. */
function service(identity: Identity, whole: JsonObject): PeerEntity | undefined {
  const spec = objectAt(whole, 'spec');
  const cluster = listAt(spec, 'clusterIPs');
  const ingress = listAt(objectAt(objectAt(whole, 'status'), 'loadBalancer'), 'ingress').map(
    (i) => asObject(i)?.['ip'],
  );
  const first = cluster.length > 0 ? cluster : [spec?.['clusterIP']];
  const ips = usableIps([...first, ...listAt(spec, 'externalIPs'), ...ingress]);
  return ips.length === 0 ? undefined : { kind: 'peer', peer: 'service', ...identity, ips };
}

function podIps(status: JsonObject | undefined): readonly string[] {
  const all = listAt(status, 'podIPs').map((p) => asObject(p)?.['ip']);
  return usableIps(all.length > 0 ? all : [status?.['podIP']]);
}

/** Addresses, each once; `None`, host names and nonsense are none. */
function usableIps(values: readonly unknown[]): readonly string[] {
  const out = new Set<string>();
  for (const value of values) {
    if (out.size >= maxIps) break;
    const ip = typeof value === 'string' ? canonicalIp(value) : undefined;
    if (ip !== undefined) out.add(ip);
  }
  return Object.freeze([...out]);
}

/** An address as the kernel's own are written here (RFC 5952); undefined for what is none. */
export function canonicalIp(text: string): string | undefined {
  switch (isIP(text)) {
    case 4:
      return text;
    case 6:
      // A zone (`fe80::1%eth0`) is of one node only.
      return text.includes('%') ? undefined : new SocketAddress({ address: text, family: 'ipv6' }).address;
    default:
      return undefined;
  }
}

function controllerOf(metadata: JsonObject | undefined): OwnerReference | undefined {
  for (const reference of listAt(metadata, 'ownerReferences').map(asObject)) {
    const kind = textAt(reference, 'kind');
    const name = textAt(reference, 'name');
    if (reference?.['controller'] === true && kind !== undefined && name !== undefined) return { kind, name };
  }
  return undefined;
}
