import { z } from 'zod';
import * as layout from '../../bpf/gen/tasklatency.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { sharedInventory } from '../../host/netns/inventory.ts';
import { hostRoot } from '../../host/proc-root.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { type MutableAttributes, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields } from './probe.ts';
import { thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'sched',
    purpose: 'tasks that become ready and tasks that get a CPU',
    required: true,
    choices: [{ programs: ['skl_wakeup', 'skl_wakeup_new', 'skl_switch'], arguments: 1 }],
  },
];

const config = z.strictObject({
  ...probeFields({ enabled: false }),
  threshold: duration('100ms').describe('An event for each wait for a CPU that takes longer.'),
  node_tasks: z.boolean().default(false).describe("Watch the tasks of the node's own network namespace too."),
});
type Config = z.output<typeof config>;

const source = 'tracepoints sched:sched_wakeup, sched_wakeup_new, sched_switch';

export const metrics = defineMetrics({
  'skoop.task.run_delay': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time tasks that were ready to run waited for a CPU.',
    source,
    scope: 'netns',
    maxSeries: 1,
    histogram: durationLayout,
  },
});

export const events = defineEvents({
  'skoop.task.slow': {
    description: 'A task was ready to run and waited for a CPU for longer than the threshold.',
    source,
    attributes: {
      ...pick('skoop.latency', 'cpu.logical_number', 'process.pid', 'process.executable.name'),
      'thread.id': { description: "Thread id in the node's pid namespace." },
      'skoop.task.before': { description: 'Command name of the task that had the CPU last.' },
      ...pick('skoop.advice.cause', 'skoop.advice.check'),
    },
  },
});

/** The node's own network namespace. */
function hostNetns(): number | undefined {
  const inventory = sharedInventory(hostRoot);
  const known = inventory.current();
  return (known.length > 0 ? known : inventory.scan()).find((n) => n.host)?.netns;
}

class TaskLatency implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  #series: Series | undefined;
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    const node = options.node_tasks ? undefined : hostNetns();
    this.load = {
      knobs: { skl_slow_ns: thresholdNs(options.threshold), skl_left_out: node ?? 0 },
    };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number): EventDraft {
    const e = layout.tasklatencyEvent.decode(view, at);
    const attributes: MutableAttributes = {
      'skoop.latency': e.latencyNs / 1e9,
      'cpu.logical_number': e.cpu,
      'process.pid': e.pid,
      'thread.id': e.tid,
      'process.executable.name': e.comm,
      'skoop.task.before': e.before,
    };
    return {
      event: events['skoop.task.slow'],
      severity: 13,
      body: `${e.comm} waited ${(e.latencyNs / 1e6).toFixed(3)} ms for CPU ${e.cpu}, which ran ${e.before}.`,
      attributes,
      measuredBy: metrics['skoop.task.run_delay'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_run_delay');
    if (!map) return;
    this.#series ??= out.series(metrics['skoop.task.run_delay'], {});
    const series = this.#series;
    out.histograms(map, layout.sklTaskKey, () => series);
  }
}

export default defineProbe<Config>({
  name: 'tasklatency',
  summary: 'Was it the network, or did the pod not get a CPU?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['slow'],
  records: [layout.tasklatencyEvent],
  create: (options) => new TaskLatency(options),
});
