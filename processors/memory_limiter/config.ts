import { z } from 'zod';
import { bytes, duration } from '../../pipeline/fields.ts';

const percentage = () => z.number().gt(0).lte(100);

export const config = z.strictObject({
  check_interval: duration('1s').describe('Memory is looked at when data arrives, at most this often.'),
  limit: bytes('0').describe('Most resident memory; 0 = limit_percentage of the cgroup limit.'),
  limit_percentage: percentage()
    .default(80)
    .describe('Share of the cgroup memory limit (v1 or v2) the process may use.'),
  heap_percentage: percentage().default(85).describe("Share of JavaScript's own heap limit that may be used."),
});

export type MemoryLimiterConfig = z.output<typeof config>;
