import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Batch } from '../../pipeline/batch.ts';
import type { ReceiverDeclaration } from '../../pipeline/component.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { type Recording, record, type TestContext, testContext } from '../../pipeline/testing.ts';
import { receivers, testConfig } from './components-under-test.ts';
import { handles, settledHandles } from './handles.ts';

/** What is true of every receiver, against this very machine and with whatever rights the test has. */

function subscribe(name: string, d: ReceiverDeclaration): { context: TestContext; recording: Recording } {
  const context = testContext({ id: name });
  const receiver = d.create(d.config.parse(testConfig(name, '/nonexistent')), context);
  return { context, recording: record(receiver.run()) };
}

/** Lets virtual time pass in small steps, with real time for the I/O in between, until `met` or the limit. */
async function live(context: TestContext, recording: Recording, met: () => boolean): Promise<void> {
  const limit = performance.now() + 4000;
  while (!met() && recording.ended === 'no' && performance.now() < limit) {
    await context.clock.run(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Absent here, and why; the proof is the receiver's own error. */
function absence(recording: Recording): string | undefined {
  return recording.error instanceof AbsentError ? recording.error.message : undefined;
}

for (const { name, folder, declaration: d } of receivers) {
  test(`${folder}: what it emits is declared, frozen by contract and complete`, async (t) => {
    const { context, recording } = subscribe(name, d);
    const wants = (kind: Batch['kind']) => !d.signals.includes(kind) || recording.values.some((b) => b.kind === kind);
    await live(context, recording, () => wants('metrics'));
    recording.subscription.unsubscribe();
    const why = absence(recording);
    if (why !== undefined) return t.skip(why);
    assert.notEqual(recording.ended, 'error', String(recording.error));
    const metrics = new Set((d.metrics ?? []).map((m) => m.name));
    const events = new Set((d.events ?? []).map((e) => e.name));
    let series = 0;
    for (const batch of recording.values) {
      assert.ok(d.signals.includes(batch.kind), batch.kind);
      assert.ok(batch.source === name || batch.source.startsWith(`${name}/`), batch.source);
      if (batch.kind === 'logs') for (const r of batch.records) assert.ok(events.has(r.eventName), r.eventName);
      if (batch.kind !== 'metrics') continue;
      for (const s of batch.snapshots) {
        assert.equal(s.values.length, s.schema.slots);
        assert.ok(s.timeMs >= s.startTimeMs, `${batch.source}: it ends before it begins`);
        for (const { metric, attributes } of s.schema.series) {
          series++;
          assert.ok(metrics.has(metric.name), metric.name);
          for (const key of Object.keys(attributes))
            assert.ok(key in metric.attributes, `${metric.name}: ${key} is not declared`);
        }
      }
    }
    t.diagnostic(`${recording.values.length} batches, ${series} series`);
  });

  test(`${folder}: unsubscribed before its first value, twice, and after it, it leaves nothing behind`, async (t) => {
    const warm = subscribe(name, d);
    await live(warm.context, warm.recording, () => warm.recording.values.length > 0);
    warm.recording.subscription.unsubscribe();
    await warm.context.clock.run(0);
    const why = absence(warm.recording);
    // What is made once for the whole process (a library, a thread pool) is there from now on.
    await settledHandles({}, 500);
    const before = handles();

    for (let i = 0; i < 3; i++) {
      const { context, recording } = subscribe(name, d);
      recording.subscription.unsubscribe();
      recording.subscription.unsubscribe();
      const n = recording.values.length;
      await context.clock.run(60_000);
      assert.equal(recording.values.length, n, 'it speaks after the end');
      assert.equal(context.clock.pending, 0, 'timers are left');
    }
    const { context, recording } = subscribe(name, d);
    await live(context, recording, () => recording.values.length > 0);
    recording.subscription.unsubscribe();
    await context.clock.run(0);
    assert.equal(context.clock.pending, 0, 'timers are left');
    assert.deepEqual(await settledHandles(before), []);
    if (why !== undefined) t.diagnostic(`absent here: ${why}`);
  });
}
