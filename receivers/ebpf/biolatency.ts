import { z } from 'zod';
import * as layout from '../../bpf/gen/biolatency.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { type MutableAttributes, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeContext, type ProbeRun, probeFields } from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'request',
    purpose: 'block requests given to a driver and finished by it',
    required: true,
    choices: [{ programs: ['skl_issue', 'skl_complete'], arguments: 1 }],
  },
];

const config = z.strictObject({
  ...probeFields(),
  threshold: duration('10ms').describe('An event for each request that takes longer.'),
});
type Config = z.output<typeof config>;

const source = 'tracepoints block:block_rq_issue, block_rq_complete';
const deviceAttributes = {
  'system.device': { description: 'Block device.' },
  'disk.io.operation': { description: "Operation by the kernel's name: read, write, flush, discard …" },
} as const;

export const metrics = defineMetrics({
  'skoop.disk.latency': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time from giving a block request to the driver to its end.',
    attributes: deviceAttributes,
    source,
    scope: 'node',
    maxSeries: 64,
    histogram: durationLayout,
  },
});

export const events = defineEvents({
  'skoop.disk.slow': {
    description: 'A block request took longer than the threshold.',
    source,
    attributes: {
      ...deviceAttributes,
      'disk.io.size': { description: 'Bytes of the request.' },
      ...pick(
        'kubeskoop.type',
        'skoop.latency',
        'process.pid',
        'process.executable.name',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
    },
    kubeskoopTypes: ['BIOLAT_10MS'],
  },
});

class BioLatency implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #operations: ReadonlyMap<number, string>;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    // enum req_op since v6.0, enum req_opf before; REQ_OP_READ is 0 in both.
    const names = context.kernel.types.enumNamesWith('REQ_OP_READ') ?? new Map<number, string>();
    this.#operations = new Map([...names].map(([n, name]) => [n, name.replace(/^REQ_OP_/, '').toLowerCase()]));
    this.load = { knobs: { skl_slow_ns: thresholdNs(options.threshold) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  #operation(n: number): string {
    return this.#operations.get(n) ?? String(n);
  }

  decode(view: View, at: number): EventDraft {
    const e = layout.biolatencyEvent.decode(view, at);
    const operation = this.#operation(e.operation);
    const attributes: MutableAttributes = {
      'kubeskoop.type': 'BIOLAT_10MS',
      'system.device': e.disk,
      'disk.io.operation': operation,
      'disk.io.size': e.bytes,
      'skoop.latency': e.latencyNs / 1e9,
      'process.pid': e.pid,
      'process.executable.name': e.comm,
    };
    return {
      event: events['skoop.disk.slow'],
      severity: 13,
      body: `${e.comm} waited ${(e.latencyNs / 1e6).toFixed(3)} ms for ${e.disk} to ${operation} ${e.bytes} bytes.`,
      attributes,
      measuredBy: metrics['skoop.disk.latency'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_latency');
    if (map) out.histograms(map, layout.sklBioKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklBioKey): Series {
    const id = `${key.operation}/${key.disk}`;
    return this.#series.of(id, () =>
      out.series(metrics['skoop.disk.latency'], {
        'system.device': key.disk,
        'disk.io.operation': this.#operation(key.operation),
      }),
    );
  }
}

export default defineProbe<Config>({
  name: 'biolatency',
  summary: 'Is it the disk, and not the network?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['slow'],
  records: [layout.biolatencyEvent],
  create: (options, context) => new BioLatency(options, context),
});
