import { defineMetrics } from '../../pipeline/catalogue.ts';

const eventAttributes = {
  'skoop.probe': { description: 'Name of the probe.' },
  'skoop.event.type': { description: "Type of event, by the probe's own name." },
};

/** The account of events that every probe keeps: offered = emitted + suppressed + lost. */
export const accountMetrics = defineMetrics({
  'skoop.event.emitted': {
    instrument: 'counter',
    unit: '{event}',
    description: 'Events that left the kernel.',
    attributes: eventAttributes,
    source: 'BPF map skl_limit',
    scope: 'netns',
    maxSeries: 32,
  },
  'skoop.event.suppressed': {
    instrument: 'counter',
    unit: '{event}',
    description: 'Events held back by the rate limit of their namespace and type.',
    attributes: eventAttributes,
    source: 'BPF map skl_limit',
    scope: 'netns',
    maxSeries: 32,
  },
  'skoop.event.lost': {
    instrument: 'counter',
    unit: '{event}',
    description: 'Events that found no room in the ring buffer.',
    attributes: eventAttributes,
    source: 'BPF map skl_limit',
    scope: 'netns',
    maxSeries: 32,
  },
  'skoop.probe.map_full': {
    instrument: 'counter',
    unit: '{entry}',
    description: 'Entries that found no room in a map of a probe, by what they were for.',
    attributes: {
      'skoop.probe': { description: 'Name of the probe.' },
      'skoop.map.use': { description: 'What the map is for.', values: ['limit', 'count', 'state', 'event'] },
    },
    source: 'BPF map skl_full',
    scope: 'node',
    maxSeries: 64,
  },
  'skoop.probe.missed': {
    instrument: 'counter',
    unit: '{run}',
    description:
      "Runs that the kernel left out since the same program was running on that CPU already, interrupted: what it would have seen is not in the probe's metrics and events.",
    attributes: { 'skoop.probe': { description: 'Name of the probe.' } },
    source: 'bpf_prog_info recursion_misses',
    scope: 'node',
    maxSeries: 64,
  },
});
