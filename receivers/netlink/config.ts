import { z } from 'zod';
import { bytes, duration } from '../../pipeline/fields.ts';
import { metrics } from './metrics.ts';

const enabled = (fallback: boolean, text: string) => z.boolean().default(fallback).describe(text);

const conntrackEvents = z.strictObject({
  enabled: enabled(false, 'Emit an event for each connection that is made, changes or ends. Costs about 10 µs each.'),
  types: z
    .array(z.enum(['new', 'update', 'destroy']))
    .min(1)
    .default(['new', 'destroy'])
    .describe('Which changes.'),
  namespaces: z
    .enum(['host', 'all'])
    .default('host')
    .describe(
      "The node's network namespace, or every one (each costs a socket and keeps the namespace alive for up to one interval).",
    ),
  max_namespaces: z.number().int().positive().default(64).describe('Namespaces listened to at most.'),
  rate_limit: z
    .number()
    .int()
    .nonnegative()
    .default(1000)
    .describe('Events a second and namespace; what is above is dropped and counted. 0 = no limit.'),
  receive_buffer: bytes('8MiB').describe('Socket buffer: what the kernel can keep while the agent is busy.'),
});

const conntrack = z.strictObject({
  enabled: enabled(true, 'Connection tracking: table usage, drops, connections by state.'),
  connections: enabled(true, 'Count connections by protocol and state, by a dump of the table (about 1 µs an entry).'),
  max_entries: z
    .number()
    .int()
    .positive()
    .default(50_000)
    .describe('Tables larger than this are not dumped: connections by state are then absent.'),
  dump_budget: duration('100ms').describe(
    'Time a round may spend on dumps: with many tracking namespaces (2 to 4 ms each) every table is counted once in several rounds.',
  ),
  events: conntrackEvents.prefault({}).describe('An event for each connection.'),
});

const qdisc = z.strictObject({
  enabled: enabled(true, 'Queueing disciplines: traffic, drops, queue lengths by device and kind.'),
  max_interfaces: z
    .number()
    .int()
    .positive()
    .default(64)
    .describe('Interfaces with a queue for each namespace; more are dropped and counted.'),
});

const worstPeers = z.strictObject({
  limit: z.number().int().min(0).max(5).default(3).describe('Peers named for each namespace and metric; 0 = none.'),
  min_rtt: duration('100ms').describe('Peers nearer than this are not named.'),
  min_retransmit_ratio: z
    .number()
    .gt(0)
    .lte(1)
    .default(0.01)
    .describe('Peers with fewer retransmissions are not named.'),
  min_segments: z
    .number()
    .int()
    .positive()
    .default(20)
    .describe('Segments that must have been sent to a peer in the round for its retransmit ratio to mean something.'),
});

const tcpInfo = z.strictObject({
  enabled: enabled(true, 'Round-trip times, windows, retransmissions of established connections.'),
  max_connections: z
    .number()
    .int()
    .positive()
    .default(100_000)
    .describe('Connections remembered from one round to the next, all namespaces together (about 100 bytes each).'),
  worst_peers: worstPeers.prefault({}).describe('Which remote ends are named while they are slow or lossy.'),
});

const neighbour = z.strictObject({
  enabled: enabled(true, 'ARP and neighbour discovery: entries by state, table limits.'),
});
const link = z.strictObject({
  enabled: enabled(true, 'Interfaces: carrier changes.'),
  events: enabled(true, 'Emit skoop.link.changed.'),
});
const rdma = z.strictObject({ enabled: enabled(true, 'RDMA devices of the node.') });

const known = new Set(metrics.map((m) => m.name));

export const config = z.strictObject({
  collection_interval: duration('15s').describe('Time between two rounds over all network namespaces.'),
  scrapers: z
    .strictObject({
      conntrack: conntrack.prefault({}).describe('Connection tracking.'),
      qdisc: qdisc.prefault({}).describe('Queueing disciplines.'),
      tcp_info: tcpInfo.prefault({}).describe('TCP connections.'),
      neighbour: neighbour.prefault({}).describe('ARP and neighbour discovery.'),
      link: link.prefault({}).describe('Interfaces.'),
      rdma: rdma.prefault({}).describe('RDMA devices.'),
    })
    .prefault({})
    .describe('What is looked at.'),
  metrics: z
    .record(z.string(), z.strictObject({ enabled: z.boolean().describe('Export it or not.') }))
    .default({})
    .describe('Switches single metrics on or off: `skoop.conntrack.ignored: { enabled: true }`.'),
});

export type NetlinkConfig = z.output<typeof config>;
export type ScraperName = keyof NetlinkConfig['scrapers'];

/** Names under `metrics:` that this receiver does not have. */
export function checkConfig(c: NetlinkConfig): { path: readonly string[]; message: string }[] {
  return Object.keys(c.metrics)
    .filter((name) => !known.has(name))
    .map((name) => ({ path: ['metrics', name], message: `this receiver has no metric '${name}'` }));
}
