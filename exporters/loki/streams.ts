import type { LogRecord, LogsBatch, Resource } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import type { LokiConfig } from './config.ts';

/** A Loki stream: its labels, in the two spellings that the two formats want. Compared by identity. */
export interface Stream {
  /** `{"namespace":"shop"}` */
  readonly json: string;
  /** `{namespace="shop"}` */
  readonly selector: string;
  /** Attribute keys that are labels and need not be metadata too. */
  readonly labelled: ReadonlySet<string>;
  /** Metadata of resources, made once for each. */
  readonly resources: WeakMap<Resource, ResourceMetadata>;
}

interface ResourceMetadata {
  readonly pairs: readonly Pair[];
  readonly names: ReadonlySet<string>;
  /** `,"k8s_pod_name":"web-0"`, to be put behind other members. */
  readonly json: string;
}

export type Pair = readonly [name: string, value: string];

/** Streams kept by their label values. More than these is a config that labels by something it should not. */
const maxKept = 10_000;
const eventName = 'event.name';
const separator = '\u0000';

/** Finds the stream of each record. */
export class Streams {
  readonly #labels: readonly (readonly [label: string, key: string])[];
  readonly #fixed: readonly (readonly [string, string])[];
  readonly #labelled: ReadonlySet<string>;
  readonly #resources = new WeakMap<Resource, ResourceMetadata>();
  readonly #known = new Map<string, Stream>();

  constructor(config: Pick<LokiConfig, 'labels' | 'static_labels'>) {
    this.#fixed = Object.entries(config.static_labels);
    this.#labels = Object.entries(config.labels).filter(([label]) => !(label in config.static_labels));
    this.#labelled = new Set(this.#labels.map(([, key]) => key));
  }

  of(record: LogRecord): Stream {
    const values = this.#labels.map(([, key]) => labelValue(record, key));
    const id = values.join(separator);
    let stream = this.#known.get(id);
    if (!stream) {
      stream = this.#make(values);
      if (this.#known.size >= maxKept) this.#known.clear();
      this.#known.set(id, stream);
    }
    return stream;
  }

  #make(values: readonly string[]): Stream {
    const found = this.#labels.flatMap(([label], i) => (values[i] ? [[label, values[i]] as const] : []));
    // Loki refuses a stream without labels.
    const pairs = [...this.#fixed, ...found];
    if (pairs.length === 0) pairs.push(['job', 'skoopline']);
    return {
      json: JSON.stringify(Object.fromEntries(pairs)),
      selector: `{${pairs.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(', ')}}`,
      labelled: this.#labelled,
      resources: this.#resources,
    };
  }
}

function labelValue(record: LogRecord, key: string): string {
  if (key === eventName) return record.eventName;
  const value = record.attributes[key] ?? record.resource.attributes[key];
  return value === undefined ? '' : textOf(value);
}

/** Labels and structured metadata are strings. */
export function textOf(value: AttributeValue): string {
  return typeof value === 'object' ? value.join(',') : String(value);
}

/** One record as it is sent. */
export interface Entry {
  readonly stream: Stream;
  readonly record: LogRecord;
  readonly timeUnixNs: bigint;
  readonly line: string;
}

/**
 * The entries of a batch by stream, in order of time within each. Loki takes two entries of one stream with the same time and line for one
 * sent twice, and keeps one: of such a pair the second is moved by a nanosecond.
 */
export function entriesOf(batch: LogsBatch, streams: Streams, lineOf: (record: LogRecord) => string): Entry[] {
  const groups = new Map<Stream, LogRecord[]>();
  for (const record of batch.records) {
    const stream = streams.of(record);
    const group = groups.get(stream);
    if (group) group.push(record);
    else groups.set(stream, [record]);
  }
  const out: Entry[] = [];
  for (const [stream, records] of groups) {
    let last: Entry | undefined;
    const lines = new Set<string>();
    for (const record of byTime(records)) {
      const line = lineOf(record);
      let timeUnixNs = record.timeUnixNs;
      if (last && timeUnixNs <= last.timeUnixNs) {
        timeUnixNs = lines.has(line) ? last.timeUnixNs + 1n : last.timeUnixNs;
      }
      if (!last || timeUnixNs > last.timeUnixNs) lines.clear();
      lines.add(line);
      last = { stream, record, timeUnixNs, line };
      out.push(last);
    }
  }
  return out;
}

function byTime(records: LogRecord[]): LogRecord[] {
  const sorted = records.every((r, i) => i === 0 || r.timeUnixNs >= records[i - 1]!.timeUnixNs);
  if (sorted) return records;
  return records.sort((a, b) => (a.timeUnixNs < b.timeUnixNs ? -1 : a.timeUnixNs > b.timeUnixNs ? 1 : 0));
}

const severityNames = { 5: 'debug', 9: 'info', 13: 'warn', 17: 'error' } as const;

/** Names of metadata keys as Loki allows them; kept, since they are few. */
const names = new Map<string, string>();
/** Which key has a name, and the names that more than one key has. */
const keys = new Map<string, string>();
const ambiguous = new Set<string>(['level']);

function nameOf(key: string): string {
  let name = names.get(key);
  if (name === undefined) {
    name = key.replace(/[^a-zA-Z0-9_]/g, '_').replace(/^(\d)/, '_$1');
    if (names.size >= maxKept) names.clear();
    names.set(key, name);
    if ((keys.get(name) ?? key) !== key) ambiguous.add(name);
    keys.set(name, key);
  }
  return name;
}

/** Structured metadata of an entry: `level`, the event's attributes, then its resource's, without those that are labels. */
export function metadataOf({ record, stream }: Entry): Pair[] {
  const out: Pair[] = [['level', severityNames[record.severityNumber]]];
  const seen = pairsOf(record.attributes, stream.labelled, out);
  for (const pair of resourceMetadata(record.resource, stream).pairs) {
    if (!seen.has(pair[0])) out.push(pair);
  }
  return out;
}

/** {@link metadataOf} as a JSON object, without making the pairs unless two keys have the same name. */
export function metadataJson(entry: Entry): string {
  const { record, stream } = entry;
  const resource = resourceMetadata(record.resource, stream);
  const { attributes } = record;
  let text = `{"level":"${severityNames[record.severityNumber]}"`;
  for (const key in attributes) {
    if (stream.labelled.has(key)) continue;
    const name = nameOf(key);
    if (ambiguous.has(name) || resource.names.has(name)) return pairsJson(metadataOf(entry));
    const value = attributes[key]!;
    text += `,"${name}":${typeof value === 'number' ? `"${value}"` : JSON.stringify(textOf(value))}`;
  }
  return `${text}${resource.json}}`;
}

function pairsJson(pairs: readonly Pair[]): string {
  return `{${pairs.map(([name, value]) => `"${name}":${JSON.stringify(value)}`).join(',')}}`;
}

function pairsOf(attributes: Attributes, labelled: ReadonlySet<string>, out: Pair[]): Set<string> {
  const seen = new Set(['level']);
  for (const key in attributes) {
    if (labelled.has(key)) continue;
    const name = nameOf(key);
    if (seen.has(name)) continue;
    seen.add(name);
    out.push([name, textOf(attributes[key]!)]);
  }
  return seen;
}

function resourceMetadata(resource: Resource, { labelled, resources }: Stream): ResourceMetadata {
  let made = resources.get(resource);
  if (!made) {
    const pairs: Pair[] = [];
    const seen = pairsOf(resource.attributes, labelled, pairs);
    made = { pairs, names: seen, json: pairs.length === 0 ? '' : `,${pairsJson(pairs).slice(1, -1)}` };
    resources.set(resource, made);
  }
  return made;
}
