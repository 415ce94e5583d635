import type { NetnsInfo } from './inventory.ts';

/** A namespace as the owner of data. */
export function netnsOwner({ netns, cookie }: Pick<NetnsInfo, 'netns' | 'cookie'>) {
  return { netns, ...(cookie !== undefined && { netnsCookie: cookie }) };
}

/** A namespace as receivers tell of it. */
export function netnsEntity(info: NetnsInfo) {
  const { host, pid, comm, name, podUids, containerIds, firstSeenMs } = info;
  return Object.freeze({
    kind: 'netns' as const,
    ...netnsOwner(info),
    host,
    ...(pid !== undefined && { pid }),
    ...(comm !== undefined && { comm }),
    ...(name !== undefined && { name }),
    podUids,
    containerIds,
    firstSeenMs,
  });
}
