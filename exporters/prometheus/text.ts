import { type Exemplar, exemplarOf, type Snapshot, upperBounds } from '../../pipeline/batch.ts';
import type { HistogramLayout } from '../../pipeline/catalogue.ts';
import { header, labelText, type TextFormat } from './escape.ts';
import { exemplarText } from './exemplars.ts';
import { type Part, type Row, rowValue } from './layout.ts';
import type { Label } from './naming.ts';
import { boundText, maxNumberBytes, writeNumber } from './numbers.ts';
import type { View, ViewPart } from './view.ts';

/** Gives a buffer to write the next chunk into, of at least `size` bytes. */
export type Allocate = (size: number) => Buffer;

/** Size of the chunks in which a rendering is made. Between two of them the event loop runs. */
export const chunkBytes = 256 * 1024;

/**
 * Writes a view in Prometheus' text format 0.0.4 or in OpenMetrics 1.0, in chunks. Bytes are written once, from texts that were rendered
 * once per series and once per resource; a sample costs two copies and its digits.
 *
 * @param histogramBounds most `le` buckets a histogram shows; see {@link shownBuckets}.
 */
export function* renderText(
  view: View,
  format: TextFormat,
  allocate: Allocate,
  histogramBounds: number,
): Generator<Buffer, void> {
  const out = new TextChunk(allocate, format);
  for (const { family, parts } of view.families) {
    const head = Buffer.from(header(family, format));
    // A family none of whose series has a value now has no lines either.
    let begun = false;
    for (const viewPart of parts) {
      const units = viewPart.part.rows.length * viewPart.snapshots.length;
      let unit = 0;
      while (unit < units) {
        if (!begun) {
          unit = firstUnit(viewPart, unit, units);
          if (unit >= units) break;
          if (!out.fits(head.length)) yield out.take(head.length);
          out.append(head);
          begun = true;
        }
        unit = viewPart.part.histogram
          ? out.histograms(viewPart, viewPart.part.histogram, unit, units, histogramBounds)
          : out.numbers(viewPart, unit, units);
        if (unit < units) yield out.take(out.needed);
      }
    }
  }
  if (format === 'openmetrics') {
    if (!out.fits(6)) yield out.take(6);
    out.append(Buffer.from('# EOF\n'));
  }
  if (out.length > 0) yield out.take(0);
}

/** The first unit from `unit` on that has a value. */
function firstUnit({ part, snapshots, skip }: ViewPart, unit: number, units: number): number {
  for (let u = unit; u < units; u++) {
    const row = part.rows[Math.floor(u / snapshots.length)]!;
    const { values } = snapshots[u % snapshots.length]!;
    if (!Number.isNaN(rowValue(row, values)) && !skip?.has(u)) return u;
  }
  return units;
}

interface ExemplarLine {
  readonly line: number;
  readonly text: Buffer;
}

class TextChunk {
  readonly #allocate: Allocate;
  readonly #exemplars: boolean;
  #buf: Buffer;
  #pos = 0;
  /** Bytes that the unit at which a loop stopped may take. */
  needed = 0;

  constructor(allocate: Allocate, format: TextFormat) {
    this.#allocate = allocate;
    this.#exemplars = format === 'openmetrics';
    this.#buf = allocate(chunkBytes);
  }

  get length(): number {
    return this.#pos;
  }

  fits(bytes: number): boolean {
    return this.#pos + bytes <= this.#buf.length;
  }

  append(bytes: Buffer): void {
    this.#buf.set(bytes, this.#pos);
    this.#pos += bytes.length;
  }

  /** What is written so far; writing goes on in a new buffer that has room for `next` bytes, or ends when `next` is 0. */
  take(next: number): Buffer {
    const done = this.#buf.subarray(0, this.#pos);
    if (next > 0) this.#buf = this.#allocate(Math.max(chunkBytes, next));
    this.#pos = 0;
    return done;
  }

  /** Writes samples until the chunk is full. Returns the unit to go on with. Units run over snapshots first, then rows. */
  numbers({ part, snapshots, tails, skip }: ViewPart, unit: number, units: number): number {
    const buf = this.#buf;
    const room = buf.length - maxNumberBytes - 1;
    const n = snapshots.length;
    let pos = this.#pos;
    let r = Math.floor(unit / n);
    let s = unit - r * n;
    for (; r < part.rows.length; r++, s = 0) {
      const row = part.rows[r]!;
      const head = (row.text ?? numberHead(part, row))[0]!;
      const bare = row.labels.length === 0;
      for (; s < n; s++) {
        const v = row.made === undefined ? snapshots[s]!.values[row.slot]! : rowValue(row, snapshots[s]!.values);
        // NaN is "no value" (see Snapshot), and the only number that differs from itself.
        // biome-ignore lint/suspicious/noSelfCompare: the fastest test for NaN there is.
        if (v !== v || v === undefined || skip?.has(r * n + s)) continue;
        let tail = tails[s]!;
        if (row.hides !== undefined) tail = tail.without(row.hides);
        const end = bare ? tail.alone : tail.joined;
        if (pos + head.length + end.length > room) {
          this.#pos = pos;
          this.needed = head.length + end.length + maxNumberBytes + 1;
          return r * n + s;
        }
        buf.set(head, pos);
        pos += head.length;
        buf.set(end, pos);
        pos = writeNumber(buf, pos + end.length, v);
        buf[pos++] = 10;
      }
    }
    this.#pos = pos;
    return units;
  }

  /** The same for histograms: all lines of one histogram are one unit. */
  histograms(
    { part, snapshots, tails, skip }: ViewPart,
    layout: HistogramLayout,
    unit: number,
    units: number,
    bounds: number,
  ): number {
    const n = snapshots.length;
    for (let u = unit; u < units; u++) {
      const row = part.rows[Math.floor(u / n)]!;
      const snapshot = snapshots[u % n]!;
      if (Number.isNaN(snapshot.values[row.slot] ?? Number.NaN) || skip?.has(u)) continue;
      let tail = tails[u % n]!;
      if (row.hides !== undefined) tail = tail.without(row.hides);
      const heads = row.text ?? histogramHeads(part, row, layout, bounds);
      const exemplar = this.#exemplar(snapshot, row, layout, bounds);
      let need = exemplar?.text.length ?? 0;
      for (const head of heads) need += head.length + tail.joined.length + maxNumberBytes + 1;
      if (!this.fits(need)) {
        this.needed = need;
        return u;
      }
      const ends = { bucket: tail.joined, total: row.labels.length === 0 ? tail.alone : tail.joined };
      this.#histogram(heads, row, ends, snapshot.values, layout, exemplar);
    }
    return units;
  }

  /** A histogram's exemplar and the line that holds its value: the number of a bound, `+Inf` being the one after the last. */
  #exemplar(snapshot: Snapshot, row: Row, layout: HistogramLayout, limit: number): ExemplarLine | undefined {
    const exemplar = this.#exemplars ? exemplarOf(snapshot, row.slot) : undefined;
    if (exemplar === undefined) return undefined;
    return { line: exemplarBucket(exemplar, classicBounds(layout, limit)), text: exemplarText(exemplar) };
  }

  #histogram(
    heads: readonly Buffer[],
    row: Row,
    end: { readonly bucket: Buffer; readonly total: Buffer },
    values: Float64Array,
    layout: HistogramLayout,
    exemplar: ExemplarLine | undefined,
  ): void {
    const at = row.slot;
    const shown = heads.length - 3;
    const textOf = (h: number) => (exemplar?.line === h ? exemplar.text : undefined);
    let cumulative = values[at + 2]!;
    let bucket = 0;
    for (let h = 0; h < shown; h++) {
      const upTo = shownBucket(h, shown, layout.buckets);
      while (bucket < upTo) cumulative += values[at + 3 + bucket++]!;
      this.#line(heads[h]!, end.bucket, cumulative, textOf(h));
    }
    while (bucket < layout.buckets) cumulative += values[at + 3 + bucket++]!;
    // Kernel maps are read while they count: the total may lag behind the buckets, and buckets must never fall.
    const count = Math.max(cumulative, values[at]!);
    this.#line(heads[shown]!, end.bucket, count, textOf(shown));
    this.#line(heads[shown + 1]!, end.total, values[at + 1]!);
    this.#line(heads[shown + 2]!, end.total, count);
  }

  #line(head: Buffer, end: Buffer, v: number, exemplar?: Buffer): void {
    const buf = this.#buf;
    buf.set(head, this.#pos);
    buf.set(end, this.#pos + head.length);
    let pos = writeNumber(buf, this.#pos + head.length + end.length, v);
    if (exemplar) {
      buf.set(exemplar, pos);
      pos += exemplar.length;
    }
    buf[pos] = 10;
    this.#pos = pos + 1;
  }
}

function numberHead(part: Part, row: Row): readonly Buffer[] {
  row.text = [Buffer.from(headText(part.family.name, row.labels))];
  return row.text;
}

/**
 * How many buckets lie below the `h`th bound that is shown. Bound 0 is the lower end of the first bucket (only zeros lie below); the
 * others are spread evenly, the last one being the upper end of the last bucket.
 */
export function shownBucket(h: number, shown: number, buckets: number): number {
  return shown <= 1 ? buckets : Math.round((h * buckets) / (shown - 1));
}

/** How many bounds are shown of a histogram: all of them, unless that is more than `limit`. Leaving bounds out keeps counts exact. */
export function shownBounds(layout: HistogramLayout, limit: number): number {
  return Math.max(1, Math.min(layout.buckets + 1, limit));
}

/** Bounds of a histogram's `le` buckets but `+Inf`, ascending. */
export function classicBounds(layout: HistogramLayout, limit: number): number[] {
  const shown = shownBounds(layout, limit);
  const base = 2 ** (2 ** -layout.scale);
  const all = [base ** layout.offset, ...upperBounds(layout)];
  return Array.from({ length: shown }, (_, h) => all[shownBucket(h, shown, layout.buckets)]!);
}

/** Number of the bound whose bucket holds an exemplar; as many as there are bounds for `+Inf`. */
export function exemplarBucket({ value }: Exemplar, bounds: readonly number[]): number {
  const i = bounds.findIndex((bound) => value <= bound);
  return i < 0 ? bounds.length : i;
}

/** Heads of a histogram's lines: one for each bound, `+Inf`, `_sum`, `_count`. */
function histogramHeads(part: Part, row: Row, layout: HistogramLayout, limit: number): readonly Buffer[] {
  const { name } = part.family;
  const bounds = [...classicBounds(layout, limit), Number.POSITIVE_INFINITY];
  row.text = [
    ...bounds.map((b) => headText(`${name}_bucket`, [...row.labels, { name: 'le', value: boundText(b) }])),
    headText(`${name}_sum`, row.labels),
    headText(`${name}_count`, row.labels),
  ].map((t) => Buffer.from(t));
  return row.text;
}

/** `name`, or `name{a="1"` with the brace left open for the resource's labels. */
function headText(name: string, labels: readonly Label[]): string {
  return labels.length === 0 ? name : `${name}{${labelText(labels)}`;
}
