import { z } from 'zod';
import * as layout from '../../bpf/gen/softirq.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import type { KernelTypes } from '../../host/symbols/kernel-types.ts';
import { defineEvents, defineMetrics, type KubeskoopName } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { type MutableAttributes, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import {
  defineProbe,
  type EventDraft,
  type ProbeContext,
  type ProbeRun,
  probeFields,
  type RecordHead,
} from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'softirq',
    purpose: 'the raising, beginning and end of soft interrupts',
    required: true,
    choices: [
      { programs: ['skl_raise', 'skl_entry', 'skl_exit'], arguments: 1 },
      {
        programs: ['skl_raise_raw', 'skl_entry_raw', 'skl_exit_raw'],
        arguments: 1,
        note: 'Raw tracepoints: the same, without checked types.',
      },
    ],
  },
];

/** KubeSkoop's names of the vectors: the kernel's in lower case without `_SOFTIRQ`. */
const vectorNames = [
  'hi',
  'timer',
  'net_tx',
  'net_rx',
  'block',
  'irq_poll',
  'tasklet',
  'sched',
  'hrtimer',
  'rcu',
] as const;

const config = z.strictObject({
  // Three programs in each run of net_rx: some 2 % of a request over veth, more than a default may cost.
  ...probeFields({ enabled: false }),
  types: z
    .array(z.enum(vectorNames))
    .nonempty()
    .default(['net_rx', 'net_tx'])
    .describe('Soft interrupts that are watched (KubeSkoop: softirq-types).'),
  threshold: duration('10ms').describe('An event for each wait or run that takes longer.'),
  severe: duration('100ms').describe('From here on the event is of the type _100MS and an error.'),
  enable_stack: z.boolean().default(false).describe('Attach the kernel stack to each event.'),
});
type Config = z.output<typeof config>;

const phases = ['schedule', 'execute'] as const;
const softirqAttributes = {
  'skoop.softirq.type': { description: 'Soft interrupt vector.', values: vectorNames },
  'skoop.softirq.phase': {
    description: 'Waiting for the CPU after it was raised, or at work on it.',
    values: phases,
  },
} as const;

function kubeskoopNames(phase: (typeof phases)[number], stem: string): KubeskoopName[] {
  const common = { where: { 'skoop.softirq.phase': phase }, labels: { 'skoop.softirq.type': 'softirq_type' } };
  return [
    { ...common, name: `kubeskoop_softirq_${stem}slow`, type: 'counter', above: 0.01 },
    { ...common, name: `kubeskoop_softirq_${stem}slow100ms`, type: 'counter', above: 0.1 },
  ];
}

export const metrics = defineMetrics({
  'skoop.softirq.duration': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time soft interrupts waited for their CPU, and time they held it.',
    attributes: softirqAttributes,
    source: 'tracepoints irq:softirq_raise, softirq_entry, softirq_exit',
    scope: 'node',
    maxSeries: 20,
    histogram: durationLayout,
    // "excute" is how KubeSkoop spells it.
    kubeskoop: [...kubeskoopNames('schedule', 'sched'), ...kubeskoopNames('execute', 'excute')],
  },
});

const eventTypes = [
  'SOFTIRQ_SCHED_SLOW',
  'SOFTIRQ_SCHED_100MS',
  'SOFTIRQ_EXCUTE_SLOW',
  'SOFTIRQ_EXCUTE_100MS',
] as const;

export const events = defineEvents({
  'skoop.softirq.slow': {
    description: 'A soft interrupt waited for its CPU or held it for longer than the threshold.',
    source: 'tracepoints irq:softirq_raise, softirq_entry, softirq_exit',
    attributes: {
      ...softirqAttributes,
      ...pick(
        'kubeskoop.type',
        'skoop.latency',
        'cpu.logical_number',
        'process.pid',
        'process.executable.name',
        'skoop.stack',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
    },
    kubeskoopTypes: eventTypes,
  },
});

/** Number → `net_rx`, from the running kernel (the enum of include/linux/interrupt.h has no name). */
function vectorsOf(types: KernelTypes): ReadonlyMap<number, string> {
  const names = types.enumNamesWith('NET_RX_SOFTIRQ') ?? new Map<number, string>();
  return new Map([...names].map(([n, name]) => [n, name.replace(/_SOFTIRQ$/, '').toLowerCase()]));
}

class SoftIrq implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #vectors: ReadonlyMap<number, string>;
  readonly #severeMs: number;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    this.#vectors = vectorsOf(context.kernel.types);
    this.#severeMs = options.severe;
    let mask = 0;
    for (const [n, name] of this.#vectors) if ((options.types as readonly string[]).includes(name)) mask |= 1 << n;
    this.load = {
      knobs: {
        skl_vectors: mask >>> 0,
        skl_slow_ns: thresholdNs(options.threshold),
        skl_stack_on: options.enable_stack ? 1 : 0,
      },
    };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, length: number, head: RecordHead): EventDraft {
    const full = length >= layout.softirqStackEvent.size ? layout.softirqStackEvent.decode(view, at) : undefined;
    const e = full?.event ?? layout.softirqEvent.decode(view, at);
    const type = this.#vectors.get(e.vector) ?? String(e.vector);
    const severe = e.latencyNs >= this.#severeMs * 1e6;
    const phase = phases[head.type] ?? 'execute';
    const attributes: MutableAttributes = {
      'kubeskoop.type': eventTypes[head.type * 2 + (severe ? 1 : 0)] ?? 'SOFTIRQ_EXCUTE_SLOW',
      'skoop.softirq.type': type,
      'skoop.softirq.phase': phase,
      'skoop.latency': e.latencyNs / 1e9,
      'cpu.logical_number': e.cpu,
      'process.pid': e.pid,
      'process.executable.name': e.comm,
    };
    if (full) attributes['skoop.stack'] = full.stack;
    const did = phase === 'schedule' ? 'waited' : 'ran';
    return {
      event: events['skoop.softirq.slow'],
      severity: severe ? 17 : 13,
      body: `Soft interrupt ${type} ${did} ${(e.latencyNs / 1e6).toFixed(3)} ms on CPU ${e.cpu}, which was running ${e.comm}.`,
      attributes,
      measuredBy: metrics['skoop.softirq.duration'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_durations');
    if (map) out.histograms(map, layout.sklSoftirqKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklSoftirqKey): Series {
    const id = `${key.vector}/${key.phase}`;
    return this.#series.of(id, () =>
      out.series(metrics['skoop.softirq.duration'], {
        'skoop.softirq.type': this.#vectors.get(key.vector) ?? String(key.vector),
        'skoop.softirq.phase': phases[key.phase] ?? 'execute',
      }),
    );
  }
}

export default defineProbe<Config>({
  name: 'softirq',
  aliases: ['net_softirq'],
  summary: 'Do packets wait because a CPU comes late to its soft interrupts, or stays in them?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['schedule', 'execute'],
  records: [layout.softirqEvent, layout.softirqEvent],
  create: (options, context) => new SoftIrq(options, context),
});
