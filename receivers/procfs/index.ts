import { defineReceiver } from '../../pipeline/component.ts';
import { check, config } from './config.ts';
import { diagnose } from './diagnose.ts';
import { metrics } from './metrics.ts';
import { ProcfsReceiver, rootOf } from './receiver.ts';

export default defineReceiver({
  type: 'procfs',
  summary:
    'How much, how often, how full: the counters of every network namespace, pod and the node, from /proc and sock_diag.',
  stability: 'beta',
  config,
  check,
  metrics,
  signals: ['metrics', 'entities'],
  diagnose: (parsed, context) => diagnose(rootOf(parsed.root_path), context),
  create: (parsed, context) => new ProcfsReceiver(parsed, context),
});
