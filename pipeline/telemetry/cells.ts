import type { Attributes } from '../catalogue.ts';

/**
 * The agent's own numbers as plain fields: counting is a field increment, and what exists is what is shown. (The SDK's observable
 * instruments keep every attribute set they ever saw, so a component that is gone after a reload would be shown for ever.)
 */

/** One series: hold on to it and add. */
export interface Cell {
  readonly attributes: Attributes;
  value: number;
}

/** What a gauge gives when it is read. */
export type GaugeRead = () => number | Iterable<[number, Attributes]>;

export interface InstrumentInfo {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly kind: 'counter' | 'gauge';
}

interface Instrument extends InstrumentInfo {
  /** By owner, so that a component's series end with it. */
  readonly cells: Map<string, Map<string, Cell>>;
  readonly gauges: Map<string, { readonly base: Attributes; readonly read: GaugeRead }>;
}

/** A series as it is at this moment. */
export interface Reading extends InstrumentInfo {
  readonly points: readonly { readonly value: number; readonly attributes: Attributes }[];
}

/** Attribute sets one owner may have on one counter; what comes later is summed in a series marked `otel.metric.overflow`. */
const maxSets = 500;

export class Cells {
  readonly #instruments = new Map<string, Instrument>();
  /** Called before each reading: brings up to date what is read and not counted. */
  readonly refreshers = new Set<() => void>();

  /** The counter cell of an owner with these attributes; the same one every time. */
  counter(info: Omit<InstrumentInfo, 'kind'>, owner: string, attributes: Attributes): Cell {
    const instrument = this.#instrument({ ...info, kind: 'counter' });
    let own = instrument.cells.get(owner);
    if (!own) {
      own = new Map();
      instrument.cells.set(owner, own);
    }
    const key = setKey(attributes);
    const cell = own.get(key);
    if (cell) return cell;
    if (own.size >= maxSets) return overflowCell(own, attributes);
    const made = { attributes: Object.freeze({ ...attributes }), value: 0 };
    own.set(key, made);
    return made;
  }

  /** A gauge of an owner; `base` is on every point of it. A second registration takes the place of the first. */
  gauge(info: Omit<InstrumentInfo, 'kind'>, owner: string, base: Attributes, read: GaugeRead): void {
    this.#instrument({ ...info, kind: 'gauge' }).gauges.set(owner, { base, read });
  }

  /** Ends every series of an owner. */
  forget(owner: string): void {
    for (const [name, instrument] of this.#instruments) {
      instrument.cells.delete(owner);
      instrument.gauges.delete(owner);
      if (instrument.cells.size + instrument.gauges.size === 0) this.#instruments.delete(name);
    }
  }

  /** Counters of one owner by instrument name. */
  ofOwner(owner: string): Map<string, readonly Cell[]> {
    const out = new Map<string, readonly Cell[]>();
    for (const [name, { cells }] of this.#instruments) {
      const own = cells.get(owner);
      if (own) out.set(name, [...own.values()]);
    }
    return out;
  }

  /** Everything as it is now, sorted by name. `failed` hears of gauges that throw. */
  read(failed: (name: string, error: unknown) => void = () => {}): Reading[] {
    for (const refresh of this.refreshers) refresh();
    const out: Reading[] = [];
    for (const { cells, gauges, ...info } of this.#instruments.values()) {
      const points: { value: number; attributes: Attributes }[] = [];
      for (const own of cells.values())
        for (const { value, attributes } of own.values()) points.push({ value, attributes });
      for (const gauge of gauges.values()) {
        try {
          points.push(...readGauge(gauge));
        } catch (error) {
          failed(info.name, error);
        }
      }
      if (points.length > 0) out.push({ ...info, points });
    }
    return out.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #instrument(info: InstrumentInfo): Instrument {
    let instrument = this.#instruments.get(info.name);
    if (!instrument) {
      instrument = { ...info, cells: new Map(), gauges: new Map() };
      this.#instruments.set(info.name, instrument);
    }
    return instrument;
  }
}

function readGauge({ base, read }: { base: Attributes; read: GaugeRead }): { value: number; attributes: Attributes }[] {
  const got = read();
  if (typeof got === 'number') return Number.isNaN(got) ? [] : [{ value: got, attributes: base }];
  return [...got].map(([value, attributes]) => ({ value, attributes: { ...base, ...attributes } }));
}

function overflowCell(own: Map<string, Cell>, attributes: Attributes): Cell {
  const first = own.values().next().value as Cell;
  const shared = Object.entries(attributes).filter(([k, v]) => first.attributes[k] === v);
  const key = 'overflow';
  const cell = own.get(key) ?? {
    attributes: { ...Object.fromEntries(shared), 'otel.metric.overflow': true },
    value: 0,
  };
  own.set(key, cell);
  return cell;
}

function setKey(attributes: Attributes): string {
  const keys = Object.keys(attributes);
  if (keys.length > 1) keys.sort();
  let key = '';
  for (const k of keys) key += `${k}\u0001${String(attributes[k])}\u0002`;
  return key;
}
