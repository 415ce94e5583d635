/**
 * What the kernel frees as "dropped" every day without anything being lost. Each entry says why it is no loss; what is named here is
 * counted as skoop.packet.noise and makes no event. When in doubt it is a loss: leave it out.
 */
export interface NoiseEntry {
  /** Name of the reason without SKB_DROP_REASON_, or of the function for {@link noiseLocations}. */
  readonly name: string;
  /** Only for multicast and broadcast. */
  readonly castOnly?: boolean;
  /** Only for multicast of IGMP and ICMPv6: group membership, router and neighbour discovery. */
  readonly controlOnly?: boolean;
  /** Only for TCP segments with FIN, and for ACK and RST without data to an ending connection (locations only). */
  readonly finOnly?: boolean;
  readonly why: string;
}

/** By reason. Sources: include/net/dropreason-core.h, and the traces of the fault table. */
export const noiseReasons: readonly NoiseEntry[] = [
  { name: 'QUEUE_PURGE', why: 'A socket or device queue was emptied because its owner closed it.' },
  {
    name: 'SOCKET_CLOSE',
    why: 'The process closed the socket with data unread; a reset that follows is an event of tcpreset.',
  },
  { name: 'UNIX_DISCONNECT', why: 'Data in a Unix socket whose peer went away: no network packet.' },
  { name: 'UNIX_SKIP_OOB', why: 'Out-of-band data of a Unix socket: no network packet.' },
  {
    name: 'BRIDGE_INGRESS_STP_STATE',
    castOnly: true,
    why: 'What is flooded to a bridge port that does not forward yet, or that spanning tree holds closed: announcements are repeated.',
  },
  { name: 'OTHERHOST', why: 'A frame for another host, seen since the interface is promiscuous or a bridge floods.' },
  { name: 'UNHANDLED_PROTO', why: 'A frame of a protocol nobody on this host speaks (LLDP, STP and the like).' },
  { name: 'TCP_OLD_DATA', why: 'Data that had arrived before: the first copy was delivered.' },
  { name: 'TCP_OFOMERGE', why: 'Data that is already in the out-of-order queue: the first copy is kept.' },
  {
    name: 'TCP_OLD_SEQUENCE',
    why: 'A keep-alive or window probe, or a copy of data received before: it is answered, nothing is missing.',
  },
  {
    name: 'TCP_RFC7323_PAWS_ACK',
    why: 'An acknowledgement without data that a newer one has overtaken.',
  },
  { name: 'TCP_OLD_ACK', why: 'An acknowledgement older than one already seen.' },
  {
    name: 'TCP_RESET',
    why: 'The reset that ended a connection, freed after it did its work; it is an event of tcpreset.',
  },
  { name: 'PACKET_SOCK_ERROR', why: 'A copy for a packet capture; the packet itself went on.' },
  { name: 'TAP_FILTER', why: 'A virtual machine asked its tap device not to have it.' },
  { name: 'TAP_TXFILTER', why: 'A virtual machine asked its tap device not to have it.' },
  { name: 'IPV6DISABLED', why: 'IPv6 is switched off on the interface on purpose.' },
  { name: 'IPV6_NDISC_NS_OTHERHOST', why: 'A neighbour solicitation for somebody else.' },
  {
    name: 'QDISC_DROP',
    controlOnly: true,
    why: 'The interface was just made and has no queue yet: what the kernel announces then (group membership, discovery) it repeats.',
  },
  { name: 'NO_SOCKET', castOnly: true, why: 'Multicast or broadcast (mDNS, SSDP, ...) that nobody here listens for.' },
  {
    name: 'IP_INNOROUTES',
    controlOnly: true,
    why: 'A report of group membership that came before the interface had its IPv6 routes: no router is missing it.',
  },
  { name: 'IP_INADDRERRORS', castOnly: true, why: 'Multicast or broadcast for a group nobody here joined.' },
];

/** By function, where the reason says nothing. */
export const noiseLocations: readonly NoiseEntry[] = [
  {
    name: 'tcp_v4_rcv',
    finOnly: true,
    why: 'The end of a connection in TIME_WAIT took the FIN, the repeated ACK or the RST: nothing was on its way in it.',
  },
  {
    name: 'tcp_v6_rcv',
    finOnly: true,
    why: 'The end of a connection in TIME_WAIT took the FIN, the repeated ACK or the RST: nothing was on its way in it.',
  },
  {
    name: 'tcp_rcv_state_process',
    finOnly: true,
    why: 'An acknowledgement without data for a connection that is ending did its work.',
  },
  { name: 'ip_rcv_finish_core', castOnly: true, why: 'Multicast or broadcast for a group nobody here joined.' },
  { name: 'ip_rcv_finish', castOnly: true, why: 'Multicast or broadcast for a group nobody here joined.' },
  { name: 'ip_route_input_noref', castOnly: true, why: 'Multicast or broadcast for a group nobody here joined.' },
  {
    name: 'ip6_mc_input',
    why: 'IPv6 multicast (router and neighbour discovery, mDNS) for a group nobody here joined.',
  },
  { name: 'ip_mr_input', why: 'Multicast that no router process wants.' },
  { name: 'sk_stream_kill_queues', why: 'A socket was closed with data queued.' },
  { name: 'inet_csk_destroy_sock', why: 'A socket was closed with data queued.' },
  { name: 'skb_queue_purge', why: 'A queue was emptied because its owner closed it.' },
  { name: 'skb_queue_purge_reason', why: 'A queue was emptied because its owner closed it.' },
  { name: 'skb_rbtree_purge', why: 'A queue was emptied because its owner closed it.' },
  { name: 'skb_errqueue_purge', why: 'Error reports nobody read before the socket was closed.' },
  { name: 'udp_destruct_common', why: 'A UDP socket was closed with datagrams unread.' },
  { name: 'unix_release_sock', why: 'A Unix socket was closed: no network packet.' },
  { name: 'unix_stream_connect', why: 'A Unix socket was not accepted: no network packet.' },
  { name: 'nfnetlink_rcv_batch', why: 'A netlink message: no network packet.' },
  { name: 'netlink_broadcast_filtered', why: 'A netlink message: no network packet.' },
  { name: 'netlink_unicast', why: 'A netlink message: no network packet.' },
  { name: 'tpacket_rcv', why: 'A copy for a packet capture; the packet itself went on.' },
  { name: 'packet_rcv', why: 'A copy for a packet capture; the packet itself went on.' },
];
