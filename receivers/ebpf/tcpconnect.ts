import { constants } from 'node:os';
import { z } from 'zod';
import * as layout from '../../bpf/gen/tcpconnect.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { addTuple, describeTuple, type MutableAttributes, networkType, pick } from './attributes.ts';
import { type Collection, durationLayout, type Series } from './collection.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields } from './probe.ts';
import { SeriesMemo } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'state',
    purpose: 'changes of TCP state: connects, their results, accepts',
    required: true,
    choices: [
      { programs: ['skl_state'], arguments: 3 },
      { programs: ['skl_state_raw'], arguments: 3, note: 'Raw tracepoint: the same, without checked types.' },
    ],
  },
];

const config = z.strictObject({ ...probeFields() });
type Config = z.output<typeof config>;

const source = 'tracepoint sock:inet_sock_set_state';

export const metrics = defineMetrics({
  'skoop.tcp.connect.duration': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time from the first SYN of connect() to the established connection.',
    attributes: pick('network.type'),
    source,
    scope: 'netns',
    maxSeries: 2,
    histogram: durationLayout,
  },
  'skoop.tcp.connect.failures': {
    instrument: 'counter',
    unit: '{connection}',
    description: 'Calls of connect() that sent a SYN and did not become a connection.',
    attributes: pick('network.type', 'error.type'),
    source,
    scope: 'netns',
    maxSeries: 24,
  },
  'skoop.tcp.connect.syn_retransmits': {
    instrument: 'counter',
    unit: '{segment}',
    description: 'SYNs sent again by attempts that ended, well or badly.',
    attributes: pick('network.type'),
    source,
    scope: 'netns',
    maxSeries: 2,
  },
  'skoop.tcp.accepted': {
    instrument: 'counter',
    unit: '{connection}',
    description: 'Connections made by others that finished their handshake (queued for accept()).',
    attributes: pick('network.type'),
    source,
    scope: 'netns',
    maxSeries: 2,
  },
});

export const events = defineEvents({
  'skoop.tcp.connect_failed': {
    description: 'A process tried to connect and could not.',
    source,
    attributes: pick(
      'network.transport',
      'network.type',
      'source.address',
      'source.port',
      'destination.address',
      'destination.port',
      'error.type',
      'skoop.latency',
      'skoop.tcp.syn_retransmits',
      'process.pid',
      'process.executable.name',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
  },
});

/** Errno → name, by the C library's own numbers. */
const errnoNames = new Map(Object.entries(constants.errno).map(([name, n]) => [n, name]));

/** `error.type` of a failed attempt; 0 is the process that closed its socket before an answer came. */
function errorType(errno: number): string {
  return errno === 0 ? 'aborted' : (errnoNames.get(errno) ?? `errno_${errno}`);
}

/** enum skl_what of tcpconnect.bpf.c. */
const what = { connected: 0, failed: 1, accepted: 2, synRetransmit: 3 } as const;

class TcpConnect implements ProbeRun {
  readonly #series = new SeriesMemo();
  #loaded: LoadedProbe | undefined;

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number): EventDraft {
    const e = layout.tcpconnectEvent.decode(view, at);
    const attributes: MutableAttributes = {};
    addTuple(attributes, e.tuple);
    const error = errorType(e.error);
    const latencyS = e.latencyNs / 1e9;
    attributes['error.type'] = error;
    attributes['skoop.latency'] = latencyS;
    if (e.synRetransmits > 0) attributes['skoop.tcp.syn_retransmits'] = e.synRetransmits;
    attributes['process.pid'] = e.pid;
    attributes['process.executable.name'] = e.comm;
    return {
      event: events['skoop.tcp.connect_failed'],
      severity: 13,
      body: `${e.comm} could not connect ${describeTuple(e.tuple)}: ${error} after ${latencyS.toFixed(3)} s.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const loaded = this.#loaded;
    if (!loaded) return;
    out.counters(loaded.map('skl_counts'), layout.sklConnectKey, (key) => this.#seriesOf(out, key));
    out.histograms(loaded.map('skl_times'), layout.sklConnectKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklConnectKey): Series {
    const id = `${key.what}/${key.family}/${key.error}`;
    return this.#series.of(id, () => {
      const attributes: MutableAttributes = {};
      const type = networkType(key.family);
      if (type !== undefined) attributes['network.type'] = type;
      if (key.what === what.failed) attributes['error.type'] = errorType(key.error);
      const metric =
        key.what === what.connected
          ? metrics['skoop.tcp.connect.duration']
          : key.what === what.failed
            ? metrics['skoop.tcp.connect.failures']
            : key.what === what.accepted
              ? metrics['skoop.tcp.accepted']
              : metrics['skoop.tcp.connect.syn_retransmits'];
      return out.series(metric, attributes);
    });
  }
}

export default defineProbe<Config>({
  name: 'tcpconnect',
  summary: 'How long does it take to connect, who cannot, and with which error?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['connect_failed'],
  records: [layout.tcpconnectEvent],
  create: () => new TcpConnect(),
});
