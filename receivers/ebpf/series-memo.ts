import type { Series } from './collection.ts';

/** Series remembered; ports come and go, and asking anew gives the same object. */
const maxKnown = 4096;

/** The series a probe has asked its collection for, by what it tells them apart by: asking again costs a map look-up, not a JSON text. */
export class SeriesMemo<K extends string | number = string> {
  readonly #known = new Map<K, Series>();

  /** @param make called once for each id */
  of(id: K, make: () => Series): Series {
    let series = this.#known.get(id);
    if (!series) {
      series = make();
      if (this.#known.size >= maxKnown) this.#known.clear();
      this.#known.set(id, series);
    }
    return series;
  }
}

/** A threshold as the kernel half's knob: ms → ns. */
export function thresholdNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6));
}
