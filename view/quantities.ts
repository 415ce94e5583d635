import type { Attributes } from '../pipeline/catalogue.ts';

/**
 * What the view counts, and the metrics it takes it from. The only place of this room that names metrics, events and attributes; a test in
 * `test/conformance` holds each name against the catalogue.
 */

/** One thing that is counted, of each pod and of the node. */
export interface QuantityDefinition {
  /** For people: `packets dropped`. */
  readonly label: string;
  readonly unit: 'packet' | 'byte' | 'segment' | 'connection' | 'event' | 'query';
  /** Counters whose increases are summed. */
  readonly metrics: readonly string[];
  /**
   * The probe that makes them, which is the last part of its source (`ebpf/packetloss`). Series of probes begin with the first occurrence, so batches,
   * empty ones too, are what tells "none" from "not observed".
   */
  readonly probe?: string;
  /** Only series with these values. */
  readonly where?: Attributes;
  /** Not series with one of these values. */
  readonly except?: Attributes;
  /** Attributes that tell occurrences apart on a pod's page, the most telling first. */
  readonly by?: readonly string[];
  /** Its part in the trouble score; absent = none. See {@link troubleOf} in trouble.ts. */
  readonly weight?: number;
}

const notLoopback = { 'network.interface.name': 'lo' };
const direction = (d: string): Attributes => ({ 'network.io.direction': d });

export const metricQuantities = {
  rxPackets: {
    label: 'packets received',
    unit: 'packet',
    metrics: ['system.network.packet.count'],
    where: direction('receive'),
    except: notLoopback,
  },
  txPackets: {
    label: 'packets sent',
    unit: 'packet',
    metrics: ['system.network.packet.count'],
    where: direction('transmit'),
    except: notLoopback,
  },
  rxBytes: {
    label: 'bytes received',
    unit: 'byte',
    metrics: ['system.network.io'],
    where: direction('receive'),
    except: notLoopback,
  },
  txBytes: {
    label: 'bytes sent',
    unit: 'byte',
    metrics: ['system.network.io'],
    where: direction('transmit'),
    except: notLoopback,
  },
  drops: {
    label: 'packets dropped',
    unit: 'packet',
    metrics: ['skoop.packet.drops'],
    probe: 'packetloss',
    by: ['skoop.drop.reason', 'skoop.drop.location'],
    weight: 4,
  },
  connectFailures: {
    label: 'connects failed',
    unit: 'connection',
    metrics: ['skoop.tcp.connect.failures'],
    probe: 'tcpconnect',
    by: ['error.type'],
    weight: 4,
  },
  acceptOverflows: {
    label: 'accept queue overflows',
    unit: 'connection',
    metrics: ['skoop.tcpext.listen_overflows'],
    weight: 4,
  },
  resets: {
    label: 'resets',
    unit: 'segment',
    metrics: ['skoop.tcp.resets'],
    probe: 'tcpreset',
    by: ['skoop.reset.type', 'skoop.reset.reason'],
    weight: 2,
  },
  udpOverflows: {
    label: 'full UDP sockets',
    unit: 'packet',
    metrics: ['skoop.udp.rcvbuf_errors', 'skoop.udp.mem_errors'],
    weight: 2,
  },
  retransmits: {
    label: 'retransmits',
    unit: 'segment',
    metrics: ['skoop.tcp.retrans_segs'],
    weight: 1,
  },
  /** The same by what made it, where the probe is on. */
  retransmitKinds: {
    label: 'retransmits by kind',
    unit: 'segment',
    metrics: ['skoop.tcp.retransmits'],
    probe: 'tcpretrans',
    by: ['skoop.retransmit.kind'],
  },
  softnetDropped: {
    label: 'dropped before the stack',
    unit: 'packet',
    metrics: ['skoop.softnet.dropped'],
    weight: 4,
  },
  softnetSqueezed: {
    label: 'softnet squeezed',
    unit: 'event',
    metrics: ['skoop.softnet.time_squeeze'],
  },
  softnetProcessed: {
    label: 'softnet processed',
    unit: 'packet',
    metrics: ['skoop.softnet.processed'],
  },
  conntrackDropped: {
    label: 'dropped by conntrack',
    unit: 'packet',
    metrics: ['skoop.conntrack.dropped', 'skoop.conntrack.insert_failed'],
    weight: 4,
  },
  /** Events that a rate limit in the kernel held back. */
  suppressed: {
    label: 'events suppressed',
    unit: 'event',
    metrics: ['skoop.event.suppressed'],
    probe: 'packetloss',
    by: ['skoop.probe'],
  },
  /** Events and map entries that found no room in the kernel. */
  lost: {
    label: 'events lost',
    unit: 'event',
    metrics: ['skoop.event.lost', 'skoop.probe.map_full'],
    probe: 'packetloss',
    by: ['skoop.probe'],
  },
} as const satisfies Readonly<Record<string, QuantityDefinition>>;

/** What is counted from events. */
export interface EventQuantityDefinition {
  readonly label: string;
  readonly unit: 'event' | 'query';
  /** Names of events; undefined = every event. */
  readonly events: readonly string[] | undefined;
  readonly weight?: number;
}

export const eventQuantities = {
  events: { label: 'events', unit: 'event', events: undefined },
  dnsFailures: { label: 'DNS failures', unit: 'query', events: ['skoop.dns.failed'], weight: 3 },
  slow: {
    label: 'slow',
    unit: 'event',
    events: [
      'skoop.socket.slow',
      'skoop.kernel.slow',
      'skoop.transmit.slow',
      'skoop.task.slow',
      'skoop.disk.slow',
      'skoop.softirq.slow',
      'skoop.virtio.command.slow',
    ],
    weight: 1,
  },
} as const satisfies Readonly<Record<string, EventQuantityDefinition>>;

export type MetricQuantity = keyof typeof metricQuantities;
export type EventQuantity = keyof typeof eventQuantities;
/** Everything that is counted, by its name in the view. */
export type Quantity = MetricQuantity | EventQuantity;

/** All of them in a fixed order: the columns of a history. */
export const quantityNames: readonly Quantity[] = [
  ...(Object.keys(metricQuantities) as MetricQuantity[]),
  ...(Object.keys(eventQuantities) as EventQuantity[]),
];

/** Column of each. */
export const quantityIndex = Object.fromEntries(quantityNames.map((name, i) => [name, i])) as Readonly<
  Record<Quantity, number>
>;

/** What all of them have: for people, and for the trouble score. */
export interface QuantityInfo {
  readonly label: string;
  readonly unit: string;
  readonly weight?: number;
}

export const quantityInfo: Readonly<Record<Quantity, QuantityInfo>> = { ...metricQuantities, ...eventQuantities };

/** One latency whose distribution is kept. */
export interface LatencyDefinition {
  readonly label: string;
  readonly metric: string;
  readonly where?: Attributes;
}

/** Every histogram in seconds that there is, told apart where one metric holds two different latencies. */
export const latencies = {
  rtt: { label: 'round trip', metric: 'skoop.tcp.rtt' },
  connectionRtt: { label: 'round trip, by connection', metric: 'skoop.tcp.connection.rtt' },
  connect: { label: 'connect', metric: 'skoop.tcp.connect.duration' },
  socketRead: {
    label: 'socket, until read',
    metric: 'skoop.socket.latency',
    where: { 'skoop.socket.direction': 'read' },
  },
  socketWrite: {
    label: 'socket, until sent',
    metric: 'skoop.socket.latency',
    where: { 'skoop.socket.direction': 'write' },
  },
  kernelReceive: { label: 'kernel, receive', metric: 'skoop.kernel.latency', where: direction('receive') },
  kernelTransmit: { label: 'kernel, transmit', metric: 'skoop.kernel.latency', where: direction('transmit') },
  dns: { label: 'DNS', metric: 'skoop.dns.latency' },
  qdisc: { label: 'queueing discipline', metric: 'skoop.qdisc.wait' },
  driver: { label: 'driver', metric: 'skoop.driver.transmit' },
  runDelay: { label: 'wait for a CPU', metric: 'skoop.task.run_delay' },
  softirqSchedule: {
    label: 'soft interrupt, wait',
    metric: 'skoop.softirq.duration',
    where: { 'skoop.softirq.phase': 'schedule' },
  },
  softirqExecute: {
    label: 'soft interrupt, run',
    metric: 'skoop.softirq.duration',
    where: { 'skoop.softirq.phase': 'execute' },
  },
  disk: { label: 'disk', metric: 'skoop.disk.latency' },
  virtio: { label: 'virtio command', metric: 'skoop.virtio.command.duration' },
} as const satisfies Readonly<Record<string, LatencyDefinition>>;

export type Latency = keyof typeof latencies;
export const latencyNames = Object.keys(latencies) as readonly Latency[];

/** Momentary values that are looked up when a page asks for them. */
export const gauges = {
  tcpConnections: 'system.network.connection.count',
  acceptQueue: 'skoop.tcp.accept_queue',
  acceptQueueLimit: 'skoop.tcp.accept_queue_limit',
  conntrackEntries: 'skoop.conntrack.entries',
  conntrackLimit: 'skoop.conntrack.limit',
  peerRtt: 'skoop.tcp.peer.rtt',
  peerRetransmitRatio: 'skoop.tcp.peer.retransmit_ratio',
} as const;

/** Counter of bytes by pair of addresses; off unless the flow probe is on. */
export const flowBytes = 'skoop.flow.io';

/** Attributes that the view reads by name, beside those above. */
export const attributes = {
  transport: 'network.transport',
  direction: 'network.io.direction',
  connectionState: 'network.connection.state',
  localAddress: 'network.local.address',
  localPort: 'network.local.port',
  peerAddress: 'network.peer.address',
  peerPrefix: 'skoop.peer.',
  /** Names of the far end that the processor `peer` gives, the most telling first. */
  peerNames: [
    'skoop.peer.k8s.pod.name',
    'skoop.peer.k8s.service.name',
    'skoop.peer.workload.name',
    'skoop.peer.k8s.node.name',
  ],
  sourceAddress: 'source.address',
  destinationAddress: 'destination.address',
  overflow: 'otel.metric.overflow',
} as const;
