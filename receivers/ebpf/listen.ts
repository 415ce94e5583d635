import { z } from 'zod';
import * as layout from '../../bpf/gen/listen.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics, type MetricDefinition } from '../../pipeline/catalogue.ts';
import { type MutableAttributes, networkType, pick } from './attributes.ts';
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
    name: 'join',
    purpose: 'connections that join an accept queue',
    required: true,
    choices: [
      // Functions before the tracepoint: those run for each connection, the tracepoint for each wake-up of any socket's reader.
      { programs: ['skl_join_fentry'] },
      { programs: ['skl_join_kp'] },
      { programs: ['skl_ready'], arguments: 1, note: "Runs at each wake-up of any socket's reader." },
    ],
  },
  {
    name: 'synack',
    purpose: 'SYN queues that are full',
    required: false,
    choices: [
      { programs: ['skl_synack'], arguments: 2 },
      { programs: ['skl_synack_raw'], arguments: 2, note: 'Raw tracepoint: the same, without checked types.' },
    ],
  },
];

const config = z.strictObject({ ...probeFields() });
type Config = z.output<typeof config>;

const source = 'inet_csk_complete_hashdance() or tracepoint sock:sk_data_ready, sk_ack_backlog of the listening socket';
const listenerAttributes = {
  ...pick('network.type'),
  'network.local.port': { description: 'Port of the listener.' },
} as const;
const definition = {
  unit: '{connection}',
  attributes: listenerAttributes,
  source,
  scope: 'netns',
  maxSeries: 64,
} as const;

export const metrics = defineMetrics({
  'skoop.tcp.listen.queued': {
    ...definition,
    instrument: 'counter',
    description: 'Connections that finished their handshake and joined the accept queue.',
  },
  'skoop.tcp.listen.accept_queue_full': {
    ...definition,
    instrument: 'counter',
    unit: '{event}',
    description: 'Times a connection filled the accept queue: SYNs after it are dropped until the process accepts.',
  },
  'skoop.tcp.listen.syn_queue_full': {
    ...definition,
    instrument: 'counter',
    unit: '{event}',
    description: 'Seconds in which the queue of half-open connections was seen full.',
    source: 'tracepoint tcp:tcp_retransmit_synack, icsk_accept_queue of the listening socket',
  },
});

const eventAttributes = pick(
  'network.transport',
  'network.type',
  'destination.address',
  'destination.port',
  'skoop.queue.length',
  'skoop.queue.limit',
  'process.pid',
  'process.executable.name',
  'skoop.advice.cause',
  'skoop.advice.check',
);

export const events = defineEvents({
  'skoop.tcp.accept_queue_full': {
    description: 'The accept queue of a listener is full: further SYNs are dropped without a word.',
    source,
    attributes: eventAttributes,
  },
  'skoop.tcp.syn_queue_full': {
    description: 'The queue of half-open connections of a listener is full: SYNs are dropped or answered with cookies.',
    source: 'tracepoint tcp:tcp_retransmit_synack',
    attributes: eventAttributes,
  },
});

/** By skl_head.type. */
const queues = [
  { event: events['skoop.tcp.accept_queue_full'], name: 'Accept queue' },
  { event: events['skoop.tcp.syn_queue_full'], name: 'SYN queue' },
] as const;

/** By enum skl_what of listen.bpf.c. */
const metricOf: readonly MetricDefinition[] = [
  metrics['skoop.tcp.listen.queued'],
  metrics['skoop.tcp.listen.accept_queue_full'],
  metrics['skoop.tcp.listen.syn_queue_full'],
];

class Listen implements ProbeRun {
  readonly #owners: SocketOwners;
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  constructor(context: ProbeContext) {
    this.#owners = new SocketOwners(context.clock);
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft | undefined {
    const queue = queues[head.type];
    if (!queue) return undefined;
    const e = layout.listenEvent.decode(view, at);
    const attributes: MutableAttributes = { 'network.transport': 'tcp' };
    const type = networkType(e.tuple.family);
    if (type !== undefined) attributes['network.type'] = type;
    // What is dropped is on its way to the listener: it is the destination.
    attributes['destination.address'] = e.tuple.sourceAddress;
    attributes['destination.port'] = e.tuple.sourcePort;
    attributes['skoop.queue.length'] = e.length;
    attributes['skoop.queue.limit'] = e.limit;
    const owner = this.#owners.find(head.netns, e.inode);
    if (owner) {
      attributes['process.pid'] = owner.pid;
      attributes['process.executable.name'] = owner.comm;
    }
    const who = owner ? ` of ${owner.comm}` : '';
    return {
      event: queue.event,
      severity: 13,
      body: `${queue.name}${who} on port ${e.tuple.sourcePort} is full: ${e.length} waiting, limit ${e.limit}.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_listeners');
    if (map) out.counters(map, layout.sklListenerKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklListenerKey): Series | undefined {
    const metric = metricOf[key.what];
    if (!metric) return undefined;
    const id = `${key.what}/${key.port}/${key.family}`;
    return this.#series.of(id, () => {
      const type = networkType(key.family);
      return out.series(metric, { 'network.local.port': key.port, ...(type && { 'network.type': type }) });
    });
  }
}

export default defineProbe<Config>({
  name: 'listen',
  summary: 'Which server does not accept fast enough, so that connections to it are dropped?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['accept_queue_full', 'syn_queue_full'],
  records: [layout.listenEvent, layout.listenEvent],
  create: (_options, context) => new Listen(context),
});
