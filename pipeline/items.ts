import { type Batch, itemCount } from './batch.ts';

const known = new WeakMap<Batch, number>();

/** {@link itemCount}, looked at once for each batch: the same one passes many stages. */
export function itemsOf(batch: Batch): number {
  let n = known.get(batch);
  if (n === undefined) {
    n = itemCount(batch);
    known.set(batch, n);
  }
  return n;
}

/** As the Collector words its metric names. */
export const itemNouns = { metrics: 'metric_points', logs: 'log_records', entities: 'entities' } as const;
export const itemUnits = { metrics: '{datapoint}', logs: '{record}', entities: '{entity}' } as const;
