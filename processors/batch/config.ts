import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

const count = () => z.number().int().positive();

export const config = z.strictObject({
  timeout: duration('200ms').describe('Longest time a record waits for others.'),
  send_batch_size: count().default(2048).describe('Records at which a batch is sent without waiting.'),
  send_batch_max_size: count()
    .default(4096)
    .describe('Larger batches are divided; 4096 records keep an encoder below 10 ms.'),
});

export type BatchConfig = z.output<typeof config>;
