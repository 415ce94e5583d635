import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'peer',
  summary: 'Who is at the other end of this connection?',
  stability: 'beta',
  config,
  create: createProcessor,
});
