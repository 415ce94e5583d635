import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Batch,
  type Exemplar,
  type LogRecord,
  type MetricsBatch,
  makeSchema,
  type Owner,
  type Resource,
  type Schema,
  type Snapshot,
} from '../batch.ts';
import { type Attributes, defineMetrics } from '../catalogue.ts';
import { decodeBatch, encodeBatch } from './codec.ts';

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ minLength: 100, maxLength: 300 }),
);
const key = fc.string({ minLength: 1, maxLength: 20 }).filter((k) => k !== '__proto__');
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(-0, 0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53),
);
const attributes: fc.Arbitrary<Attributes> = fc.dictionary(
  key,
  fc.oneof(text, number, fc.boolean(), fc.array(text, { maxLength: 4 })),
  { maxKeys: 12, noNullPrototype: true },
);
const resources: fc.Arbitrary<Resource> = attributes.map((a) => ({ attributes: a }));
const owners: fc.Arbitrary<Owner | undefined> = fc.option(
  fc.record(
    { netns: fc.nat(), netnsCookie: fc.maxSafeNat(), podUid: text, containerId: text, cgroupId: fc.maxSafeInteger() },
    { requiredKeys: [], noNullPrototype: true },
  ),
  { nil: undefined },
);
const scope = fc.oneof(
  fc.record({ name: text }, { noNullPrototype: true }),
  fc.record({ name: text, version: text }, { noNullPrototype: true }),
);

/** Items that share a few resources, as a real batch's do. */
function sharing<T extends { resource: Resource }>(
  item: (resource: fc.Arbitrary<Resource>) => fc.Arbitrary<T>,
  max: number,
) {
  return fc
    .array(resources, { minLength: 1, maxLength: 3 })
    .chain((pool) => fc.array(item(fc.constantFrom(...pool)), { maxLength: max }));
}

const ns = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const records = sharing<LogRecord>(
  (resource) =>
    fc.record(
      {
        timeUnixNs: ns,
        observedTimeUnixNs: ns,
        severityNumber: fc.constantFrom(5 as const, 9 as const, 13 as const, 17 as const),
        eventName: text,
        body: text,
        attributes,
        owner: owners,
        resource,
      },
      { noNullPrototype: true },
    ),
  20,
);
const logs: fc.Arbitrary<Batch> = fc.record(
  { kind: fc.constant('logs' as const), source: text, scope, records },
  { noNullPrototype: true },
);

const metrics = Object.values(
  defineMetrics({
    'skoop.a': { instrument: 'counter', unit: '1', description: 'Ä.', source: '/proc', scope: 'netns', maxSeries: 3 },
    'skoop.b': {
      instrument: 'histogram',
      unit: 's',
      description: 'B.',
      source: 'x',
      scope: 'node',
      histogram: { scale: 2, offset: -3, buckets: 5 },
      attributes: { direction: { description: 'D.', values: ['a', 'b'] } },
      kubeskoop: [
        { name: 'kubeskoop_b', where: { direction: 'a' }, labels: { d: 'D' }, type: 'counter', scale: 0.5, above: 1 },
      ],
    },
    'skoop.c': {
      instrument: 'gauge',
      unit: 'By',
      description: 'C.',
      source: 'x',
      scope: 'pod',
      enabled: false,
      stability: 'alpha',
    },
  }),
);
const exemplars: fc.Arbitrary<Exemplar> = fc.record(
  { offset: fc.nat(), value: fc.double(), timeUnixNs: ns, attributes },
  { noNullPrototype: true },
);
const schemas: fc.Arbitrary<Schema> = fc
  .array(fc.record({ metric: fc.constantFrom(...metrics), attributes }), { minLength: 1, maxLength: 12 })
  .map(makeSchema);
const metricsBatches: fc.Arbitrary<Batch> = fc.array(schemas, { minLength: 1, maxLength: 3 }).chain((pool) =>
  fc.record(
    {
      kind: fc.constant('metrics' as const),
      source: text,
      scope,
      snapshots: sharing(
        (resource) =>
          fc.constantFrom(...pool).chain((schema) =>
            fc.record(
              {
                owner: owners,
                resource,
                startTimeMs: fc.double({ noNaN: true }),
                timeMs: fc.double({ noNaN: true }),
                schema: fc.constant(schema),
                values: fc
                  .array(number, { minLength: schema.slots, maxLength: schema.slots })
                  .map((v) => Float64Array.from(v)),
                exemplars: fc.array(exemplars, { minLength: 1, maxLength: 3 }),
              },
              {
                requiredKeys: ['owner', 'resource', 'startTimeMs', 'timeMs', 'schema', 'values'],
                noNullPrototype: true,
              },
            ),
          ),
        5,
      ),
    },
    { noNullPrototype: true },
  ),
);
const entities: Batch = {
  kind: 'entities',
  source: 'cri',
  timeMs: 17.5,
  entities: [{ kind: 'netns', netns: 4026531840, host: true, podUids: [], containerIds: ['x'], firstSeenMs: 3 }],
};

test('a batch comes back as it was', () => {
  fc.assert(
    fc.property(fc.oneof(logs, metricsBatches, fc.constant(entities)), (batch) => {
      assert.deepEqual(decodeBatch(encodeBatch(batch)), batch);
    }),
    { numRuns: 500 },
  );
});

test('what was shared is shared again, schemas also between batches', () => {
  const schema = makeSchema([{ metric: metrics[0]! }]);
  const resource = { attributes: { pod: 'a' } };
  const snapshot = { owner: undefined, resource, startTimeMs: 0, timeMs: 1, schema, values: Float64Array.of(7) };
  const batch: MetricsBatch = { kind: 'metrics', source: 's', scope: { name: 'x' }, snapshots: [snapshot, snapshot] };
  const a = decodeBatch(encodeBatch(batch)) as MetricsBatch;
  const b = decodeBatch(encodeBatch(batch)) as MetricsBatch;
  assert.equal(a.snapshots[0]!.schema, a.snapshots[1]!.schema);
  assert.equal(a.snapshots[0]!.resource, a.snapshots[1]!.resource);
  assert.equal(a.snapshots[0]!.schema, b.snapshots[0]!.schema);
});

test('a view into a larger array is stored alone', () => {
  const schema = makeSchema([{ metric: metrics[0]! }, { metric: metrics[2]! }]);
  const values = Float64Array.of(1, 2, 3, 4).subarray(1, 3);
  const snapshot = { owner: undefined, resource: { attributes: {} }, startTimeMs: 0, timeMs: 1, schema, values };
  const batch: MetricsBatch = { kind: 'metrics', source: 's', scope: { name: 'x' }, snapshots: [snapshot] };
  assert.deepEqual((decodeBatch(encodeBatch(batch)) as MetricsBatch).snapshots[0]!.values, Float64Array.of(2, 3));
});

test('damage at any byte and a cut at any length are found', () => {
  const [batch] = fc.sample(logs, { numRuns: 1, seed: 11 });
  const bytes = encodeBatch(batch!);
  for (let i = 0; i < bytes.length; i++) {
    const damaged = Uint8Array.from(bytes);
    damaged[i]! ^= 0x10;
    assert.throws(() => decodeBatch(damaged), RangeError, `byte ${i}`);
    assert.throws(() => decodeBatch(bytes.subarray(0, i)), RangeError, `length ${i}`);
  }
});

test('only a batch with exemplars is of version 2, so that an older agent reads the others', () => {
  const schema = makeSchema([{ metric: metrics[1]! }]);
  const values = new Float64Array(8);
  const snapshot = { owner: undefined, resource: { attributes: {} }, startTimeMs: 0, timeMs: 1, schema, values };
  const exemplar: Exemplar = { offset: 0, value: 0.25, timeUnixNs: 7n, attributes: { 'source.port': 23 } };
  const batchOf = (...snapshots: Snapshot[]): Batch => ({
    kind: 'metrics',
    source: 's',
    scope: { name: 'x' },
    snapshots,
  });
  assert.equal(encodeBatch(batchOf(snapshot))[3], 1);
  const mixed = batchOf(snapshot, { ...snapshot, exemplars: [exemplar] }, snapshot);
  const bytes = encodeBatch(mixed);
  assert.equal(bytes[3], 2);
  assert.deepEqual(decodeBatch(bytes), mixed);
});

/** Written by the agent before there were exemplars. */
const storedBefore = Buffer.from(
  [
    'U0tRAbBY0w0ABmVicGYveARlYnBmAAEBAAxrOHMucG9kLm5hbWUABXdlYi0wAcUErQRbeyJhdHRyaWJ1dGVzIjp7ImRpcmVjdGlv',
    'biI6eyJkZXNjcmlwdGlvbiI6IkQuIiwidmFsdWVzIjpbImEiLCJiIl19fSwiZW5hYmxlZCI6dHJ1ZSwic3RhYmlsaXR5IjoiYmV0',
    'YSIsIm1heFNlcmllcyI6MSwiaW5zdHJ1bWVudCI6Imhpc3RvZ3JhbSIsInVuaXQiOiJzIiwiZGVzY3JpcHRpb24iOiJCLiIsInNv',
    'dXJjZSI6IngiLCJzY29wZSI6Im5vZGUiLCJoaXN0b2dyYW0iOnsic2NhbGUiOjIsIm9mZnNldCI6LTMsImJ1Y2tldHMiOjV9LCJr',
    'dWJlc2tvb3AiOlt7Im5hbWUiOiJrdWJlc2tvb3BfYiIsIndoZXJlIjp7ImRpcmVjdGlvbiI6ImEifSwibGFiZWxzIjp7ImQiOiJE',
    'In0sInR5cGUiOiJjb3VudGVyIiwic2NhbGUiOjAuNSwiYWJvdmUiOjF9XSwibmFtZSI6InNrb29wLmIifSx7ImF0dHJpYnV0ZXMi',
    'Ont9LCJlbmFibGVkIjp0cnVlLCJzdGFiaWxpdHkiOiJiZXRhIiwibWF4U2VyaWVzIjozLCJpbnN0cnVtZW50IjoiY291bnRlciIs',
    'InVuaXQiOiIxIiwiZGVzY3JpcHRpb24iOiLDhC4iLCJzb3VyY2UiOiIvcHJvYyIsInNjb3BlIjoibmV0bnMiLCJuYW1lIjoic2tv',
    'b3AuYSJ9XQkCAAABAAlkaXJlY3Rpb24AAWEBCAABAAABAAAgFAAA7kEAAAAAAADwPwAAAAAAAABASAAAAAAAADdAAAAAAAAA+D8A',
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAN0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAcQA==',
  ].join(''),
  'base64',
);

test('what an older agent stored is still read', () => {
  const schema = makeSchema([{ metric: metrics[1]!, attributes: { direction: 'a' } }, { metric: metrics[0]! }]);
  const values = Float64Array.of(23, 1.5, 0, 0, 23, 0, 0, 0, 7);
  const resource = { attributes: { 'k8s.pod.name': 'web-0' } };
  const snapshot = { owner: { netns: 4026532001 }, resource, startTimeMs: 1, timeMs: 2, schema, values };
  const stored: Batch = { kind: 'metrics', source: 'ebpf/x', scope: { name: 'ebpf' }, snapshots: [snapshot] };
  assert.deepEqual(decodeBatch(storedBefore), stored);
});

test('a later version is refused by its number', () => {
  const bytes = encodeBatch(entities);
  bytes[3] = 9;
  assert.throws(() => decodeBatch(bytes), /version 9, expected 1 or 2/);
});
