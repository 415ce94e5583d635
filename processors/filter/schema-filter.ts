import {
  makeSchema,
  type Schema,
  type SeriesDescriptor,
  type Snapshot,
  slotsOf,
  withSeries,
} from '../../pipeline/batch.ts';

/** How a schema shrinks: which slots stay, and which series are counted as dropped where they have a value. */
export interface SchemaPlan {
  readonly schema: Schema;
  /** Neighbouring slots that stay, as one copy each. */
  readonly copies: readonly { readonly from: number; readonly to: number; readonly at: number }[];
  readonly dropped: readonly SeriesDescriptor[];
}

/** Plans what stays of a schema; undefined when all of it does. */
export function planSchema(schema: Schema, stays: (series: SeriesDescriptor) => boolean): SchemaPlan | undefined {
  const kept: SeriesDescriptor[] = [];
  const dropped: SeriesDescriptor[] = [];
  for (const series of schema.series) (stays(series) ? kept : dropped).push(series);
  if (dropped.length === 0) return undefined;
  const copies: { from: number; to: number; at: number }[] = [];
  let at = 0;
  for (const { metric, offset } of kept) {
    const slots = slotsOf(metric);
    const last = copies.at(-1);
    if (last?.to === offset) last.to += slots;
    else copies.push({ from: offset, to: offset + slots, at });
    at += slots;
  }
  return { schema: makeSchema(kept), copies, dropped };
}

/** Number of a snapshot's data points among these series: those that have a value. */
export function pointsIn(snapshot: Snapshot, series: readonly SeriesDescriptor[]): number {
  let n = 0;
  for (const { offset } of series) if (!Number.isNaN(snapshot.values[offset])) n++;
  return n;
}

/** The snapshot with what stays. */
export function applyPlan(snapshot: Snapshot, plan: SchemaPlan): Snapshot {
  const values = new Float64Array(plan.schema.slots);
  for (const { from, to, at } of plan.copies) values.set(snapshot.values.subarray(from, to), at);
  return withSeries(snapshot, plan.schema, values, (offset) => {
    const copy = plan.copies.find(({ from, to }) => offset >= from && offset < to);
    return copy && copy.at + offset - copy.from;
  });
}
