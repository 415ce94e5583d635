import type { Batch, LogRecord } from '../batch.ts';
import type { Attributes } from '../catalogue.ts';
import type { Entry, Store, Weighed } from './store.ts';

/** Batches by reference; gone with the process. */
export function memoryStore(): Store {
  const batches = new Map<Entry, Batch>();
  return {
    durable: false,
    open: () => {},
    weigh: (batch, items): Weighed => ({ batch, items, bytes: estimateBytes(batch) }),
    add: (entry, { batch }) => void batches.set(entry, batch),
    read: (entry) => batches.get(entry),
    replace(entry, { batch, items, bytes }) {
      entry.items = items;
      entry.bytes = bytes;
      batches.set(entry, batch);
    },
    remove: (entry) => void batches.delete(entry),
    setAside: (entry) => void batches.delete(entry),
    failedTry: () => {},
    flush: () => {},
    close: () => batches.clear(),
  };
}

/** Records of a batch that are weighed; the others are taken to be like them. */
const sampled = 16;
/** V8's cost of one record object with its two bigints, measured: 0.39 KB with ten short attributes. */
const recordBytes = 160;
const snapshotBytes = 160;
const entityBytes = 1024;
/** Thousands of peers are the same objects in each list of their source: a list holds on to places only. */
const peerBytes = 16;

/** Heap a batch holds on to, in bytes, estimated from a sample of its records. Schemas and resources are shared and not counted. */
export function estimateBytes(batch: Batch): number {
  switch (batch.kind) {
    case 'metrics':
      return batch.snapshots.reduce((n, s) => n + s.values.byteLength + snapshotBytes, 0);
    case 'entities':
      return batch.entities.reduce((n, e) => n + (e.kind === 'peer' ? peerBytes : entityBytes), 0);
    case 'logs': {
      const { records } = batch;
      if (records.length === 0) return 0;
      const step = Math.max(1, Math.floor(records.length / sampled));
      let bytes = 0;
      let n = 0;
      for (let i = 0; i < records.length; i += step, n++) bytes += weighRecord(records[i]!);
      return Math.ceil((bytes / n) * records.length);
    }
  }
}

function weighRecord(r: LogRecord): number {
  return recordBytes + r.body.length + weighAttributes(r.attributes);
}

function weighAttributes(attributes: Attributes): number {
  let bytes = 0;
  for (const key in attributes) {
    const v = attributes[key];
    bytes += 16;
    if (typeof v === 'string') bytes += 16 + v.length;
    else if (typeof v === 'object') for (const s of v) bytes += 24 + s.length;
  }
  return bytes;
}
