import { z } from 'zod';
import * as layout from '../../bpf/gen/socketlatency.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics, type KubeskoopName } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { addTuple, describeTuple, type MutableAttributes, networkType, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields, type RecordHead } from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'readable',
    purpose: 'sockets that have something to read',
    required: true,
    choices: [
      { programs: ['skl_ready'], arguments: 1 },
      { programs: ['skl_ready_fe'], note: 'Watches the function that wakes a reader.' },
      { programs: ['skl_ready_kp'], note: 'A kprobe: some 100 ns more for each wake-up.' },
    ],
  },
  {
    name: 'read',
    purpose: 'data taken by the process',
    required: true,
    choices: [{ programs: ['skl_read'], arguments: 1 }],
  },
  {
    name: 'write',
    purpose: 'data written by a process',
    required: false,
    choices: [
      { programs: ['skl_write'], arguments: 1 },
      { programs: ['skl_write_fe'], note: 'Watches the function that takes the data.' },
      { programs: ['skl_write_kp'], note: 'A kprobe: some 100 ns more for each write.' },
    ],
  },
  {
    name: 'leave',
    purpose: 'packets given to a device',
    required: false,
    choices: [{ programs: ['skl_leave'], arguments: 1 }],
  },
  {
    name: 'destroy',
    purpose: 'sockets that end with something unread or unsent',
    required: true,
    choices: [{ programs: ['skl_destroy'], arguments: 1 }],
  },
];

const config = z.strictObject({
  ...probeFields({ enabled: false }),
  threshold: duration('100ms').describe('An event for each wait that is longer.'),
});
type Config = z.output<typeof config>;

const source = 'tracepoints sock:sk_data_ready, tcp:tcp_rcv_space_adjust, tcp:tcp_sendmsg_locked, net:net_dev_queue';
const directions = ['read', 'write'] as const;
const directionAttribute = {
  'skoop.socket.direction': { description: 'Waiting to be read, or waiting to leave.', values: directions },
} as const;

function kubeskoopNames(direction: (typeof directions)[number]): KubeskoopName[] {
  const common = { where: { 'skoop.socket.direction': direction }, type: 'gauge' } as const;
  return [
    { ...common, name: `kubeskoop_socketlatency_${direction}1ms`, above: 0.001 },
    { ...common, name: `kubeskoop_socketlatency_${direction}100ms`, above: 0.1 },
  ];
}

export const metrics = defineMetrics({
  'skoop.socket.latency': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time data waited in TCP sockets: for the process to read it, or to leave after it was written.',
    attributes: { ...directionAttribute, ...pick('network.type') },
    source,
    scope: 'netns',
    maxSeries: 4,
    histogram: durationLayout,
    kubeskoop: [...kubeskoopNames('read'), ...kubeskoopNames('write')],
  },
});

export const events = defineEvents({
  'skoop.socket.slow': {
    description: 'Data waited in a socket for longer than the threshold.',
    source,
    attributes: {
      ...directionAttribute,
      ...pick(
        'kubeskoop.type',
        'network.transport',
        'network.type',
        'source.address',
        'source.port',
        'destination.address',
        'destination.port',
        'skoop.latency',
        'process.pid',
        'process.executable.name',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
    },
    kubeskoopTypes: ['SOCKETLAT_READSLOW', 'SOCKETLAT_SENDSLOW'],
  },
});

const kubeskoopTypes = ['SOCKETLAT_READSLOW', 'SOCKETLAT_SENDSLOW'] as const;

class SocketLatency implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config) {
    this.load = { knobs: { skl_slow_ns: thresholdNs(options.threshold) } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft {
    const e = layout.socketlatencyEvent.decode(view, at);
    const read = head.type === 0;
    const attributes: MutableAttributes = { 'kubeskoop.type': kubeskoopTypes[read ? 0 : 1] };
    addTuple(attributes, e.tuple);
    attributes['skoop.socket.direction'] = directions[read ? 0 : 1];
    attributes['skoop.latency'] = e.latencyNs / 1e9;
    attributes['process.pid'] = e.pid;
    attributes['process.executable.name'] = e.comm;
    const ms = (e.latencyNs / 1e6).toFixed(3);
    const what = read ? `took ${ms} ms to read from` : `waited ${ms} ms for data to leave on`;
    return {
      event: events['skoop.socket.slow'],
      severity: 13,
      body: `${e.comm} ${what} ${describeTuple(e.tuple)}.`,
      attributes,
      measuredBy: metrics['skoop.socket.latency'],
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_waits');
    if (map) out.histograms(map, layout.sklSocklatKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklSocklatKey): Series {
    const id = `${key.direction}/${key.family}`;
    return this.#series.of(id, () => {
      const type = networkType(key.family);
      return out.series(metrics['skoop.socket.latency'], {
        'skoop.socket.direction': directions[key.direction === 0 ? 0 : 1],
        ...(type && { 'network.type': type }),
      });
    });
  }
}

export default defineProbe<Config>({
  name: 'socketlatency',
  summary: 'Does the process read too late, or does what it writes not leave?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['read', 'write'],
  records: [layout.socketlatencyEvent, layout.socketlatencyEvent],
  create: (options) => new SocketLatency(options),
});
