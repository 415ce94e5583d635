import { type NetnsInfo, type NetnsInventory, sharedInventory } from '../../host/netns/inventory.ts';
import { hostRoot, type ProcRoot } from '../../host/proc-root.ts';
import type { Clock } from '../../pipeline/clock.ts';

/** Who holds a socket. */
export interface SocketOwner {
  readonly pid: number;
  readonly comm: string;
}

/** Processes whose descriptors one search reads at the most: a search happens while events are drained. */
const maxProcesses = 64;
/** Descriptors of one process that are looked at. */
const maxDescriptors = 4096;
/** Least time between two searches, ms: a storm of events from many sockets must not become a storm of searches. */
const searchEveryMs = 50;
/** Sockets remembered, found or not. */
const maxKnown = 1024;
/** How long an answer holds, ms; a socket's inode may be used again. */
const holdsMs = 30_000;
/** Least time between two scans of all processes, ms, and how long it holds that nobody was found. */
const scanEveryMs = 1_000;

/**
 * Finds the process of a socket by its inode, as `ss -p` does: the kernel does not keep it. Only processes of the socket's network
 * namespace are looked at, answers are remembered, and the work is bounded: an event may stay without a process, never wait for one.
 */
export class SocketOwners {
  readonly #root: ProcRoot;
  readonly #inventory: NetnsInventory;
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly owner: SocketOwner | undefined; readonly untilMs: number }>();
  #searchedMs = Number.NEGATIVE_INFINITY;
  #scannedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, root: ProcRoot = hostRoot, inventory: NetnsInventory = sharedInventory(root)) {
    this.#clock = clock;
    this.#root = root;
    this.#inventory = inventory;
  }

  /**
   * @param inode of the socket (SOCK_INODE(sk->sk_socket)->i_ino), 0 = it has none
   * @returns undefined when nobody holds it or it was not looked for
   */
  find(netns: number, inode: number): SocketOwner | undefined {
    if (inode === 0) return undefined;
    const key = `${netns}/${inode}`;
    const nowMs = this.#clock.monotonicMs();
    const hit = this.#known.get(key);
    if (hit && hit.untilMs > nowMs) return hit.owner;
    if (nowMs - this.#searchedMs < searchEveryMs) return undefined;
    this.#searchedMs = nowMs;
    const owner = this.#search(netns, `socket:[${inode}]`, nowMs);
    if (this.#known.size >= maxKnown) this.#known.clear();
    this.#known.set(key, { owner, untilMs: nowMs + (owner ? holdsMs : scanEveryMs) });
    return owner;
  }

  /** Among the processes of the last scan, then, since the namespace or the process may be younger than it, of a new one. */
  #search(netns: number, link: string, nowMs: number): SocketOwner | undefined {
    const owner = this.#among(this.#inventory.current(), netns, link);
    if (owner !== undefined || nowMs - this.#scannedMs < scanEveryMs) return owner;
    this.#scannedMs = nowMs;
    return this.#among(this.#inventory.scan(), netns, link);
  }

  #among(namespaces: readonly NetnsInfo[], netns: number, link: string): SocketOwner | undefined {
    const space = namespaces.find((n) => n.netns === netns);
    for (const pid of space?.pids.slice(0, maxProcesses) ?? []) {
      if (!this.#holds(pid, link)) continue;
      const comm = this.#root.tryReadText(this.#root.proc(pid, 'comm'))?.trim();
      if (comm !== undefined) return { pid, comm };
    }
    return undefined;
  }

  #holds(pid: number, link: string): boolean {
    try {
      const folder = this.#root.proc(pid, 'fd');
      for (const fd of this.#root.list(folder).slice(0, maxDescriptors)) {
        if (this.#root.readlink(`${folder}/${fd}`) === link) return true;
      }
    } catch {
      // It ended, or is not ours to look into.
    }
    return false;
  }
}
