import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Subject } from 'rxjs';
import { type Batch, itemCount } from '../../pipeline/batch.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { type Recording, record, type TestContext, testContext } from '../../pipeline/testing.ts';
import { processors, testConfig } from './components-under-test.ts';
import { handles, settledHandles } from './handles.ts';
import { copyOf, sampleBatches, sampleEvents, sampleMetrics } from './samples.ts';

/** What is true of every processor. */

/** Waits for the end of the output: some processors have I/O of their own to finish. */
async function ended(context: TestContext, output: Recording): Promise<void> {
  const limit = performance.now() + 10_000;
  while (output.ended === 'no' && performance.now() < limit) {
    await context.clock.run(100);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const { name, folder, declaration: d } of processors) {
  const start = () => {
    const context = testContext({ id: name });
    const input$ = new Subject<Batch>();
    const processor = d.create(d.config.parse(testConfig(name, '/nonexistent')), context);
    return { context, input$, output: record(processor(input$)) };
  };

  test(`${folder}: changes nothing it is given, throws nothing, and every item is sent on or counted as dropped`, async (t) => {
    const { context, input$, output } = start();
    if (output.ended === 'error' && output.error instanceof AbsentError) return t.skip(output.error.message);
    const batches = sampleBatches();
    const before = copyOf(batches);
    for (const batch of [...batches, ...batches]) {
      input$.next(batch);
      await context.clock.run(100);
    }
    await context.clock.run(600_000);
    input$.complete();
    await ended(context, output);
    assert.equal(output.ended, 'completed', String(output.error));
    assert.deepEqual(copyOf(batches), before);
    const received = 2 * batches.reduce((n, b) => n + itemCount(b), 0);
    const sent = output.values.reduce((n, b) => n + itemCount(b), 0);
    const dropped = Object.values(context.telemetry.drops).reduce((a, b) => a + b, 0);
    const created = context.telemetry.count('created_items');
    assert.equal(
      received + created,
      sent + dropped,
      JSON.stringify({ received, created, sent, drops: context.telemetry.drops }),
    );
    assert.equal(context.clock.pending, 0, 'timers are left');
  });

  test(`${folder}: what it adds is declared`, async (t) => {
    const { context, input$, output } = start();
    if (output.ended === 'error' && output.error instanceof AbsentError) return t.skip(output.error.message);
    for (const batch of sampleBatches()) input$.next(batch);
    await context.clock.run(600_000);
    input$.complete();
    await ended(context, output);
    const metrics = new Set([...Object.keys(sampleMetrics), ...(d.metrics ?? []).map((m) => m.name)]);
    const events = new Set([...Object.keys(sampleEvents), ...(d.events ?? []).map((e) => e.name)]);
    for (const batch of output.values) {
      if (batch.kind === 'metrics') {
        for (const s of batch.snapshots)
          for (const { metric } of s.schema.series) assert.ok(metrics.has(metric.name), metric.name);
      }
      if (batch.kind === 'logs') for (const r of batch.records) assert.ok(events.has(r.eventName), r.eventName);
    }
  });

  test(`${folder}: unsubscribed at any moment, it leaves nothing behind`, async () => {
    start().output.subscription.unsubscribe();
    const before = handles();
    for (let n = 0; n <= sampleBatches().length; n++) {
      const { context, input$, output } = start();
      for (const batch of sampleBatches().slice(0, n)) input$.next(batch);
      output.subscription.unsubscribe();
      output.subscription.unsubscribe();
      const sent = output.values.length;
      await context.clock.run(600_000);
      assert.equal(output.values.length, sent);
      assert.equal(context.clock.pending, 0, 'timers are left');
      assert.equal(input$.observed, false, 'still subscribed');
    }
    assert.deepEqual(await settledHandles(before), []);
  });
}
