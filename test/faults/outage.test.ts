/** A backend that is down for ten minutes at 1000 events a second: memory stays flat, and catching up keeps to the limits. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { z } from 'zod';
import type { Batch, LogsBatch } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { queueFields } from '../../pipeline/queue/config.ts';
import { createQueue } from '../../pipeline/queue/index.ts';
import { numberedLogs, numbersOf } from '../../pipeline/queue/testing.ts';
import { testContext } from '../../pipeline/testing.ts';

const folder = mkdtempSync(join(tmpdir(), `skl${process.pid}-outage-`));
after(() => rmSync(folder, { recursive: true, force: true }));

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const MiB = 1024 * 1024;

function heap(): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

for (const [storage, limit] of [
  ['memory', 40],
  ['disk', 16],
] as const) {
  test(`ten minutes without a backend, ${storage}`, { timeout: 300_000 }, async () => {
    const context = testContext({ id: 'otlp' });
    const { clock } = context;
    const state = { up: false, tries: 0, inFlight: 0, most: 0 };
    const seen = new Uint8Array(600_000);
    const exporter = {
      async push(batch: Batch): Promise<void> {
        state.tries++;
        if (!state.up) throw new RetryableError('Down.', { errorType: 'ECONNREFUSED' });
        state.inFlight++;
        state.most = Math.max(state.most, state.inFlight);
        await Promise.resolve();
        state.inFlight--;
        for (const n of numbersOf(batch as LogsBatch)) seen[n]!++;
      },
    };
    const sending_queue = {
      storage,
      directory: join(folder, storage),
      queue_bytes: storage === 'memory' ? '16MiB' : '256MiB',
    };
    const queue = createQueue({ exporter, config: z.strictObject(queueFields).parse({ sending_queue }), context });
    await queue.start();
    const before = heap();
    let grown = 0;
    for (let second = 0; second < 600; second++) {
      for (let i = 0; i < 4; i++) {
        queue.offer(numberedLogs(second * 1000 + i * 250, 250));
        await clock.run(250);
      }
      // Virtual time runs ahead of a real disk: what waits to be written would be measured, and not what the queue keeps.
      await queue.flush();
      if (second % 60 === 59) grown = Math.max(grown, heap() - before);
    }
    const { offered, dropped, queued } = queue.accounts();
    console.log(
      `outage, ${storage}: heap grew by ${(grown / MiB).toFixed(1)} MiB, ${queued} of ${offered} waiting, ${state.tries} tries`,
    );
    assert.ok(grown < limit * MiB, `${grown}`);
    assert.equal(offered, 600_000);
    if (storage === 'disk') assert.deepEqual(dropped, {});
    else assert.equal(dropped.queue_full, 600_000 - queued);
    // Backoff of at most 30 s with full jitter, one probe at a time: far fewer tries than batches.
    assert.ok(state.tries < 200, `${state.tries}`);
    state.up = true;
    for (let i = 0; i < 200 && queue.stats().items > 0; i++) await clock.run(1000);
    assert.equal(queue.accounts().sent, queued);
    assert.ok(state.most <= 4, `${state.most} in flight`);
    assert.equal(
      seen.reduce((n, times) => n + times, 0),
      queued,
    );
    assert.ok(seen.every((times) => times <= 1));
    await queue.stop(AbortSignal.abort());
  });
}
