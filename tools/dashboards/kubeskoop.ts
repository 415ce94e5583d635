import type { Dashboard, Query } from './grafana.ts';
import { kubeskoop as k } from './names.ts';
import { panel, rate } from './queries.ts';

const kubeskoopRows = (filter: string, legend: string, ofNodeOnly: boolean): Dashboard['rows'] => {
  const q = (name: string, label: string): Query => ({ expr: rate(k(name), filter), legend: `${legend} ${label}` });
  const value = (name: string, label: string): Query => ({
    expr: `${k(name)}{${filter}}`,
    legend: `${legend} ${label}`,
  });
  const pair = (area: string, what: string) => [
    q(`kubeskoop_${area}_rx${what}`, 'rx'),
    q(`kubeskoop_${area}_tx${what}`, 'tx'),
  ];
  const states = ['established', 'timewait', 'closewait', 'synsent', 'synrecv'];
  const ext = ['listendrops', 'listenoverflows', 'tcpsynretrans', 'tcprcvqdrop', 'pfmemallocdrop', 'tcpbacklogdrop'];
  return [
    {
      title: 'Network',
      panels: [
        panel('Packets lost', 'pps', q('kubeskoop_packetloss_total', '')),
        panel('Traffic', 'Bps', ...pair('netdev', 'bytes')),
        panel('Packets', 'pps', ...pair('netdev', 'packets')),
        panel('Errors', 'pps', ...pair('netdev', 'errors')),
        panel('Dropped', 'pps', ...pair('netdev', 'dropped')),
        ...(ofNodeOnly
          ? [
              panel(
                'Conntrack',
                'short',
                value('kubeskoop_conntrack_entries', 'entries'),
                value('kubeskoop_conntrack_maxentries', 'limit'),
              ),
              panel(
                'Sockets',
                'short',
                value('kubeskoop_sock_inuse', 'in use'),
                value('kubeskoop_sock_orphan', 'orphans'),
              ),
            ]
          : []),
      ],
    },
    {
      title: 'TCP and UDP',
      panels: [
        panel('Connections', 'short', ...states.map((s) => value(`kubeskoop_tcpsummary_tcp${s}conn`, s))),
        panel(
          'Queues',
          'bytes',
          value('kubeskoop_tcpsummary_tcptxqueue', 'tx'),
          value('kubeskoop_tcpsummary_tcprxqueue', 'rx'),
        ),
        panel('Opens', 'cps', q('kubeskoop_tcp_passiveopens', 'passive'), q('kubeskoop_tcp_activeopens', 'active')),
        panel('TCP trouble', 'cps', ...ext.map((e) => q(`kubeskoop_tcpext_${e}`, e))),
        panel('Retransmits', 'pps', q('kubeskoop_tcp_retranssegs', '')),
        panel(
          'UDP',
          'pps',
          ...['rcvbuferrors', 'sndbuferrors', 'noports', 'inerrors'].map((e) => q(`kubeskoop_udp_${e}`, e)),
        ),
      ],
    },
  ];
};

export const kubeskoopNode: Dashboard = {
  file: 'kubeskoop-node.json',
  uid: 'skoopline-kubeskoop-node',
  title: 'skoopline / node (KubeSkoop names)',
  source: 'prometheus',
  variables: [{ name: 'node', query: `label_values(${k('kubeskoop_netdev_rxbytes')}, k8s_node)` }],
  rows: kubeskoopRows('k8s_node=~"$node",k8s_pod=""', '{{k8s_node}}', true),
};

export const kubeskoopPod: Dashboard = {
  file: 'kubeskoop-pod.json',
  uid: 'skoopline-kubeskoop-pod',
  title: 'skoopline / pod (KubeSkoop names)',
  source: 'prometheus',
  variables: [
    { name: 'namespace', query: `label_values(${k('kubeskoop_netdev_rxbytes')}, k8s_namespace)` },
    { name: 'pod', query: `label_values(${k('kubeskoop_netdev_rxbytes')}{k8s_namespace=~"$namespace"}, k8s_pod)` },
  ],
  rows: kubeskoopRows('k8s_namespace=~"$namespace",k8s_pod=~"$pod"', '{{k8s_namespace}}/{{k8s_pod}}', false),
};
