import { defineProcessor } from '../../pipeline/component.ts';
import { type BatchConfig, config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor<BatchConfig>({
  type: 'batch',
  summary: 'Makes few batches of events out of many small ones, so that requests are worth their cost.',
  stability: 'beta',
  config,
  check: (c) =>
    c.send_batch_max_size < c.send_batch_size
      ? [{ path: ['send_batch_max_size'], message: 'expected at least send_batch_size' }]
      : [],
  create: createProcessor,
});
