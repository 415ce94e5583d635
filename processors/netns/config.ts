import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  tombstone: duration('60s').describe('How long a gone pod keeps its name for events that come late.'),
  wait: duration('2s').describe(
    'How long events and collections with a namespace that nobody has named yet are held back; 0s = not at all.',
  ),
  max_waiting: z
    .number()
    .int()
    .nonnegative()
    .default(4096)
    .describe('Events held back at most; the rest goes on unnamed.'),
  unknown_netns: z
    .enum(['emit', 'drop'])
    .default('emit')
    .describe(
      'Metrics of a namespace that is no pod: emit with what the kernel knows of it (inode, name, process), or drop.',
    ),
});

export type NetnsConfig = z.output<typeof config>;
