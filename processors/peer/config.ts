import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  events: z.boolean().default(true).describe('Name the far end on events.'),
  by: z
    .enum(['address', 'workload', 'off'])
    .default('address')
    .describe(
      'What tells peers apart on metrics: address (each series gets the names of its address), workload (counters of one workload are summed and lose their addresses and ports), off (metrics pass as they are).',
    ),
  local: z
    .boolean()
    .default(false)
    .describe(
      "Name the near end of metrics too, as skoop.local.*: KubeSkoop's flow labels have both. by: workload does so anyhow, by workload.",
    ),
  zone: z
    .boolean()
    .default(true)
    .describe('Put the zone of the peer on its data: a workload in three zones makes three series.'),
  tombstone: duration('10m').describe(
    'How long an address that is nobody’s any more keeps its last name. Longer than ebpf.probes.flow.idle_timeout, or series change their name on their way out.',
  ),
  max_pairs: z
    .number()
    .int()
    .min(2)
    .default(1000)
    .describe('by: workload: series of one metric and owner at most; the rest is summed in the overflow series.'),
  idle: duration('10m').describe(
    'by: workload: a pair without a flow and without traffic for this long joins the overflow series.',
  ),
});

export type PeerConfig = z.output<typeof config>;
