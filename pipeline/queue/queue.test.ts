import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import type { Batch, LogsBatch } from '../batch.ts';
import { type PushResult, RetryableError } from '../component.ts';
import { queueFields } from './config.ts';
import { createQueue, type DeliveryQueue } from './index.ts';
import { ManualClock, numberedLogs, numbersOf, readableTelemetry, settle, testContext } from './testing.ts';

const schema = z.strictObject(queueFields);

interface Push {
  readonly batch: LogsBatch;
  readonly signal: AbortSignal;
  readonly atMs: number;
  ok(result?: PushResult): void;
  fail(error: unknown): void;
}

/** A queue in front of a backend that answers only when the test says so. */
function setup(input: unknown = {}) {
  const clock = new ManualClock();
  clock.fixedRandom = 0.999;
  const { telemetry, sums, gauges } = readableTelemetry();
  const pushes: Push[] = [];
  const exporter = {
    push: (batch: Batch, signal: AbortSignal) =>
      new Promise<PushResult | undefined>((ok, fail) => {
        pushes.push({ batch: batch as LogsBatch, signal, atMs: clock.monotonicMs(), ok, fail });
      }),
  };
  const queue = createQueue({ exporter, config: schema.parse(input), context: testContext(clock, telemetry) });
  return { clock, sums, gauges, pushes, queue };
}

function unavailable(retryAfterMs?: number): RetryableError {
  return new RetryableError('Unavailable.', {
    errorType: '503',
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function assertBalanced(queue: DeliveryQueue): void {
  const { offered, recovered, sent, dropped, queued } = queue.accounts();
  const lost = Object.values(dropped).reduce((a, b) => a + b, 0);
  assert.equal(offered + recovered, sent + lost + queued, JSON.stringify(queue.accounts()));
}

test('sends what is offered, no more than num_consumers at once, in order', async () => {
  const { queue, pushes, sums } = setup({ sending_queue: { num_consumers: 2 } });
  for (let i = 0; i < 5; i++) queue.offer(numberedLogs(i * 7, 7));
  assert.equal(pushes.length, 0, 'nothing is sent before start');
  await queue.start();
  assert.deepEqual(
    pushes.map((p) => numbersOf(p.batch)[0]),
    [0, 7],
  );
  pushes[1]!.ok();
  await settle();
  assert.deepEqual(
    pushes.map((p) => numbersOf(p.batch)[0]),
    [0, 7, 14],
  );
  assert.deepEqual(queue.stats(), { items: 28, bytes: queue.stats().bytes, inFlight: 2 });
  for (let i = 0; i < 5; i++) {
    pushes[i]?.ok();
    await settle();
  }
  assert.equal(sums.get('sent_log_records'), 35);
  assert.deepEqual(queue.stats(), { items: 0, bytes: 0, inFlight: 0 });
  assertBalanced(queue);
});

test('refuses the newest when full, and counts it', async () => {
  const { queue, sums } = setup({ sending_queue: { queue_size: 20 } });
  queue.offer(numberedLogs(0, 13));
  queue.offer(numberedLogs(13, 11));
  queue.offer(numberedLogs(24, 7));
  queue.offer(numberedLogs(31, 23));
  assert.equal(queue.stats().items, 20);
  assert.equal(sums.get('dropped{reason=queue_full,signal=logs}'), 11);
  assert.equal(sums.get('dropped{reason=too_large,signal=logs}'), 23);
  assert.equal(sums.get('enqueue_failed_log_records{reason=queue_full}'), 11);
  assertBalanced(queue);
});

test('is bounded in bytes too', () => {
  const { queue, sums } = setup({ sending_queue: { queue_bytes: '10KiB' } });
  for (let i = 0; i < 100; i++) queue.offer(numberedLogs(i * 10, 10));
  assert.ok(queue.stats().bytes <= 10 * 1024);
  assert.equal((sums.get('dropped{reason=queue_full,signal=logs}') ?? 0) + queue.stats().items, 1000);
  assertBalanced(queue);
});

test('a failure closes the gate for all batches, one probe at a time reopens it', async () => {
  const { queue, pushes, clock } = setup({ sending_queue: { num_consumers: 3 } });
  await queue.start();
  for (let i = 0; i < 6; i++) queue.offer(numberedLogs(i, 1));
  assert.equal(pushes.length, 3);
  for (const p of [...pushes]) p.fail(unavailable());
  await settle();
  assert.equal(pushes.length, 3, 'nothing is sent while the gate is closed');
  await clock.advance(3996);
  assert.equal(pushes.length, 4, "one probe, after the third failure's backoff of 0.999 × 4 s");
  pushes[3]!.ok();
  await settle();
  assert.equal(pushes.length, 7, 'all consumers again');
  assert.deepEqual(
    pushes
      .slice(3)
      .flatMap((p) => numbersOf(p.batch))
      .sort(),
    [0, 1, 2, 3],
  );
  assertBalanced(queue);
});

test('Retry-After is honoured for every batch, also when a request under way succeeds', async () => {
  const { queue, pushes, clock } = setup();
  await queue.start();
  for (let i = 0; i < 6; i++) queue.offer(numberedLogs(i, 1));
  pushes[0]!.fail(unavailable(30_000));
  pushes[1]!.ok();
  await clock.advance(29_999);
  assert.equal(pushes.length, 4);
  await clock.advance(1001);
  assert.equal(pushes.length > 4, true);
  assert.equal(pushes[4]!.atMs >= 30_000, true);
});

test('gives up after max_elapsed_time, at once when retry is off, and never by default', async () => {
  for (const [retry, tries] of [
    [{ max_elapsed_time: '10s' }, 4],
    [{ enabled: false }, 1],
  ] as const) {
    const { queue, pushes, clock, sums } = setup({ retry_on_failure: retry });
    await queue.start();
    queue.offer(numberedLogs(0, 17));
    for (let i = 0; i < 20; i++) {
      pushes[i]?.fail(unavailable());
      await clock.advance(60_000);
    }
    assert.equal(sums.get('send_failed_log_records{error.type=503}'), 17);
    assert.equal(sums.get('dropped{reason=retries_exhausted,signal=logs}'), 17);
    if (tries === 1) assert.equal(pushes.length, 1);
    assertBalanced(queue);
  }
  const { queue, pushes, clock } = setup();
  await queue.start();
  queue.offer(numberedLogs(0, 17));
  for (let i = 0; i < 100; i++) {
    pushes[i]!.fail(unavailable());
    await clock.advance(30_000);
  }
  assert.equal(queue.stats().items, 17);
});

test('an error that is not retryable drops the batch and no other', async () => {
  const { queue, pushes, sums } = setup();
  await queue.start();
  queue.offer(numberedLogs(0, 3));
  queue.offer(numberedLogs(3, 5));
  pushes[0]!.fail(Object.assign(new Error('Bad request.'), { errorType: '400' }));
  pushes[1]!.ok();
  await settle();
  assert.equal(sums.get('send_failed_log_records{error.type=400}'), 3);
  assert.equal(sums.get('sent_log_records'), 5);
  assertBalanced(queue);
});

test('a batch the backend keeps refusing while it takes others is set aside; an outage never does that', async () => {
  const { queue, pushes, clock, sums } = setup({
    sending_queue: { num_consumers: 1 },
    retry_on_failure: { max_tries: 4 },
  });
  await queue.start();
  queue.offer(numberedLogs(0, 2));
  for (let i = 1; i <= 40; i++) queue.offer(numberedLogs(100 + i, 1));
  const poisoned = (p: Push) => numbersOf(p.batch)[0] === 0;
  for (let i = 0, done = 0; i < 60 && done === 0; i++) {
    const p = pushes[i];
    if (p) poisoned(p) ? p.fail(unavailable()) : p.ok();
    await clock.advance(31_000);
    done = sums.get('dropped{reason=poison,signal=logs}') ?? 0;
    queue.offer(numberedLogs(1000 + i, 1));
  }
  assert.equal(sums.get('dropped{reason=poison,signal=logs}'), 2);
  assertBalanced(queue);

  const outage = setup({ sending_queue: { num_consumers: 1 }, retry_on_failure: { max_tries: 4 } });
  await outage.queue.start();
  for (let i = 0; i < 10; i++) outage.queue.offer(numberedLogs(i, 1));
  for (let i = 0; i < 200; i++) {
    outage.pushes[i]!.fail(unavailable());
    await outage.clock.advance(30_000);
  }
  assert.equal(outage.queue.stats().items, 10);
});

test('a partly delivered batch is tried again with what remains', async () => {
  const { queue, pushes, clock, sums } = setup();
  await queue.start();
  queue.offer(numberedLogs(0, 10));
  pushes[0]!.fail(
    new RetryableError('Second request failed.', {
      errorType: '503',
      remaining: numberedLogs(6, 4),
      rejected: { rejected: 1, errorType: 'partial_success' },
    }),
  );
  await clock.advance(1000);
  assert.deepEqual(numbersOf(pushes[1]!.batch), [6, 7, 8, 9]);
  assert.equal(sums.get('sent_log_records'), 5);
  pushes[1]!.ok({ rejected: 1, errorType: 'partial_success' });
  await settle();
  assert.equal(sums.get('sent_log_records'), 8);
  assert.equal(sums.get('send_failed_log_records{error.type=partial_success}'), 2);
  assert.deepEqual(queue.stats(), { items: 0, bytes: 0, inFlight: 0 });
  assertBalanced(queue);
});

test('pressure rises at the high-water mark and falls well below it', async () => {
  const { queue, pushes } = setup({ sending_queue: { queue_size: 100, num_consumers: 1 } });
  const seen: boolean[] = [];
  queue.pressure$.subscribe((p) => seen.push(p));
  await queue.start();
  for (let i = 0; i < 8; i++) queue.offer(numberedLogs(i * 10, 10));
  assert.deepEqual(seen, [false, true]);
  pushes[0]!.ok();
  await settle();
  assert.deepEqual(seen, [false, true], 'at 70 of 100 it still holds');
  pushes[1]!.ok();
  await settle();
  pushes[2]!.ok();
  await settle();
  assert.deepEqual(seen, [false, true, false]);
});

test('stop drains, and at the deadline drops and counts what is left', async () => {
  const drained = setup();
  await drained.queue.start();
  drained.queue.offer(numberedLogs(0, 19));
  const stopping = drained.queue.stop(new AbortController().signal);
  drained.queue.offer(numberedLogs(19, 3));
  drained.pushes[0]!.ok();
  await stopping;
  await drained.queue.stop(new AbortController().signal);
  assert.equal(drained.sums.get('sent_log_records'), 19);
  assert.equal(drained.sums.get('dropped{reason=stopped,signal=logs}'), 3);

  const dead = setup({ sending_queue: { num_consumers: 1 } });
  await dead.queue.start();
  dead.queue.offer(numberedLogs(0, 19));
  dead.queue.offer(numberedLogs(19, 23));
  const deadline = new AbortController();
  const stopped = dead.queue.stop(deadline.signal);
  await dead.clock.advance(5000);
  deadline.abort();
  await dead.clock.advance(250);
  await stopped;
  assert.equal(dead.pushes[0]!.signal.aborted, true);
  assert.equal(dead.sums.get('dropped{reason=shutdown,signal=logs}'), 42);
  assert.equal(dead.clock.timers, 0);
  assertBalanced(dead.queue);
});

test('a request that ends by the abort is not sent again', async () => {
  const { queue, pushes } = setup();
  await queue.start();
  queue.offer(numberedLogs(0, 5));
  pushes[0]!.signal.addEventListener('abort', () => pushes[0]!.fail(unavailable()));
  await queue.stop(AbortSignal.abort());
  assert.equal(pushes.length, 1);
  assert.equal(queue.accounts().dropped.shutdown, 5);
});

test('stop before start, and a push that throws synchronously', async () => {
  const { queue } = setup();
  queue.offer(numberedLogs(0, 5));
  await queue.stop(AbortSignal.abort());
  assert.equal(queue.accounts().dropped.shutdown, 5);
  assertBalanced(queue);

  const clock = new ManualClock();
  const { telemetry, sums } = readableTelemetry();
  const exporter = {
    push(): Promise<void> {
      throw new TypeError('A bug.');
    },
  };
  const broken = createQueue({ exporter, config: schema.parse({}), context: testContext(clock, telemetry) });
  await broken.start();
  broken.offer(numberedLogs(0, 5));
  await settle();
  assert.equal(sums.get('send_failed_log_records{error.type=TypeError}'), 5);
});

test('conserves items under any course of events', async () => {
  const event = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('offer' as const), n: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('ok' as const, 'partial' as const), n: fc.nat(7) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('retry' as const, 'bad' as const), n: fc.nat(7) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), n: fc.integer({ min: 1, max: 40_000 }) }) },
  );
  const course = fc.tuple(
    fc.array(event, { minLength: 5, maxLength: 80 }),
    fc.integer({ min: 1, max: 4 }),
    fc.boolean(),
  );
  await fc.assert(
    fc.asyncProperty(course, async ([events, num_consumers, stopEarly]) => {
      const { queue, pushes, clock, sums } = setup({
        sending_queue: { num_consumers, queue_size: 100 },
        retry_on_failure: { max_tries: 2, max_elapsed_time: '2m' },
      });
      clock.fixedRandom = undefined;
      const open: Push[] = [];
      let seen = 0;
      let offered = 0;
      await queue.start();
      for (const { do: what, n } of events) {
        while (seen < pushes.length) open.push(pushes[seen++]!);
        assert.ok(queue.stats().inFlight <= num_consumers);
        const push = open.length > 0 ? open.splice(n % open.length, 1)[0] : undefined;
        if (what === 'offer') {
          if (push) open.push(push);
          queue.offer(numberedLogs(offered, n));
          offered += n;
        } else if (what === 'wait') {
          if (push) open.push(push);
          await clock.advance(n);
        } else if (what === 'ok') push?.ok();
        else if (what === 'partial') push?.ok({ rejected: n, errorType: 'partial_success' });
        else if (what === 'retry') push?.fail(unavailable(n > 5 ? n * 1000 : undefined));
        else push?.fail(new Error('Bad.'));
        await settle();
        assertBalanced(queue);
      }
      const deadline = new AbortController();
      const stopped = queue.stop(deadline.signal);
      if (!stopEarly) {
        for (let i = 0; i < 400 && queue.stats().items > 0; i++) {
          while (seen < pushes.length) open.push(pushes[seen++]!);
          open.shift()?.ok();
          await clock.advance(1000);
        }
        assert.equal(queue.accounts().dropped.shutdown, undefined);
      }
      deadline.abort();
      await clock.advance(250);
      await stopped;
      assertBalanced(queue);
      assert.equal(queue.accounts().queued, 0);
      assert.equal(sums.get('sent_log_records') ?? 0, queue.accounts().sent);
      assert.equal(clock.timers, 0);
    }),
    { numRuns: 200 },
  );
});
