import { cgroupPathOf, parseCgroupPath, unifiedCgroupPath } from '../../host/netns/cgroup-path.ts';
import type { NetnsInfo, ProcessInfo } from '../../host/netns/inventory.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import type { Owner } from '../../pipeline/batch.ts';

/**
 * Pods as groups of processes, by their cgroups: hostNetwork pods share a network namespace and still are told apart. The node itself is the group
 * of all processes outside of pods.
 */
export interface ProcessGroup {
  /** Pod UID, or '' for the node. */
  readonly key: string;
  /** Undefined for the node. */
  readonly owner: Owner | undefined;
  readonly processes: readonly Process[];
}

export interface Process {
  readonly pid: number;
  /** Clock ticks since boot; undefined where nobody looked (processes outside of pods). */
  readonly starttime?: number;
  /** Container it is in, where its cgroup says. */
  readonly containerId?: string;
  /** True: it has no descriptors. */
  readonly kernelThread?: boolean;
}

/**
 * All groups of the last scan: pods in the order the kernel shows them, then the node.
 *
 * @param processOf what the scan knows of a process.
 */
export function processGroups(
  pods: ReadonlyMap<string, readonly ProcessInfo[]>,
  namespaces: readonly NetnsInfo[],
  processOf: (pid: number) => Process | undefined,
): ProcessGroup[] {
  const host = namespaces.find((n) => n.host)?.netns;
  const inPods = new Set<number>();
  const groups: ProcessGroup[] = [];
  for (const [uid, processes] of pods) {
    for (const p of processes) inPods.add(p.pid);
    groups.push({ key: uid, owner: podOwner(uid, processes, host), processes });
  }
  const others = namespaces.flatMap((n) => n.pids.filter((pid) => !inPods.has(pid)));
  if (others.length > 0)
    groups.push({ key: '', owner: undefined, processes: others.map((pid) => processOf(pid) ?? { pid }) });
  return groups;
}

/** With the pod's own network namespace, where it has one: a second way to its name. */
function podOwner(podUid: string, processes: readonly ProcessInfo[], host: number | undefined): Owner {
  const netns = processes[0]?.netns;
  const own = netns !== undefined && netns !== host && processes.every((p) => p.netns === netns);
  return own ? { netns, podUid } : { podUid };
}

/** Directories of a pod's cgroup. */
export interface PodCgroup {
  /** In the v2 hierarchy. */
  readonly unified?: string;
  /** v1 directories by controller. */
  readonly cpu?: string;
  readonly cpuacct?: string;
}

/** Where the cgroup file systems are mounted, as systemd does: v2 alone, v1 alone, or v1 with v2 in `unified`. */
export class Cgroups {
  readonly #root: ProcRoot;
  readonly #unified: string | undefined;
  readonly #cache = new Map<string, PodCgroup>();
  readonly #children = new Map<string, { readonly containers: string; readonly children: readonly string[] }>();

  constructor(root: ProcRoot) {
    this.#root = root;
    const places = [root.sys('fs/cgroup'), root.sys('fs/cgroup/unified')];
    this.#unified = places.find((p) => root.statInode(`${p}/cgroup.controllers`) !== undefined);
  }

  /** Directories of a pod, by the cgroup of one of its processes. Undefined when none of them lives any more. */
  of(group: ProcessGroup): PodCgroup | undefined {
    let known = this.#cache.get(group.key);
    if (known === undefined) {
      for (const { pid } of group.processes) {
        const text = this.#root.tryReadText(this.#root.proc(pid, 'cgroup'), 'record');
        if (text === undefined) continue;
        known = this.#resolve(text, group.key);
        this.#cache.set(group.key, known);
        break;
      }
    }
    return known;
  }

  /** Names of the cgroups in a pod's own: its containers'. Listed again when its processes are in other containers than before. */
  children(group: ProcessGroup, directory: string): readonly string[] {
    const containers = [...new Set(group.processes.map((p) => p.containerId))].sort().join();
    let known = this.#children.get(group.key);
    if (known?.containers !== containers) {
      const names = this.#root.list(directory);
      // `ID`, `cri-containerd-ID.scope`, `crio-ID.scope`, `docker-ID.scope`: all else are the kernel's files.
      const children = names.filter((name) => /[0-9a-f]{64}/.test(name));
      known = { containers, children };
      this.#children.set(group.key, known);
    }
    return known.children;
  }

  /** Forgets pods that are gone. */
  keep(alive: ReadonlySet<string>): void {
    for (const map of [this.#cache, this.#children]) {
      for (const key of map.keys()) if (!alive.has(key)) map.delete(key);
    }
  }

  #resolve(text: string, podUid: string): PodCgroup {
    const unified = podDirectory(unifiedCgroupPath(text), podUid);
    const v1 = (controller: string) => {
      const path = podDirectory(cgroupPathOf(text, controller), podUid);
      return path === undefined ? undefined : `${this.#root.sys('fs/cgroup')}/${controller}${path}`;
    };
    const cpu = v1('cpu');
    const cpuacct = v1('cpuacct');
    return {
      ...(unified !== undefined && this.#unified !== undefined && { unified: this.#unified + unified }),
      ...(cpu !== undefined && { cpu }),
      ...(cpuacct !== undefined && { cpuacct }),
    };
  }
}

/** A container's cgroup path, cut behind the part that names the pod. Undefined when none does, or it leads out of this cgroup namespace. */
export function podDirectory(path: string | undefined, podUid: string): string | undefined {
  if (path === undefined || path.startsWith('/..')) return undefined;
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const prefix = end < 0 ? path : path.slice(0, end);
    if (parseCgroupPath(prefix).podUid === podUid) return prefix;
    if (end < 0) return undefined;
  }
}
