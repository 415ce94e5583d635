import { type Default, type MibLine, mibTable } from './mib-table.ts';

/**
 * `Ip:` of net/snmp, `IpExt:` of net/netstat and `Ip6…` of net/snmp6: the same counters (RFC 4293, ipSystemStatsTable) for the two IP versions,
 * which the kernel spreads over three files.
 */

const both = (name: string, field: string, on: Default, description: string, unit = '{packet}'): MibLine => [
  name,
  [`Ip.${field}`, `Ip6.${field}`],
  unit,
  on,
  description,
];
const ext = (name: string, field: string, on: Default, description: string, unit = '{packet}'): MibLine => [
  name,
  [`IpExt.${field}`, `Ip6.${field}`],
  unit,
  on,
  description,
];

export const ipTable = mibTable('ip', true, [
  [
    'forwarding',
    ['Ip.Forwarding'],
    '{mode}',
    'k',
    'Whether packets are forwarded: 1 = yes, 2 = no (RFC 4293 ipForwarding).',
    { instrument: 'gauge' },
  ],
  ['default_ttl', ['Ip.DefaultTTL'], '{hop}', 'k', 'Time to live put on packets sent.', { instrument: 'gauge' }],
  both('in_receives', 'InReceives', 'k', 'Packets received, those with errors included.'),
  both(
    'in_hdr_errors',
    'InHdrErrors',
    'k',
    'Packets dropped for an error in their header, an expired time to live included.',
  ),
  both('in_addr_errors', 'InAddrErrors', 'k', 'Packets dropped since their destination is not valid here.'),
  [
    'forw_datagrams',
    ['Ip.ForwDatagrams', 'Ip6.OutForwDatagrams'],
    '{packet}',
    'k',
    'Packets forwarded: they were not for this host.',
  ],
  both('in_unknown_protos', 'InUnknownProtos', 'k', 'Packets dropped since nothing here speaks their protocol.'),
  both(
    'in_discards',
    'InDiscards',
    'k',
    'Packets received without fault and dropped all the same, for want of memory or by a filter.',
  ),
  both('in_delivers', 'InDelivers', 'k', 'Packets given to a protocol of this host.'),
  both('out_requests', 'OutRequests', 'k', 'Packets that protocols of this host wanted sent.'),
  both(
    'out_discards',
    'OutDiscards',
    'k',
    'Packets not sent although nothing was wrong with them: full queues, filters.',
  ),
  both('out_no_routes', 'OutNoRoutes', 'k', 'Packets not sent for want of a route.'),
  both(
    'reasm_timeout',
    'ReasmTimeout',
    'k',
    'Reassemblies given up since fragments did not come in time.',
    '{timeout}',
  ),
  both('reasm_reqds', 'ReasmReqds', 'k', 'Fragments received.', '{fragment}'),
  both('reasm_oks', 'ReasmOKs', 'k', 'Packets put together from fragments.'),
  both('reasm_fails', 'ReasmFails', 'k', 'Failures of reassembly.', '{failure}'),
  both('frag_oks', 'FragOKs', 'k', 'Packets cut into fragments.'),
  both('frag_fails', 'FragFails', 'k', 'Packets too big that must not be fragmented: the trace of an MTU problem.'),
  both('frag_creates', 'FragCreates', 'k', 'Fragments made.', '{fragment}'),
  both('out_transmits', 'OutTransmits', 'off', 'Packets handed to the device layer (kernel 6.8 and later).'),
  ext('in_no_routes', 'InNoRoutes', 'on', 'Packets to be forwarded for which there is no route.'),
  ext('in_truncated_pkts', 'InTruncatedPkts', 'on', 'Packets shorter than their header says.'),
  [
    'in_too_big_errors',
    ['Ip6.InTooBigErrors'],
    '{packet}',
    'on',
    'Packets to be forwarded that are larger than the link takes.',
  ],
  ext('in_octets', 'InOctets', 'off', 'Bytes of packets received.', 'By'),
  ext('out_octets', 'OutOctets', 'off', 'Bytes of packets sent.', 'By'),
  ext('in_mcast_pkts', 'InMcastPkts', 'off', 'Multicast packets received.'),
  ext('out_mcast_pkts', 'OutMcastPkts', 'off', 'Multicast packets sent.'),
  ['in_bcast_pkts', ['IpExt.InBcastPkts'], '{packet}', 'off', 'Broadcast packets received.'],
  ['out_bcast_pkts', ['IpExt.OutBcastPkts'], '{packet}', 'off', 'Broadcast packets sent.'],
  ext('in_mcast_octets', 'InMcastOctets', 'off', 'Bytes of multicast packets received.', 'By'),
  ext('out_mcast_octets', 'OutMcastOctets', 'off', 'Bytes of multicast packets sent.', 'By'),
  ext('in_bcast_octets', 'InBcastOctets', 'off', 'Bytes of broadcast packets received.', 'By'),
  ext('out_bcast_octets', 'OutBcastOctets', 'off', 'Bytes of broadcast packets sent.', 'By'),
  ['in_csum_errors', ['IpExt.InCsumErrors'], '{packet}', 'on', 'Packets received with a wrong header checksum.'],
  ext('in_no_ect_pkts', 'InNoECTPkts', 'off', 'Packets received without ECN (RFC 3168).'),
  ext('in_ect1_pkts', 'InECT1Pkts', 'off', 'Packets received with ECN codepoint ECT(1).'),
  ext('in_ect0_pkts', 'InECT0Pkts', 'off', 'Packets received with ECN codepoint ECT(0).'),
  ext('in_ce_pkts', 'InCEPkts', 'on', 'Packets received with the ECN mark "congestion experienced".'),
  [
    'reasm_overlaps',
    ['IpExt.ReasmOverlaps'],
    '{packet}',
    'on',
    'Packets dropped since their fragments overlap (RFC 5722).',
  ],
]);
