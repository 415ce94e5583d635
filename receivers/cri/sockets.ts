import { statSync } from 'node:fs';

/** A socket that a runtime may serve. */
export interface Candidate {
  readonly kind: 'cri' | 'docker';
  readonly path: string;
}

/** Well-known sockets, in the order in which they are tried; both spellings of /run, since a container may mount only one. */
const wellKnown: readonly Candidate[] = (
  [
    ['cri', 'containerd/containerd.sock'],
    ['cri', 'k3s/containerd/containerd.sock'],
    ['cri', 'k0s/containerd.sock'],
    ['cri', 'crio/crio.sock'],
    ['cri', 'cri-dockerd.sock'],
    ['docker', 'docker.sock'],
  ] as const
).flatMap(([kind, path]) => [
  { kind, path: `/run/${path}` },
  { kind, path: `/var/run/${path}` },
]);

/**
 * Sockets worth asking, in order.
 *
 * @param endpoint what the config names, as path or URL; then only that one is given, there or not.
 * @param kinds what the mode allows.
 * @param isSocket for tests; follows symbolic links, and each socket is given once although /var/run is a link to /run.
 */
export function candidates(
  endpoint: string | undefined,
  kinds: readonly Candidate['kind'][],
  identify: (path: string) => string | undefined = socketIdentity,
): readonly Candidate[] {
  if (endpoint !== undefined) {
    const path = endpoint.replace(/^unix:(\/\/)?/, '');
    const docker = kinds.includes('docker') && (!kinds.includes('cri') || path.endsWith('/docker.sock'));
    return [{ kind: docker ? 'docker' : 'cri', path }];
  }
  const seen = new Set<string>();
  return wellKnown.filter(({ kind, path }) => {
    if (!kinds.includes(kind)) return false;
    const identity = identify(path);
    if (identity === undefined || seen.has(identity)) return false;
    seen.add(identity);
    return true;
  });
}

/** Device and inode of a socket; undefined when there is none. */
function socketIdentity(path: string): string | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat?.isSocket() ? `${stat.dev}:${stat.ino}` : undefined;
  } catch {
    return undefined;
  }
}
