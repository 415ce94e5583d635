import { z } from 'zod';

export const config = z.strictObject({
  format: z.enum(['line', 'json']).default('line').describe('How an event is written: one line of key=value, or JSON.'),
  timestamp: z
    .boolean()
    .default(false)
    .describe('Put time=… before each line; most log collectors stamp lines themselves.'),
  verbosity: z
    .enum(['basic', 'normal', 'detailed'])
    .default('normal')
    .describe(
      'basic: one summary line a batch; normal: every event; detailed: every event with its body and resource.',
    ),
  metrics: z
    .enum(['none', 'summary', 'full'])
    .default('none')
    .describe('Metrics: not written, one line a collection, or one line a series.'),
});

export type Config = z.output<typeof config>;
