import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Subject } from 'rxjs';
import {
  type Batch,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  noResource,
  type Scope,
} from '../../pipeline/batch.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import declaration from './index.ts';
import { createProcessor } from './processor.ts';

const scope: Scope = Object.freeze({ name: 'a' });

function logs(from: number, count: number, source = 's', own = scope): LogsBatch {
  const one = (n: number): LogRecord => ({
    timeUnixNs: BigInt(n),
    observedTimeUnixNs: 0n,
    severityNumber: 9,
    eventName: 'e',
    body: '',
    attributes: {},
    owner: undefined,
    resource: noResource,
  });
  return deepFreeze({
    kind: 'logs',
    source,
    scope: own,
    records: Array.from({ length: count }, (_, i) => one(from + i)),
  });
}
const numbers = (b: Batch) => (b as LogsBatch).records.map((r) => Number(r.timeUnixNs));
const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

function setup(input: object) {
  const context = testContext();
  const source$ = new Subject<Batch>();
  const out = record(source$.pipe(createProcessor(config.parse(input), context)));
  return { context, source$, out };
}

test('gathers until the size, divides above the largest size', () => {
  const { source$, out, context } = setup({ send_batch_size: 10, send_batch_max_size: 12 });
  source$.next(logs(0, 7));
  assert.equal(out.values.length, 0);
  source$.next(logs(7, 23));
  assert.deepEqual(out.values.map(numbers), [range(0, 12), range(12, 12), range(24, 6)]);
  assert.equal(context.clock.pending, 0);
});

test('sends after the timeout, counted from the first record', () => {
  const { source$, out, context } = setup({ timeout: '200ms' });
  source$.next(logs(0, 3));
  context.clock.advance(150);
  source$.next(logs(3, 2));
  context.clock.advance(49);
  assert.equal(out.values.length, 0);
  context.clock.advance(1);
  assert.deepEqual(out.values.map(numbers), [range(0, 5)]);
});

test('keeps sources and scopes apart, and passes metrics and entities at once', () => {
  const { source$, out, context } = setup({});
  const other = { name: 'a' };
  source$.next(logs(0, 1));
  source$.next(logs(1, 1, 't'));
  source$.next(logs(2, 1, 's', other));
  const metrics: MetricsBatch = { kind: 'metrics', source: 's', scope, snapshots: [] };
  source$.next(metrics);
  assert.deepEqual(out.values, [metrics]);
  context.clock.advance(200);
  assert.deepEqual(
    out.values.slice(1).map((b) => [numbers(b), b.source]),
    [
      [[0], 's'],
      [[1], 't'],
      [[2], 's'],
    ],
  );
});

test('a batch that is large enough passes as it is', () => {
  const { source$, out } = setup({ send_batch_size: 5 });
  const batch = logs(0, 6);
  source$.next(batch);
  assert.equal(out.values[0], batch);
});

test('completion sends what waits; unsubscription counts it', () => {
  const done = setup({});
  done.source$.next(logs(0, 3));
  done.source$.complete();
  assert.deepEqual(done.out.values.map(numbers), [range(0, 3)]);
  assert.deepEqual(done.context.telemetry.drops, {});

  const stopped = setup({});
  stopped.source$.next(logs(0, 3));
  stopped.source$.next(logs(0, 4, 't'));
  stopped.out.subscription.unsubscribe();
  assert.deepEqual(stopped.context.telemetry.drops, { stopped: 7 });
  assert.equal(stopped.context.clock.pending, 0);
});

test('rules across keys', () => {
  assert.deepEqual(declaration.check!(config.parse({})), []);
  assert.equal(declaration.check!(config.parse({ send_batch_size: 5000 })).length, 1);
});
