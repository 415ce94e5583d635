import { defineReceiver } from '../../pipeline/component.ts';
import { checkConfig, config } from './config.ts';
import { createReceiver } from './receiver.ts';

export default defineReceiver({
  type: 'k8s',
  summary: 'Whose are the addresses at the far end: which pods, services and nodes of the cluster?',
  stability: 'beta',
  config,
  check: checkConfig,
  signals: ['entities'],
  create: createReceiver,
});
