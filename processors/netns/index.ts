import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'netns',
  summary: 'Whose data is this: which pod, container or node does a network namespace belong to?',
  stability: 'beta',
  config,
  create: (c, context) => createProcessor(c, context),
});
