import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import type { MemoryLimiterConfig } from './config.ts';

/** Bytes in use and bytes there are, as the process sees them. */
export interface MemoryReading {
  readonly rss: number;
  readonly heapUsed: number;
  readonly heapLimit: number;
  /** The cgroup's limit, v1 or v2; undefined where there is none. */
  readonly cgroupLimit: number | undefined;
}

export function readMemory(): MemoryReading {
  // libuv reads memory.max or memory.limit_in_bytes of the process's own cgroup; "no limit" is 0 or a number beyond all memory.
  const constrained = process.constrainedMemory();
  const heap = getHeapStatistics();
  return {
    rss: process.memoryUsage.rss(),
    heapUsed: heap.used_heap_size,
    heapLimit: heap.heap_size_limit,
    cgroupLimit: constrained > 0 && constrained < totalmem() ? constrained : undefined,
  };
}

/** How full the tightest of the limits is: 1 = at it. */
export function fillOf(m: MemoryReading, config: MemoryLimiterConfig): number {
  const heap = m.heapUsed / ((m.heapLimit * config.heap_percentage) / 100);
  const own = config.limit > 0 ? config.limit : undefined;
  const cgroup = m.cgroupLimit === undefined ? undefined : (m.cgroupLimit * config.limit_percentage) / 100;
  const limit = own ?? cgroup;
  return limit === undefined ? heap : Math.max(heap, m.rss / limit);
}
