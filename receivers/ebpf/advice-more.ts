import type { AdviceTable } from './advice.ts';

/** Advice for connects, DNS, UDP and for what was slow: the values of `error.type`, `skoop.udp.reason`, KubeSkoop types and event names. */
export const errorAdvice: AdviceTable = {
  ECONNREFUSED: {
    cause: 'The host answered with a reset: nobody listens on this port there.',
    check: 'Is the server up and ready? targetPort of the Service; tcpreset events of the destination pod.',
  },
  ETIMEDOUT: {
    cause: 'No answer to any SYN: dropped by a policy or firewall, host gone, or accept queue full.',
    check: 'packetloss and listen events of the destination; NetworkPolicies; routes in both directions.',
  },
  EHOSTUNREACH: {
    cause: 'A router, or the neighbour table here, says that the host cannot be reached.',
    check: 'Is the address still in use (a pod that is gone)? ip neigh; ip route get ADDRESS.',
  },
  ENETUNREACH: {
    cause: 'There is no route to this network: often IPv6 in a pod that has only IPv4.',
    check: 'ip route and ip -6 route in the pod; AAAA records of names that are asked for.',
  },
  ECONNRESET: {
    cause: 'The other end, or something in between, reset the connection while it was being made.',
    check: 'tcpreset events of the destination pod; load balancers and firewalls in between.',
  },
  aborted: {
    cause: 'The process gave up before an answer came: its own time limit was shorter than the network.',
    check: "The program's connect timeout; packetloss, listen and tcpretrans events of the destination.",
  },
  timeout: {
    cause: 'The DNS server did not answer in time: overloaded, gone, or packets are lost on the way.',
    check: 'CPU limits and number of CoreDNS pods; packetloss events and conntrack insert_failed on both nodes.',
  },
  SERVFAIL: {
    cause: 'The DNS server could not get an answer itself: its upstream fails, or DNSSEC does.',
    check: 'Log of CoreDNS (plugin errors) and its forward target; does the name resolve from the node?',
  },
  REFUSED: {
    cause: 'The DNS server does not serve this client or zone.',
    check: 'Zones and ACLs of the Corefile; nameserver entries of /etc/resolv.conf in the pod.',
  },
  NXDOMAIN: {
    cause: 'The name does not exist: often a search domain that was tried first (ndots:5).',
    check: 'Name and namespace of the Service; a dot at the end of external names, or dnsConfig ndots.',
  },
  FORMERR: {
    cause: 'The DNS server could not read the question.',
    check: 'EDNS options of the client; middleboxes that change DNS.',
  },
  NOTIMP: { cause: 'The DNS server does not know this kind of question.', check: 'Type of the question; the server.' },
};

export const udpAdvice: AdviceTable = {
  receive_buffer: {
    cause: 'The process reads its socket more slowly than datagrams arrive.',
    check: 'CPU throttling of the pod; ss -uamn (skmem, rb); SO_RCVBUF of the program; net.core.rmem_max.',
  },
  memory_limit: {
    cause: 'All UDP sockets together use as much memory as they may, or the pod is at its memory limit.',
    check: 'net.ipv4.udp_mem; /proc/net/sockstat; memory.max of the pod.',
  },
};

export const typeAdvice: AdviceTable = {
  SOCKETLAT_READSLOW: {
    cause: 'The process was told of data and did not read it: busy, throttled, blocked, or a full thread pool.',
    check: 'CPU throttling and tasklatency of the pod; what its threads do (profile, thread dump).',
  },
  SOCKETLAT_SENDSLOW: {
    cause: 'What was written did not leave: a full window of the peer, congestion, or a lost segment ahead of it.',
    check: 'Does the peer read? tcpretrans events of the connection; ss -ti (rwnd_limited, cwnd, notsent).',
  },
  NETIFTXLAT_QDISC: {
    cause: 'A queue on the way out is long: more is sent than the interface or its bandwidth limit takes.',
    check: 'tc -s qdisc; bandwidth annotation of the pod; traffic of the interface against its limit.',
  },
  NETIFTXLAT_XMIT: {
    cause:
      'The transmit function of the driver took long: virtualisation, a firewall on the other end of a veth, locks.',
    check: 'Steal time of the VM; kernellatency of the receiving side; driver and its queues (ethtool -l).',
  },
  RXKERNEL_SLOW: {
    cause:
      'A packet took long from the device to its socket: firewall chains, NFQUEUE, or a socket locked by its process.',
    check: 'Number of rules (nft list ruleset, iptables-save | wc -l); NFQUEUE programs; CPU throttling of the pod.',
  },
  TXKERNEL_SLOW: {
    cause: 'A packet took long from its socket to the device: firewall chains, NFQUEUE, or a CPU that was taken away.',
    check: 'Number of rules in OUTPUT and POSTROUTING; NFQUEUE programs; steal time and softirq events of the CPU.',
  },
  BIOLAT_10MS: {
    cause: 'The disk took long: busy, throttled by the cloud, or slow.',
    check: 'IOPS and throughput limits of the volume; io.pressure; who else writes (iotop).',
  },
  VIRTCMDEXCUTE: {
    cause: 'The hypervisor took long to carry out a command of the virtio driver; the CPU waits meanwhile.',
    check: 'Steal time; what changes settings of the interface (ethtool, MAC, multicast lists).',
  },
  PACKETLOSS: {
    cause: 'The kernel dropped a packet for the reason in the event.',
    check: 'Reason, location and stack of the event; does it come again with the same addresses?',
  },
  TCPRETRANS: {
    cause: 'A segment was not acknowledged in time and is sent again.',
    check: 'packetloss events on both nodes; CPU of the peer.',
  },
};

const waiting = {
  cause: 'A softirq had to wait: another one, or a long piece of kernel work without interrupts, had the CPU.',
  check: 'Which program had the CPU (event); steal time; mpstat -I SCPU; interrupts bound to one CPU.',
};
const running = {
  cause: 'A softirq ran long: many packets at once, or much work for each (firewall chains, mirrors).',
  check: 'Stack and vector of the event; softnet time_squeeze; number of firewall rules; RPS and queues of the NIC.',
};

export const moreTypeAdvice: AdviceTable = {
  ...typeAdvice,
  VIRTCMDEXCUTE_100MS: typeAdvice['VIRTCMDEXCUTE']!,
  SOFTIRQ_SCHED_SLOW: waiting,
  SOFTIRQ_SCHED_100MS: waiting,
  SOFTIRQ_EXCUTE_SLOW: running,
  SOFTIRQ_EXCUTE_100MS: running,
};

/** For events whose attributes say no more, by name. */
export const eventAdvice: AdviceTable = {
  'skoop.tcp.accept_queue_full': {
    cause: 'The process accepts connections too slowly, or its backlog is small: SYNs after these are dropped.',
    check: 'CPU throttling of the pod; ss -lnt (Recv-Q against Send-Q); listen() backlog and net.core.somaxconn.',
  },
  'skoop.tcp.syn_queue_full': {
    cause: 'Many half-open connections: a SYN flood, or SYN-ACKs that do not reach their clients.',
    check: 'SyncookiesSent and TCPReqQFullDrop in nstat; sources of the SYNs; the way back to the clients.',
  },
  'skoop.tcp.connect_failed': {
    cause: 'The connection could not be made.',
    check: 'error.type of the event; packetloss and tcpreset events of both ends.',
  },
  'skoop.udp.buffer_full': {
    cause: 'The socket could not take the datagram.',
    check: 'ss -uamn; memory of the pod and of the node.',
  },
  'skoop.task.slow': {
    cause: 'A thread was ready to run and did not get a CPU: throttled by its limit, or the node is full.',
    check: 'cpu.stat of the pod (nr_throttled); CPU requests and limits; load and steal time of the node.',
  },
  'skoop.dns.failed': {
    cause: 'The DNS server answered with an error.',
    check: 'error.type of the event; log of the DNS server.',
  },
};
