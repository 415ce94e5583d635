import type { Schema, SeriesDescriptor } from '../../pipeline/batch.ts';
import type { Attributes, KubeskoopName } from '../../pipeline/catalogue.ts';
import { type Layout, makeLayout, makeRow, otelLayout, type Part, type Row, type Term } from './layout.ts';
import { type Family, type Label, labelValue, type PrometheusType, prometheusType } from './naming.ts';

/**
 * `naming: kubeskoop`: the names, labels and types that KubeSkoop's dashboards and alerts ask for, made from the same series.
 * Attributes that KubeSkoop has no label for are summed away; thresholds are counted from the histograms.
 */
export function kubeskoopLayout(
  schema: Schema,
  resourceLabels: ReadonlySet<string>,
  { extras, ofPod }: { readonly extras: boolean; readonly ofPod: boolean },
): Layout {
  const families = new Map<string, { family: Family; sums: Map<string, { labels: Label[]; terms: Term[] }> }>();
  const unmapped: SeriesDescriptor[] = [];
  for (const series of schema.series) {
    const names = series.metric.kubeskoop ?? [];
    if (names.length === 0) unmapped.push(series);
    for (const name of names) {
      if ((ofPod && name.nodeOnly) || !matches(series.attributes, name)) continue;
      const type = typeOf(series, name);
      if (type === undefined) continue;
      let entry = families.get(name.name);
      if (!entry) {
        const family: Family = { name: name.name, type, help: series.metric.description, unit: '' };
        entry = { family, sums: new Map() };
        families.set(name.name, entry);
      }
      add(entry.sums, series, name);
    }
  }
  const parts: Part[] = Array.from(families.values(), ({ family, sums }) => ({
    family,
    histogram: undefined,
    rows: Array.from(sums.values(), (s) => toRow(s.labels, s.terms, resourceLabels)),
  }));
  if (!extras || unmapped.length === 0) return makeLayout(parts);
  return makeLayout([...parts, ...otelLayout({ series: unmapped, slots: schema.slots }, resourceLabels).parts]);
}

function toRow(labels: Label[], terms: Term[], resourceLabels: ReadonlySet<string>): Row {
  const [only] = terms;
  const plain = terms.length === 1 && only?.scale === 1 && only.above === undefined;
  return makeRow(labels, only?.slot ?? 0, plain ? undefined : { terms }, resourceLabels);
}

function add(
  sums: Map<string, { labels: Label[]; terms: Term[] }>,
  { metric, attributes, offset }: SeriesDescriptor,
  name: KubeskoopName,
): void {
  const labels: Label[] = [];
  for (const [key, label] of Object.entries(name.labels ?? {})) {
    const value = attributes[key];
    labels.push({ name: label, value: value === undefined ? '' : labelValue(value) });
  }
  const key = JSON.stringify(labels.map((l) => [l.name, l.value]));
  let sum = sums.get(key);
  if (!sum) {
    sum = { labels, terms: [] };
    sums.set(key, sum);
  }
  const layout = metric.histogram;
  sum.terms.push({
    slot: offset,
    scale: name.scale ?? 1,
    // A histogram without a threshold shows its first slot: the number of observations.
    above: layout && name.above !== undefined ? { bound: name.above, layout } : undefined,
  });
}

function typeOf(series: SeriesDescriptor, name: KubeskoopName): PrometheusType | undefined {
  if (name.type !== undefined) return name.type;
  const type = prometheusType(series.metric);
  return type === 'histogram' ? 'counter' : type;
}

function matches(attributes: Attributes, { where, except }: KubeskoopName): boolean {
  const equal = ([key, wanted]: [string, Attributes[string]]) => {
    const value = attributes[key];
    return value !== undefined && labelValue(value) === labelValue(wanted);
  };
  return Object.entries(where ?? {}).every(equal) && !Object.entries(except ?? {}).some(equal);
}
