import { netnsCookie } from '../../host/netns/cookie.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import type { NamespaceDoor } from './pod-source.ts';

/** The door to this machine's namespaces. `current` gives the last inventory. */
export function namespaceDoor(root: ProcRoot, current: () => readonly NetnsInfo[]): NamespaceDoor {
  return {
    ofPid: (pid) => quietly(() => root.netnsInode(root.proc(pid, 'ns/net'))),
    ofPath: (path) => {
      for (const candidate of placesOf(root, path)) {
        const inode = quietly(() => root.netnsInode(candidate));
        if (inode !== undefined) return inode;
      }
      return undefined;
    },
    cookieOf: (inode, { path, pid }) => {
      const places = path === undefined ? [] : [...placesOf(root, path)];
      if (pid !== undefined) places.push(root.proc(pid, 'ns/net'));
      const place = places.find((p) => quietly(() => root.netnsInode(p)) === inode);
      return place === undefined ? undefined : netnsCookie(place);
    },
    ofPodUid: (uid) => current().find((n) => !n.host && n.podUids.includes(uid))?.netns,
    host: () => current().find((n) => n.host)?.netns ?? quietly(() => root.netnsInode(root.proc(1, 'ns/net'))),
  };
}

/**
 * Where a path of the host can be seen from here. In a container `/run` may be the container's own; pid 1's root is the host's when
 * the agent runs in the host's pid namespace.
 */
function placesOf(root: ProcRoot, path: string): readonly string[] {
  const run = /^(?:\/var)?\/run\/(.+)$/.exec(path);
  const direct = run?.[1] === undefined ? path : root.run(run[1]);
  return [direct, root.proc(1, `root${path}`)];
}

/** A path that the runtime names may be anything: what may not be read (EACCES, ENAMETOOLONG, ELOOP) is no namespace. */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
