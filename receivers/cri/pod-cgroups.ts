import { unifiedCgroupPath } from '../../host/netns/cgroup-path.ts';
import type { ProcessInfo } from '../../host/netns/inventory.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import type { CgroupRef, PodEntity } from '../../pipeline/batch.ts';

interface Known {
  readonly starttime: number;
  readonly id: number;
}

/**
 * cgroup v2 ids of hostNetwork pods: the network namespace of such a pod is the node's, and what the kernel keeps with each of its
 * sockets is the cgroup. The id is the inode of the cgroup's directory (kernfs, since 5.5 the same number that BPF sees).
 *
 * A pod costs one read and one stat for each of its processes, once.
 */
export class PodCgroups {
  readonly #root: ProcRoot;
  readonly #mount: string | undefined;
  #processes = new Map<number, Known>();
  #pods = new Map<string, PodEntity>();

  constructor(root: ProcRoot) {
    this.#root = root;
    // Version 2 alone, and the hybrid layout of systemd. Only a version 2 hierarchy has this file.
    const places = [root.sys('fs/cgroup'), root.sys('fs/cgroup/unified')];
    this.#mount = places.find((p) => root.statInode(`${p}/cgroup.controllers`) !== undefined);
  }

  /** The list with cgroups on its hostNetwork pods; the same entity objects while nothing changed. */
  complete(pods: readonly PodEntity[], processes: ReadonlyMap<string, readonly ProcessInfo[]>): readonly PodEntity[] {
    if (this.#mount === undefined || !pods.some((p) => p.hostNetwork)) return pods;
    const known = this.#processes;
    const before = this.#pods;
    this.#processes = new Map();
    this.#pods = new Map();
    return Object.freeze(
      pods.map((pod) => {
        if (!pod.hostNetwork) return pod;
        const cgroups = this.#cgroupsOf(processes.get(pod.uid) ?? [], known);
        const earlier = before.get(pod.sandboxId);
        const complete =
          earlier !== undefined && isSame(earlier, pod, cgroups) ? earlier : Object.freeze({ ...pod, cgroups });
        this.#pods.set(pod.sandboxId, complete);
        origins.set(complete, pod);
        return complete;
      }),
    );
  }

  #cgroupsOf(processes: readonly ProcessInfo[], known: ReadonlyMap<number, Known>): readonly CgroupRef[] {
    const refs = new Map<number, CgroupRef>();
    for (const { pid, starttime, containerId } of processes) {
      const before = known.get(pid);
      const id = before?.starttime === starttime ? before.id : this.#idOf(pid);
      if (id === undefined) continue;
      this.#processes.set(pid, { starttime, id });
      refs.set(id, Object.freeze({ id, ...(containerId !== undefined && { containerId }) }));
    }
    return Object.freeze([...refs.values()].sort((a, b) => a.id - b.id));
  }

  /** Undefined when the process is gone, or its cgroup is outside of what this cgroup namespace shows (`/..`). */
  #idOf(pid: number): number | undefined {
    const path = unifiedCgroupPath(this.#root.tryReadText(this.#root.proc(pid, 'cgroup')) ?? '');
    if (path === undefined || path.startsWith('/..')) return undefined;
    return this.#root.statInode(`${this.#mount}${path}`);
  }
}

/** The runtime's entity that a completed one was made of. */
const origins = new WeakMap<PodEntity, PodEntity>();

function isSame(complete: PodEntity, pod: PodEntity, cgroups: readonly CgroupRef[]): boolean {
  const before = complete.cgroups ?? [];
  return (
    origins.get(complete) === pod &&
    before.length === cgroups.length &&
    cgroups.every((c, i) => c.id === before[i]?.id && c.containerId === before[i]?.containerId)
  );
}
