import fc from 'fast-check';
import { type Exemplar, type LogRecord, type LogsBatch, type MetricsBatch, makeSchema, type Resource, type Schema, type Snapshot } from '../../../pipeline/batch.ts';
import { defineMetrics } from '../../../pipeline/catalogue.ts';

/** Arbitrary batches, and sized ones for splitting and benchmarks. */

const resource = (attributes: Resource['attributes']): Resource => Object.freeze({ attributes: Object.freeze(attributes) });

export const pods: readonly Resource[] = Array.from({ length: 5 }, (_, i) =>
  resource({
    'service.name': `web-${i}`,
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': `web-${i}-5775dfdc77-fj76${i}`,
    'k8s.pod.uid': `3f0d1f6e-0000-4000-8000-00000000000${i}`,
    'k8s.node.name': 'node-ä',
  }),
);

export const scope = Object.freeze({ name: 'skoopline/receivers/ebpf', version: '0.1.0' });

const text = fc.oneof(fc.string({ maxLength: 20 }), fc.string({ unit: 'grapheme', maxLength: 80 }), fc.string({ maxLength: 400 }));
const attributeValue = fc.oneof(
  text,
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.array(text, { maxLength: 4 }),
);
const attributes = fc.dictionary(fc.string({ minLength: 1, maxLength: 30 }).filter((k) => k !== '__proto__'), attributeValue, {
  maxKeys: 12,
});
const nanoseconds = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });

const logRecord: fc.Arbitrary<LogRecord> = fc.record({
  timeUnixNs: nanoseconds,
  observedTimeUnixNs: nanoseconds,
  severityNumber: fc.constantFrom(5 as const, 9 as const, 13 as const, 17 as const),
  eventName: fc.constantFrom('skoop.packet.dropped', 'skoop.tcp.reset', 'e'),
  body: text,
  attributes,
  owner: fc.constant(undefined),
  resource: fc.constantFrom(...pods),
});

export const logsBatches: fc.Arbitrary<LogsBatch> = fc
  .array(logRecord, { minLength: 1, maxLength: 40 })
  .map((records) => ({ kind: 'logs', source: 'test', scope, records }));

const metrics = defineMetrics({
  'skoop.tcp.retransmits': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Segments sent again.',
    source: 'test',
    scope: 'netns',
  },
  'skoop.sockets': { instrument: 'updowncounter', unit: '{socket}', description: 'Sockets.', source: 'test', scope: 'netns' },
  'skoop.load': { instrument: 'gauge', unit: '1', description: 'Größe.', source: 'test', scope: 'netns' },
  'skoop.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Waiting time.',
    source: 'test',
    scope: 'netns',
    histogram: { scale: 0, offset: -20, buckets: 24 },
  },
  'skoop.fine': {
    instrument: 'histogram',
    unit: 's',
    description: 'Fine waiting time.',
    source: 'test',
    scope: 'netns',
    histogram: { scale: 3, offset: 5, buckets: 7 },
  },
});

export const schemaOfAll: Schema = makeSchema([
  { metric: metrics['skoop.tcp.retransmits'], attributes: { 'network.io.direction': 'transmit', v6: true } },
  { metric: metrics['skoop.wait'], attributes: { 'disk.io.direction': 'read' } },
  { metric: metrics['skoop.tcp.retransmits'], attributes: { 'network.io.direction': 'receive', port: 443 } },
  { metric: metrics['skoop.sockets'] },
  { metric: metrics['skoop.load'], attributes: { hosts: ['a', 'b'] } },
  { metric: metrics['skoop.fine'] },
  { metric: metrics['skoop.wait'], attributes: { 'disk.io.direction': 'write' } },
]);

/** Values for {@link schemaOfAll}: some absent, histograms whose count is the sum of their buckets. */
const values = fc
  .tuple(
    fc.array(fc.option(fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true })), { nil: Number.NaN }), {
      minLength: schemaOfAll.slots,
      maxLength: schemaOfAll.slots,
    }),
    fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(), fc.maxSafeInteger().map((n) => Math.abs(n % 2 ** 45))), {
      minLength: schemaOfAll.slots,
      maxLength: schemaOfAll.slots,
    }),
  )
  .map(([numbers, counts]) => {
    const out = Float64Array.from(numbers);
    for (const { metric, offset } of schemaOfAll.series) {
      if (!metric.histogram || Number.isNaN(out[offset])) continue;
      const { buckets } = metric.histogram;
      let count = counts[offset + 2]!;
      out[offset + 2] = count;
      for (let i = offset + 3; i < offset + 3 + buckets; i++) {
        out[i] = counts[i]!;
        count += counts[i]!;
      }
      out[offset] = count;
      out[offset + 1] = counts[offset + 1]! / 16;
    }
    return out;
  });

/** One for some of the histograms of {@link schemaOfAll}, whether they have a value or not. */
const exemplars: fc.Arbitrary<readonly Exemplar[]> = fc.uniqueArray(
  fc.record({
    offset: fc.constantFrom(...schemaOfAll.series.filter((s) => s.metric.histogram).map((s) => s.offset)),
    value: fc.double({ min: 0, max: 100, noNaN: true }),
    timeUnixNs: nanoseconds,
    attributes,
  }),
  { selector: (e) => e.offset, minLength: 1 },
);

const snapshot: fc.Arbitrary<Snapshot> = fc.record(
  {
    owner: fc.constant(undefined),
    resource: fc.constantFrom(...pods),
    startTimeMs: fc.integer({ min: 0, max: 2_000_000_000_000 }),
    timeMs: fc.integer({ min: 0, max: 2_000_000_000_000_000 }).map((us) => us / 1000),
    schema: fc.constant(schemaOfAll),
    values,
    exemplars,
  },
  { requiredKeys: ['owner', 'resource', 'startTimeMs', 'timeMs', 'schema', 'values'] },
);

export const metricsBatches: fc.Arbitrary<MetricsBatch> = fc
  .array(snapshot, { minLength: 1, maxLength: 6 })
  .map((snapshots) => ({ kind: 'metrics', source: 'test/all', scope, snapshots }));
