import { type MibLine, mibTable } from './mib-table.ts';

/** The MIB of UDP and of UDP-Lite are the same (net/ipv4/proc.c, snmp4_udp_list); only the rows differ. */
function lines(row: string, on: 'k' | 'off'): readonly MibLine[] {
  const extra = on === 'k' ? 'on' : 'off';
  const of = (field: string): MibLine[1] => [`${row}.${field}`, `${row}6.${field}`];
  return [
    ['in_datagrams', of('InDatagrams'), '{datagram}', on, 'Datagrams given to a socket.'],
    ['no_ports', of('NoPorts'), '{datagram}', on, 'Datagrams received for a port nobody listens on.'],
    [
      'in_errors',
      of('InErrors'),
      '{datagram}',
      on,
      'Datagrams received and not delivered for another reason than a missing port; full receive buffers included.',
    ],
    ['out_datagrams', of('OutDatagrams'), '{datagram}', on, 'Datagrams sent.'],
    ['rcvbuf_errors', of('RcvbufErrors'), '{datagram}', on, 'Datagrams dropped since the receive buffer was full.'],
    ['sndbuf_errors', of('SndbufErrors'), '{datagram}', on, 'Datagrams not sent since a buffer or queue was full.'],
    ['in_csum_errors', of('InCsumErrors'), '{datagram}', on, 'Datagrams received with a wrong checksum.'],
    ['ignored_multi', of('IgnoredMulti'), '{datagram}', on, 'Multicast datagrams received that no socket wanted.'],
    [
      'mem_errors',
      of('MemErrors'),
      '{datagram}',
      extra,
      'Datagrams dropped since UDP as a whole was at its memory limit.',
    ],
  ];
}

export const udpTable = mibTable('udp', true, lines('Udp', 'k'));
export const udpliteTable = mibTable('udplite', true, lines('UdpLite', 'off'));
