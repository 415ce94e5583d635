import { constants } from 'node:os';
import { z } from 'zod';
import * as layout from '../../bpf/gen/udp.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { addTuple, describeTuple, type MutableAttributes, networkType, pick } from './attributes.ts';
import type { Collection, Series } from './collection.ts';
import {
  defineProbe,
  type EventDraft,
  type ProbeContext,
  type ProbeRun,
  probeFields,
  type RecordHead,
} from './probe.ts';
import { SeriesMemo } from './series-memo.ts';
import { SocketOwners } from './socket-owner.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'overflow',
    purpose: 'datagrams that found no room in their socket',
    required: true,
    choices: [
      { programs: ['skl_fail_skb'], arguments: 3 },
      {
        programs: ['skl_fail'],
        arguments: 2,
        note: 'The sender of the datagram is not known on this kernel, and IPv6 is not seen.',
      },
      {
        programs: ['skl_fail_raw'],
        arguments: 2,
        note: 'Raw tracepoint: the sender is not known, and IPv6 is not seen.',
      },
    ],
  },
];

const config = z.strictObject({
  ...probeFields(),
  ports: z
    .boolean()
    .default(true)
    .describe('One series for each local port; off = one for each namespace, for nodes with thousands of UDP ports.'),
});
type Config = z.output<typeof config>;

const source = 'tracepoint udp:udp_fail_queue_rcv_skb';

export const metrics = defineMetrics({
  'skoop.udp.overflows': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Datagrams dropped at their socket for want of room.',
    attributes: { ...pick('network.type', 'skoop.udp.reason'), 'network.local.port': { description: 'Local port.' } },
    source,
    scope: 'netns',
    maxSeries: 64,
  },
});

export const events = defineEvents({
  'skoop.udp.buffer_full': {
    description: 'A datagram was dropped because its socket had no room.',
    source,
    attributes: pick(
      'network.transport',
      'network.type',
      'source.address',
      'source.port',
      'destination.address',
      'destination.port',
      'skoop.udp.reason',
      'skoop.queue.length',
      'skoop.queue.limit',
      'process.pid',
      'process.executable.name',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
  },
});

/** What the errno of __udp_enqueue_schedule_skb means (net/ipv4/udp.c). */
function reasonOf(errno: number): 'receive_buffer' | 'memory_limit' | 'other' {
  if (errno === constants.errno.ENOMEM) return 'receive_buffer';
  return errno === constants.errno.ENOBUFS ? 'memory_limit' : 'other';
}

class Udp implements ProbeRun {
  readonly #ports: boolean;
  readonly #owners: SocketOwners;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    this.#ports = options.ports;
    this.#owners = new SocketOwners(context.clock);
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft {
    const e = layout.udpEvent.decode(view, at);
    const attributes: MutableAttributes = {};
    addTuple(attributes, e.tuple);
    const reason = reasonOf(e.error);
    attributes['skoop.udp.reason'] = reason;
    attributes['skoop.queue.length'] = e.queued;
    attributes['skoop.queue.limit'] = e.limit;
    const owner = this.#owners.find(head.netns, e.inode);
    if (owner) {
      attributes['process.pid'] = owner.pid;
      attributes['process.executable.name'] = owner.comm;
    }
    return {
      event: events['skoop.udp.buffer_full'],
      severity: 13,
      body: `Dropped datagram ${describeTuple(e.tuple)}: ${reason} full, ${e.queued} of ${e.limit} bytes.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_overflows');
    if (map) out.counters(map, layout.sklUdpKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklUdpKey): Series {
    const port = this.#ports ? key.port : 0;
    const id = `${key.error}/${key.family}/${port}`;
    return this.#series.of(id, () => {
      const attributes: MutableAttributes = { 'skoop.udp.reason': reasonOf(key.error) };
      const type = networkType(key.family);
      if (type !== undefined) attributes['network.type'] = type;
      if (this.#ports) attributes['network.local.port'] = key.port;
      return out.series(metrics['skoop.udp.overflows'], attributes);
    });
  }
}

export default defineProbe<Config>({
  name: 'udp',
  summary: 'Which sockets are too slow or too small for the datagrams they get?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['buffer_full'],
  records: [layout.udpEvent],
  create: (options, context) => new Udp(options, context),
});
