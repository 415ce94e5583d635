import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'symbolize',
  summary: 'Which kernel functions were these addresses?',
  stability: 'beta',
  config,
  create: (c, context) => createProcessor(c, context),
});
