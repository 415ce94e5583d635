import { z } from 'zod';
import * as layout from '../../bpf/gen/tcpreset.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { addTuple, describeTuple, type MutableAttributes, networkType, pick, tcpFlags } from './attributes.ts';
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
    name: 'sent',
    purpose: 'resets this host sends',
    required: true,
    choices: [
      { programs: ['skl_sent_why'], arguments: 3 },
      { programs: ['skl_sent_f4', 'skl_sent_f6', 'skl_sent_fa'], note: 'No reasons before 6.10.' },
      {
        programs: ['skl_sent_k4', 'skl_sent_k6', 'skl_sent_ka'],
        note: 'No reasons before 6.10; a kprobe costs 100 ns more.',
      },
      { programs: ['skl_sent'], arguments: 2, note: 'No reasons, and resets from closed ports are not seen.' },
    ],
  },
  {
    name: 'received',
    purpose: 'resets that ended a connection of this host',
    required: false,
    choices: [
      { programs: ['skl_received'], arguments: 1 },
      { programs: ['skl_received_raw'], arguments: 1 },
    ],
  },
];

const config = z.strictObject({
  ...probeFields(),
  enable_stack: z.boolean().default(false).describe('Attach the kernel stack to each event.'),
});
type Config = z.output<typeof config>;

/** By head.type: KubeSkoop's event type, what happened, the direction. */
const types = [
  {
    name: 'nosock',
    kubeskoop: 'TCPRESET_NOSOCK',
    told: 'answered a segment that no socket waits for',
    direction: 'transmit',
  },
  {
    name: 'process',
    kubeskoop: 'TCPRESET_PROCESS',
    told: 'answered a segment the socket did not accept',
    direction: 'transmit',
  },
  { name: 'active', kubeskoop: 'TCPRESET_ACTIVE', told: 'gave the connection up', direction: 'transmit' },
  { name: 'receive', kubeskoop: 'TCPRESET_RECEIVE', told: 'was reset by the peer', direction: 'receive' },
] as const;

const own = {
  'skoop.reset.type': {
    description:
      'nosock: no socket for the segment; process: the socket refused the segment; active: this end gave up; receive: the peer did.',
    values: types.map((t) => t.name),
  },
};

export const metrics = defineMetrics({
  'skoop.tcp.resets': {
    instrument: 'counter',
    unit: '{segment}',
    description: 'RST segments sent, and RST segments received that ended a connection.',
    attributes: { ...own, ...pick('network.io.direction', 'network.type', 'skoop.reset.reason') },
    source: 'tracepoints tcp:tcp_send_reset, tcp:tcp_receive_reset',
    scope: 'netns',
    maxSeries: 64,
  },
});

export const events = defineEvents({
  'skoop.tcp.reset': {
    description: 'A TCP connection or connection attempt was reset.',
    source: 'tracepoints tcp:tcp_send_reset, tcp:tcp_receive_reset',
    attributes: {
      ...own,
      ...pick(
        'kubeskoop.type',
        'network.transport',
        'network.type',
        'network.io.direction',
        'source.address',
        'source.port',
        'destination.address',
        'destination.port',
        'skoop.reset.reason',
        'skoop.tcp.state',
        'skoop.tcp.flags',
        'skoop.stack',
        'skoop.advice.cause',
        'skoop.advice.check',
      ),
    },
    kubeskoopTypes: types.map((t) => t.kubeskoop),
  },
});

const prefix = 'SK_RST_REASON_';

class TcpReset implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #states: ReadonlyMap<number, string>;
  /** Value of enum sk_rst_reason → name; empty before 6.10. */
  readonly #reasons: ReadonlyMap<number, string>;
  readonly #series = new Map<string, Series>();
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    const { types: kernelTypes } = context.kernel;
    this.#states = tcpStates(kernelTypes);
    this.#reasons = kernelTypes.enumNames('sk_rst_reason') ?? new Map();
    this.load = { knobs: { skl_stack_on: options.enable_stack ? 1 : 0 } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
  }

  /** @param value enum value + 1; 0 = the kernel did not say */
  #reason(value: number): string | undefined {
    if (value === 0) return undefined;
    const name = this.#reasons.get(value - 1);
    return name === undefined ? `REASON_${value - 1}` : name.startsWith(prefix) ? name.slice(prefix.length) : name;
  }

  decode(view: View, at: number, length: number, head: RecordHead): EventDraft | undefined {
    const type = types[head.type];
    if (!type) return undefined;
    const full = length >= layout.tcpresetStackEvent.size ? layout.tcpresetStackEvent.decode(view, at) : undefined;
    const e = full?.event ?? layout.tcpresetEvent.decode(view, at);
    const attributes: MutableAttributes = { 'kubeskoop.type': type.kubeskoop, 'skoop.reset.type': type.name };
    addTuple(attributes, e.tuple);
    attributes['network.io.direction'] = type.direction;
    const reason = this.#reason(e.reason);
    if (reason !== undefined) attributes['skoop.reset.reason'] = reason;
    const state = e.state === 0 ? undefined : this.#states.get(e.state);
    if (state !== undefined) attributes['skoop.tcp.state'] = state;
    const flags = tcpFlags(e.tcpFlags);
    if (flags !== undefined) attributes['skoop.tcp.flags'] = flags;
    if (full) attributes['skoop.stack'] = full.stack;
    const why = reason === undefined ? '' : ` (${reason})`;
    return {
      event: events['skoop.tcp.reset'],
      severity: 13,
      body: `TCP ${describeTuple(e.tuple)} ${type.told}${why}.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const map = this.#loaded?.map('skl_resets');
    if (map) out.counters(map, layout.sklResetKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklResetKey): Series | undefined {
    const type = types[key.type];
    if (!type) return undefined;
    const id = `${key.type}/${key.reason}/${key.family}`;
    let series = this.#series.get(id);
    if (!series) {
      const attributes: MutableAttributes = { 'skoop.reset.type': type.name, 'network.io.direction': type.direction };
      const family = networkType(key.family);
      if (family !== undefined) attributes['network.type'] = family;
      const reason = this.#reason(key.reason);
      if (reason !== undefined) attributes['skoop.reset.reason'] = reason;
      series = out.series(metrics['skoop.tcp.resets'], attributes);
      this.#series.set(id, series);
    }
    return series;
  }
}

export default defineProbe<Config>({
  name: 'tcpreset',
  summary: 'Which connections are reset, by which side, and why?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: types.map((t) => t.name),
  records: types.map(() => layout.tcpresetEvent),
  create: (options, context) => new TcpReset(options, context),
});
