import { defineProcessor } from '../../pipeline/component.ts';
import { config } from './config.ts';
import { badPatterns } from './pattern.ts';
import { createProcessor } from './processor.ts';

export default defineProcessor({
  type: 'filter',
  summary: 'Which metrics, events, namespaces and pods are worth sending on?',
  stability: 'beta',
  config,
  check: (c) => [
    ...badPatterns(c.metrics, ['metrics']),
    ...badPatterns(c.events, ['events']),
    ...badPatterns(c.namespaces, ['namespaces']),
    ...badPatterns(c.pods, ['pods']),
    ...Object.entries(c.attributes).flatMap(([key, rules]) => badPatterns(rules, ['attributes', key])),
  ],
  create: createProcessor,
});
