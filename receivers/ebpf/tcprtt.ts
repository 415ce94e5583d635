import { z } from 'zod';
import * as layout from '../../bpf/gen/tcprtt.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { networkType, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type ProbeRun, probeFields } from './probe.ts';
import { SeriesMemo } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'segment',
    purpose: 'segments received on established connections',
    required: true,
    choices: [
      { programs: ['skl_segment'], arguments: 2 },
      { programs: ['skl_segment_raw'], arguments: 2, note: 'Raw tracepoint: the same, without checked types.' },
    ],
  },
];

/** Powers of two: the kernel half takes a random number's low bits. */
const samples = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const;

const config = z.strictObject({
  ...probeFields({ events: false }),
  sample: z
    .literal(samples)
    .default(8)
    .describe('Looks at one of so many received segments, by chance: 1, 2, 4 … 256.'),
});
type Config = z.output<typeof config>;

export const metrics = defineMetrics({
  'skoop.tcp.rtt': {
    instrument: 'histogram',
    unit: 's',
    description: 'Smoothed round-trip time of established connections, sampled as segments arrive.',
    attributes: pick('network.type'),
    source: 'tracepoint tcp:tcp_probe, srtt_us of the socket',
    scope: 'netns',
    maxSeries: 2,
    histogram: durationLayout,
  },
});

class TcpRtt implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #series = new SeriesMemo<number>();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    this.load = { knobs: { skl_sample_log2: Math.log2(options.sample) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_rtt');
    if (map) out.histograms(map, layout.sklRttKey, (key) => this.#seriesOf(out, key.family));
  }

  #seriesOf(out: Collection, family: number): Series {
    return this.#series.of(family, () => {
      const type = networkType(family);
      return out.series(metrics['skoop.tcp.rtt'], type === undefined ? {} : { 'network.type': type });
    });
  }
}

export default defineProbe<Config>({
  name: 'tcprtt',
  summary: 'How far away are the peers, and did that change?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: [],
  eventTypes: [],
  records: [],
  create: (options) => new TcpRtt(options),
});
