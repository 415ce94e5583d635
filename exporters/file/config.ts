import { z } from 'zod';
import { bytes, duration } from '../../pipeline/fields.ts';
import { queueFields } from '../../pipeline/queue/config.ts';

export const config = z.strictObject({
  path: z.string().min(1).describe('File to append to. Its folder is made when it does not exist.'),
  format: z
    .enum(['line', 'json', 'otlp_json'])
    .default('line')
    .describe('One line of key=value an event, one JSON object an event, or one OTLP request a batch as JSON.'),
  timestamp: z.boolean().default(true).describe('Put time=… before each line (format: line).'),
  rotation: z
    .strictObject({
      max_size: bytes('100MiB').describe('Begin a new file before this one grows larger; 0 = never.'),
      interval: duration('0').describe('Begin a new file when this one is so old; 0 = never.'),
      max_backups: z.number().int().nonnegative().default(5).describe('Old files that are kept; 0 = all.'),
      max_age: duration('0').describe('Old files are removed after this time; 0 = never.'),
    })
    .prefault({}),
  fsync: z
    .enum(['none', 'batch'])
    .default('none')
    .describe(
      'none: written data survives the death of the agent; batch: the death of the machine too, at the cost of a disk flush a batch.',
    ),
  file_mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, { error: 'expected an octal mode such as 0640' })
    .default('0640')
    .describe('Permissions of new files.'),
  ...queueFields,
});

export type Config = z.output<typeof config>;
