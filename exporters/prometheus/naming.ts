import type { Attributes, AttributeValue, MetricDefinition } from '../../pipeline/catalogue.ts';

/**
 * Names: from OpenTelemetry's to Prometheus', by the rules of the specification "Prometheus and OpenMetrics Compatibility"
 * (section "OTLP Metric points to Prometheus"). The only place where a Prometheus name is made.
 */

/** Prometheus metric types that this exporter makes. */
export type PrometheusType = 'counter' | 'gauge' | 'histogram';

/** One label, its value not yet escaped. */
export interface Label {
  readonly name: string;
  readonly value: string;
}

/** A metric family: everything that stands in its `#` lines. */
export interface Family {
  /** Name in the text format, which is also the samples' name: `skoop_tcp_segments_sent_total`. */
  readonly name: string;
  readonly type: PrometheusType;
  readonly help: string;
  /** Unit as a word (`seconds`), when it is the suffix of the family's name; else empty. */
  readonly unit: string;
}

// Names of units: UCUM code -> the word Prometheus users write (prometheus.io/docs/practices/naming, "Base units").
const unitWords = new Map(
  Object.entries({
    d: 'days',
    h: 'hours',
    min: 'minutes',
    s: 'seconds',
    ms: 'milliseconds',
    us: 'microseconds',
    ns: 'nanoseconds',
    By: 'bytes',
    KiBy: 'kibibytes',
    MiBy: 'mebibytes',
    GiBy: 'gibibytes',
    TiBy: 'tibibytes',
    KBy: 'kilobytes',
    kBy: 'kilobytes',
    MBy: 'megabytes',
    GBy: 'gigabytes',
    TBy: 'terabytes',
    bit: 'bits',
    m: 'meters',
    V: 'volts',
    A: 'amperes',
    J: 'joules',
    W: 'watts',
    g: 'grams',
    Cel: 'celsius',
    Hz: 'hertz',
    '%': 'percent',
    '1': '',
  }),
);

const perWords = new Map(
  Object.entries({
    s: 'second',
    min: 'minute',
    m: 'minute',
    h: 'hour',
    d: 'day',
    w: 'week',
    mo: 'month',
    y: 'year',
  }),
);

/** Invalid characters become `_`, runs of `_` become one, none at the ends. */
function words(text: string): string {
  return text.replace(/[^a-zA-Z0-9]+/g, '_').replace(/^_|_$/g, '');
}

/** The unit as Prometheus spells it: `By/s` → `bytes_per_second`, `{packet}` → empty. */
export function unitWord(unit: string): string {
  const [main = '', per] = unit.replace(/\{[^}]*\}/g, '').split('/', 2);
  const head = unitWords.get(main.trim()) ?? words(main);
  const tail = per === undefined ? '' : (perWords.get(per.trim()) ?? words(per));
  return tail === '' ? head : `${head}${head === '' ? '' : '_'}per_${tail}`;
}

export function prometheusType(metric: Pick<MetricDefinition, 'instrument'>): PrometheusType {
  switch (metric.instrument) {
    case 'counter':
      return 'counter';
    case 'histogram':
      return 'histogram';
    default:
      return 'gauge';
  }
}

/** A metric's family under `naming: otel`: `skoop.tcp.connect.duration` in `s` → `skoop_tcp_connect_duration_seconds`. */
export function prometheusFamily(
  metric: Pick<MetricDefinition, 'name' | 'unit' | 'instrument' | 'description'>,
): Family {
  const type = prometheusType(metric);
  let name = metric.name.replace(/[^a-zA-Z0-9:]+/g, '_').replace(/_+$/, '');
  if (type === 'counter') name = name.replace(/_total$/, '');
  // A count is not a ratio of anything: only gauges of unit 1 are ratios.
  const unit = metric.unit === '1' && metric.instrument === 'gauge' ? 'ratio' : unitWord(metric.unit);
  if (unit !== '' && name !== unit && !name.endsWith(`_${unit}`)) name += `_${unit}`;
  if (type === 'counter') name += '_total';
  if (name === '' || /^[0-9]/.test(name)) name = `_${name}`;
  return { name, type, help: metric.description, unit };
}

/** Attribute key → label name: `[a-zA-Z_][a-zA-Z0-9_]*`, no `__` (names that begin with it are Prometheus' own). */
export function labelName(key: string): string {
  const name = key.replace(/[^a-zA-Z0-9]+/g, '_');
  return name === '' || /^[0-9]/.test(name) ? `_${name}` : name;
}

/** Strings as they are; everything else as JSON, as the specification's "attribute" page says. */
export function labelValue(value: AttributeValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/**
 * Attributes → labels. Keys that become the same name give one label with the values joined by `;`, in the order of the
 * original keys. `le` belongs to histograms' buckets, so that an attribute of this name moves out of the way.
 */
export function labelsOf(attributes: Attributes, type: PrometheusType = 'gauge'): Label[] {
  const byName = new Map<string, string[]>();
  for (const key of Object.keys(attributes)) {
    let name = labelName(key);
    if (type === 'histogram' && name === 'le') name = 'exported_le';
    const keys = byName.get(name);
    if (keys) keys.push(key);
    else byName.set(name, [key]);
  }
  return Array.from(byName, ([name, keys]) => ({
    name,
    value: keys.length === 1 ? labelValue(attributes[keys[0]!]!) : join(attributes, keys),
  }));
}

function join(attributes: Attributes, keys: readonly string[]): string {
  return [...keys]
    .sort()
    .map((k) => labelValue(attributes[k]!))
    .join(';');
}
