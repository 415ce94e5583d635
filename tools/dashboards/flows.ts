import type { Dashboard } from './grafana.ts';
import { kubeskoop as k, metric as m } from './names.ts';
import { ofPod, panel, podLabels, podLegend, rate, sumRate } from './queries.ts';

const ends = 'source_address, destination_address';
const arrow = '{{source_address}} → {{destination_address}}';
const sent = `${ofPod},network_io_direction="transmit",otel_metric_overflow=""`;
const received = `${ofPod},network_io_direction="receive",otel_metric_overflow=""`;
const top = (expr: string, legend: string) => ({ expr: `topk(10, ${expr})`, legend });

const needsFlow = 'Needs receivers.ebpf.probes.flow: {enabled: true}.';
const worst = 'Only peers that are slow or lossy have a series: receivers.netlink.scrapers.tcp_info.worst_peers.';

/** Who talks to whom, and with whom it goes badly. */
export const flows: Dashboard = {
  file: 'flows.json',
  uid: 'skoopline-flows',
  title: 'skoopline / flows and peers',
  source: 'prometheus',
  variables: [
    { name: 'namespace', query: 'label_values(target_info, k8s_namespace_name)' },
    { name: 'pod', query: 'label_values(target_info{k8s_namespace_name=~"$namespace"}, k8s_pod_name)' },
  ],
  rows: [
    {
      title: 'Who talks to whom',
      panels: [
        {
          ...panel(
            'Pods with the most traffic',
            'Bps',
            top(`sum by (${podLabels}) (${rate(m('skoop.flow.io'), ofPod)})`, podLegend),
          ),
          description: needsFlow,
        },
        {
          ...panel(
            'Largest flows, sent',
            'Bps',
            top(`sum by (${podLabels}, ${ends}) (${rate(m('skoop.flow.io'), sent)})`, `{{k8s_pod_name}} ${arrow}`),
          ),
          description: needsFlow,
        },
        {
          ...panel(
            'Largest flows, received',
            'Bps',
            top(`sum by (${podLabels}, ${ends}) (${rate(m('skoop.flow.io'), received)})`, `{{k8s_pod_name}} ${arrow}`),
          ),
          description: needsFlow,
        },
        {
          ...panel(
            'Pairs of workloads',
            'Bps',
            top(
              `sum by (skoop_local_workload_name, skoop_peer_workload_name) (${rate(m('skoop.flow.io'), `${ofPod},network_io_direction="transmit",skoop_peer_workload_name!=""`)})`,
              '{{skoop_local_workload_name}} → {{skoop_peer_workload_name}}',
            ),
          ),
          description: `${needsFlow} And processors.peer with by: workload, or with local: true.`,
        },
        {
          ...panel(
            'Packets by protocol',
            'pps',
            sumRate(m('skoop.flow.packets'), 'network_transport', ofPod, '{{network_transport}}'),
          ),
          description: needsFlow,
        },
        {
          ...panel('Peers that a pod sends to', 'short', {
            expr: `count by (${podLabels}) (sum by (${podLabels}, destination_address) (${rate(m('skoop.flow.packets'), sent)}) > 0)`,
            legend: podLegend,
          }),
          description: needsFlow,
        },
        {
          ...panel(
            'Traffic not told apart',
            'Bps',
            sumRate(m('skoop.flow.io'), podLabels, `${ofPod},otel_metric_overflow="true"`, podLegend),
          ),
          description: 'What came after max_flows flows, summed.',
        },
      ],
    },
    {
      title: 'Peers in trouble',
      panels: [
        {
          ...panel('Slowest peers, round trip', 's', {
            expr: `${m('skoop.tcp.peer.rtt')}{${ofPod}}`,
            legend: '{{k8s_pod_name}} ↔ {{network_peer_address}}',
          }),
          description: worst,
        },
        {
          ...panel('Peers to which most is sent again', 'percentunit', {
            expr: `${m('skoop.tcp.peer.retransmit_ratio')}{${ofPod}}`,
            legend: '{{k8s_pod_name}} ↔ {{network_peer_address}}',
          }),
          description: worst,
        },
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
      ],
    },
  ],
};

/** The same under KubeSkoop's names: its console drew its graph from these four. */
export const kubeskoopFlows: Dashboard = {
  file: 'kubeskoop-flows.json',
  uid: 'skoopline-kubeskoop-flows',
  title: 'skoopline / flows (KubeSkoop names)',
  source: 'prometheus',
  variables: [{ name: 'node', query: `label_values(${k('kubeskoop_flow_bytes')}, k8s_node)` }],
  rows: [
    {
      title: 'Who talks to whom',
      panels: [
        panel(
          'Largest flows',
          'Bps',
          top(
            `sum by (src, dst) (${rate(k('kubeskoop_flow_bytes'), 'k8s_node=~"$node",src!=""')})`,
            '{{src}} → {{dst}}',
          ),
        ),
        panel(
          'Packets by protocol',
          'pps',
          sumRate(k('kubeskoop_flow_packets'), 'protocol', 'k8s_node=~"$node"', '{{protocol}}'),
        ),
        panel(
          'Packets lost, by protocol',
          'pps',
          sumRate(k('kubeskoop_packetloss_total'), 'protocol', 'k8s_node=~"$node"', '{{protocol}}'),
        ),
        panel(
          'Retransmits',
          'pps',
          sumRate(
            k('kubeskoop_tcpretrans_total'),
            'k8s_namespace, k8s_pod',
            'k8s_node=~"$node"',
            '{{k8s_namespace}}/{{k8s_pod}}',
          ),
        ),
      ],
    },
  ],
};
