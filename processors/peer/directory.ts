import type { EntitiesBatch, PeerEntity, PodEntity } from '../../pipeline/batch.ts';
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
  readonly #ownNode: string;
  readonly #tombstoneMs: number;
  /** Source → key of an entity → it. */
  readonly #sources = new Map<string, Map<string, Named>>();
  readonly #claims = new Map<string, Claim[]>();
  /** Addresses of this node's pods, by UID. */
  readonly #ownPods = new Map<string, ReadonlySet<string>>();
  readonly #zones = new Map<string, string>();
  /** Claims that ended, the oldest first. */
  readonly #gone = new Map<Claim, string>();
  #ownNodeIps: ReadonlySet<string> = noAddresses;
  /** Moves whenever an address might be called otherwise than before. */
  version = 0;

  constructor(ownNode: string, tombstoneMs: number) {
    this.#ownNode = ownNode;
    this.#tombstoneMs = tombstoneMs;
  }

  /** Addresses with a name, those of the dead included. */
  get size(): number {
    return this.#claims.size;
  }

  /** Takes a source's complete list. What is the same object as before costs a look-up. */
  apply(batch: EntitiesBatch): void {
    const before = this.#sources.get(batch.source);
    const now = new Map<string, Named>();
    for (const entity of batch.entities) {
      // A container without Kubernetes has no name that another one could not have.
      if (entity.kind === 'netns' || (entity.kind === 'pod' && entity.namespace === '')) continue;
      const key = `${entity.kind === 'pod' ? 'pod' : entity.peer} ${entity.uid}`;
      const known = before?.get(key);
      if (known?.entity === entity) {
        now.set(key, known);
        continue;
      }
      if (known !== undefined) this.#bury(known, batch.timeMs);
      const named = new Named(entity, this.#ownNode);
      now.set(key, named);
      this.#welcome(named, entity);
    }
    for (const [key, named] of before ?? []) {
      if (now.has(key)) continue;
      this.#bury(named, batch.timeMs);
      this.#forgetNode(named);
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

  /** Addresses of a pod of this node; of the node itself for what is no pod, or shares its network. */
  ownAddresses(podUid: unknown): ReadonlySet<string> {
    const own = typeof podUid === 'string' ? this.#ownPods.get(podUid) : undefined;
    return own === undefined || own.size === 0 ? this.#ownNodeIps : own;
  }

  /** Where it is, as far as anybody told. */
  zoneOf({ node }: Named): string | undefined {
    return node === undefined ? undefined : this.#zones.get(node);
  }

  #welcome(named: Named, entity: PeerEntity | PodEntity): void {
    this.version++;
    const ips = new Set(entity.kind === 'pod' && entity.hostNetwork ? [] : entity.ips);
    if (named.kind === 'pod' && named.node === this.#ownNode) this.#ownPods.set(entity.uid, ips);
    if (entity.kind === 'peer' && entity.peer === 'node') {
      if (entity.zone === undefined) this.#zones.delete(entity.name);
      else this.#zones.set(entity.name, entity.zone);
      if (entity.name === this.#ownNode) this.#ownNodeIps = ips;
    }
    for (const ip of ips) {
      const claims = this.#claims.get(ip);
      if (claims === undefined) this.#claims.set(ip, [{ named, goneMs: undefined }]);
      else claims.push({ named, goneMs: undefined });
    }
  }

  #bury(named: Named, timeMs: number): void {
    this.version++;
    for (const ip of named.entity.ips) {
      const claim = this.#claims.get(ip)?.find((c) => c.named === named);
      if (claim === undefined) continue;
      claim.goneMs = timeMs;
      this.#gone.set(claim, ip);
    }
  }

  #forgetNode({ entity, kind }: Named): void {
    if (kind !== 'node') return;
    this.#zones.delete(entity.name);
    if (entity.name === this.#ownNode) this.#ownNodeIps = noAddresses;
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
    const isAlive = [...this.#sources.values()].some((s) => s.has(`pod ${uid}`));
    if (!isAlive) this.#ownPods.delete(uid);
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
