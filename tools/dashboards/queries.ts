/** Pieces of which queries and panels are made. */
import type { Panel, Query } from './grafana.ts';
import { buckets } from './names.ts';

export const nodeFilter = 'k8s_node_name=~"$node"';
/** The node's own series: those of no pod. */
export const ofNode = `${nodeFilter},k8s_pod_name=""`;
export const ofPod = 'k8s_namespace_name=~"$namespace",k8s_pod_name=~"$pod"';
export const podLabels = 'k8s_namespace_name, k8s_pod_name';
export const podLegend = '{{k8s_namespace_name}}/{{k8s_pod_name}}';

export const rate = (name: string, filter: string) => `rate(${name}{${filter}}[$__rate_interval])`;
export const sumRate = (name: string, by: string, filter: string, legend: string): Query => ({
  expr: `sum by (${by}) (${rate(name, filter)})`,
  legend,
});
export const quantile = (q: number, name: string, by: string, filter: string, legend: string): Query => ({
  expr: `histogram_quantile(${q}, sum by (${by}, le) (${rate(buckets(name), filter)}))`,
  legend,
});
export const panel = (title: string, unit: string, ...queries: Query[]): Panel => ({ title, unit, queries });

export const directions = ['receive', 'transmit'] as const;
export const io = (name: string, by: string, filter: string, legend: string) =>
  directions.map((d) => sumRate(name, by, `${filter},network_io_direction="${d}"`, `${legend} ${d}`));
