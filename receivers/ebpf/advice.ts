import type { Attributes } from '../../pipeline/catalogue.ts';
import { errorAdvice, eventAdvice, moreTypeAdvice, udpAdvice } from './advice-more.ts';

/** One line of what usually causes it, one of what to look at next. */
export interface Advice {
  readonly cause: string;
  readonly check: string;
}

/** Value of an attribute, or name of an event → advice. */
export type AdviceTable = Readonly<Record<string, Advice>>;

/**
 * What an experienced colleague would say. Looked up by the values of an event's reason, else by its KubeSkoop type, else by its name;
 * the first that is here is used. Sources: include/net/dropreason-core.h, include/net/rstreason.h and the functions that give the reasons.
 */
export const advice: Readonly<Record<string, AdviceTable>> = {
  'skoop.drop.reason': {
    NO_SOCKET: {
      cause: 'Nobody listens on this port in this pod, or only on another address.',
      check: 'ss -lntu in the pod; targetPort of the Service; does the process listen on 127.0.0.1 only?',
    },
    NETFILTER_DROP: {
      cause: 'A firewall rule (NetworkPolicy, iptables, nftables), or a full conntrack table, dropped it.',
      check:
        'Hook, table and chain of the event; nft list ruleset or iptables -vnL with counters; dmesg for "nf_conntrack: table full".',
    },
    SOCKET_RCVBUFF: {
      cause: 'The process reads its socket more slowly than data arrives; the receive buffer is full.',
      check: 'CPU throttling of the pod; ss -uamn (skmem, rb); SO_RCVBUF of the program; net.core.rmem_max.',
    },
    SOCKET_FILTER: {
      cause: 'A BPF filter on the socket did not want it.',
      check: 'Which program attached it: ss -0 --bpf or bpftool prog.',
    },
    SOCKET_BACKLOG: {
      cause: 'The process holds its socket locked while more arrives than the backlog takes.',
      check: 'TCPBacklogDrop in nstat; CPU of the process; receive buffer size.',
    },
    TCP_LISTEN_OVERFLOW: {
      cause: 'The accept queue of the listener is full: the process accepts too slowly or its backlog is small.',
      check: 'ss -lnt (Recv-Q against Send-Q); CPU throttling of the pod; listen() backlog and net.core.somaxconn.',
    },
    TCP_CSUM: {
      cause: 'Wrong TCP checksum: damaged on the way, or a broken offload of a NIC or tunnel.',
      check: 'ethtool -K tx off on the sender as a trial; InCsumErrors in nstat; NIC and tunnel driver.',
    },
    UDP_CSUM: {
      cause: 'Wrong UDP checksum: damaged on the way, or a broken offload of a NIC or tunnel (VXLAN).',
      check: 'ethtool -K tx-checksum off on the tunnel device as a trial; InCsumErrors in nstat.',
    },
    IP_CSUM: {
      cause: 'Wrong IP header checksum: damaged on the way.',
      check: 'ethtool -S of the NICs on the way; cabling, switches.',
    },
    IP_INHDR: {
      cause: 'Bad IP header or TTL used up: a routing loop when it is the TTL.',
      check: 'Routes between the nodes (traceroute); Ip InHdrErrors; overlapping CIDRs.',
    },
    IP_RPFILTER: {
      cause: 'The way back to the source leads over another interface, and rp_filter is strict.',
      check: 'ip route get SOURCE from the pod; net.ipv4.conf.*.rp_filter (2 or 0 for several interfaces).',
    },
    IP_OUTNOROUTES: {
      cause: 'No route to the destination.',
      check: 'ip route get DESTINATION in this namespace; CNI routes.',
    },
    IP_INNOROUTES: {
      cause: 'No route for a packet to be forwarded.',
      check: 'ip route get DESTINATION from SOURCE iif INTERFACE on the node.',
    },
    IP_INADDRERRORS: {
      cause: 'Not for this host, and it does not forward.',
      check: 'net.ipv4.ip_forward and conf.*.forwarding; is the address still assigned to a pod?',
    },
    IP_LOCAL_SOURCE: {
      cause: "It arrived with this host's own address as source: spoofed, or a loop.",
      check: 'Bridge and overlay for loops; duplicate addresses (arping -D).',
    },
    IP_INVALID_SOURCE: {
      cause: 'Source address that no packet may have.',
      check: 'Who sends it: tcpdump -e on the interface.',
    },
    IP_LOCALNET: { cause: '127.0.0.0/8 arrived from outside.', check: 'Who sends it: tcpdump -e; route_localnet.' },
    IP_INVALID_DEST: {
      cause: 'Destination address that no packet may have.',
      check: 'Who sends it: tcpdump -e on the interface.',
    },
    IP_NOPROTO: { cause: 'No handler for this IP protocol.', check: 'Is a kernel module missing (sctp, gre, esp)?' },
    PKT_TOO_BIG: {
      cause: 'Larger than the MTU of the next interface, and it may not be fragmented.',
      check: 'MTU of pod, bridge and overlay; is ICMP "fragmentation needed" filtered on the way back?',
    },
    PKT_TOO_SMALL: { cause: 'Shorter than its headers say.', check: 'Who sends it; tunnel and NIC offloads.' },
    HDR_TRUNC: { cause: 'Shorter than its headers say.', check: 'Who sends it; tunnel and NIC offloads.' },
    DUP_FRAG: { cause: 'The same IP fragment twice.', check: 'Loops or duplicated packets on the way.' },
    FRAG_REASM_TIMEOUT: {
      cause: 'Some fragments of a packet never arrived.',
      check: 'Loss on the way; MTU; avoid fragments (EDNS size for DNS); net.ipv4.ipfrag_high_thresh.',
    },
    FRAG_TOO_FAR: {
      cause: 'Fragments arrive too far apart.',
      check: 'net.ipv4.ipfrag_max_dist; reordering on the way.',
    },
    NEIGH_FAILED: {
      cause: 'The next hop does not answer ARP or neighbour discovery.',
      check: 'ip neigh in this namespace; does the pod or gateway still exist; bridge or cloud filters for ARP.',
    },
    NEIGH_QUEUEFULL: {
      cause: 'More packets wait for an unresolved neighbour than its queue takes.',
      check: 'ip neigh; ip ntable (unres_qlen_bytes); does the next hop answer?',
    },
    NEIGH_CREATEFAIL: {
      cause: 'The neighbour table is full.',
      check: 'net.ipv4.neigh.default.gc_thresh3; dmesg "neighbour table overflow".',
    },
    NEIGH_DEAD: { cause: 'The neighbour entry was being removed.', check: 'Interface or address flapping.' },
    QDISC_DROP: {
      cause: 'The queue of the interface is full or shapes (bandwidth annotation, tc).',
      check: 'tc -s qdisc show dev INTERFACE; kubernetes.io/egress-bandwidth of the pod.',
    },
    QDISC_OVERLIMIT: {
      cause: 'The queueing discipline is at its limit.',
      check: 'tc -s qdisc show dev INTERFACE; its limit against the traffic.',
    },
    QDISC_CONGESTED: {
      cause: 'Active queue management dropped it to signal congestion.',
      check: 'tc -s qdisc show dev INTERFACE; is the link saturated?',
    },
    FQ_FLOW_LIMIT: {
      cause: 'One connection filled its share of the fq queue.',
      check: 'tc -s qdisc (flows_plimit); who sends without congestion control?',
    },
    CPU_BACKLOG: {
      cause: 'More packets than this CPU can take: its input queue is full.',
      check: 'softnet_stat dropped; net.core.netdev_max_backlog; RPS/RSS spread; CPU steal.',
    },
    XDP: { cause: 'An XDP program dropped it.', check: 'ip link show (prog/xdp id); bpftool net.' },
    TC_INGRESS: {
      cause: 'A tc or eBPF filter (CNI policy) dropped it on arrival.',
      check: 'CNI policy verdicts; tc filter show dev INTERFACE ingress; bpftool net.',
    },
    TC_EGRESS: {
      cause: 'A tc or eBPF filter (CNI policy) dropped it on departure.',
      check: 'CNI policy verdicts; tc filter show dev INTERFACE egress; bpftool net.',
    },
    BPF_CGROUP_EGRESS: { cause: 'A BPF program of the cgroup did not let it out.', check: 'bpftool cgroup tree.' },
    SECURITY_HOOK: { cause: 'A security module (SELinux, AppArmor) refused it.', check: 'Audit log for denials.' },
    UNHANDLED_PROTO: {
      cause: 'Nobody on this host speaks this protocol.',
      check: 'Ethertype of the event; who sends it.',
    },
    PROTO_MEM: {
      cause: "TCP or UDP memory is used up: of the pod's memory cgroup, or of the host.",
      check:
        'Memory limit of the pod against socket memory (cgroup memory.stat sock); net.ipv4.tcp_mem, udp_mem; sockstat.',
    },
    NOMEM: {
      cause: 'The kernel had no memory for it.',
      check: 'Free memory, vm.min_free_kbytes, dmesg for allocation failures.',
    },
    FULL_RING: {
      cause: 'The ring of a virtual device is full: its reader is too slow.',
      check: 'The process or virtual machine behind the tap device.',
    },
    DEV_READY: { cause: 'The device was not up.', check: 'ip link; was the pod being set up or torn down?' },
    DEV_HDR: { cause: 'The device could not add its header.', check: 'Tunnel configuration.' },
    SKB_GSO_SEG: {
      cause: 'Segmentation of a large packet failed.',
      check: 'ethtool -K DEVICE gso off as a trial; tunnel drivers.',
    },
    SKB_CSUM: { cause: 'The checksum could not be computed.', check: 'Offload settings of the device.' },
    XFRM_POLICY: {
      cause: 'An IPsec policy refused it.',
      check: 'ip xfrm policy and state; keys in step on both nodes.',
    },
    UNICAST_IN_L2_MULTICAST: { cause: 'A unicast packet in a multicast frame.', check: 'Who sends it: tcpdump -e.' },
    TCP_FLAGS: {
      cause: 'A segment with flags that make no sense in this state.',
      check: 'Port scanners; middleboxes; both ends with tcpdump.',
    },
    TCP_ZEROWINDOW: {
      cause: 'Data for a full receive window: the process does not read.',
      check: 'ss -tmi in the pod (Recv-Q); CPU throttling of the reader.',
    },
    TCP_OVERWINDOW: {
      cause: 'Data beyond the receive window.',
      check: 'Receive buffer of the process; a middlebox that rewrites windows.',
    },
    TCP_RFC7323_PAWS: {
      cause: 'A timestamp older than the last: an old duplicate, or several hosts behind one NAT address.',
      check: 'SNAT in front of the service; net.ipv4.tcp_timestamps.',
    },
    TCP_RFC7323_TW_PAWS: {
      cause: 'A SYN with an old timestamp for a TIME_WAIT connection: often clients behind one NAT address.',
      check: 'SNAT in front of the service; PAWSPassive in nstat.',
    },
    TCP_INVALID_SEQUENCE: {
      cause: 'A sequence number outside the window: old duplicate, or a middlebox out of step.',
      check: 'Conntrack or load balancers that lost state; both ends with tcpdump.',
    },
    TCP_INVALID_END_SEQUENCE: {
      cause: 'More data than the window allows.',
      check: 'Receive buffer shrunk or full: ss -tmi in the pod.',
    },
    TCP_INVALID_ACK_SEQUENCE: {
      cause: "An ACK for data never sent: another connection's segment, or a middlebox.",
      check: 'Ports reused too quickly; load balancers that lost state.',
    },
    TCP_ACK_UNSENT_DATA: {
      cause: 'An ACK for data never sent.',
      check: 'Ports reused too quickly; load balancers that lost state.',
    },
    TCP_TOO_OLD_ACK: { cause: 'An ACK much older than the window.', check: 'Delayed duplicates; middleboxes.' },
    TCP_INVALID_SYN: {
      cause: 'A SYN inside a connection.',
      check: 'Ports reused too quickly (SNAT port exhaustion); port scanners.',
    },
    TCP_CLOSE: {
      cause: 'Data for a connection that is closed already.',
      check: 'Does the application close while the peer still sends?',
    },
    TCP_ABORT_ON_DATA: {
      cause: 'Data arrived after the process had closed the connection.',
      check: 'Does the application close while the peer still sends? Keep-alive timeouts of both ends.',
    },
    TCP_OFO_QUEUE_PRUNE: {
      cause: 'Receive memory ran short and out-of-order data was thrown away.',
      check: 'Loss on the way; receive buffer and memory limit of the pod.',
    },
    TCP_OFO_DROP: { cause: 'No room for out-of-order data.', check: 'Loss on the way; receive buffer of the socket.' },
    TCP_FASTOPEN: {
      cause: 'Data of a fast-open attempt that was not accepted.',
      check: 'net.ipv4.tcp_fastopen on both ends.',
    },
    TCP_MINTTL: { cause: 'TTL below what the socket asks for.', check: 'IP_MINTTL (BGP TTL security) of the program.' },
    TCP_MD5FAILURE: { cause: 'Wrong TCP MD5 signature.', check: 'Keys on both ends (BGP).' },
    TCP_MD5NOTFOUND: { cause: 'The peer does not sign, yet a key is set for it.', check: 'Keys on both ends (BGP).' },
    TCP_MD5UNEXPECTED: { cause: 'The peer signs, yet no key is set for it.', check: 'Keys on both ends (BGP).' },
    IPV6_NDISC_BAD_OPTIONS: {
      cause: 'A malformed neighbour discovery message.',
      check: 'Who sends it: tcpdump -e icmp6.',
    },
    NOT_SPECIFIED: {
      cause: 'The kernel gives no reason here; the function that dropped it tells.',
      check:
        "skoop.drop.location: br_nf_dev_queue_xmit = larger than the bridge port's MTU, do_xdp_generic = an XDP program.",
    },
  },
  'skoop.reset.reason': {
    NO_SOCKET: {
      cause: 'Nobody listens on this port in this pod.',
      check: 'ss -lnt in the pod; targetPort of the Service; was the pod still starting or already ending?',
    },
    TCP_ABORT_ON_CLOSE: {
      cause: 'The process closed the connection with received data unread.',
      check: 'Application: close before reading all (timeouts, early answers).',
    },
    TCP_ABORT_ON_DATA: {
      cause: 'Data arrived for a connection the process had closed.',
      check: "Keep-alive timeouts: the client's should be shorter than the server's.",
    },
    TCP_ABORT_ON_LINGER: {
      cause: 'FIN_WAIT2 lasted too long after close.',
      check: 'Does the peer close its side? net.ipv4.tcp_fin_timeout.',
    },
    TCP_ABORT_ON_MEMORY: {
      cause: 'Too many orphaned sockets or no TCP memory.',
      check: 'net.ipv4.tcp_max_orphans, tcp_mem; sockstat orphan.',
    },
    TCP_STATE: {
      cause: 'The process dropped the connection (SO_LINGER 0, or close in a state that allows nothing else).',
      check: 'Does the application set SO_LINGER 0?',
    },
    TCP_KEEPALIVE_TIMEOUT: {
      cause: 'The peer did not answer keep-alive probes.',
      check: 'Is the peer gone; did a firewall or conntrack forget the idle connection?',
    },
    TCP_DISCONNECT_WITH_DATA: {
      cause: 'The process disconnected with data unsent.',
      check: 'Application: what makes it give up?',
    },
    TCP_TIMEWAIT_SOCKET: {
      cause: 'A segment for a connection that is over (TIME_WAIT).',
      check: 'Ports reused too quickly (SNAT); a peer that did not see the end.',
    },
    INVALID_SYN: { cause: 'A SYN inside a connection.', check: 'Ports reused too quickly (SNAT port exhaustion).' },
    TCP_INVALID_ACK_SEQUENCE: {
      cause: 'An ACK that fits no state: the other end talks about another connection.',
      check: 'Load balancer or conntrack that lost state; ports reused too quickly.',
    },
    TCP_TOO_OLD_ACK: { cause: 'An ACK much older than the window.', check: 'Middleboxes; ports reused too quickly.' },
    TCP_RFC7323_PAWS: { cause: 'A timestamp older than the last.', check: 'Several hosts behind one NAT address.' },
    TCP_FLAGS: { cause: 'Flags that make no sense in this state.', check: 'Port scanners; middleboxes.' },
    NOT_SPECIFIED: { cause: 'The kernel does not say.', check: 'State and flags of the event.' },
  },
  'skoop.retransmit.kind': {
    syn: {
      cause: 'Nothing answers the SYN: dropped by a policy or firewall, host gone, or accept queue full.',
      check: 'packetloss events of the destination pod; ListenOverflows there; routes and policies.',
    },
    synack: {
      cause: 'The SYN-ACK is not acknowledged: lost on the way back, or the client went away.',
      check: 'Return route and rp_filter; SYN flood (SyncookiesSent); policies on the way back.',
    },
    rto: {
      cause: 'No ACK at all for a whole timeout: the path or the peer stands still.',
      check: 'packetloss events on both nodes; is the peer throttled or gone?',
    },
    fast: {
      cause: 'Single packets lost or reordered on the way.',
      check: 'packetloss and qdisc drops on both nodes; NIC errors (ethtool -S).',
    },
    tlp: {
      cause: 'The last segments of a burst were not acknowledged in time.',
      check: 'A slow peer, or loss at the tail of bursts.',
    },
  },
  'error.type': errorAdvice,
  'skoop.udp.reason': udpAdvice,
  'kubeskoop.type': {
    ...moreTypeAdvice,
    TCPRESET_NOSOCK: {
      cause: 'A segment came for a port or connection this pod does not have.',
      check: 'ss -ant in the pod; targetPort of the Service; is a client keeping connections to a restarted pod?',
    },
    TCPRESET_PROCESS: {
      cause: 'The socket did not accept the segment.',
      check: 'State and flags of the event; ports reused too quickly.',
    },
    TCPRESET_ACTIVE: {
      cause: "This pod's process or kernel gave the connection up.",
      check: 'Reason of the event; application log at that time.',
    },
    TCPRESET_RECEIVE: {
      cause: 'The peer gave the connection up or has no such port.',
      check: 'tcpreset events of the peer; idle timeouts of load balancers in between.',
    },
  },
};

const keys = Object.keys(advice);

/** The advice for an event, by its attributes, else by its name; undefined when there is none. */
export function adviceFor(attributes: Attributes, eventName?: string): Advice | undefined {
  for (const key of keys) {
    const value = attributes[key];
    const found = typeof value === 'string' ? advice[key]?.[value] : undefined;
    if (found) return found;
  }
  return eventName === undefined ? undefined : eventAdvice[eventName];
}
