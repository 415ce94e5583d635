import { defineReceiver } from '../../pipeline/component.ts';
import { checkConfig, config } from './config.ts';
import { events, metrics } from './metrics.ts';
import { createReceiver } from './receiver.ts';

export default defineReceiver({
  type: 'cri',
  summary: 'Which pods and containers run on this node, and which network namespace is whose?',
  stability: 'beta',
  config,
  check: checkConfig,
  metrics: Object.values(metrics),
  events: Object.values(events),
  signals: ['entities', 'metrics', 'logs'],
  create: createReceiver,
});
