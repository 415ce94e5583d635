import { defineMetrics } from '../../pipeline/catalogue.ts';

const sampled = 'One observation a round for each established connection that sent or received in it.';

/** What the kernel's TCP says about the connections of a namespace. */
export const tcpInfoMetrics = defineMetrics({
  'skoop.tcp.connection.rtt': {
    instrument: 'histogram',
    unit: 's',
    description: `Smoothed round-trip time. ${sampled}`,
    source: 'sock_diag INET_DIAG_INFO tcpi_rtt',
    scope: 'netns',
    // 15 µs … 16 s
    histogram: { scale: 0, offset: -16, buckets: 20 },
  },
  'skoop.tcp.connection.retransmit_ratio': {
    instrument: 'histogram',
    unit: '1',
    description:
      'Segments sent again, of the segments with data sent in the round; one observation for each connection that sent any.',
    source: 'sock_diag INET_DIAG_INFO tcpi_total_retrans, tcpi_data_segs_out',
    scope: 'netns',
    // 1/1024 … 1; none retransmitted = zero bucket
    histogram: { scale: 0, offset: -10, buckets: 10 },
  },
  'skoop.tcp.connection.congestion_window': {
    instrument: 'histogram',
    unit: '{segment}',
    description: `Congestion window. ${sampled}`,
    source: 'sock_diag INET_DIAG_INFO tcpi_snd_cwnd',
    scope: 'netns',
    histogram: { scale: 0, offset: -1, buckets: 14 },
  },
  'skoop.tcp.connection.unacked': {
    instrument: 'histogram',
    unit: '{segment}',
    description: `Segments in flight. ${sampled}`,
    source: 'sock_diag INET_DIAG_INFO tcpi_unacked',
    scope: 'netns',
    histogram: { scale: 0, offset: -1, buckets: 14 },
  },
  'skoop.tcp.connection.delivery_rate': {
    instrument: 'histogram',
    unit: 'By/s',
    description:
      'Rate the network delivered at; one observation a round for each active connection whose sender was not idle (not application-limited).',
    source: 'sock_diag INET_DIAG_INFO tcpi_delivery_rate',
    scope: 'netns',
    // 1 KiB/s … 16 GiB/s
    histogram: { scale: 0, offset: 10, buckets: 24 },
  },
  'skoop.tcp.busy_time': {
    instrument: 'counter',
    unit: 's',
    description:
      'Time that connections had data to send, by what held them up. Connections that end between two rounds lose their last part.',
    source: 'sock_diag INET_DIAG_INFO tcpi_busy_time, tcpi_rwnd_limited, tcpi_sndbuf_limited',
    scope: 'netns',
    attributes: {
      'skoop.tcp.limit': {
        description:
          "What held the sender up: the network (congestion window), the peer's receive window, the own send buffer.",
        values: ['network', 'receive_window', 'send_buffer'],
      },
    },
    maxSeries: 3,
  },
  'skoop.tcp.peer.rtt': {
    instrument: 'gauge',
    unit: 's',
    description:
      'Mean smoothed round-trip time to the worst peers: those above worst_peers.min_rtt, at most worst_peers.limit of them.',
    source: 'sock_diag INET_DIAG_INFO tcpi_rtt',
    scope: 'netns',
    attributes: { 'network.peer.address': { description: 'Address of the other end.' } },
    maxSeries: 5,
  },
  'skoop.tcp.peer.retransmit_ratio': {
    instrument: 'gauge',
    unit: '1',
    description:
      'Segments sent again to the worst peers, of the segments with data sent to them in the round: those above worst_peers.min_retransmit_ratio, at most worst_peers.limit of them.',
    source: 'sock_diag INET_DIAG_INFO tcpi_total_retrans, tcpi_data_segs_out',
    scope: 'netns',
    attributes: { 'network.peer.address': { description: 'Address of the other end.' } },
    maxSeries: 5,
  },
});
