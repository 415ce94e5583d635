import { z } from 'zod';
import * as layout from '../../bpf/gen/dns.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { addTuple, type MutableAttributes, networkType, pick } from './attributes.ts';
import { type Collection, durationLayout } from './collection.ts';
import { parseQuestion, rcodeName } from './dns-question.ts';
import { defineProbe, type EventDraft, type ProbeRun, probeFields, type RecordHead } from './probe.ts';
import { SeriesMemo, thresholdNs } from './series-memo.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'datagrams',
    purpose: 'questions that sockets send, and their answers',
    required: true,
    choices: [
      // Functions before tracepoints: those run for datagrams, the tracepoints for each packet of the machine.
      { programs: ['skl_ask4_fe', 'skl_ask6_fe', 'skl_reach_fe'] },
      { programs: ['skl_ask4_kp', 'skl_ask6_kp', 'skl_reach_kp'] },
      { programs: ['skl_question', 'skl_answer'], arguments: 1, note: 'Runs for each packet of the machine.' },
    ],
  },
  {
    name: 'sweep',
    purpose: 'questions that are never answered',
    required: false,
    choices: [{ programs: ['skl_sweep'], manual: true }],
  },
];

const config = z.strictObject({
  ...probeFields(),
  timeout: duration('5s').describe('A question without answer for this long is a timeout; later answers do not count.'),
  nxdomain: z.boolean().default(false).describe('An event for each name that does not exist, too.'),
});
type Config = z.output<typeof config>;

const source =
  'ip_send_skb(), ip6_send_skb(), __udp_enqueue_schedule_skb() or tracepoints net:net_dev_queue, net:netif_receive_skb; UDP port 53';

export const metrics = defineMetrics({
  'skoop.dns.queries': {
    instrument: 'counter',
    unit: '{query}',
    description: 'DNS questions sent over UDP.',
    attributes: pick('network.type'),
    source,
    scope: 'netns',
    maxSeries: 2,
  },
  'skoop.dns.timeouts': {
    instrument: 'counter',
    unit: '{query}',
    description: 'DNS questions that got no answer in time, or were asked again without one.',
    attributes: pick('network.type'),
    source,
    scope: 'netns',
    maxSeries: 2,
  },
  'skoop.dns.latency': {
    instrument: 'histogram',
    unit: 's',
    description: 'Time from a DNS question to its answer, by what the answer says.',
    attributes: pick('network.type', 'skoop.dns.rcode'),
    source,
    scope: 'netns',
    maxSeries: 16,
    histogram: durationLayout,
  },
});

export const events = defineEvents({
  'skoop.dns.failed': {
    description: 'A DNS question was answered with an error, or not at all.',
    source,
    attributes: pick(
      'network.transport',
      'network.type',
      'source.address',
      'source.port',
      'destination.address',
      'destination.port',
      'server.address',
      'server.port',
      'dns.question.name',
      'skoop.dns.question.type',
      'error.type',
      'skoop.latency',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
  },
});

/** Bits of rcodes that are told: all but NOERROR and NXDOMAIN. */
const badRcodes = 0xfff6;
const nxdomainBit = 1 << 3;

class Dns implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #series = new SeriesMemo();
  readonly #context = Buffer.alloc(8);
  #loaded: LoadedProbe | undefined;
  #sweeps = false;

  constructor(options: Config) {
    this.load = {
      knobs: {
        skl_timeout_ns: thresholdNs(options.timeout),
        skl_bad_rcodes: options.nxdomain ? badRcodes | nxdomainBit : badRcodes,
      },
    };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    this.#sweeps = loaded.hooks.some((h) => h.hook === 'sweep' && h.sections !== undefined);
  }

  decode(view: View, at: number, _length: number, head: RecordHead): EventDraft {
    const e = layout.dnsEvent.decode(view, at);
    const timeout = head.type === 1;
    const what = timeout ? 'timeout' : rcodeName(e.rcode);
    const attributes: MutableAttributes = {};
    addTuple(attributes, e.tuple);
    attributes['server.address'] = e.tuple.destinationAddress;
    attributes['server.port'] = e.tuple.destinationPort;
    attributes['error.type'] = what;
    attributes['skoop.latency'] = e.latencyNs / 1e9;
    const question = parseQuestion(e.question, e.length);
    if (question) attributes['dns.question.name'] = question.cut ? `${question.name}...` : question.name;
    if (question?.type !== undefined) attributes['skoop.dns.question.type'] = question.type;
    const asked = question
      ? `${question.type ?? 'something'} of ${attributes['dns.question.name']}`
      : 'an unreadable question';
    const ms = (e.latencyNs / 1e6).toFixed(3);
    const end = timeout ? `no answer for ${ms} ms` : `${what} after ${ms} ms`;
    return {
      event: events['skoop.dns.failed'],
      severity: 13,
      body: `${e.tuple.sourceAddress} asked ${e.tuple.destinationAddress} for ${asked}: ${end}.`,
      attributes,
    };
  }

  collect(out: Collection): void {
    const loaded = this.#loaded;
    if (!loaded) return;
    if (this.#sweeps) loaded.program('skl_sweep').testRun(this.#context);
    out.counters(loaded.map('skl_dns_count'), layout.sklDnsKey, (key) =>
      this.#series.of(`${key.what}/${key.family}`, () =>
        out.series(metrics[key.what === 0 ? 'skoop.dns.queries' : 'skoop.dns.timeouts'], this.#type(key.family)),
      ),
    );
    out.histograms(loaded.map('skl_answers'), layout.sklRcodeKey, (key) =>
      this.#series.of(`answer/${key.rcode}/${key.family}`, () =>
        out.series(metrics['skoop.dns.latency'], {
          'skoop.dns.rcode': rcodeName(key.rcode),
          ...this.#type(key.family),
        }),
      ),
    );
  }

  #type(family: number): MutableAttributes {
    const type = networkType(family);
    return type === undefined ? {} : { 'network.type': type };
  }
}

export default defineProbe<Config>({
  name: 'dns',
  summary: 'Which names are slow to resolve, fail or get no answer?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['failed', 'timeout'],
  records: [layout.dnsEvent, layout.dnsEvent],
  // Each question ends by an answer or by the timeout; skl_open counts them.
  selfClearingMaps: ['skl_asked'],
  create: (options) => new Dns(options),
});
