import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interval, of, throwError } from 'rxjs';
import { deepFreeze, FakeClock, record, testContext, testEpochMs } from './testing.ts';

test('time moves only when told to, and timers fire in order', () => {
  const clock = new FakeClock();
  const seen: number[] = [];
  const timer = interval(1000, clock.scheduler).subscribe(() => seen.push(clock.nowMs() - testEpochMs));
  clock.advance(999);
  assert.deepEqual(seen, []);
  clock.advance(2001);
  assert.deepEqual(seen, [1000, 2000, 3000]);
  assert.equal(clock.pending, 1);
  timer.unsubscribe();
  assert.equal(clock.pending, 0);
  assert.equal(clock.monotonicMs(), 3000);
  clock.stepWall(-500);
  assert.equal(clock.nowMs(), testEpochMs + 2500);
  assert.equal(clock.monotonicMs(), 3000);
});

test('run lets promises settle between timers', async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  interval(10, clock.scheduler).subscribe(
    (i) => void Promise.resolve().then(() => seen.push(`${i}@${clock.monotonicMs()}`)),
  );
  await clock.run(35);
  assert.deepEqual(seen, ['0@10', '1@20', '2@30']);
  assert.equal(clock.monotonicMs(), 35);
});

test('telemetry remembers what it was told', () => {
  const { telemetry } = testContext();
  telemetry.rejected('short_line');
  telemetry.rejected('short_line', 2);
  telemetry.dropped('budget', 7, 'metrics');
  const sent = telemetry.counter('sent', '{item}', 'Sent.');
  sent.add(3);
  sent.add(4, { a: 'x', b: 1 });
  assert.deepEqual(telemetry.rejections, { short_line: 3 });
  assert.deepEqual(telemetry.drops, { budget: 7 });
  assert.equal(telemetry.count('sent'), 7);
  assert.equal(telemetry.count('sent', { b: 1, a: 'x' }), 4);
  telemetry.gauge('size', '{item}', 'Size.', () => [[5, { q: 'a' }]]);
  assert.equal(telemetry.read('size', { q: 'a' }), 5);
  assert.equal(telemetry.read('size', { q: 'b' }), undefined);
});

test('a recording says how a stream ended', async () => {
  assert.deepEqual(await record(of(1, 2, 3)).until((v) => v.length === 3), [1, 2, 3]);
  const broken = record(throwError(() => new Error('gone')));
  assert.equal(broken.ended, 'error');
  await assert.rejects(
    broken.until(() => false),
    /ended after 0 values/,
  );
});

test('deepFreeze reaches nested objects and leaves typed arrays', () => {
  const value = deepFreeze({ a: [{ b: 1 }], v: new Float64Array([1]) });
  assert.throws(() => {
    (value.a[0] as { b: number }).b = 2;
  }, TypeError);
  value.v[0] = 2;
});
