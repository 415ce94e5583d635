import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Subject } from 'rxjs';
import {
  type Batch,
  type Exemplar,
  itemCount,
  type MetricsBatch,
  makeSchema,
  type Owner,
  type Resource,
  type Schema,
  slotsOf,
} from '../../pipeline/batch.ts';
import { defineMetrics, type MetricDefinition } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

const common = { unit: '1', description: 'A test.', source: 'test', scope: 'netns' } as const;
const m = defineMetrics({
  'skoop.flow.packets': {
    ...common,
    instrument: 'counter',
    attributes: { peer: { description: 'Peer.' } },
    maxSeries: 4,
  },
  'skoop.flow.rtt': {
    ...common,
    instrument: 'histogram',
    histogram: { scale: 0, offset: 0, buckets: 2 },
    maxSeries: 3,
  },
  'skoop.flow.queue': { ...common, instrument: 'updowncounter', maxSeries: 3 },
  'skoop.other': { ...common, instrument: 'gauge' },
});
const packets = m['skoop.flow.packets'];
const scope = { name: 'test' };
const resource: Resource = { attributes: { 'k8s.namespace.name': 'shop', 'k8s.pod.name': 'web-0' } };

const schemas = new Map<string, Schema>();
function schemaOf(metric: MetricDefinition, peers: readonly string[]): Schema {
  const key = `${metric.name} ${peers}`;
  let schema = schemas.get(key);
  if (schema === undefined) {
    schema = makeSchema([...peers.map((peer) => ({ metric, attributes: { peer } })), { metric: m['skoop.other'] }]);
    schemas.set(key, schema);
  }
  return schema;
}

interface Row {
  readonly owner?: Owner;
  readonly metric?: MetricDefinition;
  readonly of: Readonly<Record<string, number | readonly number[]>>;
  readonly exemplars?: readonly Exemplar[];
}

function start(settings: object = { min_series: 1 }) {
  const context = testContext();
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse(settings), context)));
  return {
    ...context,
    out,
    /** Pushes one collection and gives back what came out, as peer → value; the overflow is `+`. */
    collect: (...rows: Row[]) => {
      const batch: MetricsBatch = deepFreeze({
        kind: 'metrics',
        source: 's',
        scope,
        snapshots: rows.map(({ owner = { netns: 11 }, metric = packets, of, exemplars }) => ({
          owner,
          resource,
          startTimeMs: 0,
          timeMs: 0,
          schema: schemaOf(metric, Object.keys(of)),
          values: Float64Array.from([...Object.values(of).flat(), 7]),
          ...(exemplars && { exemplars }),
        })),
      });
      input$.next(batch);
      const result = out.values.at(-1) as MetricsBatch;
      return { batch, result, snapshots: owners(result) };
    },
  };
}

/** What came out for each owner, however many snapshots it came in. */
function owners(batch: MetricsBatch): Record<string, number | number[]>[] {
  const byOwner = Map.groupBy(batch.snapshots, (s) => s.owner?.netns);
  return [...byOwner.values()].map((list) => Object.assign({}, ...list.map(show)));
}

function show({ schema, values }: MetricsBatch['snapshots'][number]): Record<string, number | number[]> {
  return Object.fromEntries(
    schema.series.map(({ metric, attributes, offset }) => {
      const slots = [...values.subarray(offset, offset + slotsOf(metric))];
      const peer = attributes['otel.metric.overflow'] === true ? '+' : (attributes['peer'] ?? 'other');
      return [peer, slots.length === 1 ? slots[0]! : slots];
    }),
  );
}

describe('a budget for each owner', () => {
  test('within it: the same batch, untouched', () => {
    const t = start();
    const { batch, result } = t.collect({ of: { a: 1, b: 2, c: 3, d: 4 } });
    assert.equal(result, batch);
    assert.deepEqual(t.telemetry.drops, {});
  });

  test('above it: the first keep their own series, the rest is summed, others of the schema stay', () => {
    const t = start();
    const { snapshots } = t.collect({ of: { a: 1, b: 2, c: 3, d: 4, e: 50, f: 600 } });
    assert.deepEqual(snapshots, [{ a: 1, b: 2, c: 3, '+': 654, other: 7 }]);
    assert.deepEqual(t.telemetry.dropCalls, [{ reason: 'overflow', n: 3, signal: 'metrics' }]);
    assert.equal(t.telemetry.count('created_items'), 1);
    assert.equal(t.telemetry.read('limit_series_summed', { metric: 'skoop.flow.packets', owner: 'shop/web-0' }), 3);
  });

  test('the owner that has too many pays, not its neighbours', () => {
    const t = start();
    const { snapshots } = t.collect(
      { of: { a: 1, b: 2, c: 3, d: 4, e: 5 } },
      { owner: { netns: 12 }, of: { a: 1, b: 2, c: 3, d: 4 } },
    );
    assert.deepEqual(snapshots, [
      { a: 1, b: 2, c: 3, '+': 9, other: 7 },
      { a: 1, b: 2, c: 3, d: 4, other: 7 },
    ]);
  });

  test('the outgoing schema is the same object while the same series are in it', () => {
    const t = start();
    const of = { a: 1, b: 2, c: 3, d: 4, e: 5 };
    const [one, two] = [t.collect({ of }), t.collect({ of: { ...of, a: 9 } })];
    assert.equal(one.result.snapshots[0]?.schema, two.result.snapshots[0]?.schema);
  });

  test('an owner whose series come in several snapshots has one budget for all of them', () => {
    const t = start({ min_series: 1, budgets: { 'skoop.other': 9 } });
    const { snapshots, result } = t.collect({ of: { a: 1, b: 2, c: 3 } }, { of: { d: 4, e: 5 } }, { of: { f: 6 } });
    assert.deepEqual(snapshots, [{ a: 1, b: 2, c: 3, '+': 15, other: 7 }]);
    assert.equal(result.snapshots.length, 4);
  });

  test('histograms are summed slot by slot', () => {
    const t = start();
    const { snapshots } = t.collect({
      metric: m['skoop.flow.rtt'],
      of: { a: [1, 2, 3, 4, 5], b: [1, 1, 1, 1, 1], c: [10, 20, 30, 40, 50], d: [100, 200, 300, 400, 500] },
    });
    assert.deepEqual(snapshots[0]?.['+'], [110, 220, 330, 440, 550]);
  });

  test('exemplars stay with the series that stay; those of summed ones go', () => {
    const t = start();
    const metric = m['skoop.flow.rtt'];
    // Where a to e stand, `a` being summed below.
    const exemplars = [5, 20].map((offset) => ({ offset, value: offset, timeUnixNs: 7n, attributes: {} }));
    const one = [1, 1, 1, 0, 0];
    t.collect({ metric, of: { c: one, b: one } });
    const { result } = t.collect({ metric, of: { a: one, b: one, d: one, e: one, c: one }, exemplars });
    const [kept] = result.snapshots;
    const peers = kept!.exemplars?.map(({ offset, value }) => {
      const series = kept!.schema.series.find((s) => s.offset === offset);
      return [series?.attributes['peer'], value];
    });
    assert.deepEqual(peers, [['b', 5]]);
    assert.ok(result.snapshots.slice(1).every((s) => s.exemplars === undefined));
  });

  test('config sets the budget by name, and the least that any metric may have', () => {
    const of = { a: 1, b: 2, c: 3, d: 4, e: 5 };
    assert.deepEqual(start({ budgets: { 'skoop.flow.packets': 2 }, min_series: 50 }).collect({ of }).snapshots, [
      { a: 1, '+': 14, other: 7 },
    ]);
    assert.equal('+' in start({ min_series: 5 }).collect({ of }).snapshots[0]!, false);
    assert.deepEqual(start({ budgets: { 'skoop.flow.packets': 1 } }).collect({ of }).snapshots, [
      { '+': 15, other: 7 },
    ]);
  });

  test('series without a value take no place', () => {
    const t = start();
    const nan = Number.NaN;
    const { snapshots } = t.collect({ of: { a: nan, b: 2, c: 3, d: 4, e: 5 } });
    assert.deepEqual(snapshots, [{ a: nan, b: 2, c: 3, d: 4, '+': 5, other: 7 }]);
  });
});

describe('a budget for all owners together', () => {
  test('each gets its even share', () => {
    const t = start({ min_series: 50, max_series: 6 });
    const of = { a: 1, b: 2, c: 3, d: 4 };
    const { snapshots } = t.collect({ of }, { owner: { netns: 12 }, of });
    assert.deepEqual(snapshots, [
      { a: 1, b: 2, '+': 7, other: 7 },
      { a: 1, b: 2, '+': 7, other: 7 },
    ]);
  });
});

describe('as time goes by', () => {
  const minute = 60_000;

  test('an idle series makes room for a new one, a busy one does not', () => {
    const t = start();
    t.collect({ of: { a: 1, b: 2, c: 3, d: 4, e: 5 } });
    t.clock.advance(4 * minute);
    t.collect({ of: { a: 2, b: 2, c: 4, d: 4, e: 5 } });
    t.clock.advance(minute);
    const { snapshots } = t.collect({ of: { a: 2, b: 2, c: 4, d: 4, e: 5, x: 1, y: 1 } });
    assert.deepEqual(snapshots, [{ a: 2, c: 4, x: 1, '+': 12, other: 7 }]);
  });

  test('what was summed stays summed: the overflow of a counter never falls', () => {
    const t = start();
    t.collect({ of: { a: 1, b: 2, c: 3, d: 40, e: 50 } });
    const fewer = t.collect({ of: { c: 3, d: 40, e: 50 } });
    assert.deepEqual(fewer.snapshots, [{ c: 3, '+': 90, other: 7 }]);
    const gone = t.collect({ of: { c: 3, e: 51 } });
    assert.deepEqual(gone.snapshots, [{ c: 3, '+': 91, other: 7 }]);
  });

  test('a gauge’s or up-down counter’s overflow is what there is now', () => {
    const t = start();
    const metric = m['skoop.flow.queue'];
    t.collect({ metric, of: { a: 1, b: 2, c: 30, d: 40 } });
    assert.deepEqual(t.collect({ metric, of: { a: 1, b: 2, c: 30 } }).snapshots, [{ a: 1, b: 2, '+': 30, other: 7 }]);
    assert.deepEqual(t.collect({ metric, of: { a: 1, b: 2, c: Number.NaN } }).snapshots, [
      { a: 1, b: 2, '+': 0, other: 7 },
    ]);
  });

  test('a counter that has no value for once keeps its part of the sum', () => {
    const t = start();
    t.collect({ of: { a: 1, b: 2, c: 3, d: 40, e: 50 } });
    const { snapshots } = t.collect({ of: { a: 1, b: 2, c: 3, d: Number.NaN, e: 50 } });
    assert.deepEqual(snapshots[0]?.['+'], 90);
  });

  test('an owner that is gone is forgotten', () => {
    const t = start();
    t.collect({ of: { a: 1, b: 2, c: 3, d: 40, e: 50 } });
    t.collect({ owner: { netns: 12 }, of: { a: 1 } });
    const { snapshots } = t.collect({ of: { d: 1, e: 1 } });
    assert.deepEqual(snapshots, [{ d: 1, e: 1, other: 7 }]);
    assert.equal(t.telemetry.read('limit_series_summed', { metric: packets.name, owner: 'shop/web-0' }), undefined);
  });

  test('own series + overflow = what came in, and never more series than the budget, whatever comes', () => {
    const peers = 'abcdefghijkl'.split('');
    const step = fc.record({
      grow: fc.dictionary(fc.constantFrom(...peers), fc.nat(9), { minKeys: 1 }),
      waitMs: fc.constantFrom(0, minute, 6 * minute),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const t = start();
        const now: Record<string, number> = {};
        let before = 0;
        for (const { grow, waitMs } of steps) {
          for (const [peer, by] of Object.entries(grow)) now[peer] = (now[peer] ?? 0) + by;
          t.clock.advance(waitMs);
          const dropped = t.telemetry.drops['overflow'] ?? 0;
          const made = t.telemetry.count('created_items');
          const { batch, result, snapshots } = t.collect({ of: { ...now } });
          const { other: _, ...series } = snapshots[0]!;
          const sum = Object.values(series).reduce<number>((a, b) => a + (b as number), 0);
          assert.equal(
            sum,
            Object.values(now).reduce((a, b) => a + b, 0),
          );
          assert.ok(Object.keys(series).length <= 4);
          assert.ok(((series['+'] as number | undefined) ?? 0) >= before, 'the overflow fell');
          before = (series['+'] as number | undefined) ?? before;
          const nowDropped = (t.telemetry.drops['overflow'] ?? 0) - dropped;
          const nowMade = t.telemetry.count('created_items') - made;
          assert.equal(itemCount(batch) + nowMade, itemCount(result) + nowDropped);
        }
      }),
      { numRuns: 200 },
    );
  });
});

test('other signals pass', () => {
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse({}), testContext())));
  const batch: Batch = { kind: 'logs', source: 's', scope, records: [] };
  input$.next(batch);
  assert.equal(out.values[0], batch);
});
