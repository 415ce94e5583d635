import { defineProcessor } from '../../pipeline/component.ts';
import { config, type MemoryLimiterConfig } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor<MemoryLimiterConfig>({
  type: 'memory_limiter',
  summary: 'Sheds load before the kernel has to: debug events first, then events, per-flow series, and counters last.',
  stability: 'beta',
  config,
  create: (c, context) => createProcessor(c, context),
});
