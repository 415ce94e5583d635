/** Names of metrics for queries: taken from the catalogue, so that a query cannot ask for what is not there. */
import { readFileSync } from 'node:fs';

interface Entry {
  readonly name: string;
  readonly prometheus: string;
  readonly instrument: string;
  readonly kubeskoop?: readonly { readonly name: string }[];
}

const path = `${import.meta.dirname}/../../docs/reference/catalogue.json`;
const { metrics } = JSON.parse(readFileSync(path, 'utf8')) as { metrics: readonly Entry[] };
const byName = new Map(metrics.map((m) => [m.name, m]));
const kubeskoopNames = new Set(metrics.flatMap((m) => (m.kubeskoop ?? []).map((k) => k.name)));

/** The agent's own metrics that queries use; deploy/dashboards.test.ts compares with what an agent serves. */
export const ownMetrics = [
  'otelcol_component_state',
  'otelcol_config_last_reload_successful',
  'otelcol_exporter_failures_total',
  'otelcol_exporter_queue_capacity',
  'otelcol_exporter_queue_size',
  'otelcol_exporter_sent_metric_points_total',
  'otelcol_pipeline_dropped_items_total',
  'otelcol_process_cpu_seconds_total',
  'otelcol_process_memory_rss',
  'otelcol_receiver_accepted_metric_points_total',
  'otelcol_receiver_failures_total',
  'otelcol_receiver_refused_metric_points_total',
  'nodejs_eventloop_delay_p99',
] as const;

/** The Prometheus name of a metric of the catalogue. @throws when there is none */
export function metric(name: string): string {
  const found = byName.get(name);
  if (!found) throw new Error(`The catalogue has no metric ${name}.`);
  return found.prometheus;
}

/** The buckets of a histogram of the catalogue. */
export function buckets(name: string): string {
  if (byName.get(name)?.instrument !== 'histogram') throw new Error(`${name} is no histogram of the catalogue.`);
  return `${metric(name)}_bucket`;
}

/** A KubeSkoop name that some metric of the catalogue feeds. */
export function kubeskoop(name: string): string {
  if (!kubeskoopNames.has(name)) throw new Error(`No metric of the catalogue feeds ${name}.`);
  return name;
}

export const own = (name: (typeof ownMetrics)[number]): string => name;

/** Every name that a query may hold. */
export const allowedNames: ReadonlySet<string> = new Set([
  ...metrics.map((m) => m.prometheus),
  ...metrics.filter((m) => m.instrument === 'histogram').map((m) => `${m.prometheus}_bucket`),
  ...kubeskoopNames,
  ...ownMetrics,
  'target_info',
  'up',
]);

/** Names of metrics in a query: each is written with its braces. */
export const namesIn = (expression: string): string[] =>
  Array.from(expression.matchAll(/([a-zA-Z_:]\w*)\{/g), (m) => m[1]!);
