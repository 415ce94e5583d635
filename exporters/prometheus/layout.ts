import type { Schema } from '../../pipeline/batch.ts';
import type { HistogramLayout, MetricDefinition } from '../../pipeline/catalogue.ts';
import type { Family, Label } from './naming.ts';
import { labelsOf, prometheusFamily } from './naming.ts';

/**
 * What a schema looks like in the exposition: made once per schema, since schemas are shared by every snapshot of the same shape.
 * Everything that depends on a series and not on its value (names, label text) is kept here.
 */
export interface Layout {
  /** Small number that stands for this layout in cache keys. */
  readonly id: number;
  readonly parts: readonly Part[];
}

/** Rows of one metric: a family, or a part of one when several metrics or schemas feed it. */
export interface Part {
  readonly family: Family;
  /** Present exactly when the family is a histogram. */
  readonly histogram: HistogramLayout | undefined;
  readonly rows: readonly Row[];
}

/** One series of the exposition (one set of labels, but for the resource's). */
export interface Row {
  readonly labels: readonly Label[];
  /** First slot of the value in `Snapshot.values`. */
  readonly slot: number;
  /** For rows that are made of several series: how. */
  readonly made: Sum | undefined;
  /** Names of resource labels that this row's own labels replace; undefined for almost all rows. */
  readonly hides: readonly string[] | undefined;
  /** Rendered heads; made when first needed, see text.ts and protobuf.ts. */
  text: readonly Buffer[] | undefined;
  protobuf: Buffer | undefined;
}

/** A sum over series, as `naming: kubeskoop` needs: attributes without a label are summed away. */
export interface Sum {
  readonly terms: readonly Term[];
}

export interface Term {
  readonly slot: number;
  readonly scale: number;
  /** For histograms: only observations above this bound count. Undefined: the value of a number. */
  readonly above: { readonly bound: number; readonly layout: HistogramLayout } | undefined;
}

let nextId = 1;

export function makeLayout(parts: readonly Part[]): Layout {
  return { id: nextId++, parts };
}

export function makeRow(
  labels: readonly Label[],
  slot: number,
  made: Sum | undefined,
  resourceLabels: ReadonlySet<string>,
): Row {
  const hides = labels.filter((l) => resourceLabels.has(l.name)).map((l) => l.name);
  return { labels, slot, made, hides: hides.length > 0 ? hides : undefined, text: undefined, protobuf: undefined };
}

/** The layout of a schema under `naming: otel`: one family a metric, one row a series. */
export function otelLayout(schema: Schema, resourceLabels: ReadonlySet<string>): Layout {
  const rows = new Map<MetricDefinition, Row[]>();
  for (const { metric, attributes, offset } of schema.series) {
    let of = rows.get(metric);
    if (!of) {
      of = [];
      rows.set(metric, of);
    }
    const type = metric.instrument === 'histogram' ? 'histogram' : 'gauge';
    of.push(makeRow(labelsOf(attributes, type), offset, undefined, resourceLabels));
  }
  return makeLayout(
    Array.from(rows, ([metric, of]) => ({
      family: prometheusFamily(metric),
      histogram: metric.histogram,
      rows: of,
    })),
  );
}

/** The number a row shows; NaN = it shows nothing. */
export function rowValue(row: Row, values: Float64Array): number {
  if (row.made === undefined) return values[row.slot] ?? Number.NaN;
  let sum = Number.NaN;
  for (const { slot, scale, above } of row.made.terms) {
    const v = above === undefined ? (values[slot] ?? Number.NaN) : countAbove(values, slot, above.layout, above.bound);
    if (!Number.isNaN(v)) sum = (Number.isNaN(sum) ? 0 : sum) + v * scale;
  }
  return sum;
}

/**
 * Observations above `bound` in an exponential histogram (`count, sum, zeroCount, buckets…` from `slot`). Exact where `bound` is a
 * bucket's bound. Inside a bucket the observations are taken to be evenly spread over the logarithm, as Prometheus does for
 * native histograms, and the result is rounded down, so that what grows in the kernel never shrinks here.
 */
export function countAbove(values: Float64Array, slot: number, layout: HistogramLayout, bound: number): number {
  const count = values[slot] ?? Number.NaN;
  if (Number.isNaN(count)) return Number.NaN;
  // Position of the bound in units of buckets: bucket i spans (i, i + 1] on this scale.
  const position = Math.log2(bound) * 2 ** layout.scale - layout.offset;
  let below = values[slot + 2] ?? 0;
  for (let i = 0; i < layout.buckets && i < position; i++) {
    const n = values[slot + 3 + i] ?? 0;
    below += i + 1 <= position ? n : n * (position - i);
  }
  // Rounding of logarithms must not cost an observation where the bound is a bucket's own.
  return Math.max(0, Math.floor(count - below + 1e-6));
}
