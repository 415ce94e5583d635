import { defineMetrics, type KubeskoopName } from '../../pipeline/catalogue.ts';

/** Counters of mlx5 ports that KubeSkoop has a name for, as the kernel spells them. */
const mlx5Counters: readonly string[] = `port_rcv_data port_rcv_packets multicast_rcv_packets unicast_rcv_packets
  port_xmit_data port_xmit_packets port_xmit_packets_64 port_rcv_switch_relay_errors port_rcv_errors
  port_rcv_constraint_errors local_link_integrity_errors port_xmit_wait multicast_xmit_packets unicast_xmit_packets
  port_xmit_discards port_xmit_constraint_errors port_rcv_remote_physical_errors symbol_error VL15_dropped
  link_error_recovery link_downed rx_write_requests rx_read_requests rx_atomic_requests out_of_buffer out_of_sequence
  duplicate_request rnr_nak_retry_err packet_seq_err implied_nak_seq_err local_ack_timeout_err rx_dct_connect
  resp_local_length_error resp_cqe_error req_cqe_error req_remote_invalid_request req_remote_access_errors
  resp_remote_access_errors resp_cqe_flush_error req_cqe_flush_error roce_adp_retrans roce_adp_retrans_to
  roce_slow_restart roce_slow_restart_cnps roce_slow_restart_trans rp_cnp_ignored rp_cnp_handled
  np_ecn_marked_roce_packets np_cnp_sent rx_icrc_encapsulated`.split(/\s+/);

const both = (names: string) => names.split(' ').flatMap((n) => [`verbs_${n}_cnt`, `verbs_${n}_failed_cnt`]);

/** Counters of erdma ports that KubeSkoop has a name for. */
const erdmaCounters: readonly string[] = [
  ...`accept_failed_cnt accept_success_cnt accept_total_cnt connect_failed_cnt connect_success_cnt connect_total_cnt
  connect_reset_cnt connect_timeout_cnt cmdq_comp_cnt cmdq_cq_armed_cnt cmdq_eq_event_cnt cmdq_eq_notify_cnt
  cmdq_submitted_cnt erdma_aeq_event_cnt erdma_aeq_notify_cnt hw_bps_limit_drop_cnt hw_disable_drop_cnt
  hw_pps_limit_drop_cnt hw_rx_bps_limit_drop_cnt hw_rx_bytes_cnt hw_rx_disable_drop_cnt hw_rx_packets_cnt
  hw_rx_pps_limit_drop_cnt hw_tx_bytes_cnt hw_tx_packets_cnt hw_tx_reqs_cnt listen_create_cnt listen_destroy_cnt
  listen_failed_cnt listen_ipv6_cnt listen_success_cnt reject_cnt reject_failed_cnt verbs_dealloc_pd_cnt
  verbs_dealloc_uctx_cnt`.split(/\s+/),
  ...both('alloc_mr alloc_pd alloc_uctx create_cq create_qp dereg_mr destroy_cq destroy_qp get_dma_mr reg_usr_mr'),
];

const deviceLabels = { 'skoop.rdma.device': 'device', 'skoop.rdma.driver': 'type' };
const portLabels = { ...deviceLabels, 'skoop.rdma.port': 'port' };

function kubeskoopCounters(driver: string, counters: readonly string[]): KubeskoopName[] {
  return counters.map((counter) => ({
    name: `kubeskoop_rdma_${driver}_${counter}`,
    where: { 'skoop.rdma.driver': driver, 'skoop.rdma.counter': counter },
    labels: portLabels,
    nodeOnly: true,
  }));
}

/** Kinds of objects that the kernel counts for each device, as it spells them. */
export const rdmaResources: readonly string[] = ['cm_id', 'cq', 'ctx', 'mr', 'pd', 'qp', 'srq'];

const device = {
  'skoop.rdma.device': { description: 'Name of the RDMA device: mlx5_0.' },
  'skoop.rdma.driver': { description: 'By the name of the device.', values: ['mlx5', 'erdma', 'unknown'] },
};
const port = { ...device, 'skoop.rdma.port': { description: 'Number of the port.' } };
const direction = { 'network.io.direction': { description: 'Direction.', values: ['receive', 'transmit'] } };

/** RDMA devices of the node; absent where there are none. */
export const rdmaMetrics = defineMetrics({
  'skoop.rdma.resources': {
    instrument: 'updowncounter',
    unit: '{object}',
    description: 'Objects in use on the device.',
    source: 'NETLINK_RDMA RDMA_NLDEV_CMD_RES_GET',
    scope: 'node',
    attributes: {
      ...device,
      'skoop.rdma.resource': {
        description:
          'Connection ids, completion queues, contexts, memory regions, protection domains, queue pairs, shared receive queues.',
        values: rdmaResources,
      },
    },
    maxSeries: 64,
    kubeskoop: rdmaResources.map((resource) => ({
      name: `kubeskoop_rdma_${resource}`,
      where: { 'skoop.rdma.resource': resource },
      labels: deviceLabels,
      type: 'gauge' as const,
      nodeOnly: true,
    })),
  },
  'skoop.rdma.io': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes through the port.',
    source: 'sysfs counters/port_rcv_data, port_xmit_data (times 4); erdma hw_rx_bytes_cnt, hw_tx_bytes_cnt',
    scope: 'node',
    attributes: { ...port, ...direction },
    maxSeries: 32,
  },
  'skoop.rdma.packets': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets through the port.',
    source: 'sysfs counters/port_rcv_packets, port_xmit_packets; erdma hw_rx_packets_cnt, hw_tx_packets_cnt',
    scope: 'node',
    attributes: { ...port, ...direction },
    maxSeries: 32,
  },
  'skoop.rdma.counters': {
    instrument: 'counter',
    unit: '1',
    description: "Every counter of the port under the driver's own name and in its own unit.",
    source: 'NETLINK_RDMA RDMA_NLDEV_CMD_STAT_GET (hw_counters), sysfs ports/N/counters',
    scope: 'node',
    attributes: { ...port, 'skoop.rdma.counter': { description: 'Name of the counter, as the driver spells it.' } },
    maxSeries: 2000,
    kubeskoop: [...kubeskoopCounters('mlx5', mlx5Counters), ...kubeskoopCounters('erdma', erdmaCounters)],
  },
});
