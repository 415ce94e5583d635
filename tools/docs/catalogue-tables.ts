import { prometheusFamily } from '../../exporters/prometheus/naming.ts';
import type { EventDefinition, KubeskoopName, MetricDefinition } from '../../pipeline/catalogue.ts';
import { code, table } from './markers.ts';

const attributesOf = (a: MetricDefinition['attributes']) => Object.keys(a).map(code).join(', ');

/** The README's table of a component's metrics. */
export function metricsTable(metrics: readonly MetricDefinition[]): string {
  if (metrics.length === 0) return 'It has no metrics of its own.';
  return table(
    ['metric', 'type', 'unit', 'attributes', 'what it counts'],
    metrics.map((m) => [
      code(m.name) + (m.enabled ? '' : ' (off)'),
      m.instrument,
      code(m.unit),
      attributesOf(m.attributes),
      m.description,
    ]),
  );
}

/** The README's table of a component's events. */
export function eventsTable(events: readonly EventDefinition[]): string {
  if (events.length === 0) return 'It has no events.';
  return table(
    ['event', 'KubeSkoop types', 'attributes', 'when'],
    events.map((e) => [
      code(e.name),
      (e.kubeskoopTypes ?? []).map(code).join(', '),
      attributesOf(e.attributes),
      e.description,
    ]),
  );
}

function kubeskoopText({ name, where, above }: KubeskoopName): string {
  const conditions = Object.entries(where ?? {}).map(([k, v]) => `${k} = ${v}`);
  if (above !== undefined) conditions.push(`above ${above}`);
  return code(name) + (conditions.length ? ` (${conditions.join(', ')})` : '');
}

/** One metric in the reference: everything that the catalogue knows of it. */
export function metricSection(m: MetricDefinition): string {
  const lines = [
    `### ${m.name}`,
    '',
    m.description,
    '',
    `* ${m.instrument}, unit ${code(m.unit)}, one set per ${m.scope === 'netns' ? 'network namespace' : m.scope}, ` +
      `at most ${m.maxSeries} series each; ${m.enabled ? 'on' : 'off'} by default; ${m.stability}`,
    `* Prometheus: ${code(prometheusFamily(m).name)}`,
    `* source: ${code(m.source)}`,
  ];
  for (const [key, a] of Object.entries(m.attributes)) {
    lines.push(`* ${code(key)}: ${a.description}${a.values ? ` One of ${a.values.map(code).join(', ')}.` : ''}`);
  }
  if (m.kubeskoop?.length) lines.push(`* KubeSkoop: ${m.kubeskoop.map(kubeskoopText).join(', ')}`);
  return lines.join('\n');
}

/** One event in the reference. */
export function eventSection(e: EventDefinition): string {
  const lines = [`### ${e.name}`, '', e.description, '', `* source: ${code(e.source)}; ${e.stability}`];
  if (e.kubeskoopTypes?.length) lines.push(`* KubeSkoop: ${e.kubeskoopTypes.map(code).join(', ')}`);
  for (const [key, a] of Object.entries(e.attributes)) {
    lines.push(`* ${code(key)}: ${a.description}${a.values ? ` One of ${a.values.map(code).join(', ')}.` : ''}`);
  }
  return lines.join('\n');
}
