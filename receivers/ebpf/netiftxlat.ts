import { z } from 'zod';
import * as layout from '../../bpf/gen/netiftxlat.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { addTuple, describeTuple, type MutableAttributes, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields, type RecordHead } from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'qdisc',
    purpose: 'packets that enter and leave a queueing discipline',
    required: true,
    choices: [
      { programs: ['skl_enqueue', 'skl_dequeue'], arguments: 3 },
      {
        programs: ['skl_dev_queue', 'skl_dev_start'],
        arguments: 1,
        note: 'Every packet of every interface is looked at: 250 ns each.',
      },
    ],
  },
  {
    name: 'dropped',
    purpose: 'packets that are dropped while they wait',
    required: false,
    choices: [{ programs: ['skl_dropped'], arguments: 1 }],
  },
  {
    name: 'driver',
    purpose: 'the transmit function of the driver (xmit: true)',
    required: false,
    choices: [{ programs: ['skl_send', 'skl_sent'], arguments: 2, manual: true }],
  },
];

const config = z.strictObject({
  ...probeFields(),
  threshold: duration('100ms').describe('An event for each packet that waits longer.'),
  xmit: z.boolean().default(false).describe("Measure the driver's transmit function too: 120 ns for each packet sent."),
});
type Config = z.output<typeof config>;

const source = 'tracepoints qdisc:qdisc_enqueue, qdisc_dequeue; net:net_dev_start_xmit, net_dev_xmit';

export const metrics = defineMetrics({
  'skoop.qdisc.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time packets spent in a queueing discipline.',
    attributes: pick('network.interface.name'),
    source,
    scope: 'netns',
    maxSeries: 16,
    histogram: durationLayout,
    kubeskoop: [{ name: 'kubeskoop_netiftxlat_qdiscslow100ms', type: 'gauge', above: 0.1 }],
  },
  'skoop.driver.transmit': {
    instrument: 'histogram',
    unit: 's',
    description: "Time packets spent in the driver's transmit function.",
    attributes: pick('network.interface.name'),
    source,
    scope: 'netns',
    maxSeries: 16,
    histogram: durationLayout,
    kubeskoop: [{ name: 'kubeskoop_netiftxlat_netdevslow100ms', type: 'gauge', above: 0.1 }],
  },
});

export const events = defineEvents({
  'skoop.transmit.slow': {
    description: 'A packet waited too long in a queueing discipline or in a driver.',
    source,
    attributes: pick(
      'kubeskoop.type',
      'network.transport',
      'network.type',
      'source.address',
      'source.port',
      'destination.address',
      'destination.port',
      'network.interface.name',
      'skoop.latency',
      'skoop.packet.size',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
    kubeskoopTypes: ['NETIFTXLAT_QDISC', 'NETIFTXLAT_XMIT'],
  },
});

/** By skl_head.type and enum skl_where. */
const places = [
  { type: 'NETIFTXLAT_QDISC', metric: metrics['skoop.qdisc.wait'], words: 'in the queueing discipline' },
  { type: 'NETIFTXLAT_XMIT', metric: metrics['skoop.driver.transmit'], words: 'in the driver' },
] as const;

class NetIfTxLat implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #xmit: boolean;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    this.#xmit = options.xmit;
    this.load = { knobs: { skl_slow_ns: thresholdNs(options.threshold) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    const driver = loaded.hooks.find((h) => h.hook === 'driver');
    if (this.#xmit) for (const p of driver?.programs ?? []) loaded.keep(loaded.program(p).attach());
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft | undefined {
    const place = places[head.type];
    if (!place) return undefined;
    const e = layout.netiftxlatEvent.decode(view, at);
    const attributes: MutableAttributes = { 'kubeskoop.type': place.type };
    addTuple(attributes, e.tuple);
    attributes['network.interface.name'] = e.ifname;
    attributes['skoop.latency'] = e.latencyNs / 1e9;
    attributes['skoop.packet.size'] = e.length;
    const whose = e.tuple.family === 0 ? 'A packet' : `Packet ${describeTuple(e.tuple)}`;
    return {
      event: events['skoop.transmit.slow'],
      severity: 13,
      body: `${whose} spent ${(e.latencyNs / 1e6).toFixed(3)} ms ${place.words} of ${e.ifname}.`,
      attributes,
      measuredBy: place.metric,
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_waits');
    if (map) out.histograms(map, layout.sklTxlatKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklTxlatKey): Series | undefined {
    const place = places[key.where];
    if (!place) return undefined;
    const id = `${key.where}/${key.ifname}`;
    return this.#series.of(id, () => out.series(place.metric, { 'network.interface.name': key.ifname }));
  }
}

export default defineProbe<Config>({
  name: 'netiftxlat',
  aliases: ['netiftxlatency'],
  summary: 'How long do packets wait to leave: in a queue, in a driver?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['qdisc', 'xmit'],
  records: [layout.netiftxlatEvent, layout.netiftxlatEvent],
  create: (options) => new NetIfTxLat(options),
});
