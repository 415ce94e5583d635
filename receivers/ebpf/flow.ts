import { z } from 'zod';
import * as layout from '../../bpf/gen/flow.gen.ts';
import type { HookSpec, LoadedProbe } from '../../bpf/loader.ts';
import { u64, type View, viewOf } from '../../bpf/record.ts';
import { MapReader } from '../../host/bpf/map-reader.ts';
import { hostRoot } from '../../host/proc-root.ts';
import { defineMetrics, type KubeskoopName, type MetricDefinition } from '../../pipeline/catalogue.ts';
import { duration } from '../../pipeline/fields.ts';
import { type MutableAttributes, pick, transportName } from './attributes.ts';
import type { Collection, Series } from './collection.ts';
import {
  defaultRouteDevices,
  encodePattern,
  maxNames,
  nodeNetns,
  parsePatterns,
  patternProblem,
} from './flow-interfaces.ts';
import { defineProbe, type ProbeContext, type ProbeRun, probeFields } from './probe.ts';

const hooks: readonly HookSpec[] = [
  {
    name: 'transmit',
    purpose: 'packets given to a driver',
    required: true,
    choices: [{ programs: ['skl_transmit'], arguments: 2 }],
  },
  {
    name: 'receive',
    purpose: 'packets received from a driver',
    required: true,
    choices: [{ programs: ['skl_receive'], arguments: 1 }],
  },
];

const config = z.strictObject({
  ...probeFields({ enabled: false, events: false }),
  namespaces: z
    .enum(['pods', 'node', 'all'])
    .default('pods')
    .describe("Where to count: at all interfaces but lo of pods' own namespaces, at interfaces of the node, or both."),
  interface_name: z
    .string()
    .default('')
    .refine((text) => patternProblem(text) === undefined, {
      error: (issue) => `expected interface names: ${patternProblem(String(issue.input))}`,
    })
    .describe(
      'Interfaces of the node: names, `prefix*`, several with commas. Empty = those of its default routes. When set, the node is counted whatever `namespaces` says.',
    ),
  enable_port_in_label: z.boolean().default(false).describe('One series for each pair of ports.'),
  max_flows: z
    .number()
    .int()
    .min(64)
    .max(262_144)
    .default(4096)
    .describe(
      'Flows counted one by one; what comes later is summed for each namespace and direction. 4096 take 10 ms at each reading.',
    ),
  idle_timeout: duration('5m').describe('A flow without packets for this long joins the sum of its namespace.'),
});
type Config = z.output<typeof config>;

const source = 'tracepoints net:net_dev_start_xmit, net:netif_receive_skb';
const attributes = {
  ...pick('network.io.direction', 'network.transport', 'source.address', 'destination.address'),
  'source.port': { description: 'Port of the sender, with enable_port_in_label.' },
  'destination.port': { description: 'Port of the receiver, with enable_port_in_label.' },
  'otel.metric.overflow': { description: 'True on the series that sums what is not counted flow by flow.' },
} as const;

/** The names of one end, as processors/peer gives them, by KubeSkoop's labels. */
function endLabels(end: 'local' | 'peer', label: 'src' | 'dst'): Readonly<Record<string, string>> {
  return {
    [`skoop.${end}.kind`]: `${label}_type`,
    [`skoop.${end}.k8s.node.name`]: `${label}_node`,
    [`skoop.${end}.k8s.namespace.name`]: `${label}_namespace`,
    [`skoop.${end}.k8s.pod.name`]: `${label}_pod`,
  };
}

/** KubeSkoop names the sender and the receiver; who of them is the far end depends on the direction. */
function kubeskoop(name: string): KubeskoopName[] {
  const labels = {
    'network.transport': 'protocol',
    'source.address': 'src',
    'destination.address': 'dst',
    'source.port': 'sport',
    'destination.port': 'dport',
  };
  const sent = { ...labels, ...endLabels('local', 'src'), ...endLabels('peer', 'dst') };
  const received = { ...labels, ...endLabels('peer', 'src'), ...endLabels('local', 'dst') };
  return [
    { name, where: { 'network.io.direction': 'transmit' }, labels: sent },
    { name, where: { 'network.io.direction': 'receive' }, labels: received },
  ];
}

export const metrics = defineMetrics({
  'skoop.flow.io': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes on the wire between two addresses, link header included, as the interface counts them.',
    attributes,
    source,
    scope: 'netns',
    maxSeries: 4096,
    kubeskoop: kubeskoop('kubeskoop_flow_bytes'),
  },
  'skoop.flow.packets': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets between two addresses; one that the NIC cuts up or put together counts once.',
    attributes,
    source,
    scope: 'netns',
    maxSeries: 4096,
    kubeskoop: kubeskoop('kubeskoop_flow_packets'),
  },
});

const directions = ['receive', 'transmit'] as const;
const transmitAt = layout.sklFlowKey.offsets['transmit']!;
const at = {
  cookie: layout.sklFlowKey.offsets['owner.cookie']!,
  netns: layout.sklFlowKey.offsets['owner.netns']!,
  bytes: layout.sklTraffic.offsets['bytes']!,
  packets: layout.sklTraffic.offsets['packets']!,
  last: layout.sklTraffic.offsets['last']!,
};

/** A flow as user space remembers it, by the bytes of its key. */
interface Flow {
  readonly cookie: number;
  readonly netns: number;
  readonly bytes: Series;
  readonly packets: Series;
  round: number;
}

interface Traffic {
  bytes: number;
  packets: number;
  last: number;
}

/** Sums the copies of all CPUs. */
function trafficOf(values: View, from: number, copies: number): Traffic {
  const out = { bytes: 0, packets: 0, last: 0 };
  for (let c = 0, o = from; c < copies; c++, o += layout.sklTraffic.size) {
    out.bytes += u64(values, o + at.bytes);
    out.packets += u64(values, o + at.packets);
    out.last = Math.max(out.last, u64(values, o + at.last));
  }
  return out;
}

class FlowRun implements ProbeRun {
  readonly load: NonNullable<ProbeRun['load']>;
  readonly #options: Config;
  readonly #context: ProbeContext;
  readonly #node: boolean;
  readonly #flows = new Map<string, Flow>();
  #loaded: LoadedProbe | undefined;
  #names = '';
  #round = 0;

  constructor(options: Config, context: ProbeContext) {
    this.#options = options;
    this.#context = context;
    this.#node = options.namespaces !== 'pods' || options.interface_name !== '';
    this.load = {
      knobs: {
        skl_node_netns: nodeNetns(hostRoot),
        skl_pods: options.namespaces === 'node' ? 0 : 1,
        skl_node: this.#node ? 1 : 0,
        skl_ports: options.enable_port_in_label ? 1 : 0,
      },
      mapEntries: { skl_flows: options.max_flows },
    };
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    if (this.#node) this.#chooseInterfaces(loaded);
  }

  /** Writes the names into the kernel when they are others than before: default routes come and go. */
  #chooseInterfaces(loaded: LoadedProbe): void {
    const given = parsePatterns(this.#options.interface_name);
    const patterns = given.length > 0 ? given : defaultRouteDevices(hostRoot).slice(0, maxNames);
    const names = patterns.join(',') || 'none';
    if (names === this.#names) return;
    if (patterns.length === 0) {
      this.#context.log.warn(
        'The node has no default route: none of its interfaces is counted until there is one. Set interface_name to name them.',
      );
    } else {
      this.#context.log.info(`Counting flows at interfaces ${names} of the node.`);
    }
    this.#names = names;
    const reader = new MapReader(loaded.map('skl_names'));
    const key = Buffer.alloc(4);
    for (let i = 0; i < maxNames; i++) {
      key.writeUInt32LE(i);
      const pattern = patterns[i];
      reader.update(key, pattern === undefined ? Buffer.alloc(layout.sklName.size) : encodePattern(pattern));
    }
  }

  collect(out: Collection): void {
    const loaded = this.#loaded;
    if (!loaded) return;
    if (this.#node) this.#chooseInterfaces(loaded);
    this.#round++;
    const idle = this.#readFlows(out, loaded);
    if (idle.length > 0) this.#end(out, loaded, idle);
    for (const map of ['skl_rest', 'skl_ended']) {
      out.entries(loaded.map(map), layout.sklRestKey, (key, values, copies) => {
        const sum = trafficOf(values, copies[0]!, copies.length);
        this.#addRest(out, key.owner.cookie, key.owner.netns, key.transmit, sum);
      });
    }
    for (const [key, flow] of this.#flows) if (flow.round !== this.#round) this.#flows.delete(key);
    out.forgetUnused(Object.values(metrics));
  }

  #addRest(out: Collection, cookie: number, netns: number, transmit: number, traffic: Traffic): void {
    const own = { 'network.io.direction': directions[transmit === 0 ? 0 : 1], 'otel.metric.overflow': true };
    out.add(cookie, netns, out.series(metrics['skoop.flow.io'], own), traffic.bytes);
    out.add(cookie, netns, out.series(metrics['skoop.flow.packets'], own), traffic.packets);
  }

  /** Adds all flows that are not idle; returns the keys of the others. */
  #readFlows(out: Collection, loaded: LoadedProbe): Buffer[] {
    const idle: Buffer[] = [];
    const before = Number(process.hrtime.bigint()) - this.#options.idle_timeout * 1e6;
    out.batches(loaded.map('skl_flows'), (e) => {
      const keys = viewOf(e.keys);
      const values = viewOf(e.values);
      for (let i = 0; i < e.count; i++) {
        const from = i * e.keySize;
        const traffic = trafficOf(values, i * e.valueStride, e.copies);
        if (traffic.last < before) idle.push(Buffer.from(e.keys.subarray(from, from + e.keySize)));
        else this.#add(out, this.#flow(out, keys, from), traffic);
      }
    });
    return idle;
  }

  #add(out: Collection, flow: Flow, traffic: Traffic): void {
    flow.round = this.#round;
    out.add(flow.cookie, flow.netns, flow.bytes, traffic.bytes);
    out.add(flow.cookie, flow.netns, flow.packets, traffic.packets);
  }

  #flow(out: Collection, keys: View, from: number): Flow {
    const id = keys.u8.toString('latin1', from, from + layout.sklFlowKey.size);
    let flow = this.#flows.get(id);
    if (!flow) {
      const own = this.#attributesOf(layout.sklFlowKey.decode(keys, from));
      flow = {
        cookie: u64(keys, from + at.cookie),
        netns: keys.data.getUint32(from + at.netns, true),
        bytes: out.series(metrics['skoop.flow.io'], own),
        packets: out.series(metrics['skoop.flow.packets'], own),
        round: this.#round,
      };
      this.#flows.set(id, flow);
    }
    return flow;
  }

  #attributesOf(key: layout.SklFlowKey): MutableAttributes {
    const { tuple } = key;
    const own: MutableAttributes = { 'network.io.direction': directions[key.transmit === 0 ? 0 : 1] };
    // ARP and other things that are not IP have no addresses here, and are traffic all the same.
    own['network.transport'] = transportName(tuple.protocol) ?? 'other';
    if (tuple.family !== 0) {
      own['source.address'] = tuple.sourceAddress;
      own['destination.address'] = tuple.destinationAddress;
    }
    if (this.#options.enable_port_in_label && (tuple.sourcePort !== 0 || tuple.destinationPort !== 0)) {
      own['source.port'] = tuple.sourcePort;
      own['destination.port'] = tuple.destinationPort;
    }
    return own;
  }

  /**
   * Moves idle flows into the sums of their namespaces. Room for the sum is made first, then the flow is taken with its last value, so that
   * nothing is lost; a flow for whose sum there is no room stays.
   */
  #end(out: Collection, loaded: LoadedProbe, idle: readonly Buffer[]): void {
    const flows = new MapReader(loaded.map('skl_flows'));
    const ended = new MapReader(loaded.map('skl_ended'));
    const none = Buffer.alloc(layout.sklTraffic.size);
    for (const key of idle) {
      const restKey = Buffer.alloc(layout.sklRestKey.size);
      key.copy(restKey, 0, 0, layout.sklRestKey.offsets['transmit']!);
      restKey.writeUInt32LE(key.readUInt32LE(transmitAt), layout.sklRestKey.offsets['transmit']!);
      const known = ended.lookup(restKey);
      const sum = known ? trafficOf(viewOf(Buffer.from(known)), 0, 1) : { bytes: 0, packets: 0, last: 0 };
      const room = known !== undefined || ended.update(restKey, none);
      const last = room ? flows.take(key) : flows.lookup(key);
      if (!last) continue;
      const traffic = trafficOf(viewOf(last), 0, flows.copies);
      if (room) {
        ended.update(restKey, encodeTraffic(sum.bytes + traffic.bytes, sum.packets + traffic.packets));
      } else {
        this.#add(out, this.#flow(out, viewOf(Buffer.from(key)), 0), traffic);
      }
    }
  }
}

function encodeTraffic(bytes: number, packets: number): Buffer {
  const out = Buffer.alloc(layout.sklTraffic.size);
  out.writeBigUInt64LE(BigInt(bytes), at.bytes);
  out.writeBigUInt64LE(BigInt(packets), at.packets);
  return out;
}

export default defineProbe<Config>({
  name: 'flow',
  summary: 'Who talks to whom, and how much?',
  stability: 'beta',
  layout,
  hooks,
  config,
  metrics: Object.values(metrics) as MetricDefinition[],
  events: [],
  eventTypes: [],
  records: [],
  create: (options, context) => new FlowRun(options, context),
});
