import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  min_series: z
    .number()
    .int()
    .positive()
    .default(50)
    .describe('Series of a metric that every pod (or node) may have, however few the catalogue declares.'),
  budgets: z
    .record(z.string(), z.number().int().positive())
    .default({})
    .describe('Series of a metric for each pod (or node), by metric name, instead of what the catalogue declares.'),
  max_series: z
    .number()
    .int()
    .positive()
    .default(50_000)
    .describe('Series of one metric over all pods; above it the budget of each pod shrinks to its even share.'),
  idle: duration('5m').describe('A series whose value did not change for this long makes room for a new one.'),
});

export type LimitSeriesConfig = z.output<typeof config>;
