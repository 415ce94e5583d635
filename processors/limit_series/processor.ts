import { map } from 'rxjs';
import type { Attributes } from '../../pipeline/catalogue.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { LimitSeriesConfig } from './config.ts';
import { type Culprit, Limiter } from './limiter.ts';

/** Culprits shown in telemetry: the worst ones. */
const maxCulprits = 50;

/** Makes the processor. */
export function createProcessor(config: LimitSeriesConfig, context: ComponentContext): Processor {
  const { telemetry, log, clock } = context;
  let current: Limiter | undefined;
  telemetry.gauge(
    'limit_series_summed',
    '{series}',
    'Series that are summed in an overflow series now, by metric and owner; the worst 50.',
    () => worst(current?.culprits() ?? []),
  );
  const made = telemetry.counter('created_items', '{item}', 'Overflow points made of others.');
  const onCulprit = ({ metric, owner }: Culprit, limit: number) =>
    log.warn(
      { metric, owner, limit },
      'A metric has more series than its budget; the rest is summed in an overflow series.',
    );
  return (source$) => {
    const limiter = new Limiter(config, onCulprit);
    current = limiter;
    return source$.pipe(
      map((batch) => {
        if (batch.kind !== 'metrics') return batch;
        const outcome = limiter.limit(batch, clock.monotonicMs());
        if (outcome.made > 0) made.add(outcome.made);
        if (outcome.merged > 0) telemetry.dropped('overflow', outcome.merged, 'metrics');
        return outcome.batch;
      }),
    );
  };
}

function worst(culprits: Iterable<Culprit>): [number, Attributes][] {
  return [...culprits]
    .sort((a, b) => b.summed - a.summed)
    .slice(0, maxCulprits)
    .map(({ metric, owner, summed }) => [summed, { metric, owner }]);
}
