import { z } from 'zod';
import * as layout from '../../bpf/gen/kernellatency.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics, type KubeskoopName } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { addTuple, describeTuple, type MutableAttributes, networkType, pick, transportName } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields, type RecordHead } from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const receiveStages = ['skl_rcv4', 'skl_loc4', 'skl_fin4', 'skl_rcv6', 'skl_loc6', 'skl_fin6'];
const transmitStages = ['skl_out4', 'skl_out6'];
const datagrams = ['skl_snd4', 'skl_snd6'];

/** The same look-out by fentry, else by kprobes. */
function watched(name: string, purpose: string, programs: readonly string[]): HookSpec {
  return {
    name,
    purpose,
    required: false,
    choices: [
      { programs: programs.map((p) => `${p}_fe`) },
      { programs: programs.map((p) => `${p}_kp`), note: 'Kprobes: some 100 ns more for each packet and function.' },
    ],
  };
}

const hooks: readonly HookSpec[] = [
  {
    name: 'arrive',
    purpose: 'packets handed over by a device',
    required: true,
    choices: [{ programs: ['skl_arrive'], arguments: 1 }],
  },
  {
    name: 'segment',
    purpose: 'TCP segments that reach their socket',
    required: true,
    choices: [{ programs: ['skl_segment'], arguments: 2 }],
  },
  {
    name: 'datagram',
    purpose: 'datagrams that reach their socket',
    required: false,
    choices: [
      { programs: ['skl_datagram_fe'] },
      {
        programs: ['skl_datagram'],
        arguments: 1,
        note: 'Takes the last datagram of the queue: of two that arrive at once, one.',
      },
      { programs: ['skl_datagram_kp'], note: 'A kprobe: some 100 ns more for each datagram.' },
    ],
  },
  {
    name: 'dropped',
    purpose: 'packets that are dropped on their way',
    required: false,
    choices: [{ programs: ['skl_dropped'], arguments: 1 }],
  },
  {
    name: 'leave',
    purpose: 'packets given to a device',
    required: true,
    choices: [{ programs: ['skl_leave'], arguments: 1 }],
  },
  watched('send', 'datagrams that sockets send', datagrams),
  watched('receive stages', 'time in PREROUTING, routing and LOCAL_IN', receiveStages),
  watched('transmit stages', 'time in LOCAL_OUT and POSTROUTING', transmitStages),
];

const config = z.strictObject({
  ...probeFields({ enabled: false }),
  threshold: duration('10ms').describe('An event for each packet that takes longer.'),
});
type Config = z.output<typeof config>;

const source = 'tracepoints net:netif_receive_skb, tcp:tcp_probe, sock:sk_data_ready, net:net_dev_queue; skb->tstamp';
const directions = ['receive', 'transmit'] as const;

function kubeskoopNames(direction: (typeof directions)[number], prefix: string): KubeskoopName[] {
  const common = { where: { 'network.io.direction': direction }, type: 'gauge' } as const;
  return [
    { ...common, name: `kubeskoop_kernellatency_${prefix}slow`, above: 0.01 },
    { ...common, name: `kubeskoop_kernellatency_${prefix}slow100ms`, above: 0.1 },
  ];
}

export const metrics = defineMetrics({
  'skoop.kernel.latency': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time packets with data spent in the kernel: from device to socket, or from socket to device queue.',
    attributes: pick('network.io.direction', 'network.transport', 'network.type'),
    source,
    scope: 'netns',
    maxSeries: 8,
    histogram: durationLayout,
    kubeskoop: [...kubeskoopNames('receive', 'rx'), ...kubeskoopNames('transmit', 'tx')],
  },
});

const stageAttributes = {
  'skoop.latency.prerouting': { description: 'Seconds until after PREROUTING.' },
  'skoop.latency.route': { description: 'Seconds in routing.' },
  'skoop.latency.local_in': { description: 'Seconds in LOCAL_IN.' },
  'skoop.latency.local_out': { description: 'Seconds until after LOCAL_OUT.' },
  'skoop.latency.postrouting': { description: 'Seconds from there to the device, POSTROUTING included.' },
} as const;

export const events = defineEvents({
  'skoop.kernel.slow': {
    description: 'A packet took too long between device and socket.',
    source,
    attributes: {
      ...pick(
        'kubeskoop.type',
        'network.transport',
        'network.type',
        'source.address',
        'source.port',
        'destination.address',
        'destination.port',
        'network.io.direction',
        'skoop.latency',
        'skoop.packet.size',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
      ...stageAttributes,
    },
    kubeskoopTypes: ['RXKERNEL_SLOW', 'TXKERNEL_SLOW'],
  },
});

/** Durations of the stages from the times at which they ended; only what was seen. */
function addStages(into: MutableAttributes, e: layout.KernellatencyEvent, receive: boolean): void {
  const { routingNs, localNs, deliveryNs, latencyNs } = e;
  const add = (name: keyof typeof stageAttributes, from: number, to: number) => {
    if (to > 0 && to >= from) into[name] = (to - from) / 1e9;
  };
  if (!receive) {
    add('skoop.latency.local_out', 0, localNs);
    if (localNs > 0) add('skoop.latency.postrouting', localNs, latencyNs);
    return;
  }
  add('skoop.latency.prerouting', 0, routingNs);
  if (routingNs > 0) add('skoop.latency.route', routingNs, localNs);
  if (localNs > 0) add('skoop.latency.local_in', localNs, deliveryNs);
}

class KernelLatency implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #series = new SeriesMemo<number>();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    this.load = { knobs: { skl_slow_ns: thresholdNs(options.threshold) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft {
    const e = layout.kernellatencyEvent.decode(view, at);
    const receive = head.type === 0;
    const attributes: MutableAttributes = { 'kubeskoop.type': receive ? 'RXKERNEL_SLOW' : 'TXKERNEL_SLOW' };
    addTuple(attributes, e.tuple);
    attributes['network.io.direction'] = directions[receive ? 0 : 1];
    attributes['skoop.latency'] = e.latencyNs / 1e9;
    attributes['skoop.packet.size'] = e.length;
    addStages(attributes, e, receive);
    const way = receive ? 'from the device to its socket' : 'from its socket to the device';
    return {
      event: events['skoop.kernel.slow'],
      severity: 13,
      body: `Packet ${describeTuple(e.tuple)} took ${(e.latencyNs / 1e6).toFixed(3)} ms ${way}.`,
      attributes,
      measuredBy: metrics['skoop.kernel.latency'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_passages');
    if (map) out.histograms(map, layout.sklKlatKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklKlatKey): Series {
    const id = key.direction * 65536 + key.family * 256 + key.proto;
    return this.#series.of(id, () => {
      const type = networkType(key.family);
      const transport = transportName(key.proto);
      return out.series(metrics['skoop.kernel.latency'], {
        'network.io.direction': directions[key.direction === 0 ? 0 : 1],
        ...(transport && { 'network.transport': transport }),
        ...(type && { 'network.type': type }),
      });
    });
  }
}

export default defineProbe<Config>({
  name: 'kernellatency',
  summary: 'Do packets take long between device and socket: firewall chains, NFQUEUE, locked sockets?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['receive', 'transmit'],
  records: [layout.kernellatencyEvent, layout.kernellatencyEvent],
  create: (options) => new KernelLatency(options),
});
