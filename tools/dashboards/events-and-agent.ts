import type { Dashboard } from './grafana.ts';
import { metric as m, own } from './names.ts';
import { panel, sumRate } from './queries.ts';

const stream = '{node=~"$node",namespace=~"$namespace",event=~"$event"}';
export const events: Dashboard = {
  file: 'events.json',
  uid: 'skoopline-events',
  title: 'skoopline / events',
  source: 'loki',
  variables: [
    { name: 'node', query: 'label_values(node)' },
    { name: 'namespace', query: 'label_values(namespace)' },
    { name: 'event', query: 'label_values(event)' },
  ],
  rows: [
    {
      title: 'Events',
      panels: [
        panel('By kind', 'short', {
          expr: `sum by (event) (count_over_time(${stream} [$__auto]))`,
          legend: '{{event}}',
        }),
        panel('By pod', 'short', {
          expr: `topk(10, sum by (namespace, pod) (count_over_time(${stream} | logfmt [$__auto])))`,
          legend: '{{namespace}}/{{pod}}',
        }),
        panel('Drops by reason', 'short', {
          expr: `sum by (reason) (count_over_time({node=~"$node",namespace=~"$namespace",event="skoop.packet.dropped"} | logfmt [$__auto]))`,
          legend: '{{reason}}',
        }),
      ],
    },
    {
      title: 'Lines',
      panels: [{ title: 'Lines', unit: 'short', type: 'logs', queries: [{ expr: stream, legend: '' }] }],
    },
  ],
};

export const agent: Dashboard = {
  file: 'agent.json',
  uid: 'skoopline-agent',
  title: 'skoopline / agent health',
  source: 'prometheus',
  variables: [{ name: 'instance', query: `label_values(${own('otelcol_component_state')}, instance)` }],
  rows: [
    {
      title: 'Is anything lost?',
      panels: [
        panel('Components that failed', 'short', {
          expr: `sum by (instance, component) (${own('otelcol_component_state')}{instance=~"$instance",state="failed"})`,
          legend: '{{instance}} {{component}}',
        }),
        panel('Queue, fill', 'percentunit', {
          expr: `${own('otelcol_exporter_queue_size')}{instance=~"$instance"} / ${own('otelcol_exporter_queue_capacity')}{instance=~"$instance"}`,
          legend: '{{instance}} {{exporter}}',
        }),
        panel(
          'Exporter failures',
          'cps',
          sumRate(
            own('otelcol_exporter_failures_total'),
            'instance, exporter, what',
            'instance=~"$instance"',
            '{{instance}} {{exporter}} {{what}}',
          ),
        ),
        panel(
          'Events that the kernel could not hand over',
          'cps',
          sumRate(m('skoop.event.lost'), 'k8s_node_name, skoop_probe', '', '{{k8s_node_name}} {{skoop_probe}} lost'),
          sumRate(
            m('skoop.event.suppressed'),
            'k8s_node_name, skoop_probe',
            '',
            '{{k8s_node_name}} {{skoop_probe}} over the limit',
          ),
        ),
        panel(
          'Received',
          'cps',
          sumRate(
            own('otelcol_receiver_accepted_metric_points_total'),
            'instance, receiver',
            'instance=~"$instance"',
            '{{instance}} {{receiver}}',
          ),
        ),
        panel(
          'Refused',
          'cps',
          sumRate(
            own('otelcol_receiver_refused_metric_points_total'),
            'instance, receiver',
            'instance=~"$instance"',
            '{{instance}} {{receiver}}',
          ),
        ),
      ],
    },
    {
      title: 'What it costs',
      panels: [
        panel('CPU', 'percentunit', {
          expr: `rate(${own('otelcol_process_cpu_seconds_total')}{instance=~"$instance"}[$__rate_interval])`,
          legend: '{{instance}}',
        }),
        panel('Memory', 'bytes', {
          expr: `${own('otelcol_process_memory_rss')}{instance=~"$instance"}`,
          legend: '{{instance}}',
        }),
        panel('Event loop delay, 99th percentile', 's', {
          expr: `${own('nodejs_eventloop_delay_p99')}{instance=~"$instance"}`,
          legend: '{{instance}}',
        }),
      ],
    },
  ],
};
