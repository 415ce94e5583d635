import { defineReceiver } from '../../pipeline/component.ts';
import { check, config } from './config.ts';
import { metrics } from './metrics.ts';
import { ProcfsReceiver } from './receiver.ts';

export default defineReceiver({
  type: 'procfs',
  summary:
    'How much, how often, how full: the counters of every network namespace, pod and the node, from /proc and sock_diag.',
  stability: 'beta',
  config,
  check,
  metrics,
  signals: ['metrics', 'entities'],
  create: (parsed, context) => new ProcfsReceiver(parsed, context),
});
