import { defineReceiver } from '../../pipeline/component.ts';
import { type EbpfConfig, ebpfConfig } from './config.ts';
import { diagnose } from './diagnose.ts';
import { accountMetrics } from './metrics.ts';
import { probes } from './probes.ts';
import { EbpfReceiver } from './receiver.ts';

export default defineReceiver<EbpfConfig>({
  type: 'ebpf',
  summary:
    "What does the kernel do to this pod's packets and sockets that no counter tells: drops, resets, retransmits, latencies?",
  stability: 'beta',
  config: ebpfConfig as never,
  metrics: [...Object.values(accountMetrics), ...probes.flatMap((p) => p.metrics)],
  events: probes.flatMap((p) => p.events),
  signals: ['metrics', 'logs'],
  diagnose,
  create: (config, context) => new EbpfReceiver(config, context),
});
