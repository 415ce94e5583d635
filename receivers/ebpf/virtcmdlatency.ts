import { z } from 'zod';
import * as layout from '../../bpf/gen/virtcmdlatency.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { type MutableAttributes, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields } from './probe.ts';
import { thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'command',
    purpose: 'commands of the virtio network driver',
    required: true,
    choices: [
      {
        programs: ['skl_command', 'skl_answer'],
        targets: ['virtnet_send_command_reply', 'virtnet_send_command'],
        note: 'The kernel has no tracepoint here.',
      },
    ],
  },
];

const config = z.strictObject({
  ...probeFields(),
  threshold: duration('10ms').describe('An event for each command that takes longer.'),
  severe: duration('100ms').describe('From here on the event is of the type _100MS and an error.'),
});
type Config = z.output<typeof config>;

const source = 'kprobe virtnet_send_command';

export const metrics = defineMetrics({
  'skoop.virtio.command.duration': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time the hypervisor took to answer a command of the virtio network driver.',
    source,
    scope: 'node',
    maxSeries: 1,
    histogram: durationLayout,
    kubeskoop: [
      { name: 'kubeskoop_virtcmdlatency_latency', type: 'gauge', above: 0.01 },
      { name: 'kubeskoop_virtcmdlatency_latency100ms', type: 'gauge', above: 0.1 },
    ],
  },
});

export const events = defineEvents({
  'skoop.virtio.command.slow': {
    description: 'The hypervisor took longer than the threshold to answer a command of the virtio network driver.',
    source,
    attributes: pick(
      'kubeskoop.type',
      'skoop.latency',
      'cpu.logical_number',
      'process.pid',
      'process.executable.name',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
    kubeskoopTypes: ['VIRTCMDEXCUTE', 'VIRTCMDEXCUTE_100MS'],
  },
});

class VirtCmdLatency implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #severeMs: number;
  #series: Series | undefined;
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    this.#severeMs = options.severe;
    this.load = { knobs: { skl_slow_ns: thresholdNs(options.threshold) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number): EventDraft {
    const e = layout.virtcmdlatencyEvent.decode(view, at);
    const severe = e.latencyNs >= this.#severeMs * 1e6;
    const attributes: MutableAttributes = {
      'kubeskoop.type': severe ? 'VIRTCMDEXCUTE_100MS' : 'VIRTCMDEXCUTE',
      'skoop.latency': e.latencyNs / 1e9,
      'cpu.logical_number': e.cpu,
      'process.pid': e.pid,
      'process.executable.name': e.comm,
    };
    return {
      event: events['skoop.virtio.command.slow'],
      severity: severe ? 17 : 13,
      body: `A virtio network command of ${e.comm} took ${(e.latencyNs / 1e6).toFixed(3)} ms on CPU ${e.cpu}.`,
      attributes,
      measuredBy: metrics['skoop.virtio.command.duration'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_latency');
    if (!map) return;
    this.#series ??= out.series(metrics['skoop.virtio.command.duration'], {});
    const series = this.#series;
    out.histograms(map, layout.sklCommandKey, () => series);
  }
}

export default defineProbe<Config>({
  name: 'virtcmdlatency',
  summary: 'Does the hypervisor take its time to answer the network driver?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['slow'],
  records: [layout.virtcmdlatencyEvent],
  create: (options) => new VirtCmdLatency(options),
});
