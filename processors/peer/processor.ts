import { map } from 'rxjs';
import type { Batch, LogRecord, LogsBatch, MetricsBatch } from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { PeerConfig } from './config.ts';
import { Directory } from './directory.ts';
import { hasAddresses } from './ends.ts';
import { Folder } from './fold.ts';
import { Namer } from './namer.ts';

/** Makes the processor. It learns who has which address from the entities that pass. */
export function createProcessor(config: PeerConfig, context: ComponentContext): Processor {
  const { telemetry, clock, node } = context;
  let directory: Directory | undefined;
  let folder: Folder | undefined;
  telemetry.gauge('peer_addresses', '{address}', 'Addresses that have a name.', () => directory?.size ?? 0);
  telemetry.gauge('peer_pairs', '{series}', 'Pairs of workloads that are told apart.', () => folder?.pairs ?? 0);
  const made = telemetry.counter('created_items', '{item}', 'Sums made of flows.');
  return (source$) => {
    const names = new Directory(node.name, config.tombstone);
    const namer = new Namer(config, names);
    const sums = new Folder(config, names, namer);
    directory = names;
    folder = sums;
    return source$.pipe(
      map((batch): Batch => {
        switch (batch.kind) {
          case 'entities':
            names.apply(batch);
            return batch;
          case 'logs':
            return config.events ? namedEvents(batch, namer) : batch;
          case 'metrics': {
            if (config.by === 'off' || !(isAboutPeers(batch) || sums.knows(batch.source))) return batch;
            if (config.by === 'address') return namedSeries(batch, namer);
            const outcome = sums.fold(batch, clock.monotonicMs());
            if (outcome.made > 0) made.add(outcome.made);
            if (outcome.merged > 0) telemetry.dropped('folded', outcome.merged, 'metrics');
            return outcome.batch;
          }
        }
      }),
    );
  };
}

function namedEvents(batch: LogsBatch, namer: Namer): LogsBatch {
  let changed = false;
  const records = batch.records.map((record): LogRecord => {
    const names = namer.ofEvent(record.attributes, record.resource, Number(record.timeUnixNs / 1_000_000n));
    if (names === undefined) return record;
    changed = true;
    return Object.freeze({ ...record, attributes: Object.freeze({ ...record.attributes, ...names }) });
  });
  return changed ? Object.freeze({ ...batch, records: Object.freeze(records) }) : batch;
}

function namedSeries(batch: MetricsBatch, namer: Namer): MetricsBatch {
  const snapshots = batch.snapshots.map((s) => namer.name(s));
  return snapshots.every((s, i) => s === batch.snapshots[i])
    ? batch
    : Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) });
}

const verdicts = new WeakMap<object, boolean>();

/** Whether any series has an address. Most batches have none, and are told by their schemas, which live on. */
function isAboutPeers({ snapshots }: MetricsBatch): boolean {
  return snapshots.some(({ schema }) => {
    let verdict = verdicts.get(schema);
    if (verdict === undefined) {
      verdict = schema.series.some(
        ({ attributes }) => hasAddresses(attributes) || attributes['otel.metric.overflow'] === true,
      );
      verdicts.set(schema, verdict);
    }
    return verdict;
  });
}
