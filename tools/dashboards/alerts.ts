/** Alert rules as Prometheus reads them. Each says what to look at first. */
import { kubeskoop as k, metric as m, own } from './names.ts';

export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly severity: 'warning' | 'critical';
  readonly summary: string;
  readonly description: string;
}

export interface RuleFile {
  readonly file: string;
  readonly groups: readonly { readonly name: string; readonly alerts: readonly Alert[] }[];
}

const pod = 'k8s_node_name, k8s_namespace_name, k8s_pod_name';
const ofPods = 'k8s_pod_name!=""';
const ofNode = 'k8s_pod_name=""';
const podName = '{{ $labels.k8s_namespace_name }}/{{ $labels.k8s_pod_name }} on {{ $labels.k8s_node_name }}';

const alert = (
  name: string,
  severity: Alert['severity'],
  after: string,
  expr: string,
  summary: string,
  description: string,
): Alert => ({ alert: name, expr, for: after, severity, summary, description });

const pods: readonly Alert[] = [
  alert(
    'SkooplinePodPacketDrops',
    'warning',
    '5m',
    `sum by (${pod}, skoop_drop_reason) (rate(${m('skoop.packet.drops')}{${ofPods}}[5m])) > 1`,
    `The kernel drops packets of ${podName}`,
    '{{ $value | humanize }} a second, reason {{ $labels.skoop_drop_reason }}. The events skoop.packet.dropped have addresses, ports and the place.',
  ),
  alert(
    'SkooplinePodAcceptQueueFull',
    'warning',
    '2m',
    `sum by (${pod}) (rate(${m('skoop.tcpext.listen_overflows')}{${ofPods}}[5m])) > 0`,
    `${podName} does not accept connections fast enough`,
    'Its accept queue was full: the process is busy or the backlog of listen() too small. The events skoop.tcp.accept_queue_full name the port.',
  ),
  alert(
    'SkooplinePodConnectFailures',
    'warning',
    '5m',
    `sum by (${pod}, error_type) (rate(${m('skoop.tcp.connect.failures')}{${ofPods}}[5m])) > 0.1`,
    `Connections of ${podName} fail`,
    '{{ $value | humanize }} a second with {{ $labels.error_type }}. The events skoop.tcp.connect_failed name the other end.',
  ),
  alert(
    'SkooplinePodRetransmits',
    'warning',
    '10m',
    `sum by (${pod}) (rate(${m('skoop.tcp.retrans_segs')}{${ofPods}}[5m])) / sum by (${pod}) (rate(${m('skoop.tcp.out_segs')}{${ofPods}}[5m]) > 10) > 0.05`,
    `${podName} sends many segments twice`,
    '{{ $value | humanizePercentage }} of its TCP segments. Packets are lost on the way or the other end is slow.',
  ),
  alert(
    'SkooplinePodUdpBufferFull',
    'warning',
    '2m',
    `sum by (${pod}) (rate(${m('skoop.udp.rcvbuf_errors')}{${ofPods}}[5m])) > 0`,
    `${podName} does not read its datagrams fast enough`,
    'The receive buffer of a UDP socket was full. The events skoop.udp.buffer_full name port and process.',
  ),
  alert(
    'SkooplinePodOpenFiles',
    'warning',
    '5m',
    `max by (${pod}) (${m('skoop.fd.limit_utilization')}{${ofPods}}) > 0.9`,
    `${podName} is close to its limit of open files`,
    '{{ $value | humanizePercentage }} of RLIMIT_NOFILE; at the limit it can accept no connection.',
  ),
];

const nodes: readonly Alert[] = [
  alert(
    'SkooplineConntrackNearlyFull',
    'critical',
    '2m',
    `max by (k8s_node_name) (${m('skoop.conntrack.utilization')}{${ofNode}}) > 0.9`,
    'The conntrack table of {{ $labels.k8s_node_name }} is nearly full',
    '{{ $value | humanizePercentage }} in use; when it is full new connections are dropped. Raise net.netfilter.nf_conntrack_max.',
  ),
  alert(
    'SkooplineConntrackInsertFailed',
    'warning',
    '5m',
    `sum by (k8s_node_name) (rate(${m('skoop.conntrack.insert_failed')}{${ofNode}}[5m])) > 0.1`,
    'Connections are lost in conntrack of {{ $labels.k8s_node_name }}',
    'Two packets raced for one entry; DNS from one socket over A and AAAA is the usual cause.',
  ),
  alert(
    'SkooplineSoftnetDrops',
    'warning',
    '2m',
    `sum by (k8s_node_name) (rate(${m('skoop.softnet.dropped')}{${ofNode}}[5m])) > 0`,
    '{{ $labels.k8s_node_name }} receives faster than it processes',
    'The per-CPU backlog was full. Look at time_squeeze, RPS and net.core.netdev_max_backlog.',
  ),
  alert(
    'SkooplineInterfaceErrors',
    'warning',
    '5m',
    `sum by (k8s_node_name, network_interface_name) (rate(${m('system.network.errors')}{${ofNode}}[5m])) > 0.1`,
    '{{ $labels.network_interface_name }} of {{ $labels.k8s_node_name }} has errors',
    'Cable, port or driver: ethtool -S {{ $labels.network_interface_name }} tells which.',
  ),
  alert(
    'SkooplineNeighbourTableNearlyFull',
    'critical',
    '2m',
    `sum by (k8s_node_name, network_type) (${m('skoop.neighbour.table.entries')}{${ofNode}}) / sum by (k8s_node_name, network_type) (${m('skoop.neighbour.table.limit')}{${ofNode}}) > 0.9`,
    'The {{ $labels.network_type }} neighbour table of {{ $labels.k8s_node_name }} is nearly full',
    'New neighbours cannot be reached when it is full. Raise net.ipv4.neigh.default.gc_thresh3 (ipv6 likewise).',
  ),
];

const agent: readonly Alert[] = [
  alert(
    'SkooplineComponentFailed',
    'warning',
    '5m',
    `max by (instance, kind, component) (${own('otelcol_component_state')}{state="failed"}) == 1`,
    'The {{ $labels.kind }} {{ $labels.component }} of {{ $labels.instance }} does not work',
    'Its log says why; it is tried again.',
  ),
  alert(
    'SkooplineReceiverFails',
    'warning',
    '10m',
    `sum by (instance, receiver, what) (rate(${own('otelcol_receiver_failures_total')}{}[5m])) > 0`,
    'A part of the receiver {{ $labels.receiver }} of {{ $labels.instance }} does not work: {{ $labels.what }}',
    'It runs, but again and again it fails at this; of cri, pods that come now get no names. Its log says why.',
  ),
  alert(
    'SkooplineQueueNearlyFull',
    'warning',
    '5m',
    `${own('otelcol_exporter_queue_size')}{} / ${own('otelcol_exporter_queue_capacity')}{} > 0.8`,
    'The queue of {{ $labels.exporter }} on {{ $labels.instance }} is nearly full',
    'The backend is slow or away; above this mark receivers pause, and what finds no room is dropped and counted.',
  ),
  alert(
    'SkooplineExporterFails',
    'warning',
    '5m',
    `sum by (instance, exporter) (rate(${own('otelcol_exporter_failures_total')}{}[5m])) > 0`,
    '{{ $labels.exporter }} on {{ $labels.instance }} cannot send',
    'Requests fail and are tried again. The log has the answer of the backend.',
  ),
  alert(
    'SkooplineEventsLost',
    'warning',
    '5m',
    `sum by (k8s_node_name, skoop_probe) (rate(${m('skoop.event.lost')}{}[5m])) > 0`,
    'Events of the probe {{ $labels.skoop_probe }} are lost on {{ $labels.k8s_node_name }}',
    'The ring buffer was full: the agent lacks CPU, or ring_size is too small. Metrics are exact all the same.',
  ),
  alert(
    'SkooplineConfigRefused',
    'warning',
    '1m',
    `${own('otelcol_config_last_reload_successful')}{} == 0`,
    '{{ $labels.instance }} did not take its new config',
    'The old one goes on running. The log has line and column.',
  ),
];

const kubeskoop: readonly Alert[] = [
  alert(
    'KubeskoopPacketLoss',
    'warning',
    '5m',
    `sum by (k8s_node, k8s_namespace, k8s_pod) (rate(${k('kubeskoop_packetloss_total')}{}[5m])) > 1`,
    'The kernel drops packets of {{ $labels.k8s_namespace }}/{{ $labels.k8s_pod }} on {{ $labels.k8s_node }}',
    '{{ $value | humanize }} a second.',
  ),
  alert(
    'KubeskoopListenOverflows',
    'warning',
    '2m',
    `sum by (k8s_node, k8s_namespace, k8s_pod) (rate(${k('kubeskoop_tcpext_listenoverflows')}{}[5m])) > 0`,
    '{{ $labels.k8s_namespace }}/{{ $labels.k8s_pod }} on {{ $labels.k8s_node }} does not accept connections fast enough',
    'Its accept queue was full.',
  ),
  alert(
    'KubeskoopConntrackNearlyFull',
    'critical',
    '2m',
    `max by (k8s_node) (${k('kubeskoop_conntrack_entries')}{}) / max by (k8s_node) (${k('kubeskoop_conntrack_maxentries')}{}) > 0.9`,
    'The conntrack table of {{ $labels.k8s_node }} is nearly full',
    'When it is full new connections are dropped.',
  ),
  alert(
    'KubeskoopSoftnetDrops',
    'warning',
    '2m',
    `sum by (k8s_node) (rate(${k('kubeskoop_softnet_dropped')}{}[5m])) > 0`,
    '{{ $labels.k8s_node }} receives faster than it processes',
    'The per-CPU backlog was full.',
  ),
];

export const ruleFiles: readonly RuleFile[] = [
  {
    file: 'skoopline.yaml',
    groups: [
      { name: 'skoopline-pods', alerts: pods },
      { name: 'skoopline-nodes', alerts: nodes },
      { name: 'skoopline-agent', alerts: agent },
    ],
  },
  { file: 'kubeskoop.yaml', groups: [{ name: 'skoopline-kubeskoop-names', alerts: kubeskoop }] },
];
