import { defineMetrics } from '../../pipeline/catalogue.ts';
import { type Default, type MibLine, mibTable, networkType } from './mib-table.ts';

/** `Icmp:` of net/snmp and `Icmp6…` of net/snmp6 (RFC 4293, icmpStatsTable): what one side tells the other about packets that failed. */

const m = (name: string, v4: string | undefined, v6: string | undefined, on: Default, description: string): MibLine => {
  const four: MibLine[1] | [] = v4 === undefined ? [] : [`Icmp.${v4}`];
  const six: MibLine[1] | [] = v6 === undefined ? [] : [`Icmp6.${v6}`];
  return [name, [...four, ...six] as unknown as MibLine[1], '{message}', on, description];
};
/** One kind of message, received and sent. */
const inOut = (name: string, v4: string | undefined, v6: string | undefined, on: Default, what: string): MibLine[] => [
  m(`in_${name}`, v4 && `In${v4}`, v6 && `In${v6}`, on, `${what} received.`),
  m(`out_${name}`, v4 && `Out${v4}`, v6 && `Out${v6}`, on, `${what} sent.`),
];

export const icmpTable = mibTable('icmp', true, [
  ...inOut('msgs', 'Msgs', 'Msgs', 'on', 'ICMP messages, those with errors included,'),
  ...inOut('errors', 'Errors', 'Errors', 'on', 'ICMP messages with an error'),
  m('in_csum_errors', 'InCsumErrors', 'InCsumErrors', 'on', 'ICMP messages received with a wrong checksum.'),
  m(
    'out_rate_limit_host',
    'OutRateLimitHost',
    'OutRateLimitHost',
    'on',
    'ICMP messages not sent because of the rate limit for their receiver (kernel 6.4 and later).',
  ),
  m(
    'out_rate_limit_global',
    'OutRateLimitGlobal',
    undefined,
    'on',
    'ICMP messages not sent because of the rate limit of the whole host (kernel 6.4 and later).',
  ),
  ...inOut('dest_unreachs', 'DestUnreachs', 'DestUnreachs', 'on', 'Messages "destination unreachable"'),
  ...inOut(
    'pkt_too_bigs',
    undefined,
    'PktTooBigs',
    'on',
    'Messages "packet too big", which path MTU discovery of IPv6 lives on,',
  ),
  ...inOut('time_excds', 'TimeExcds', 'TimeExcds', 'on', 'Messages "time exceeded"'),
  ...inOut('parm_probs', 'ParmProbs', 'ParmProblems', 'off', 'Messages "parameter problem"'),
  ...inOut('src_quenchs', 'SrcQuenchs', undefined, 'off', 'Messages "source quench" (RFC 6633 retired them)'),
  ...inOut('redirects', 'Redirects', 'Redirects', 'on', 'Redirects'),
  ...inOut('echos', 'Echos', 'Echos', 'off', 'Echo requests'),
  ...inOut('echo_reps', 'EchoReps', 'EchoReplies', 'off', 'Echo replies'),
  ...inOut('timestamps', 'Timestamps', undefined, 'off', 'Timestamp requests'),
  ...inOut('timestamp_reps', 'TimestampReps', undefined, 'off', 'Timestamp replies'),
  ...inOut('addr_masks', 'AddrMasks', undefined, 'off', 'Address mask requests'),
  ...inOut('addr_mask_reps', 'AddrMaskReps', undefined, 'off', 'Address mask replies'),
  ...inOut('group_memb_queries', undefined, 'GroupMembQueries', 'off', 'Multicast listener queries'),
  ...inOut('group_memb_responses', undefined, 'GroupMembResponses', 'off', 'Multicast listener reports'),
  ...inOut('group_memb_reductions', undefined, 'GroupMembReductions', 'off', 'Multicast listener done messages'),
  ...inOut('router_solicits', undefined, 'RouterSolicits', 'off', 'Router solicitations'),
  ...inOut('router_advertisements', undefined, 'RouterAdvertisements', 'off', 'Router advertisements'),
  ...inOut('neighbor_solicits', undefined, 'NeighborSolicits', 'off', 'Neighbour solicitations'),
  ...inOut('neighbor_advertisements', undefined, 'NeighborAdvertisements', 'off', 'Neighbour advertisements'),
  ...inOut('mldv2_reports', undefined, 'MLDv2Reports', 'off', 'Multicast listener reports of version 2'),
]);

/** `IcmpMsg:` and `Icmp6InType…`: one series for each type that was ever seen. */
export const icmpTypeMetrics = defineMetrics({
  'skoop.icmp.messages': {
    instrument: 'counter',
    unit: '{message}',
    description: 'ICMP messages by type number.',
    attributes: {
      'network.type': networkType,
      'network.io.direction': { description: 'Received or sent.', values: ['receive', 'transmit'] },
      'skoop.icmp.type': { description: 'Type number as in the IANA registry: 3 = destination unreachable (ICMPv4).' },
    },
    source: 'net/snmp IcmpMsg, net/snmp6 Icmp6InType…',
    scope: 'netns',
    maxSeries: 128,
    enabled: false,
  },
});
