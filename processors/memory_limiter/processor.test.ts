import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Subject } from 'rxjs';
import {
  type Batch,
  itemCount,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  noResource,
} from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { fillOf, readMemory } from './memory.ts';
import { createProcessor } from './processor.ts';
import { levels, nextLevel } from './shedding.ts';

const metric = defineMetrics({
  'skoop.x': { instrument: 'counter', unit: '1', description: 'X.', source: 't', scope: 'netns' },
})['skoop.x'];
const schema = makeSchema([
  { metric },
  { metric, attributes: { 'network.peer.address': '10.0.0.1' } },
  { metric, attributes: { 'destination.port': 443 } },
  { metric, attributes: { 'network.io.direction': 'receive' } },
]);
const metrics: MetricsBatch = deepFreeze({
  kind: 'metrics',
  source: 's',
  scope: { name: 'x' },
  snapshots: [1, 2, 3].map((n) => ({
    owner: undefined,
    resource: noResource,
    startTimeMs: 0,
    timeMs: 1,
    schema,
    values: Float64Array.of(n, n, n === 2 ? Number.NaN : n, n),
  })),
});
const one = (severityNumber: LogRecord['severityNumber']): LogRecord => ({
  timeUnixNs: 0n,
  observedTimeUnixNs: 0n,
  severityNumber,
  eventName: 'e',
  body: '',
  attributes: {},
  owner: undefined,
  resource: noResource,
});
const logs: LogsBatch = deepFreeze({
  kind: 'logs',
  source: 's',
  scope: { name: 'x' },
  records: [one(5), one(9), one(5), one(17), one(5)],
});
const entities: Batch = deepFreeze({ kind: 'entities', source: 'cri', timeMs: 0, entities: [] });

const MiB = 1024 * 1024;

function setup(fill = 0) {
  const context = testContext();
  const state = { fill, reads: 0 };
  const read = () => {
    state.reads++;
    return { rss: state.fill * 100 * MiB, heapUsed: 0, heapLimit: 1000 * MiB, cgroupLimit: undefined };
  };
  const source$ = new Subject<Batch>();
  const out = record(source$.pipe(createProcessor(config.parse({ limit: '100MiB' }), context, read)));
  const go = (value: number) => {
    state.fill = value;
    context.clock.advance(1000);
    out.values.length = 0;
    for (const b of [logs, metrics, entities]) source$.next(b);
    return out.values.map((b) => [b.kind, itemCount(b)]);
  };
  return { context, state, source$, out, go };
}

test('sheds in the stated order and counts exactly', () => {
  const { go, context } = setup();
  assert.deepEqual(go(0.84), [
    ['logs', 5],
    ['metrics', 11],
    ['entities', 0],
  ]);
  assert.deepEqual(go(0.85), [
    ['logs', 2],
    ['metrics', 11],
    ['entities', 0],
  ]);
  assert.deepEqual(context.telemetry.drops, { memory_debug_events: 3 });
  assert.deepEqual(go(0.9), [
    ['metrics', 11],
    ['entities', 0],
  ]);
  assert.deepEqual(context.telemetry.drops, { memory_debug_events: 3, memory_events: 5 });
  assert.deepEqual(go(0.95), [
    ['metrics', 6],
    ['entities', 0],
  ]);
  assert.deepEqual(context.telemetry.drops, { memory_debug_events: 3, memory_events: 10, memory_per_flow_series: 5 });
  assert.deepEqual(go(1.2), [['entities', 0]]);
  const drops: Record<string, number> = context.telemetry.drops;
  assert.equal(drops['memory_metrics'], 11);
  assert.equal(context.telemetry.read('shedding_level'), 4);
});

test('what stays is unaltered, and the batch that came is', () => {
  const { go, out } = setup();
  go(0.95);
  const left = out.values[0] as MetricsBatch;
  assert.deepEqual(
    left.snapshots.map((s) => [...s.values]),
    [1, 2, 3].map((n) => [n, Number.NaN, Number.NaN, n]),
  );
  assert.deepEqual([...metrics.snapshots[0]!.values], [1, 1, 1, 1]);
});

test('eases only well below where it began', () => {
  const { go } = setup();
  go(0.96);
  assert.deepEqual(go(0.91), [
    ['metrics', 6],
    ['entities', 0],
  ]);
  assert.deepEqual(go(0.89), [
    ['metrics', 11],
    ['entities', 0],
  ]);
  assert.deepEqual(go(0.84), [
    ['logs', 2],
    ['metrics', 11],
    ['entities', 0],
  ]);
  assert.deepEqual(go(0.5), [
    ['logs', 5],
    ['metrics', 11],
    ['entities', 0],
  ]);
});

test('levels follow the fill up at once and never fall below it', () => {
  fc.assert(
    fc.property(fc.nat(4), fc.double({ min: 0, max: 1.5, noNaN: true }), (current, fill) => {
      const next = nextLevel(current, fill);
      const reached = levels.findLastIndex((l) => fill >= l.from);
      assert.ok(next >= reached && next <= Math.max(current, reached));
    }),
  );
});

test('reads memory at most once an interval', () => {
  const { source$, state, context } = setup();
  for (let i = 0; i < 1000; i++) source$.next(logs);
  assert.equal(state.reads, 1);
  context.clock.advance(1000);
  source$.next(logs);
  assert.equal(state.reads, 2);
});

test('the tightest limit counts', () => {
  const m = { rss: 60 * MiB, heapUsed: 10 * MiB, heapLimit: 100 * MiB, cgroupLimit: 100 * MiB };
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a} ${b}`);
  near(fillOf(m, config.parse({})), 0.75);
  near(fillOf(m, config.parse({ limit: '240MiB' })), 0.25);
  near(fillOf({ ...m, cgroupLimit: undefined }, config.parse({})), 10 / 85);
  near(fillOf({ ...m, heapUsed: 85 * MiB }, config.parse({})), 1);
  const real = readMemory();
  assert.ok(real.rss > 10 * MiB && real.heapUsed > MiB && real.heapLimit > real.heapUsed);
});
