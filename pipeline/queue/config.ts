import { z } from 'zod';
import { bytes, duration } from '../fields.ts';

/**
 * The two config sections every push exporter has, named as in the OpenTelemetry Collector's exporterhelper. An exporter spreads
 * `queueFields` into its strictObject and passes them on by `queue: (config) => config`.
 */
export const queueFields = {
  sending_queue: z
    .strictObject({
      storage: z.enum(['memory', 'disk']).default('memory').describe('Where batches wait; disk survives kill -9.'),
      directory: z.string().optional().describe('Folder of the queue file; needed for storage: disk.'),
      fsync: z
        .enum(['checkpoint', 'always'])
        .default('checkpoint')
        .describe('Disk only. Both survive kill -9; always also survives power loss, for a disk sync with each group.'),
      queue_size: z.number().int().positive().default(1_000_000).describe('Bound in items (data points, log records).'),
      queue_bytes: bytes('64MiB').describe('Bound in bytes, estimated for memory, real for disk.'),
      num_consumers: z.number().int().positive().default(4).describe('Requests in flight at once.'),
      high_water: z.number().gt(0).lte(1).default(0.8).describe('Fill above which receivers that can pause, do.'),
    })
    .prefault({}),
  retry_on_failure: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Try again what the backend may take later.'),
      initial_interval: duration('1s').describe('First wait; doubles with each try, with jitter.'),
      max_interval: duration('30s').describe('Longest wait between two tries.'),
      max_elapsed_time: duration('0').describe('Give a batch up after this time; 0 = never, the queue bounds decide.'),
      max_tries: z
        .number()
        .int()
        .nonnegative()
        .default(10)
        .describe('Set a batch aside that failed so often while the backend took others; 0 = never.'),
    })
    .prefault({}),
};

/** The parsed form of {@link queueFields}. Durations in ms, sizes in bytes. */
export type QueueConfig = z.output<z.ZodObject<typeof queueFields>>;

/** Rules across these keys, for an exporter's `check`. */
export function checkQueue({ sending_queue }: QueueConfig): { path: readonly string[]; message: string }[] {
  if (sending_queue.storage === 'memory' || sending_queue.directory !== undefined) return [];
  return [{ path: ['sending_queue', 'directory'], message: 'storage: disk needs a directory' }];
}
