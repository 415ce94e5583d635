import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'limit_series',
  summary: 'Does any metric of any pod grow beyond its budget of series?',
  stability: 'beta',
  config,
  create: createProcessor,
});
