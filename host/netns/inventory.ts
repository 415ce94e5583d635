import { type ProcRoot, parseNetnsLink } from '../proc-root.ts';
import { parseCgroupFile } from './cgroup-path.ts';
import { NetnsCookies } from './cookie.ts';
import { parsePidStat } from './pid-stat.ts';

/** The part of the pipeline's clock that the inventory needs. */
export interface InventoryClock {
  nowMs(): number;
  monotonicMs(): number;
}

/** A network namespace of this machine, as the kernel shows it. */
export interface NetnsInfo {
  /** Inode number of the namespace: its identity while it lives. */
  readonly netns: number;
  /** net->net_cookie: never given twice. Absent where it may not be asked (no CAP_SYS_ADMIN) or the kernel is older than 5.14. */
  readonly cookie?: number;
  /**
   * Serial number of this life of the inode, whose number the kernel gives to a new namespace at once: another one when the cookie is another one, or
   * when a scan came between that did not see it. What was kept of a namespace goes by this.
   */
  readonly life: number;
  /** True for the namespace of pid 1 (or of kthreadd, where pid 1 may not be looked at): the node's own. */
  readonly host: boolean;
  /** Representative process: stays the same while it lives in the namespace, else the lowest pid. Absent: only a name holds it. */
  readonly pid?: number;
  /** Start time of `pid` in clock ticks since boot: (pid, starttime) is unique, pid alone is reused. */
  readonly starttime?: number;
  readonly comm?: string;
  /** Name under /run/netns (`cni-…`, `ip netns add`), where it has one. */
  readonly name?: string;
  /** A file to enter the namespace by (see `inNetns`): `/proc/PID/ns/net` or the named one. */
  readonly path: string;
  /** All processes (thread group leaders) in it, ascending. */
  readonly pids: readonly number[];
  /** Pods that its processes belong to, by cgroup; sorted. Several on the host's namespace. */
  readonly podUids: readonly string[];
  /** Containers (and sandboxes) that its processes belong to, by cgroup; sorted. */
  readonly containerIds: readonly string[];
  /** When this inventory first saw it, Unix epoch ms. */
  readonly firstSeenMs: number;
}

/** A process (thread group leader). */
export interface ProcessInfo {
  readonly pid: number;
  /** Clock ticks since boot; with `pid` a unique identity. */
  readonly starttime: number;
  readonly netns: number;
  readonly podUid?: string;
  readonly containerId?: string;
  /** True for a thread of the kernel: no descriptors, no container, always in the first network namespace. */
  readonly kernelThread: boolean;
}

interface CachedProcess extends ProcessInfo {
  /** Inode of the directory /proc/PID: a new process with an old pid gets a new one. */
  readonly inode: number;
  readonly comm: string;
  readonly firstSeenMs: number;
}

interface Group {
  readonly pids: number[];
  readonly podUids: Set<string>;
  readonly containerIds: Set<string>;
}

/** From first sight to its end. */
interface Life {
  readonly serial: number;
  readonly firstSeenMs: number;
  cookie: number | undefined;
}

/** Processes that are there and may not be looked into (ptrace(2), PTRACE_MODE_READ_FSCREDS): no namespace of theirs is known. */
export interface Unreadable {
  readonly processes: number;
  /** UIDs of the pods they belong to, by cgroup, which anybody may read. */
  readonly podUids: ReadonlySet<string>;
}

interface Result {
  readonly unreadable: Unreadable;
  readonly netns: readonly NetnsInfo[];
  readonly pods: ReadonlyMap<string, readonly ProcessInfo[]>;
  readonly atMs: number;
}

/** A process is moved into its container's cgroup after its birth: read again while it is younger than this. */
const youngMs = 30_000;
/** Older ones are looked at again once in so many scans, since any process may be moved. */
const recheckScans = 16;
/** {@link NetnsInventory.scanAsync} gives the event loop a turn after this long. */
const sliceMs = 3;
/** Processes between two looks at the clock. */
const clockStride = 32;

/**
 * All network namespaces of the machine: those of processes (`/proc/PID/ns/net`) and named ones (`/run/netns`). A namespace that is
 * held by nothing but an open file descriptor or a bind mount elsewhere is not seen.
 *
 * A scan costs one readlink and one stat per process; status and cgroup are read for new processes only. Processes that end while
 * being read are normal and left out.
 */
export class NetnsInventory {
  readonly #root: ProcRoot;
  readonly #clock: InventoryClock;
  readonly #processes = new Map<number, CachedProcess>();
  readonly #cookies: NetnsCookies;
  readonly #lives = new Map<number, Life>();
  #nextLife = 1;
  #representatives = new Map<number, number>();
  #result: Result | undefined;
  #inFlight: Promise<readonly NetnsInfo[]> | undefined;
  #scans = 0;

  /** @param cookies asks the kernel; tests give another one */
  constructor(root: ProcRoot, clock: InventoryClock, cookies: NetnsCookies = new NetnsCookies()) {
    this.#root = root;
    this.#clock = clock;
    this.#cookies = cookies;
  }

  /** Looks at everything now, without giving way: for tests and start-up. Sorted: host first, then by inode. */
  scan(): readonly NetnsInfo[] {
    const steps = this.#steps(this.#root.list(this.#root.procPath));
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
    }
  }

  /** As {@link scan}, never holding the event loop for more than a few milliseconds. Concurrent calls share one scan. */
  scanAsync(): Promise<readonly NetnsInfo[]> {
    this.#inFlight ??= this.#scanInSlices().finally(() => {
      this.#inFlight = undefined;
    });
    return this.#inFlight;
  }

  /** The last scan's result if it is at most `maxAgeMs` old, else a new scan's: several receivers cost one scan. */
  async fresh(maxAgeMs: number): Promise<readonly NetnsInfo[]> {
    const last = this.#result;
    if (last && this.#clock.monotonicMs() - last.atMs <= maxAgeMs) return last.netns;
    return this.scanAsync();
  }

  /** What the last scan found; empty before the first. */
  current(): readonly NetnsInfo[] {
    return this.#result?.netns ?? [];
  }

  /** Pod UID → its processes, from the last scan; hostNetwork pods included, which share the host's namespace. */
  podProcesses(): ReadonlyMap<string, readonly ProcessInfo[]> {
    return this.#result?.pods ?? new Map();
  }

  /** What the last scan was not allowed to see; threads of the kernel are not counted. */
  unreadable(): Unreadable {
    return this.#result?.unreadable ?? nothingUnreadable;
  }

  /** A process of the last scan. */
  process(pid: number): ProcessInfo | undefined {
    return this.#processes.get(pid);
  }

  async #scanInSlices(): Promise<readonly NetnsInfo[]> {
    const steps = this.#steps(await this.#root.listAsync(this.#root.procPath));
    let started = performance.now();
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      if (performance.now() - started < sliceMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      started = performance.now();
    }
  }

  *#steps(names: readonly string[]): Generator<undefined, readonly NetnsInfo[], undefined> {
    const scanNumber = this.#scans++;
    const nowMs = this.#clock.nowMs();
    const groups = new Map<number, Group>();
    const pods = new Map<string, ProcessInfo[]>();
    const seen = new Set<number>();
    const denied: number[] = [];
    let n = 0;
    for (const name of names) {
      const pid = pidOf(name);
      if (pid === undefined) continue;
      if (++n % clockStride === 0) yield;
      const process = this.#look(pid, nowMs, scanNumber, denied);
      if (process === undefined) continue;
      seen.add(pid);
      addToGroup(groups, process);
      if (process.podUid !== undefined) getOrAdd(pods, process.podUid, newList).push(process);
    }
    for (const pid of this.#processes.keys()) if (!seen.has(pid)) this.#processes.delete(pid);
    return this.#finish(groups, pods, this.#unreadable(denied), nowMs);
  }

  #unreadable(pids: readonly number[]): Unreadable {
    let processes = 0;
    const podUids = new Set<string>();
    for (const pid of pids) {
      const directory = this.#root.proc(pid);
      const stat = parsePidStat(this.#root.tryRead(`${directory}/stat`, 'record'));
      if (stat === undefined || stat.kernelThread) continue;
      processes++;
      const { podUid } = parseCgroupFile(this.#root.tryReadText(`${directory}/cgroup`, 'record') ?? '');
      if (podUid !== undefined) podUids.add(podUid);
    }
    return { processes, podUids };
  }

  /** One process: from the cache when it is the same one, else read. Undefined when it ended or is not ours to see. */
  #look(pid: number, nowMs: number, scanNumber: number, denied: number[]): CachedProcess | undefined {
    const root = this.#root;
    const directory = root.proc(pid);
    const inode = root.statInode(directory);
    const known = this.#processes.get(pid);
    if (known?.kernelThread && known.inode === inode) return known;
    const netns = inode === undefined ? undefined : parseNetnsLink(root.readlink(`${directory}/ns/net`));
    if (inode === undefined) return undefined;
    if (netns === undefined) {
      if (root.isDenied(`${directory}/ns/net`)) denied.push(pid);
      return undefined;
    }
    if (known !== undefined && known.inode === inode && known.netns === netns) {
      const settled = nowMs - known.firstSeenMs >= youngMs;
      if (settled && (pid + scanNumber) % recheckScans !== 0) return known;
    }
    const fresh = this.#readProcess(pid, directory, inode, netns, nowMs);
    if (fresh !== undefined) this.#processes.set(pid, fresh);
    return fresh;
  }

  #readProcess(pid: number, directory: string, inode: number, netns: number, nowMs: number): CachedProcess | undefined {
    const stat = parsePidStat(this.#root.tryRead(`${directory}/stat`, 'record'));
    const cgroup = this.#root.tryReadText(`${directory}/cgroup`, 'record');
    if (stat === undefined) return undefined;
    const known = this.#processes.get(pid);
    const firstSeenMs = known?.starttime === stat.starttime ? known.firstSeenMs : nowMs;
    const { starttime, comm, kernelThread } = stat;
    return { pid, starttime, comm, kernelThread, netns, inode, firstSeenMs, ...parseCgroupFile(cgroup ?? '') };
  }

  #finish(
    groups: Map<number, Group>,
    pods: Map<string, ProcessInfo[]>,
    unreadable: Unreadable,
    nowMs: number,
  ): readonly NetnsInfo[] {
    const names = this.#names();
    for (const netns of names.keys()) getOrAdd(groups, netns, newGroup);
    const host = this.#hostNetns();
    const representatives = new Map<number, number>();
    const out: NetnsInfo[] = [];
    for (const [netns, group] of groups) {
      group.pids.sort((a, b) => a - b);
      const before = this.#representatives.get(netns);
      const pid = before !== undefined && group.pids.includes(before) ? before : group.pids[0];
      if (pid !== undefined) representatives.set(netns, pid);
      out.push(this.#info(netns, group, pid, names.get(netns), netns === host, nowMs));
    }
    for (const netns of this.#lives.keys()) if (!groups.has(netns)) this.#lives.delete(netns);
    this.#cookies.keepOnly(groups);
    this.#representatives = representatives;
    out.sort((a, b) => Number(b.host) - Number(a.host) || a.netns - b.netns);
    this.#result = { netns: Object.freeze(out), pods, unreadable, atMs: this.#clock.monotonicMs() };
    return out;
  }

  #info(
    netns: number,
    group: Group,
    pid: number | undefined,
    name: string | undefined,
    host: boolean,
    nowMs: number,
  ): NetnsInfo {
    const process = pid === undefined ? undefined : this.#processes.get(pid);
    const path = pid === undefined ? this.#root.run('netns', name ?? '') : this.#root.proc(pid, 'ns/net');
    const holder = { netns, path, pid: process?.pid, starttime: process?.starttime };
    const { serial, firstSeenMs, cookie } = this.#life(netns, this.#cookies.of(holder), nowMs);
    return Object.freeze({
      netns,
      ...(cookie !== undefined && { cookie }),
      life: serial,
      host,
      ...(process !== undefined && { pid: process.pid, starttime: process.starttime, comm: process.comm }),
      ...(name !== undefined && { name }),
      path,
      pids: group.pids,
      podUids: [...group.podUids].sort(),
      containerIds: [...group.containerIds].sort(),
      firstSeenMs,
    });
  }

  /** The life that the inode is in. A cookie that could not be asked this time is the one from before. */
  #life(netns: number, cookie: number | undefined, nowMs: number): Life {
    let life = this.#lives.get(netns);
    const replaced = cookie !== undefined && life?.cookie !== undefined && life.cookie !== cookie;
    if (life === undefined || replaced) {
      life = { serial: this.#nextLife++, firstSeenMs: nowMs, cookie };
      this.#lives.set(netns, life);
    }
    life.cookie ??= cookie;
    return life;
  }

  /** The node's namespace: pid 1's, or kthreadd's (always in the first one) where pid 1 is not ours to look at. */
  #hostNetns(): number | undefined {
    const root = this.#root;
    const ofInit = parseNetnsLink(root.readlink(root.proc(1, 'ns/net')));
    if (ofInit !== undefined) return ofInit;
    const second = this.#processes.get(2);
    return second?.comm === 'kthreadd' ? second.netns : undefined;
  }

  /** Named namespaces: inode → name. */
  #names(): Map<number, string> {
    const names = new Map<number, string>();
    for (const name of this.#root.list(this.#root.run('netns')).sort()) {
      const inode = this.#root.netnsInode(this.#root.run('netns', name));
      if (inode !== undefined && !names.has(inode)) names.set(inode, name);
    }
    return names;
  }
}

const nothingUnreadable: Unreadable = Object.freeze({ processes: 0, podUids: new Set<string>() });
const instances = new WeakMap<ProcRoot, NetnsInventory>();
const machineClock: InventoryClock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };

/** The one inventory of a root. Ask it with {@link NetnsInventory.fresh}. The clock of the first caller is used. */
export function sharedInventory(root: ProcRoot, clock: InventoryClock = machineClock): NetnsInventory {
  return getOrAdd(instances, root, () => new NetnsInventory(root, clock));
}

function pidOf(name: string): number | undefined {
  const first = name.charCodeAt(0);
  if (first < 0x31 || first > 0x39) return undefined;
  const pid = Number(name);
  return Number.isInteger(pid) ? pid : undefined;
}

function addToGroup(groups: Map<number, Group>, process: CachedProcess): void {
  const group = getOrAdd(groups, process.netns, newGroup);
  group.pids.push(process.pid);
  if (process.podUid !== undefined) group.podUids.add(process.podUid);
  if (process.containerId !== undefined) group.containerIds.add(process.containerId);
}

const newGroup = (): Group => ({ pids: [], podUids: new Set(), containerIds: new Set() });
const newList = (): ProcessInfo[] => [];

interface MapLike<K, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): unknown;
}

function getOrAdd<K, V>(map: MapLike<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
