import { mibTable } from './mib-table.ts';

/** `Tcp:` of net/snmp (RFC 4022; net/ipv4/proc.c, snmp4_tcp_list). The kernel counts IPv4 and IPv6 together here. */
export const tcpTable = mibTable('tcp', false, [
  ['active_opens', ['Tcp.ActiveOpens'], '{connection}', 'k', 'Connections begun by this side (SYN sent).'],
  ['passive_opens', ['Tcp.PassiveOpens'], '{connection}', 'k', 'Connections that a listener took.'],
  [
    'attempt_fails',
    ['Tcp.AttemptFails'],
    '{connection}',
    'k',
    'Connection attempts that failed before they were established, refused ones included.',
  ],
  ['estab_resets', ['Tcp.EstabResets'], '{connection}', 'k', 'Established connections that ended by a reset.'],
  [
    'curr_estab',
    ['Tcp.CurrEstab'],
    '{connection}',
    'k',
    'Connections that are ESTABLISHED or CLOSE_WAIT now.',
    { instrument: 'updowncounter' },
  ],
  ['in_segs', ['Tcp.InSegs'], '{segment}', 'k', 'Segments received, those with errors included.'],
  ['out_segs', ['Tcp.OutSegs'], '{segment}', 'k', 'Segments sent, retransmitted ones not included.'],
  ['retrans_segs', ['Tcp.RetransSegs'], '{segment}', 'k', 'Segments sent again.'],
  ['in_errs', ['Tcp.InErrs'], '{segment}', 'k', 'Segments received with an error, bad checksums included.'],
  ['out_rsts', ['Tcp.OutRsts'], '{segment}', 'k', 'Segments sent with the RST flag.'],
  ['in_csum_errors', ['Tcp.InCsumErrors'], '{segment}', 'on', 'Segments received with a wrong checksum.'],
  [
    'rto_algorithm',
    ['Tcp.RtoAlgorithm'],
    '{algorithm}',
    'off',
    'Algorithm for retransmission timeouts, a number of RFC 4022: always 1 (other) on Linux.',
    { instrument: 'gauge' },
  ],
  ['rto_min', ['Tcp.RtoMin'], 's', 'off', 'Shortest retransmission timeout.', { instrument: 'gauge', scale: 0.001 }],
  ['rto_max', ['Tcp.RtoMax'], 's', 'off', 'Longest retransmission timeout.', { instrument: 'gauge', scale: 0.001 }],
  [
    'max_conn',
    ['Tcp.MaxConn'],
    '{connection}',
    'off',
    'Limit on connections; -1 = none, as always on Linux.',
    { instrument: 'gauge' },
  ],
]);
