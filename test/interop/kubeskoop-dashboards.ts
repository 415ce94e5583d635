/**
 * What the two dashboards that KubeSkoop ships (skoop-exporter-nodes, skoop-exporter-pods) ask Prometheus for, panel by panel: the metrics and the
 * labels they filter by. Facts from its deploy/resource, written down anew.
 */

interface KubeskoopPanel {
  readonly panel: string;
  /** Names without `kubeskoop_`. */
  readonly metrics: readonly string[];
  /** A rate over a minute, or the value as it is. */
  readonly as: 'rate' | 'value';
}

const both: readonly KubeskoopPanel[] = [
  { panel: 'Traffic', metrics: ['netdev_rxbytes', 'netdev_txbytes'], as: 'rate' },
  { panel: 'Errors', metrics: ['netdev_txerrors', 'netdev_rxerrors'], as: 'rate' },
  { panel: 'Packets', metrics: ['netdev_txpackets', 'netdev_rxpackets'], as: 'rate' },
  {
    panel: 'Connections',
    metrics: ['timewait', 'established', 'closewait', 'synsent', 'synrecv'].map((s) => `tcpsummary_tcp${s}conn`),
    as: 'value',
  },
  { panel: 'Queues', metrics: ['tcpsummary_tcptxqueue', 'tcpsummary_tcprxqueue'], as: 'value' },
  { panel: 'Opens', metrics: ['tcp_passiveopens', 'tcp_activeopens'], as: 'rate' },
  {
    panel: 'TCPExt',
    metrics: ['listendrops', 'listenoverflows', 'tcpsynretrans', 'tcprcvqdrop', 'pfmemallocdrop', 'tcpbacklogdrop'].map(
      (n) => `tcpext_${n}`,
    ),
    as: 'rate',
  },
  { panel: 'UDP', metrics: ['rcvbuferrors', 'sndbuferrors', 'noports', 'inerrors'].map((n) => `udp_${n}`), as: 'rate' },
];

const nodesOnly: readonly KubeskoopPanel[] = [
  { panel: 'Packet abnormal loss', metrics: ['packetloss_total'], as: 'rate' },
  { panel: 'Sockets', metrics: ['sock_inuse', 'sock_orphan'], as: 'value' },
];

/** Needs an eRDMA device (Alibaba Cloud's). */
const rdma: readonly KubeskoopPanel[] = [
  {
    panel: 'RDMA',
    metrics: [
      ...['rx_bytes', 'tx_bytes', 'rx_packets', 'tx_packets'].map((n) => `rdma_erdma_hw_${n}_cnt`),
      ...['bps_limit_drop', 'pps_limit_drop', 'rx_bps_limit_drop', 'rx_pps_limit_drop'].map(
        (n) => `rdma_erdma_hw_${n}_cnt`,
      ),
    ],
    as: 'rate',
  },
  { panel: 'RDMA resources', metrics: ['rdma_qp', 'rdma_mr'], as: 'value' },
];

export interface KubeskoopQuery {
  readonly where: string;
  readonly metric: string;
  readonly expr: string;
}

const queries = (dashboard: string, filter: string, panels: readonly KubeskoopPanel[]): KubeskoopQuery[] =>
  panels.flatMap(({ panel, metrics, as }) =>
    metrics.map((m) => {
      const metric = `kubeskoop_${m}`;
      const selector = `${metric}{${filter}}`;
      return { where: `${dashboard}, ${panel}`, metric, expr: as === 'rate' ? `rate(${selector}[1m])` : selector };
    }),
  );

/** Every query of both, for one node and one of its pods. */
export const kubeskoopQueries = (node: string, namespace: string, pod: string): readonly KubeskoopQuery[] => [
  ...queries('nodes', `k8s_node=~"${node}"`, [...nodesOnly, ...both]),
  ...queries('pods', `k8s_namespace=~"${namespace}",k8s_pod=~"${pod}"`, both),
];

export const rdmaQueries = (node: string): readonly KubeskoopQuery[] => queries('nodes', `k8s_node=~"${node}"`, rdma);
