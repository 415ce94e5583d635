import type { FlowTuple } from '../../bpf/record.ts';
import type { AttributeDefinition, AttributeValue } from '../../pipeline/catalogue.ts';

/**
 * Attributes that all probes share: OpenTelemetry semantic conventions where they have a name, `skoop.` for the rest.
 * A probe takes its definitions from here, so that one thing has one name.
 */
export const attributes = {
  'network.transport': {
    description: 'Transport protocol.',
    values: ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'udplite', 'igmp', 'other'],
  },
  'network.type': { description: 'IP version on the wire.', values: ['ipv4', 'ipv6'] },
  'network.io.direction': { description: 'Seen from the owner.', values: ['receive', 'transmit'] },
  'network.interface.name': { description: 'Interface the packet was on.' },
  'source.address': { description: 'Sender of the packet; local end of a connection.' },
  'source.port': { description: 'Port of the sender.' },
  'destination.address': { description: 'Receiver of the packet; remote end of a connection.' },
  'destination.port': { description: 'Port of the receiver.' },
  'process.pid': { description: "Process (thread group) id in the node's pid namespace." },
  'process.executable.name': { description: 'Command name of the process (comm, 15 characters).' },
  'kubeskoop.type': { description: "Event type by KubeSkoop's name." },
  'skoop.drop.reason': {
    description: "Why the kernel dropped it, by the running kernel's own name; NOT_SPECIFIED where it has none.",
  },
  'skoop.drop.location': { description: 'Kernel function that dropped it.' },
  'skoop.reset.reason': { description: 'Why the kernel sent a RST, by its own name (since v6.10).' },
  'skoop.netfilter.hook': {
    description: 'Netfilter hook.',
    values: ['prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress', 'egress'],
  },
  'skoop.netfilter.table': { description: 'Table, where the kernel lets us see it.' },
  'skoop.netfilter.chain': { description: 'Chain, where the kernel lets us see it.' },
  'skoop.packet.size': { description: 'Length of the packet, bytes.' },
  'skoop.tcp.state': { description: 'State of the socket.' },
  'skoop.tcp.flags': { description: 'Flags of the segment, `SYN|ACK`.' },
  'skoop.icmp.type': { description: 'ICMP type.' },
  'skoop.icmp.code': { description: 'ICMP code.' },
  'skoop.latency': { description: 'Measured duration, seconds.' },
  'cpu.logical_number': { description: 'CPU it happened on.' },
  'error.type': {
    description:
      'Name of the errno, `ECONNREFUSED`; `aborted` = the process gave up first; `SERVFAIL`, `timeout` of DNS.',
  },
  'skoop.tcp.syn_retransmits': { description: 'SYNs sent again in this attempt.' },
  'skoop.queue.length': { description: 'Fill of the queue when it happened.' },
  'skoop.queue.limit': { description: 'Size of the queue.' },
  'skoop.udp.reason': { description: 'What was full.', values: ['receive_buffer', 'memory_limit', 'other'] },
  'server.address': { description: 'Server that was asked.' },
  'server.port': { description: 'Port of the server.' },
  'dns.question.name': { description: 'Name that was asked for; `...` at its end = longer than what is carried.' },
  'skoop.dns.question.type': { description: 'Type of record that was asked for, `AAAA`.' },
  'skoop.dns.rcode': { description: 'What the answer says, `NOERROR`.' },
  'skoop.stack': {
    description: 'Kernel stack, innermost first: addresses from the receiver, functions after processors/symbolize.',
  },
  'skoop.advice.cause': { description: 'What usually causes this.' },
  'skoop.advice.check': { description: 'What to look at next.' },
} as const satisfies Readonly<Record<string, AttributeDefinition>>;

/** Picks definitions for a metric or event. */
export function pick<const K extends keyof typeof attributes>(
  ...names: readonly K[]
): { readonly [P in K]: AttributeDefinition } {
  return Object.fromEntries(names.map((n) => [n, attributes[n]])) as unknown as {
    readonly [P in K]: AttributeDefinition;
  };
}

/** A set of attributes while it is being filled. */
export type MutableAttributes = Record<string, AttributeValue>;

/** IPPROTO_* (IANA protocol numbers) → `network.transport`. */
const transports: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
};

/** `tcp` for 6; undefined for 0, `other` for what has no name here. */
export function transportName(protocol: number): string | undefined {
  return protocol === 0 ? undefined : (transports[protocol] ?? 'other');
}

export function networkType(family: number): 'ipv4' | 'ipv6' | undefined {
  return family === 4 ? 'ipv4' : family === 6 ? 'ipv6' : undefined;
}

/** Both ends into `into`; nothing for an unknown family, no ports where the protocol has none. */
export function addTuple(into: MutableAttributes, tuple: FlowTuple): void {
  const transport = transportName(tuple.protocol);
  const type = networkType(tuple.family);
  if (transport !== undefined) into['network.transport'] = transport;
  if (type === undefined) return;
  into['network.type'] = type;
  into['source.address'] = tuple.sourceAddress;
  into['destination.address'] = tuple.destinationAddress;
  if (tuple.sourcePort === 0 && tuple.destinationPort === 0) return;
  into['source.port'] = tuple.sourcePort;
  into['destination.port'] = tuple.destinationPort;
}

/** `10.0.0.1:80 -> 10.0.0.2:1234` for a readable body; IPv6 addresses in brackets. */
export function describeTuple(tuple: FlowTuple): string {
  if (tuple.family === 0) return 'unknown addresses';
  const ports = tuple.sourcePort !== 0 || tuple.destinationPort !== 0;
  const end = (address: string, port: number) => {
    const host = tuple.family === 6 && ports ? `[${address}]` : address;
    return ports ? `${host}:${port}` : host;
  };
  return `${end(tuple.sourceAddress, tuple.sourcePort)} -> ${end(tuple.destinationAddress, tuple.destinationPort)}`;
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;

/** Byte 13 of a TCP header (RFC 9293) as `SYN|ACK`; undefined when no flag is set. */
export function tcpFlags(byte: number): string | undefined {
  const names = flagNames.filter((_, i) => (byte & (1 << i)) !== 0);
  return names.length === 0 ? undefined : names.join('|');
}
