import { z } from 'zod';
import * as layout from '../../bpf/gen/packetloss.gen.ts';
import type { Kernel } from '../../bpf/kernel.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import type { View } from '../../bpf/record.ts';
import { MapReader } from '../../host/bpf/map-reader.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import {
  addTuple,
  describeTuple,
  type MutableAttributes,
  networkType,
  pick,
  tcpFlags,
  transportName,
} from './attributes.ts';
import type { Collection, Series } from './collection.ts';
import { DropReasons } from './drop-reasons.ts';
import { hookFromStack, hookName, plainName } from './netfilter.ts';
import { ChainWatch } from './netfilter-chains.ts';
import { type NoiseEntry, noiseLocations } from './packetloss-noise.ts';
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
    name: 'drop',
    purpose: 'packets the kernel drops',
    required: true,
    choices: [
      { programs: ['skl_drop_rx_sk'], arguments: 4 },
      {
        programs: ['skl_drop_reason'],
        arguments: 3,
        note: 'Drops inside TCP are attributed by their route, since the kernel does not tell the socket.',
      },
      {
        programs: ['skl_drop_where'],
        arguments: 2,
        note: 'No reasons before 5.17: the dropping function stands for them.',
      },
      { programs: ['skl_drop_raw'], arguments: 3, note: 'Raw tracepoint: the same, without checked types.' },
    ],
  },
  {
    name: 'nftables',
    purpose: 'table and chain of nftables drops',
    required: false,
    choices: [
      { programs: ['skl_nft_in', 'skl_nft_out'], manual: true },
      {
        programs: ['skl_nft_kin', 'skl_nft_kout'],
        manual: true,
        note: 'kprobes cost 200 ns more for each chain walked.',
      },
    ],
  },
  {
    name: 'iptables',
    purpose: 'table of iptables drops',
    required: false,
    choices: [
      { programs: ['skl_ipt_in', 'skl_ipt_out'], manual: true },
      {
        programs: ['skl_ipt_kin', 'skl_ipt_kout'],
        manual: true,
        note: 'kprobes cost 200 ns more for each table walked.',
      },
    ],
  },
];

const config = z.strictObject({
  ...probeFields(),
  netfilter_chains: z
    .enum(['on_demand', 'always', 'off'])
    .default('on_demand')
    .describe('Watch tables and chains to name the one that drops: while there are netfilter drops, always, or never.'),
  enable_stack: z.boolean().default(false).describe('Attach the kernel stack to each event (KubeSkoop: enableStack).'),
});

const dropAttributes = pick(
  'skoop.drop.reason',
  'skoop.drop.location',
  'network.transport',
  'network.type',
  'network.io.direction',
);

export const metrics = defineMetrics({
  'skoop.packet.drops': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets the kernel dropped (socket buffers: a GSO packet counts once).',
    attributes: dropAttributes,
    source: 'tracepoint skb:kfree_skb',
    scope: 'netns',
    maxSeries: 256,
    kubeskoop: [
      { name: 'kubeskoop_packetloss_total', labels: { 'network.transport': 'protocol' } },
      {
        name: 'kubeskoop_packetloss_netfilter',
        where: { 'skoop.drop.reason': 'NETFILTER_DROP' },
        labels: { 'network.transport': 'protocol' },
      },
    ],
  },
  'skoop.packet.noise': {
    instrument: 'counter',
    unit: '{packet}',
    description:
      'Packets freed as dropped with nothing lost: queues of closed sockets, multicast nobody wants, duplicates.',
    attributes: dropAttributes,
    source: 'tracepoint skb:kfree_skb',
    scope: 'netns',
    maxSeries: 128,
  },
});

export const events = defineEvents({
  'skoop.packet.dropped': {
    description: 'The kernel dropped a packet.',
    source: 'tracepoint skb:kfree_skb',
    attributes: pick(
      'kubeskoop.type',
      'network.transport',
      'network.type',
      'network.io.direction',
      'source.address',
      'source.port',
      'destination.address',
      'destination.port',
      'network.interface.name',
      'skoop.drop.reason',
      'skoop.drop.location',
      'skoop.netfilter.hook',
      'skoop.netfilter.table',
      'skoop.netfilter.chain',
      'skoop.packet.size',
      'skoop.tcp.flags',
      'skoop.tcp.state',
      'skoop.icmp.type',
      'skoop.icmp.code',
      'skoop.stack',
      'skoop.advice.cause',
      'skoop.advice.check',
    ),
    kubeskoopTypes: ['PACKETLOSS'],
  },
});

type Config = z.output<typeof config>;
const directions = ['receive', 'transmit'] as const;
const quiet = new Map(noiseLocations.map((n) => [n.name, n]));

/** Value of `cast` (see bpf/packetloss.event.h) that an entry is about; 0 = all. */
function castOf(entry: NoiseEntry): number {
  return entry.castOnly ? 1 : entry.finOnly ? 2 : 0;
}

function quietEntry(location: string | undefined, cast: number): NoiseEntry | undefined {
  const entry = location === undefined ? undefined : quiet.get(plainName(location));
  return entry !== undefined && (castOf(entry) === 0 || castOf(entry) === cast) ? entry : undefined;
}

class PacketLoss implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #kernel: Kernel;
  readonly #reasons: DropReasons;
  readonly #states: ReadonlyMap<number, string>;
  readonly #stack: boolean;
  readonly #series = new Map<string, Series>();
  readonly #chains: ChainWatch;
  #quietMap: MapReader | undefined;
  #loaded: LoadedProbe | undefined;

  constructor(options: Config, context: ProbeContext) {
    this.#kernel = context.kernel;
    this.#reasons = DropReasons.of(context.kernel.types);
    this.#states = tcpStates(context.kernel.types);
    this.#stack = options.enable_stack;
    this.#chains = new ChainWatch(options.netfilter_chains, context);
    this.load = { knobs: { skl_class_of: this.#reasons.classes(), skl_stack_on: options.enable_stack ? 1 : 0 } };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    this.#chains.loaded(loaded);
    this.#quietMap = new MapReader(loaded.map('skl_quiet'));
  }

  /** Function of an address in kernel text; undefined when symbols cannot be read. */
  #function(address: string): string | undefined {
    return address === '' ? undefined : this.#kernel.symbols.lookup(address)?.name;
  }

  /** Tells the kernel half that a location is everyday noise, so that it makes no more events. */
  #silence(address: string, entry: NoiseEntry): void {
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(BigInt(`0x${address}`));
    const when = Buffer.alloc(4);
    when.writeUInt32LE(castOf(entry));
    this.#quietMap?.update(key, when);
  }

  decode(view: View, at: number, length: number, _head: RecordHead): EventDraft | undefined {
    const withStack = length >= layout.packetlossStackEvent.size;
    const full = withStack ? layout.packetlossStackEvent.decode(view, at) : undefined;
    const e = full?.event ?? layout.packetlossEvent.decode(view, at);
    const reason = this.#reasons.name(e.reason);
    const location = this.#function(e.location);
    const noise = this.#reasons.saysNothing(e.reason) ? quietEntry(location, e.cast) : undefined;
    if (noise) {
      this.#silence(e.location, noise);
      return undefined;
    }
    const attributes: MutableAttributes = { 'kubeskoop.type': 'PACKETLOSS' };
    addTuple(attributes, e.tuple);
    attributes['network.io.direction'] = directions[e.direction] ?? 'receive';
    if (e.ifname !== '') attributes['network.interface.name'] = e.ifname;
    attributes['skoop.drop.reason'] = reason;
    attributes['skoop.drop.location'] = location ?? `0x${e.location}`;
    attributes['skoop.packet.size'] = e.length;
    const flags = e.tuple.protocol === 6 ? tcpFlags(e.tcpFlags) : undefined;
    if (flags !== undefined) attributes['skoop.tcp.flags'] = flags;
    const state = e.state === 0 ? undefined : this.#states.get(e.state);
    if (state !== undefined) attributes['skoop.tcp.state'] = state;
    if (e.tuple.protocol === 1 || e.tuple.protocol === 58) {
      attributes['skoop.icmp.type'] = e.icmpType;
      attributes['skoop.icmp.code'] = e.icmpCode;
    }
    if (full !== undefined) this.#addStack(attributes, full, reason);
    const what = attributes['network.transport'] ?? 'packet';
    return {
      event: events['skoop.packet.dropped'],
      severity: 13,
      body: `Dropped ${what} ${describeTuple(e.tuple)}: ${reason} in ${attributes['skoop.drop.location']}.`,
      attributes,
    };
  }

  #addStack(attributes: MutableAttributes, full: layout.PacketlossStackEvent, reason: string): void {
    const { event, stack } = full;
    if (reason === 'NETFILTER_DROP') {
      this.#chains.wanted();
      const hook =
        event.nfHook !== 0
          ? hookName(event.nfFamily, event.nfHook - 1)
          : hookFromStack(stack, (a) => this.#function(a));
      if (hook !== undefined) attributes['skoop.netfilter.hook'] = hook;
      if (event.nfTable !== '') attributes['skoop.netfilter.table'] = event.nfTable;
      if (event.nfChain !== '') attributes['skoop.netfilter.chain'] = event.nfChain;
    }
    if (this.#stack) attributes['skoop.stack'] = stack;
  }

  close(): void {
    this.#chains.close();
  }

  collect(out: Collection): void {
    this.#chains.restIfIdle();
    const map = this.#loaded?.map('skl_drops');
    if (map) out.counters(map, layout.sklDropKey, (key) => this.#seriesOf(out, key));
  }

  #seriesOf(out: Collection, key: layout.SklDropKey): Series {
    const id = `${key.reason}/${key.location}/${key.proto}/${key.family}/${key.direction}/${key.cast}`;
    let series = this.#series.get(id);
    if (!series) {
      const location = key.location === '' ? undefined : this.#function(key.location);
      const noise =
        this.#reasons.isNoise(key.reason, key.cast === 1, key.proto) || quietEntry(location, key.cast) !== undefined;
      const attributes: MutableAttributes = { 'skoop.drop.reason': this.#reasons.name(key.reason) };
      if (location !== undefined) attributes['skoop.drop.location'] = location;
      const transport = transportName(key.proto);
      if (transport !== undefined) attributes['network.transport'] = transport;
      const type = networkType(key.family);
      if (type !== undefined) attributes['network.type'] = type;
      attributes['network.io.direction'] = directions[key.direction] ?? 'receive';
      series = out.series(noise ? metrics['skoop.packet.noise'] : metrics['skoop.packet.drops'], attributes);
      this.#series.set(id, series);
    }
    return series;
  }
}

export default defineProbe<Config>({
  name: 'packetloss',
  summary: 'Which packets does the kernel drop, whose are they, and why?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics),
  events: Object.values(events),
  eventTypes: ['dropped'],
  records: [layout.packetlossEvent],
  create: (options, context) => new PacketLoss(options, context),
});
