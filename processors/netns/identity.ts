import type { EntitiesBatch, NetnsEntity, Owner, PodEntity, Resource } from '../../pipeline/batch.ts';
import { RecentMap } from './recent-map.ts';
import {
  containerResource,
  type NodeFacts,
  netnsResource,
  nodeResource,
  podResource,
  sameAttributes,
  strangerResource,
} from './resources.ts';

/** A pod with its resources; one for each sandbox. */
interface Named {
  readonly source: string;
  pod: PodEntity;
  resource: Resource;
  readonly containers: Map<string, Resource>;
  /** Time of the last list that had it, Unix epoch ms. */
  lastSeenMs: number;
  /** Time of the first list that did not; undefined while it lives. */
  goneMs: number | undefined;
}

/** A time span in which a namespace inode belonged to a pod. The kernel gives the inode of a dead namespace to the next one. */
interface Claim {
  readonly named: Named;
  readonly bornMs: number;
  lastSeenMs: number;
  goneMs: number | undefined;
}

/** A sandbox's creation time may be noted a moment after its namespace was made (containerd makes the namespace first). */
const birthSlackMs = 1000;
/** What happened longer than this before a sandbox was there happened to somebody else: no CNI plugin takes so long. */
const longestSetupMs = 120_000;
/** Names of strangers that are remembered, so that their resources stay the same objects. */
const maxStrangers = 4096;
/** Ended containers of a living pod that are remembered. */
const maxOldContainers = 16;

/**
 * Who is who on this node, from the entities that flowed by. Everything is found by kernel identity: namespace inode, pod UID, container
 * id. Times are those of the data, so that a late event gets the name that was right when it happened.
 */
export class IdentityTable {
  readonly #ownNode: Resource;
  readonly #facts: NodeFacts;
  readonly #tombstoneMs: number;
  readonly #sandboxes = new Map<string, Named>();
  readonly #byUid = new Map<string, Named>();
  readonly #byContainer = new Map<string, { readonly named: Named; readonly resource: Resource }>();
  /** cgroup v2 id → hostNetwork pod or container. */
  readonly #byCgroup = new Map<number, { readonly named: Named; readonly resource: Resource }>();
  /** Newest claim first. */
  readonly #claims = new Map<number, Claim[]>();
  readonly #netns = new Map<string, ReadonlyMap<number, NetnsEntity>>();
  readonly #unnamed = new RecentMap<string, Resource>(maxStrangers);
  #hosts: ReadonlySet<number> = new Set();
  #node: Resource;

  constructor(facts: NodeFacts, tombstoneMs: number) {
    this.#facts = facts;
    this.#tombstoneMs = tombstoneMs;
    this.#ownNode = nodeResource(facts);
    this.#node = this.#ownNode;
  }

  /** The resource of data that belongs to nobody in particular. */
  get node(): Resource {
    return this.#node;
  }

  /** Takes a source's complete list. What the source had before and has no more becomes a tombstone. */
  apply(batch: EntitiesBatch): void {
    const { source, timeMs } = batch;
    const netns = new Map<number, NetnsEntity>();
    const present = new Set<string>();
    for (const entity of batch.entities) {
      if (entity.kind === 'netns') netns.set(entity.netns, entity);
      else if (entity.kind === 'pod') present.add(this.#seen(source, entity, timeMs));
    }
    if (netns.size > 0 || this.#netns.has(source)) this.#netns.set(source, netns);
    for (const [key, named] of this.#sandboxes) {
      if (named.source === source && named.goneMs === undefined && !present.has(key)) this.#bury(named, timeMs);
    }
    this.#sweep(timeMs);
    this.#hosts = this.#findHosts();
    this.#node = this.#findSidecar() ?? this.#ownNode;
  }

  /**
   * The resource of an owner at a time; undefined when nobody has named it (yet).
   *
   * @param timeMs when the data was true: an event's own time, the time a counter was read.
   */
  resourceOf(owner: Owner | undefined, timeMs: number): Resource | undefined {
    if (owner === undefined) return this.#node;
    const { containerId, podUid, netns, cgroupId } = owner;
    if (containerId !== undefined) {
      const hit = this.#byContainer.get(containerId);
      if (hit !== undefined) return hit.resource;
    }
    if (podUid !== undefined) {
      const hit = this.#byUid.get(podUid);
      if (hit !== undefined) return hit.resource;
    }
    if (netns !== undefined && !this.#hosts.has(netns))
      return this.#claimant(netns, timeMs, owner.netnsCookie)?.named.resource;
    // Shared by the node and its hostNetwork pods.
    const hit = cgroupId === undefined ? undefined : this.#byCgroup.get(cgroupId);
    if (hit !== undefined) return hit.resource;
    return containerId === undefined && podUid === undefined ? this.#node : undefined;
  }

  /** What can be said of an owner that nobody has named. The same object while the same is known. */
  unnamed(owner: Owner): Resource {
    const { netns, podUid, containerId } = owner;
    const shared = netns === undefined || this.#hosts.has(netns);
    const key = `${shared ? '' : netns}/${podUid}/${containerId}/${shared ? '' : owner.netnsCookie}`;
    const fresh = shared
      ? strangerResource(podUid, containerId, this.#facts)
      : netnsResource(owner, netns, this.#netnsEntityOf(netns, owner.netnsCookie), this.#facts);
    const known = this.#unnamed.get(key);
    if (known !== undefined && sameAttributes(known.attributes, fresh.attributes)) return known;
    this.#unnamed.set(key, fresh);
    return fresh;
  }

  /** The namespace as the kernel shows it, where a source told. */
  netnsEntity(inode: number): NetnsEntity | undefined {
    for (const entities of this.#netns.values()) {
      const entity = entities.get(inode);
      if (entity !== undefined) return entity;
    }
    return undefined;
  }

  /** As {@link netnsEntity}, and not of another namespace that had or has got the same inode. */
  #netnsEntityOf(inode: number, cookie: number | undefined): NetnsEntity | undefined {
    const entity = this.netnsEntity(inode);
    const other = cookie !== undefined && entity?.netnsCookie !== undefined && entity.netnsCookie !== cookie;
    return other ? undefined : entity;
  }

  /** Pods and containers that have a name now, tombstones included. */
  get size(): number {
    return this.#sandboxes.size;
  }

  /** Who had the namespace then. */
  #claimant(netns: number, timeMs: number, cookie: number | undefined): Claim | undefined {
    let claims = this.#claims.get(netns);
    if (claims === undefined) return undefined;
    if (cookie !== undefined) {
      const exact = claims.find((c) => c.named.pod.netnsCookie === cookie);
      if (exact !== undefined) return exact;
      // Pods whose namespace is known to be another one are out, whatever the times say.
      claims = claims.filter((c) => c.named.pod.netnsCookie === undefined);
      if (claims.length === 0) return undefined;
    }
    for (const [i, claim] of claims.entries()) {
      if (claim.goneMs !== undefined && timeMs > claim.goneMs) return claims[i - 1];
      const older = claims[i + 1];
      if (older === undefined) return timeMs >= claim.bornMs - longestSetupMs ? claim : undefined;
      if (timeMs > older.lastSeenMs && timeMs >= claim.bornMs - birthSlackMs) return claim;
    }
    return undefined;
  }

  /** Notes a pod of a list; returns its key. In the steady state the entity is the same object and nothing is made. */
  #seen(source: string, pod: PodEntity, timeMs: number): string {
    const key = `${source}\0${pod.sandboxId || pod.uid}`;
    const known = this.#sandboxes.get(key);
    if (known === undefined) {
      const resource = this.#podResource(pod);
      const named: Named = { source, pod, resource, containers: new Map(), lastSeenMs: timeMs, goneMs: undefined };
      this.#sandboxes.set(key, named);
      this.#index(named, timeMs);
      return key;
    }
    const changed = known.pod !== pod || known.goneMs !== undefined;
    known.lastSeenMs = timeMs;
    known.goneMs = undefined;
    if (changed) {
      if (known.pod.netns !== pod.netns) this.#endClaim(known, timeMs);
      known.pod = pod;
      const resource = this.#podResource(pod);
      if (!sameAttributes(known.resource.attributes, resource.attributes)) {
        known.resource = resource;
        known.containers.clear();
      }
      this.#index(known, timeMs);
    } else {
      const claim = this.#claimOf(known);
      if (claim !== undefined) claim.lastSeenMs = timeMs;
    }
    return key;
  }

  /** A pod with two sandboxes (it was restarted) is one pod: both share its resource object. */
  #podResource(pod: PodEntity): Resource {
    const fresh = podResource(pod, this.#facts);
    const known = this.#byUid.get(pod.uid)?.resource;
    return known !== undefined && sameAttributes(known.attributes, fresh.attributes) ? known : fresh;
  }

  #index(named: Named, timeMs: number): void {
    const { pod, resource } = named;
    const current = this.#byUid.get(pod.uid);
    if (current === undefined || current.goneMs !== undefined || current.pod.createdAtMs <= pod.createdAtMs) {
      this.#byUid.set(pod.uid, named);
    }
    if (pod.sandboxId !== '') this.#byContainer.set(pod.sandboxId, { named, resource });
    for (const container of pod.containers) {
      const fresh = containerResource(container, pod, resource);
      const known = named.containers.get(container.id);
      const kept = known !== undefined && sameAttributes(known.attributes, fresh.attributes) ? known : fresh;
      named.containers.set(container.id, kept);
      this.#byContainer.set(container.id, { named, resource: kept });
    }
    this.#forgetOldContainers(named);
    for (const { id, containerId } of pod.cgroups ?? []) {
      const ofContainer = containerId === undefined ? undefined : named.containers.get(containerId);
      this.#byCgroup.set(id, { named, resource: ofContainer ?? resource });
    }
    if (pod.netns !== undefined && !pod.hostNetwork) this.#claim(named, pod.netns, timeMs);
  }

  /** A container that crashes all day has a new id each time: only the last few keep their name. */
  #forgetOldContainers(named: Named): void {
    const current = new Set(named.pod.containers.map((c) => c.id));
    let surplus = named.containers.size - current.size - maxOldContainers;
    for (const id of named.containers.keys()) {
      if (surplus <= 0) return;
      if (current.has(id)) continue;
      named.containers.delete(id);
      if (this.#byContainer.get(id)?.named === named) this.#byContainer.delete(id);
      surplus--;
    }
  }

  #claim(named: Named, netns: number, timeMs: number): void {
    const claims = this.#claims.get(netns) ?? [];
    const own = claims.find((c) => c.named === named);
    if (own !== undefined) {
      own.lastSeenMs = timeMs;
      own.goneMs = undefined;
      return;
    }
    for (const c of claims) c.goneMs ??= timeMs;
    claims.unshift({ named, bornMs: named.pod.createdAtMs, lastSeenMs: timeMs, goneMs: undefined });
    this.#claims.set(netns, claims);
  }

  #claimOf(named: Named): Claim | undefined {
    const { netns } = named.pod;
    return netns === undefined ? undefined : this.#claims.get(netns)?.find((c) => c.named === named);
  }

  #endClaim(named: Named, timeMs: number): void {
    const claim = this.#claimOf(named);
    if (claim !== undefined) claim.goneMs ??= timeMs;
  }

  #bury(named: Named, timeMs: number): void {
    named.goneMs = timeMs;
    this.#endClaim(named, timeMs);
  }

  /** Forgets what has been gone for longer than a tombstone stands. */
  #sweep(nowMs: number): void {
    const limit = nowMs - this.#tombstoneMs;
    for (const [key, named] of this.#sandboxes) {
      if (named.goneMs === undefined || named.goneMs > limit) continue;
      this.#sandboxes.delete(key);
      if (this.#byUid.get(named.pod.uid) === named) this.#byUid.delete(named.pod.uid);
      if (this.#byContainer.get(named.pod.sandboxId)?.named === named) this.#byContainer.delete(named.pod.sandboxId);
      for (const id of named.containers.keys()) {
        if (this.#byContainer.get(id)?.named === named) this.#byContainer.delete(id);
      }
    }
    for (const [id, { named }] of this.#byCgroup) {
      if (named.goneMs !== undefined && named.goneMs <= limit) this.#byCgroup.delete(id);
    }
    for (const [netns, claims] of this.#claims) {
      const left = claims.filter((c) => c.goneMs === undefined || c.goneMs > limit);
      if (left.length === 0) this.#claims.delete(netns);
      else if (left.length < claims.length) this.#claims.set(netns, left);
    }
  }

  /**
   * Namespaces of the node: what the kernel says, and what pods live in that share the node's. Seen from inside a pod its own namespace
   * looks like the node's: one that a pod claims is the pod's.
   */
  #findHosts(): ReadonlySet<number> {
    const hosts = new Set<number>();
    for (const entities of this.#netns.values()) for (const n of entities.values()) if (n.host) hosts.add(n.netns);
    for (const { pod, goneMs } of this.#sandboxes.values()) {
      if (pod.hostNetwork && pod.netns !== undefined && goneMs === undefined) hosts.add(pod.netns);
    }
    for (const [netns, claims] of this.#claims) if (claims[0]?.goneMs === undefined) hosts.delete(netns);
    return hosts;
  }

  /** As a sidecar the agent sees one pod only: what it takes for the node's data is that pod's. */
  #findSidecar(): Resource | undefined {
    for (const { pod, resource } of this.#sandboxes.values()) if (pod.runtime === 'sidecar') return resource;
    return undefined;
  }
}
