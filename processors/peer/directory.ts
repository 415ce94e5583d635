import type { EntitiesBatch, Entity, PeerEntity, PodEntity } from '../../pipeline/batch.ts';
import { Named } from './named.ts';

/** A time in which an address was somebody's. */
interface Claim {
  readonly named: Named;
  /** When it was first missing, Unix epoch ms; undefined while it is there. */
  goneMs: number | undefined;
}

/** Who answers to an address. */
export interface Found {
  readonly named: Named;
  /** True when it was gone by then: the address was nobody's, and this is whose it had been. */
  readonly isGone: boolean;
}

/** Those that are gone, at most; the oldest are forgotten first. */
const maxGone = 20_000;
const noAddresses: ReadonlySet<string> = new Set();

/**
 * Who has which address, from the entities that flowed by: pods of this node as the runtime tells them, and everything else that a source asks
 * the API server for. An address that is given again is the newest owner's; what happened before that one was made stays the former one's.
 */
export class Directory {
  readonly #ownNode: { readonly name: string; ips: ReadonlySet<string> };
  readonly #tombstoneMs: number;
  /** Source → the entities of its last list. An entity is the same object while it says the same. */
  readonly #sources = new Map<string, Map<Entity, Named>>();
  readonly #claims = new Map<string, Claim[]>();
  /** Addresses of this node's pods, by UID. */
  readonly #ownPods = new Map<string, { readonly named: Named; readonly ips: ReadonlySet<string> }>();
  readonly #nodes = new Map<string, Named>();
  /** Claims that ended, the oldest first. */
  readonly #gone = new Map<Claim, string>();
  /** Moves whenever an address might be called otherwise than before. */
  version = 0;

  constructor(ownNode: string, tombstoneMs: number) {
    this.#ownNode = { name: ownNode, ips: noAddresses };
    this.#tombstoneMs = tombstoneMs;
  }

  /** Addresses with a name, those of the dead included. */
  get size(): number {
    return this.#claims.size;
  }

  /** Takes a source's complete list. What is the same object as before costs a look-up. */
  apply(batch: EntitiesBatch): void {
    const before = this.#sources.get(batch.source);
    const now = new Map<Entity, Named>();
    let kept = 0;
    for (const entity of batch.entities) {
      // A container without Kubernetes has no name that another one could not have.
      if (entity.kind === 'netns' || (entity.kind === 'pod' && entity.namespace === '')) continue;
      const known = before?.get(entity);
      if (known !== undefined) kept++;
      now.set(entity, known ?? this.#welcome(entity));
    }
    if (before !== undefined && kept < before.size) {
      for (const [entity, named] of before) if (!now.has(entity)) this.#bury(named, batch.timeMs);
    }
    if (now.size > 0 || before !== undefined) this.#sources.set(batch.source, now);
    this.#sweep(batch.timeMs);
  }

  /** @param timeMs when it was that something came from or went to the address, Unix epoch ms. */
  find(address: string, timeMs: number): Found | undefined {
    const claims = this.#claims.get(address);
    if (claims === undefined) return undefined;
    let best: Claim | undefined;
    for (const claim of claims) if (best === undefined || isBetter(claim, best, timeMs)) best = claim;
    return best && { named: best.named, isGone: isGone(best, timeMs) };
  }

  /** Addresses of a pod of this node; of the node itself for what is no pod, or shares its network; none of a pod that nobody told of. */
  ownAddresses(podUid: unknown): ReadonlySet<string> {
    if (typeof podUid !== 'string') return this.#ownNode.ips;
    const own = this.#ownPods.get(podUid)?.ips ?? noAddresses;
    return own.size === 0 && this.#ownPods.has(podUid) ? this.#ownNode.ips : own;
  }

  /** Where it is, as far as anybody told. */
  zoneOf({ node }: Named): string | undefined {
    const entity = node === undefined ? undefined : this.#nodes.get(node)?.entity;
    return entity?.kind === 'peer' ? entity.zone : undefined;
  }

  #welcome(entity: PeerEntity | PodEntity): Named {
    const named = new Named(entity, this.#ownNode.name);
    this.version++;
    const ips = new Set(entity.kind === 'pod' && entity.hostNetwork ? [] : entity.ips);
    if (named.kind === 'pod' && named.node === this.#ownNode.name) this.#ownPods.set(entity.uid, { named, ips });
    if (named.kind === 'node') {
      this.#nodes.set(entity.name, named);
      if (entity.name === this.#ownNode.name) this.#ownNode.ips = ips;
    }
    for (const ip of ips) {
      const claims = this.#claims.get(ip);
      if (claims === undefined) this.#claims.set(ip, [{ named, goneMs: undefined }]);
      else claims.push({ named, goneMs: undefined });
    }
    return named;
  }

  #bury(named: Named, timeMs: number): void {
    const { name, ips } = named.entity;
    this.version++;
    // Unless another object of the same node has come in its place.
    if (named.kind === 'node' && this.#nodes.get(name) === named) {
      this.#nodes.delete(name);
      if (name === this.#ownNode.name) this.#ownNode.ips = noAddresses;
    }
    for (const ip of ips) {
      const claim = this.#claims.get(ip)?.find((c) => c.named === named);
      if (claim === undefined) continue;
      claim.goneMs = timeMs;
      this.#gone.set(claim, ip);
    }
  }

  #sweep(nowMs: number): void {
    for (const [claim, ip] of this.#gone) {
      const isOld = claim.goneMs !== undefined && nowMs - claim.goneMs > this.#tombstoneMs;
      if (!isOld && this.#gone.size <= maxGone) return;
      this.version++;
      this.#gone.delete(claim);
      this.#forget(ip, claim);
    }
  }

  #forget(ip: string, claim: Claim): void {
    const left = (this.#claims.get(ip) ?? []).filter((c) => c !== claim);
    if (left.length === 0) this.#claims.delete(ip);
    else this.#claims.set(ip, left);
    // Until here the dead one's last events could be told which end was its own.
    const { uid } = claim.named.entity;
    if (this.#ownPods.get(uid)?.named === claim.named) this.#ownPods.delete(uid);
  }
}

function isGone(claim: Claim, timeMs: number): boolean {
  return claim.goneMs !== undefined && timeMs > claim.goneMs;
}

/** Who was there before who was gone; of those the one made last before that time; of two tellings of one pod the API server's. */
function isBetter(a: Claim, b: Claim, timeMs: number): boolean {
  const [x, y] = [a.named.entity, b.named.entity];
  const gone = Number(isGone(a, timeMs)) - Number(isGone(b, timeMs));
  if (gone !== 0) return gone < 0;
  if (x.uid === y.uid) return x.kind === 'peer' && y.kind !== 'peer';
  const [xLater, yLater] = [x.createdAtMs > timeMs, y.createdAtMs > timeMs];
  if (xLater !== yLater) return !xLater;
  // A load balancer's address may be a node's: what is there is the node.
  if (a.named.kind !== b.named.kind && b.named.kind === 'service') return true;
  if (a.named.kind !== b.named.kind && a.named.kind === 'service') return false;
  return xLater ? x.createdAtMs < y.createdAtMs : x.createdAtMs > y.createdAtMs;
}
