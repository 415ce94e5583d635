import { type Codec, type View, viewOf } from '../../bpf/record.ts';
import { type MapEntries, MapReader } from '../../host/bpf/map-reader.ts';
import type { BpfMap } from '../../host/bpf/object.ts';
import {
  type Exemplar,
  makeSchema,
  noResource,
  type Owner,
  type Schema,
  type Snapshot,
  slotsOf,
} from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';

import { ownerKey } from './reaper.ts';

/** First bytes of every map key: struct skl_owner. */
interface OwnedKey {
  readonly owner: { readonly cookie: number; readonly netns: number };
}

/** A series: a metric with attributes. Ask {@link Collection.series} for it: one object for one series. */
export interface Series {
  readonly id: number;
  readonly metric: MetricDefinition;
  readonly attributes: Attributes;
}

interface OwnerState {
  readonly owner: Owner | undefined;
  readonly cookie: number;
  readonly startTimeMs: number;
  /** Series id → its value this round: a number, or the slots of a histogram. */
  values: Map<number, number | Float64Array>;
  round: number;
}

/** Series remembered between rounds; a round itself is bounded by the maps. */
const maxSeries = 16_384;

/**
 * Gathers what a probe reads in one round into snapshots, one for each network namespace (or one for the node, owner undefined).
 * A namespace is told by its cookie, since inodes are used again: what a dead one left under the same inode is not inherited.
 */
export class Collection {
  readonly #series = new Map<string, Series>();
  readonly #byId = new Map<number, Series>();
  #nextId = 0;
  readonly #owners = new Map<string, OwnerState>();
  /** By the set of series; those of the last round only, since what churns makes a new one each time. */
  #schemas = new Map<string, Schema>();
  #sweeps = false;
  readonly #readers = new Map<string, MapReader>();
  #round = 0;
  #nowMs = 0;
  readonly #cookieOf: (netns: number) => number | undefined;

  /** @param cookieOf the cookie of the namespace that has an inode now; asked only when several in the maps had it */
  constructor(cookieOf: (netns: number) => number | undefined = () => undefined) {
    this.#cookieOf = cookieOf;
  }

  /** The one object for a metric with these attributes. */
  series(metric: MetricDefinition, attributes: Attributes): Series {
    const key = `${metric.name}\0${JSON.stringify(attributes)}`;
    let series = this.#series.get(key);
    if (!series) {
      series = { id: this.#nextId++, metric, attributes: Object.freeze({ ...attributes }) };
      this.#series.set(key, series);
    }
    return series;
  }

  /**
   * Drops the series of these metrics that got no value in this round, so that peers that come and go do not pile up. To be called at the
   * end of a round by a probe that keeps none of them; who comes back gets a new object from {@link series}.
   */
  forgetUnused(metrics: readonly MetricDefinition[]): void {
    this.#sweeps = true;
    const used = new Set<number>();
    for (const state of this.#owners.values()) {
      if (state.round === this.#round) for (const id of state.values.keys()) used.add(id);
    }
    for (const [key, series] of this.#series) {
      if (used.has(series.id) || !metrics.includes(series.metric)) continue;
      this.#series.delete(key);
      this.#byId.delete(series.id);
    }
  }

  begin(nowMs: number): void {
    this.#round++;
    this.#nowMs = nowMs;
    // Series that come and go (one for each peer) must not add up; those a probe remembers come back by themselves.
    if (this.#sweeps) return;
    if (this.#series.size > maxSeries) this.#series.clear();
    if (this.#byId.size > maxSeries) {
      this.#byId.clear();
      this.#schemas.clear();
    }
  }

  #owner(cookie: number, netns: number): OwnerState {
    const key = ownerKey(cookie, netns);
    let state = this.#owners.get(key);
    if (!state) {
      const owner = netns === 0 ? undefined : Object.freeze({ netns, ...(cookie !== 0 && { netnsCookie: cookie }) });
      state = { owner, cookie, startTimeMs: this.#nowMs, values: new Map(), round: 0 };
      this.#owners.set(key, state);
    }
    if (state.round !== this.#round) {
      state.round = this.#round;
      state.values = new Map();
    }
    return state;
  }

  /** Adds to a series of a namespace (netns 0 = the node); several entries of a map may feed one series. */
  add(cookie: number, netns: number, series: Series, value: number): void {
    const { values } = this.#owner(cookie, netns);
    const before = values.get(series.id);
    if (before === undefined) this.#byId.set(series.id, series);
    values.set(series.id, typeof before === 'number' ? before + value : value);
  }

  /** Adds a histogram: count, sum in the metric's unit, zero count, buckets. */
  addHistogram(cookie: number, netns: number, series: Series, histogram: Float64Array): void {
    const { values } = this.#owner(cookie, netns);
    const slots = values.get(series.id);
    if (slots === undefined || typeof slots === 'number') {
      this.#byId.set(series.id, series);
      const own = new Float64Array(slotsOf(series.metric));
      own.set(histogram.subarray(0, own.length));
      values.set(series.id, own);
      return;
    }
    for (let i = 0; i < slots.length; i++) slots[i] = slots[i]! + histogram[i]!;
  }

  #reader(map: BpfMap): MapReader {
    let reader = this.#readers.get(map.name);
    if (!reader) {
      reader = new MapReader(map);
      this.#readers.set(map.name, reader);
    }
    return reader;
  }

  /** Visits a map as it is, many entries at a time: for maps so large that decoding each key would hold the event loop. */
  batches(map: BpfMap, visit: (entries: MapEntries) => void): void {
    this.#reader(map).readAll(visit);
  }

  /**
   * Visits a map whose keys begin with struct skl_owner: `visit(key, copies)` where `copies` are views of each CPU's value. All the
   * reading a probe needs when the two ready-made forms below do not fit.
   */
  entries<K>(map: BpfMap, key: Codec<K>, visit: (key: K, values: View, at: readonly number[]) => void): void {
    this.#reader(map).readAll((e) => {
      const keys = viewOf(e.keys);
      const values = viewOf(e.values);
      const step = e.valueStride / e.copies;
      for (let i = 0; i < e.count; i++) {
        const at = Array.from({ length: e.copies }, (_, c) => i * e.valueStride + c * step);
        visit(key.decode(keys, i * e.keySize), values, at);
      }
    });
  }

  /** Reads a counter map (SKL_COUNTER_MAP, SKL_PERCPU_COUNTER_MAP): `seriesOf` says which series an entry feeds, undefined = none. */
  counters<K extends OwnedKey>(map: BpfMap, key: Codec<K>, seriesOf: (key: K) => Series | undefined): void {
    this.entries(map, key, (k, values, at) => {
      const series = seriesOf(k);
      if (!series) return;
      let sum = 0;
      for (const o of at) sum += values.u32[o >>> 2]! + values.u32[(o >>> 2) + 1]! * 4294967296;
      this.add(k.owner.cookie, k.owner.netns, series, sum);
    });
  }

  /** Reads a histogram map (SKL_HIST_MAP) into a metric with {@link durationLayout}, unit `s`. */
  histograms<K extends OwnedKey>(map: BpfMap, key: Codec<K>, seriesOf: (key: K) => Series | undefined): void {
    const slots = new Float64Array(map.valueSize / 8);
    this.entries(map, key, (k, values, at) => {
      const series = seriesOf(k);
      if (!series) return;
      slots.fill(0);
      for (const o of at) {
        for (let s = 0; s < slots.length; s++) {
          const w = (o >>> 2) + 2 * s;
          slots[s] = slots[s]! + values.u32[w]! + values.u32[w + 1]! * 4294967296;
        }
      }
      slots[1] = slots[1]! / 1e9;
      this.addHistogram(k.owner.cookie, k.owner.netns, series, slots);
    });
  }

  /** Owners whose entries were removed: should one come back, its counters begin anew. */
  forget(owners: ReadonlySet<string>): void {
    for (const owner of owners) this.#owners.delete(owner);
  }

  #schema(ids: Uint32Array, next: Map<string, Schema>): Schema {
    const shape = ids.join();
    const schema =
      next.get(shape) ?? this.#schemas.get(shape) ?? makeSchema(Array.from(ids, (id) => this.#byId.get(id)!));
    next.set(shape, schema);
    return schema;
  }

  /** Of two that had the same inode. Where the kernel does not say, the one seen first later has it now: cookies have no order. */
  #isLiving(cookie: number, netns: number): boolean {
    return this.#cookieOf(netns) === cookie;
  }

  /**
   * The round's snapshots. Namespaces that gave nothing this round are forgotten.
   *
   * @param exemplarsOf the exemplars of an owner ({@link ownerKey}) with this schema
   */
  finish(exemplarsOf: (owner: string, schema: Schema) => readonly Exemplar[] = () => []): Snapshot[] {
    const out: Snapshot[] = [];
    const holders = new Map<number, { readonly key: string; readonly state: OwnerState }>();
    for (const [key, state] of this.#owners) {
      if (state.round !== this.#round) {
        this.#owners.delete(key);
        continue;
      }
      const netns = state.owner?.netns ?? 0;
      const other = holders.get(netns);
      if (!other || !this.#isLiving(other.state.cookie, netns)) holders.set(netns, { key, state });
    }
    const schemas = new Map<string, Schema>();
    for (const { key, state } of holders.values()) {
      const ids = Uint32Array.from(state.values.keys()).sort();
      const schema = this.#schema(ids, schemas);
      const values = new Float64Array(schema.slots);
      for (let i = 0; i < ids.length; i++) {
        const value = state.values.get(ids[i]!)!;
        const { offset } = schema.series[i]!;
        if (typeof value === 'number') values[offset] = value;
        else values.set(value, offset);
      }
      const exemplars = exemplarsOf(key, schema);
      out.push({
        owner: state.owner,
        resource: noResource,
        startTimeMs: state.startTimeMs,
        timeMs: this.#nowMs,
        schema,
        values,
        ...(exemplars.length > 0 && { exemplars }),
      });
    }
    this.#schemas = schemas;
    return out;
  }
}

/** Shape of all duration histograms: struct skl_hist, 36 buckets from 2^-30 s to 64 s, base 2. */
export const durationLayout = Object.freeze({ scale: 0, offset: -30, buckets: 36 });
