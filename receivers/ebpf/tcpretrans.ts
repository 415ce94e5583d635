import { z } from 'zod';
import * as layout from '../../bpf/gen/tcpretrans.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import { addressText, type View } from '../../bpf/record.ts';
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
import { tcpStates } from './tcp-states.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'data',
    purpose: 'segments sent again',
    required: true,
    choices: [
      { programs: ['skl_retr_err'], arguments: 3 },
      {
        programs: ['skl_retr'],
        arguments: 2,
        note: 'Retransmissions that could not be sent are not seen before 6.15.',
      },
      { programs: ['skl_retr_raw'], arguments: 2, note: 'Raw tracepoint: the same, without checked types.' },
    ],
  },
  {
    name: 'synack',
    purpose: 'SYN-ACKs sent again',
    required: false,
    choices: [
      { programs: ['skl_synack'], arguments: 2 },
      { programs: ['skl_synack_raw'], arguments: 2 },
    ],
  },
];

const config = z.strictObject({
  ...probeFields(),
  enable_stack: z.boolean().default(false).describe('Attach the kernel stack to each event.'),
  by_peer: z
    .boolean()
    .default(false)
    .describe("Count by remote address too; peers beyond the map's 8192 entries are counted together."),
});
type Config = z.output<typeof config>;

const kinds = ['rto', 'fast', 'tlp', 'syn', 'synack'] as const;
type Kind = (typeof kinds)[number];
const told: Readonly<Record<Kind, string>> = {
  rto: 'after a timeout',
  fast: 'since duplicate ACKs say it was lost',
  tlp: 'as a tail loss probe',
  syn: 'as a SYN again, for want of an answer',
  synack: 'as a SYN-ACK again, for want of an answer',
};

const own = {
  'skoop.retransmit.kind': {
    description:
      'rto: timeout and what follows it; fast: fast retransmit; tlp: tail loss probe; syn, synack: handshake.',
    values: kinds,
  },
};

export const metrics = defineMetrics({
  'skoop.tcp.retransmits': {
    instrument: 'counter',
    unit: '{segment}',
    description: 'TCP segments sent again, by what made it.',
    attributes: {
      ...own,
      ...pick('network.type', 'skoop.tcp.state'),
      'destination.address': { description: 'Remote address, with by_peer; absent for peers counted together.' },
    },
    source: 'tracepoints tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack',
    scope: 'netns',
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_tcpretrans_total' }],
  },
});

export const events = defineEvents({
  'skoop.tcp.retransmit': {
    description: 'A TCP segment was sent again.',
    source: 'tracepoints tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack',
    attributes: {
      ...own,
      ...pick(
        'kubeskoop.type',
        'network.transport',
        'network.type',
        'source.address',
        'source.port',
        'destination.address',
        'destination.port',
        'skoop.tcp.state',
        'skoop.packet.size',
        'skoop.stack',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
      'skoop.retransmit.segments': { description: 'Segments in the packet, as TcpRetransSegs counts them.' },
      'skoop.retransmit.timeouts': { description: 'Timeouts in a row; for SYN-ACKs, times sent again.' },
      'skoop.retransmit.error': { description: 'Error of sending it again (errno), since v6.15.' },
      'skoop.tcp.rtt': { description: 'Smoothed round-trip time, seconds.' },
    },
    kubeskoopTypes: ['TCPRETRANS'],
  },
});

/** What the kernel's numbers mean on this kernel, and the kind that follows from them. */
class Kinds {
  readonly #states: ReadonlyMap<number, string>;
  readonly #congestion: ReadonlyMap<number, string>;

  constructor(states: ReadonlyMap<number, string>, congestion: ReadonlyMap<number, string>) {
    this.#states = states;
    this.#congestion = congestion;
  }

  state(value: number): string | undefined {
    return this.#states.get(value);
  }

  /** Open, disordered or reduced window at that moment: nothing was declared lost yet, which only a tail loss probe does. */
  kind(type: number, state: number, caState: number): Kind {
    if (type === 1) return 'synack';
    if (this.#states.get(state) === 'TCP_SYN_SENT') return 'syn';
    const congestion = this.#congestion.get(caState);
    return congestion === 'TCP_CA_Loss' ? 'rto' : congestion === 'TCP_CA_Recovery' ? 'fast' : 'tlp';
  }
}

class TcpRetrans implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #kinds: Kinds;
  readonly #byPeer: boolean;
  #series = new Map<string, Series>();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    const { types } = context.kernel;
    this.#kinds = new Kinds(tcpStates(types), types.enumNames('tcp_ca_state') ?? new Map());
    this.#byPeer = options.by_peer;
    this.load = { knobs: { skl_stack_on: options.enable_stack ? 1 : 0, skl_by_peer: options.by_peer ? 1 : 0 } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  decode(view: View, at: number, length: number, head: RecordHead): EventDraft | undefined {
    const full = length >= layout.tcpretransStackEvent.size ? layout.tcpretransStackEvent.decode(view, at) : undefined;
    const e = full?.event ?? layout.tcpretransEvent.decode(view, at);
    const kind = this.#kinds.kind(head.type, e.state, e.caState);
    const attributes: MutableAttributes = { 'kubeskoop.type': 'TCPRETRANS', 'skoop.retransmit.kind': kind };
    addTuple(attributes, e.tuple);
    const state = this.#kinds.state(e.state);
    if (state !== undefined) attributes['skoop.tcp.state'] = state;
    attributes['skoop.packet.size'] = e.length;
    attributes['skoop.retransmit.segments'] = e.segments;
    attributes['skoop.retransmit.timeouts'] = e.retries;
    if (e.error !== 0) attributes['skoop.retransmit.error'] = -e.error;
    if (e.rttUs !== 0) attributes['skoop.tcp.rtt'] = e.rttUs / 1e6;
    if (full) attributes['skoop.stack'] = full.stack;
    return {
      event: events['skoop.tcp.retransmit'],
      severity: 9,
      body: `TCP ${describeTuple(e.tuple)} sent ${e.length} bytes again ${told[kind]}.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_retrans');
    if (!map) return;
    // Series are made anew for each round when there is one for each peer: peers come and go.
    if (this.#byPeer) this.#series = new Map();
    out.counters(map, layout.sklRetransKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklRetransKey): Series {
    const peer = this.#byPeer && key.peer.some((b) => b !== 0) ? addressText(key.peer, key.family) : undefined;
    const id = `${key.type}/${key.state}/${key.caState}/${key.family}/${peer ?? ''}`;
    let series = this.#series.get(id);
    if (!series) {
      const attributes: MutableAttributes = {
        'skoop.retransmit.kind': this.#kinds.kind(key.type, key.state, key.caState),
      };
      const state = this.#kinds.state(key.state);
      if (state !== undefined) attributes['skoop.tcp.state'] = state;
      const family = networkType(key.family);
      if (family !== undefined) attributes['network.type'] = family;
      if (peer !== undefined) attributes['destination.address'] = peer;
      series = out.series(metrics['skoop.tcp.retransmits'], attributes);
      this.#series.set(id, series);
    }
    return series;
  }
}

export default defineProbe<Config>({
  name: 'tcpretrans',
  summary: 'Which connections send segments again, and what made them?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['retransmit', 'synack'],
  records: [layout.tcpretransEvent, layout.tcpretransEvent],
  create: (options, context) => new TcpRetrans(options, context),
});
