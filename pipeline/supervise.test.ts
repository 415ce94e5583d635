import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Observable, Subject } from 'rxjs';
import type { Batch } from './batch.ts';
import { AbsentError } from './errors.ts';
import type { ComponentState } from './states.ts';
import { supervise } from './supervise.ts';
import { points } from './testing/parts.ts';
import { record, testContext, testEpochMs } from './testing.ts';

function bench(source: () => Observable<Batch>) {
  const { clock, telemetry } = testContext();
  const states: ComponentState[] = [];
  const starts: number[] = [];
  const receiver = {
    run: () =>
      new Observable<Batch>((out) => {
        starts.push(clock.monotonicMs());
        return source().subscribe(out);
      }),
  };
  const stream$ = supervise({ receiver, clock, telemetry, onState: (s) => states.push(s) });
  return { clock, telemetry, states, starts, stream$, last: () => states.at(-1) };
}

const broken = () => new Observable<Batch>((out) => out.error(new Error('Gone.')));

test('a failing stream is subscribed again after 1, 2, 4 … 60 seconds', () => {
  const b = bench(broken);
  const recording = record(b.stream$);
  b.clock.advance(200_000);
  assert.deepEqual(b.starts, [0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000]);
  assert.equal(recording.ended, 'no');
  assert.equal(b.telemetry.failures.length, 9);
  assert.deepEqual(b.last(), { state: 'failed', reason: 'Gone.', retryAtMs: testEpochMs + 243_000 });
  recording.subscription.unsubscribe();
  assert.equal(b.clock.pending, 0);
});

test('waits are spread by a fifth to each side', () => {
  const b = bench(broken);
  b.clock.nextRandoms(0, 0.999999, 0.25);
  record(b.stream$);
  b.clock.advance(7000);
  assert.deepEqual(b.starts, [0, 800, 3200, 6800]);
});

test('a stream that ran for a minute begins with the first wait again', () => {
  let current = new Subject<Batch>();
  const b = bench(() => {
    current = new Subject();
    return current;
  });
  record(b.stream$);
  const fail = () => current.error(new Error('Gone.'));
  fail();
  b.clock.advance(1000);
  fail();
  b.clock.advance(2000);
  b.clock.advance(60_000);
  fail();
  b.clock.advance(1000);
  assert.deepEqual(b.starts, [0, 1000, 3000, 64_000]);
});

test('states: running at once, starting after a failure until it gives something or is quiet for 5 seconds', () => {
  let current = new Subject<Batch>();
  const b = bench(() => {
    current = new Subject();
    return current;
  });
  const recording = record(b.stream$);
  assert.deepEqual(b.last(), { state: 'running' });
  current.error(new Error('Gone.'));
  b.clock.advance(1000);
  assert.deepEqual(b.last(), { state: 'starting' });
  current.next(points(1));
  assert.deepEqual(b.last(), { state: 'running' });
  assert.deepEqual(b.telemetry.recoveries, ['stream']);
  current.error(new Error('Gone.'));
  b.clock.advance(2000);
  b.clock.advance(4999);
  assert.deepEqual(b.last(), { state: 'starting' });
  b.clock.advance(1);
  assert.deepEqual(b.last(), { state: 'running' });
  assert.equal(recording.values.length, 1);
});

test('absent is for good', () => {
  const b = bench(() => new Observable((out) => out.error(new AbsentError('No kernel support.'))));
  const recording = record(b.stream$);
  b.clock.advance(1_000_000);
  assert.deepEqual(b.starts, [0]);
  assert.deepEqual(b.last(), { state: 'absent', reason: 'No kernel support.' });
  assert.deepEqual(b.telemetry.failures, []);
  assert.equal(recording.ended, 'no');
});

test('what run itself throws counts as a failure of the stream', () => {
  const { clock, telemetry } = testContext();
  const states: ComponentState[] = [];
  const receiver = {
    run: () => {
      throw new Error('At once.');
    },
  };
  record(supervise({ receiver, clock, telemetry, onState: (s) => states.push(s) }));
  assert.deepEqual(states.at(-1), { state: 'failed', reason: 'At once.', retryAtMs: testEpochMs + 1000 });
});

test('unsubscribed, it frees the stream and plans nothing', () => {
  let freed = 0;
  const b = bench(() => new Observable(() => () => void freed++));
  const recording = record(b.stream$);
  recording.subscription.unsubscribe();
  b.clock.advance(100_000);
  assert.equal(freed, 1);
  assert.deepEqual(b.starts, [0]);
  assert.equal(b.clock.pending, 0);
});
