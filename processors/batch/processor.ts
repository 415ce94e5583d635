import { Observable, type Subscription } from 'rxjs';
import type { Batch, LogRecord, LogsBatch, Scope } from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { BatchConfig } from './config.ts';

/** Records of one source that wait. */
interface Group {
  readonly first: LogsBatch;
  readonly records: LogRecord[];
  readonly timer: Subscription;
}

/**
 * Gathers log batches by source and scope. Metrics pass as they are, since a metrics batch is one complete collection and neither more nor
 * less than that; entities too. What waits is bounded: `send_batch_size` for each source, and sources are the receivers of the config.
 */
export function createProcessor(config: BatchConfig, context: ComponentContext): Processor {
  const { clock, telemetry } = context;
  return (source$) =>
    new Observable<Batch>((out) => {
      const groups = new Map<Scope, Map<string, Group>>();

      const take = (scope: Scope, source: string): Group | undefined => {
        const group = groups.get(scope)?.get(source);
        if (!group) return undefined;
        group.timer.unsubscribe();
        groups.get(scope)!.delete(source);
        if (groups.get(scope)!.size === 0) groups.delete(scope);
        return group;
      };
      const send = (scope: Scope, source: string): void => {
        const group = take(scope, source);
        if (group) for (const batch of divided(group, config.send_batch_max_size)) out.next(batch);
      };
      const groupOf = (batch: LogsBatch): Group => {
        const { scope, source } = batch;
        let bySource = groups.get(scope);
        if (!bySource) {
          bySource = new Map();
          groups.set(scope, bySource);
        }
        let group = bySource.get(source);
        if (!group) {
          const timer = clock.scheduler.schedule(() => send(scope, source), config.timeout);
          group = { first: batch, records: [], timer };
          bySource.set(source, group);
        }
        return group;
      };
      const all = () =>
        [...groups].flatMap(([scope, bySource]) => [...bySource.keys()].map((s) => [scope, s] as const));

      const subscription = source$.subscribe({
        next(batch) {
          if (batch.kind !== 'logs') {
            out.next(batch);
            return;
          }
          if (batch.records.length === 0) return;
          const group = groupOf(batch);
          for (const record of batch.records) group.records.push(record);
          if (group.records.length >= config.send_batch_size) send(batch.scope, batch.source);
        },
        error(error) {
          for (const [scope, source] of all()) send(scope, source);
          out.error(error);
        },
        complete() {
          for (const [scope, source] of all()) send(scope, source);
          out.complete();
        },
      });
      return () => {
        subscription.unsubscribe();
        const left = all().reduce((n, [scope, source]) => n + (take(scope, source)?.records.length ?? 0), 0);
        if (left > 0) telemetry.dropped('stopped', left, 'logs');
      };
    });
}

function* divided({ first, records }: Group, max: number): Generator<LogsBatch, void> {
  if (records.length === first.records.length && records.length <= max) {
    yield first;
    return;
  }
  for (let i = 0; i < records.length; i += max) {
    yield Object.freeze({ ...first, records: Object.freeze(records.slice(i, i + max)) });
  }
}
