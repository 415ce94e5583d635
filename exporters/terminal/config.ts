import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z
  .strictObject({
    mode: z
      .enum(['auto', 'screen', 'plain'])
      .default('auto')
      .describe(
        'screen: the whole terminal, with keys; plain: a table an interval; auto: screen where there is a terminal.',
      ),
    format: z
      .enum(['table', 'json'])
      .default('table')
      .describe('What plain prints: tables, or one JSON object a line.'),
    interval: duration('2s').describe(
      'Time between two tables, and the step of the histories. Best as long as the collection_interval of the receivers.',
    ),
    count: z
      .number()
      .int()
      .nonnegative()
      .default(0)
      .describe('Tables to print before asking the agent to stop; 0 = no end.'),
    pods: z.number().int().positive().default(20).describe('Pods in a table, most trouble first. The screen has all.'),
  })
  .describe('A view of the node in a terminal.');

export type Config = z.output<typeof config>;
