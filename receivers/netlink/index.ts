import { hostRoot } from '../../host/proc-root.ts';
import { defineReceiver } from '../../pipeline/component.ts';
import { checkConfig, config } from './config.ts';
import { diagnose } from './diagnose.ts';
import { events, metrics } from './metrics.ts';
import { createReceiver } from './receiver.ts';

export default defineReceiver({
  type: 'netlink',
  summary:
    'What do the kernel’s tables say: is conntrack full, does a queue drop, which connections are slow, who does not answer ARP?',
  stability: 'beta',
  signals: ['metrics', 'logs'],
  config,
  check: checkConfig,
  metrics,
  events,
  diagnose: () => diagnose(hostRoot),
  create: (c, context) => createReceiver(c, context),
});
