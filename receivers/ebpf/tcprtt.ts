import { z } from 'zod';
import * as layout from '../../bpf/gen/tcprtt.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { networkType, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type ProbeRun, probeFields } from './probe.ts';
import { SeriesMemo } from './series-memo.ts';

const raw = 'Raw tracepoint: the same, without checked types.';
const hooks: readonly HookSpec[] = [
  {
    name: 'end',
    purpose: 'connections that end (sample: 0)',
    required: true,
    choices: [
      { programs: ['skl_end'], arguments: 1, manual: true },
      { programs: ['skl_end_raw'], arguments: 1, manual: true, note: raw },
    ],
  },
  {
    name: 'segment',
    purpose: 'segments received on established connections (sample: 1 and more)',
    required: true,
    choices: [
      { programs: ['skl_segment'], arguments: 2, manual: true },
      { programs: ['skl_segment_raw'], arguments: 2, manual: true, note: raw },
    ],
  },
];

/** 0 = connections; else powers of two: the kernel half takes a random number's low bits. */
const samples = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256] as const;

const config = z.strictObject({
  ...probeFields({ events: false }),
  sample: z
    .literal(samples)
    .default(0)
    .describe(
      '0: looks at each connection once, when it ends. 1, 2, 4 … 256: at one of so many received segments, by chance, at some 50 ns for each segment received.',
    ),
});
type Config = z.output<typeof config>;

export const metrics = defineMetrics({
  'skoop.tcp.rtt': {
    instrument: 'histogram',
    unit: 's',
    description: 'Smoothed round-trip time of connections: the last of each that ended, or sampled as segments arrive.',
    attributes: pick('network.type'),
    source: 'tracepoint tcp:tcp_destroy_sock or tcp:tcp_probe, srtt_us of the socket',
    scope: 'netns',
    maxSeries: 2,
    histogram: durationLayout,
  },
});

class TcpRtt implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #series = new SeriesMemo<number>();
  readonly #hook: 'end' | 'segment';
  #loaded: LoadedProbe | undefined;

  constructor({ sample }: Config) {
    this.#hook = sample === 0 ? 'end' : 'segment';
    this.load = { knobs: { skl_sample_log2: sample === 0 ? 0 : Math.log2(sample) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    const hook = loaded.hooks.find((h) => h.hook === this.#hook);
    for (const name of hook?.programs ?? []) loaded.keep(loaded.program(name).attach());
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
