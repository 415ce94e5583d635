import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'pod',
  summary: 'Which workload is this pod of, and which of its labels belong on its data?',
  stability: 'beta',
  config,
  create: createProcessor,
});
