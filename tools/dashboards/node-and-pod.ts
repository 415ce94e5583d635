import type { Dashboard } from './grafana.ts';
import { metric as m } from './names.ts';
import { io, nodeFilter, ofNode, ofPod, panel, podLabels, podLegend, quantile, rate, sumRate } from './queries.ts';

const nodeLegend = '{{k8s_node_name}}';
export const node: Dashboard = {
  file: 'node.json',
  uid: 'skoopline-node',
  title: 'skoopline / node',
  source: 'prometheus',
  variables: [{ name: 'node', query: 'label_values(target_info, k8s_node_name)' }],
  rows: [
    {
      title: 'What goes wrong, pods included',
      panels: [
        panel(
          'Packets dropped by reason',
          'pps',
          sumRate(m('skoop.packet.drops'), 'skoop_drop_reason', nodeFilter, '{{skoop_drop_reason}}'),
        ),
        panel('Pods that lose packets', 'pps', {
          expr: `topk(10, sum by (${podLabels}) (${rate(m('skoop.packet.drops'), nodeFilter)}))`,
          legend: podLegend,
        }),
        panel(
          'TCP resets',
          'cps',
          sumRate(m('skoop.tcp.resets'), 'skoop_reset_type', nodeFilter, '{{skoop_reset_type}}'),
        ),
        panel(
          'TCP retransmits',
          'pps',
          sumRate(m('skoop.tcp.retransmits'), 'skoop_retransmit_kind', nodeFilter, '{{skoop_retransmit_kind}}'),
        ),
        panel(
          'Connections that fail',
          'cps',
          sumRate(m('skoop.tcp.connect.failures'), 'error_type', nodeFilter, '{{error_type}}'),
        ),
        panel(
          'Full accept queues',
          'cps',
          sumRate(m('skoop.tcpext.listen_overflows'), podLabels, nodeFilter, podLegend),
        ),
      ],
    },
    {
      title: 'The node itself',
      panels: [
        panel(
          'Traffic',
          'Bps',
          ...io(m('system.network.io'), 'network_interface_name', ofNode, '{{network_interface_name}}'),
        ),
        panel(
          'Interface errors',
          'pps',
          ...io(m('system.network.errors'), 'network_interface_name', ofNode, '{{network_interface_name}}'),
        ),
        panel(
          'Interface drops',
          'pps',
          ...io(m('system.network.packet.dropped'), 'network_interface_name', ofNode, '{{network_interface_name}}'),
        ),
        panel(
          'Backlog: processed, dropped, squeezed',
          'pps',
          sumRate(m('skoop.softnet.processed'), 'k8s_node_name', ofNode, 'processed'),
          sumRate(m('skoop.softnet.dropped'), 'k8s_node_name', ofNode, 'dropped'),
          sumRate(m('skoop.softnet.time_squeeze'), 'k8s_node_name', ofNode, 'time squeeze'),
        ),
        {
          ...panel(
            'Soft interrupts, 99th percentile',
            's',
            quantile(
              0.99,
              'skoop.softirq.duration',
              'skoop_softirq_type, skoop_softirq_phase',
              ofNode,
              '{{skoop_softirq_type}} {{skoop_softirq_phase}}',
            ),
          ),
          description: 'Needs receivers.ebpf.probes.softirq: {enabled: true}.',
        },
        panel('Conntrack table', 'percentunit', {
          expr: `max by (k8s_node_name) (${m('skoop.conntrack.utilization')}{${ofNode}})`,
          legend: nodeLegend,
        }),
        panel(
          'Conntrack trouble',
          'cps',
          sumRate(m('skoop.conntrack.insert_failed'), 'k8s_node_name', ofNode, 'insert failed'),
          sumRate(m('skoop.conntrack.dropped'), 'k8s_node_name', ofNode, 'dropped'),
          sumRate(m('skoop.conntrack.early_dropped'), 'k8s_node_name', ofNode, 'early dropped'),
        ),
        panel(
          'Neighbour tables',
          'short',
          {
            expr: `sum by (network_type) (${m('skoop.neighbour.table.entries')}{${ofNode}})`,
            legend: '{{network_type}} entries',
          },
          {
            expr: `max by (network_type) (${m('skoop.neighbour.table.limit')}{${ofNode}})`,
            legend: '{{network_type}} limit',
          },
        ),
        panel(
          'Queues: drops and backlog',
          'short',
          sumRate(
            m('skoop.qdisc.drops'),
            'network_interface_name, skoop_qdisc_kind',
            ofNode,
            '{{network_interface_name}} {{skoop_qdisc_kind}} drops/s',
          ),
          {
            expr: `sum by (network_interface_name) (${m('skoop.qdisc.queue.length')}{${ofNode}})`,
            legend: '{{network_interface_name}} queued',
          },
        ),
        panel(
          'Disk latency, 99th percentile',
          's',
          quantile(
            0.99,
            'skoop.disk.latency',
            'system_device, disk_io_operation',
            nodeFilter,
            '{{system_device}} {{disk_io_operation}}',
          ),
        ),
        panel(
          'TCP sockets',
          'short',
          { expr: `sum by (k8s_node_name) (${m('skoop.sock.allocated')}{${ofNode}})`, legend: 'allocated' },
          { expr: `sum by (k8s_node_name) (${m('skoop.sock.orphans')}{${ofNode}})`, legend: 'orphans' },
        ),
        panel('Socket memory', 'bytes', {
          expr: `sum by (network_transport) (${m('skoop.sock.memory')}{${ofNode}})`,
          legend: '{{network_transport}}',
        }),
      ],
    },
  ],
};

export const pod: Dashboard = {
  file: 'pod.json',
  uid: 'skoopline-pod',
  title: 'skoopline / pod',
  source: 'prometheus',
  variables: [
    { name: 'namespace', query: 'label_values(target_info, k8s_namespace_name)' },
    { name: 'pod', query: 'label_values(target_info{k8s_namespace_name=~"$namespace"}, k8s_pod_name)' },
  ],
  rows: [
    {
      title: 'What goes wrong',
      panels: [
        panel(
          'Packets dropped by reason',
          'pps',
          sumRate(
            m('skoop.packet.drops'),
            `${podLabels}, skoop_drop_reason`,
            ofPod,
            '{{k8s_pod_name}} {{skoop_drop_reason}}',
          ),
        ),
        panel(
          'TCP resets',
          'cps',
          sumRate(
            m('skoop.tcp.resets'),
            `${podLabels}, skoop_reset_type`,
            ofPod,
            '{{k8s_pod_name}} {{skoop_reset_type}}',
          ),
        ),
        panel('TCP segments sent again, share', 'percentunit', {
          expr: `sum by (${podLabels}) (${rate(m('skoop.tcp.retrans_segs'), ofPod)}) / sum by (${podLabels}) (${rate(m('skoop.tcp.out_segs'), ofPod)})`,
          legend: podLegend,
        }),
        panel(
          'Connections that fail',
          'cps',
          sumRate(
            m('skoop.tcp.connect.failures'),
            `${podLabels}, error_type`,
            ofPod,
            '{{k8s_pod_name}} {{error_type}}',
          ),
        ),
        panel(
          'Listen queue: overflows and drops',
          'cps',
          sumRate(m('skoop.tcpext.listen_overflows'), podLabels, ofPod, `${podLegend} overflows`),
          sumRate(m('skoop.tcpext.listen_drops'), podLabels, ofPod, `${podLegend} drops`),
        ),
        panel(
          'UDP errors',
          'pps',
          sumRate(m('skoop.udp.rcvbuf_errors'), podLabels, ofPod, `${podLegend} receive buffer`),
          sumRate(m('skoop.udp.sndbuf_errors'), podLabels, ofPod, `${podLegend} send buffer`),
          sumRate(m('skoop.udp.no_ports'), podLabels, ofPod, `${podLegend} no port`),
        ),
      ],
    },
    {
      title: 'Traffic and connections',
      panels: [
        panel('Traffic', 'Bps', ...io(m('system.network.io'), podLabels, ofPod, podLegend)),
        panel('Packets', 'pps', ...io(m('system.network.packet.count'), podLabels, ofPod, podLegend)),
        panel('TCP connections by state', 'short', {
          expr: `sum by (${podLabels}, network_connection_state) (${m('system.network.connection.count')}{${ofPod}})`,
          legend: '{{k8s_pod_name}} {{network_connection_state}}',
        }),
        panel(
          'Connections opened and accepted',
          'cps',
          sumRate(m('skoop.tcp.active_opens'), podLabels, ofPod, `${podLegend} opened`),
          sumRate(m('skoop.tcp.passive_opens'), podLabels, ofPod, `${podLegend} accepted`),
        ),
        panel('Waiting in sockets', 'bytes', {
          expr: `sum by (${podLabels}, network_io_direction) (${m('skoop.tcp.socket_queue')}{${ofPod}})`,
          legend: '{{k8s_pod_name}} {{network_io_direction}}',
        }),
        panel('Accept queue, fill', 'percentunit', {
          expr: `${m('skoop.tcp.accept_queue')}{${ofPod}} / ${m('skoop.tcp.accept_queue_limit')}{${ofPod}}`,
          legend: '{{k8s_pod_name}} :{{network_local_port}}',
        }),
      ],
    },
    {
      title: 'Latency',
      panels: [
        panel(
          'Round trip, median and 99th percentile',
          's',
          quantile(0.5, 'skoop.tcp.rtt', podLabels, ofPod, `${podLegend} 50 %`),
          quantile(0.99, 'skoop.tcp.rtt', podLabels, ofPod, `${podLegend} 99 %`),
        ),
        panel(
          'Time to connect, 99th percentile',
          's',
          quantile(0.99, 'skoop.tcp.connect.duration', podLabels, ofPod, podLegend),
        ),
        panel(
          'CPU: waited and throttled',
          's',
          sumRate(m('skoop.sched.run_delay'), podLabels, ofPod, `${podLegend} run delay`),
          sumRate(m('skoop.sched.throttled'), podLabels, ofPod, `${podLegend} throttled`),
        ),
        panel('Open files', 'short', {
          expr: `sum by (${podLabels}) (${m('skoop.fd.open')}{${ofPod}})`,
          legend: podLegend,
        }),
        panel(
          'Disk',
          'Bps',
          sumRate(
            m('skoop.io.disk'),
            `${podLabels}, disk_io_direction`,
            ofPod,
            '{{k8s_pod_name}} {{disk_io_direction}}',
          ),
        ),
        panel(
          'Pressure',
          'percentunit',
          sumRate(
            m('skoop.psi.stalled'),
            `${podLabels}, skoop_psi_resource, skoop_psi_kind`,
            ofPod,
            '{{k8s_pod_name}} {{skoop_psi_resource}} {{skoop_psi_kind}}',
          ),
        ),
      ],
    },
  ],
};
