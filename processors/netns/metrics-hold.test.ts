import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTimeScheduler } from 'rxjs';
import type { MetricsBatch } from '../../pipeline/batch.ts';
import { MetricsHold } from './metrics-hold.ts';

test('a timer that fires a fraction of a millisecond early does not leave a collection held for ever', () => {
  const scheduler = new VirtualTimeScheduler(undefined, 2010);
  const released: string[] = [];
  const hold = new MetricsHold({
    waitMs: 2000,
    scheduler,
    // As Node.js: timers count whole milliseconds of a clock that was read a moment ago.
    monotonicMs: () => (scheduler.now() === 0 ? 0.6 : scheduler.now() + 0.2),
    onDeadline: () => released.push(...hold.take(() => false).map((b) => b.source)),
  });
  const batch = (source: string): MetricsBatch => ({ kind: 'metrics', source, scope: { name: 't' }, snapshots: [] });
  for (const source of ['a', 'b', 'c']) hold.add(batch(source));
  scheduler.flush();
  assert.deepEqual(released, ['a', 'b', 'c']);
  assert.equal(scheduler.actions.length, 0, 'no timer is left');
});
