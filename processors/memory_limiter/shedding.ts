import type { Batch, LogsBatch, MetricsBatch, Schema, SeriesDescriptor, Snapshot } from '../../pipeline/batch.ts';

/** How much is shed: each level sheds what the ones before it do, too. */
export const levels = [
  { name: 'none', from: 0 },
  { name: 'debug_events', from: 0.85 },
  { name: 'events', from: 0.9 },
  { name: 'per_flow_series', from: 0.95 },
  { name: 'metrics', from: 1 },
] as const;

export type LevelName = Exclude<(typeof levels)[number]['name'], 'none'>;

/** A level ends when the fill is this far below where it began, so that it does not flap. */
const hysteresis = 0.05;

/** The level at this fill, coming from `current`. */
export function nextLevel(current: number, fill: number): number {
  const reached = levels.findLastIndex((l) => fill >= l.from);
  if (reached >= current) return reached;
  return Math.max(
    reached,
    levels.findLastIndex((l, i) => i <= current && fill >= l.from - hysteresis),
  );
}

/** What stays of a batch at a level, and what was shed. */
export interface Shed {
  readonly batch: Batch | undefined;
  readonly dropped: number;
  readonly reason: LevelName;
}

/** What stays of the batch; undefined when all of it does. */
export function shed(batch: Batch, level: number): Shed | undefined {
  if (batch.kind === 'logs') return shedLogs(batch, level);
  if (batch.kind === 'metrics') return shedMetrics(batch, level);
  // Without entities everything else would lose its names.
  return undefined;
}

const debugSeverity = 5;

function shedLogs(batch: LogsBatch, level: number): Shed | undefined {
  if (level >= 2) return { batch: undefined, dropped: batch.records.length, reason: 'events' };
  if (level < 1) return undefined;
  const records = batch.records.filter((r) => r.severityNumber > debugSeverity);
  const dropped = batch.records.length - records.length;
  if (dropped === 0) return undefined;
  const rest = records.length === 0 ? undefined : Object.freeze({ ...batch, records: Object.freeze(records) });
  return { batch: rest, dropped, reason: 'debug_events' };
}

function shedMetrics(batch: MetricsBatch, level: number): Shed | undefined {
  if (level >= 4) return { batch: undefined, dropped: count(batch, (s) => s.series), reason: 'metrics' };
  if (level < 3) return undefined;
  const dropped = count(batch, perFlowSeries);
  if (dropped === 0) return undefined;
  const snapshots = Object.freeze(batch.snapshots.map(withoutPerFlow));
  return { batch: Object.freeze({ ...batch, snapshots }), dropped, reason: 'per_flow_series' };
}

/** Attributes that name the other end of a connection: a series for each of them. */
const flowKeys = [
  'network.peer.address',
  'network.peer.port',
  'source.address',
  'source.port',
  'destination.address',
  'destination.port',
];

const perFlow = new WeakMap<Schema, readonly SeriesDescriptor[]>();

function perFlowSeries(schema: Schema): readonly SeriesDescriptor[] {
  let series = perFlow.get(schema);
  if (!series) {
    series = schema.series.filter((d) => flowKeys.some((key) => d.attributes[key] !== undefined));
    perFlow.set(schema, series);
  }
  return series;
}

function count(batch: MetricsBatch, of: (schema: Schema) => readonly SeriesDescriptor[]): number {
  let n = 0;
  for (const { schema, values } of batch.snapshots) {
    for (const { offset } of of(schema)) if (!Number.isNaN(values[offset])) n++;
  }
  return n;
}

function withoutPerFlow(snapshot: Snapshot): Snapshot {
  const series = perFlowSeries(snapshot.schema);
  if (series.length === 0) return snapshot;
  const values = snapshot.values.slice();
  for (const { offset } of series) values[offset] = Number.NaN;
  return Object.freeze({ ...snapshot, values });
}
