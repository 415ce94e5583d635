import type { Observable } from 'rxjs';
import type { PodEntity } from '../../pipeline/batch.ts';

/** How a container ended, where the runtime tells. */
export interface ContainerExit {
  readonly exitCode: number;
  /** `Completed`, `Error`, `OOMKilled`; empty when not told. */
  readonly reason: string;
  /** Unix epoch ns; 0 when not told. */
  readonly finishedAtNs: bigint;
}

/** Whoever knows the pods of this node: a CRI runtime, the Docker engine, or the pod's own environment. */
export interface PodSource {
  /** `containerd`, `cri-o`, `docker`, `sidecar`. Known after the first list. */
  readonly runtime: string;
  /** Where it is asked: a socket path, for messages. */
  readonly endpoint: string;
  /**
   * The complete list. Entities that did not change are the same objects as last time. Rejects when the list could not be had;
   * details of single pods that could not be had are counted and the pods are given with less.
   */
  list(signal: AbortSignal): Promise<readonly PodEntity[]>;
  /** Something changed: list again. Never completes, never errors; an event is a hint and not a fact. */
  readonly wake$: Observable<string>;
  /** How a container of the last list ended; undefined when the runtime does not tell. Does not reject. */
  exitOf(containerId: string): Promise<ContainerExit | undefined>;
  /** Frees connections. Twice is safe. */
  close(): void;
}

/** What a source needs to know of the kernel: all through the proc root, so that tests give a table. */
export interface NamespaceDoor {
  /** Inode of the namespace a process lives in; undefined when it is gone. */
  ofPid(pid: number): number | undefined;
  /** Inode of the namespace that a bind mount holds; undefined when the path is gone or no namespace. */
  ofPath(path: string): number | undefined;
  /** Cookie of the namespace that a bind mount or a process holds, if its inode is still `inode`; undefined when it cannot be told. */
  cookieOf(
    inode: number,
    place: { readonly path: string | undefined; readonly pid: number | undefined },
  ): number | undefined;
  /** Inode of the namespace of the pod's processes by their cgroup; undefined when none is known, or it is the host's. */
  ofPodUid(uid: string): number | undefined;
  /** The node's own namespace; undefined when it may not be looked at. */
  host(): number | undefined;
}
