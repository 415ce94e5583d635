import { closeSync, fstatSync, openSync } from 'node:fs';
import { inNetns } from '../../host/netns/enter.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { hostRoot, isGone } from '../../host/proc-root.ts';

/** The namespace this process lives in: no need to go there. */
const own = (): number | undefined => hostRoot.netnsInode(hostRoot.proc('self/ns/net'));

/**
 * Runs a synchronous function in a namespace of the inventory.
 *
 * @returns undefined when the namespace is gone, or when its path leads to another one by now (a pid was reused): data must never be
 * reported for the wrong pod.
 * @throws SysError EPERM when it may not be entered, and what `run` throws.
 */
export function withNetns<T>(info: NetnsInfo, run: () => T): T | undefined {
  if (info.netns === own()) return run();
  let fd: number;
  try {
    fd = openSync(info.path, 'r');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  try {
    return fstatSync(fd).ino === info.netns ? inNetns(fd, run) : undefined;
  } finally {
    closeSync(fd);
  }
}
