/** A full disk takes the oldest batches, counted, and nothing else: a queue on a small tmpfs of its own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import type { Batch, LogsBatch } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { queueFields } from '../../pipeline/queue/config.ts';
import { createQueue, type DeliveryQueue } from '../../pipeline/queue/index.ts';
import { numberedLogs, numbersOf } from '../../pipeline/queue/testing.ts';
import { testContext } from '../../pipeline/testing.ts';

const folder = mkdtempSync(join(tmpdir(), `skl${process.pid}-full-`));
const disk = join(folder, 'disk');
const whyNot = process.getuid?.() === 0 ? false : 'needs root to mount a tmpfs';
const open: DeliveryQueue[] = [];
after(async () => {
  for (const queue of open) await queue.stop(AbortSignal.abort());
  if (!whyNot) execFileSync('umount', [disk]);
  rmSync(folder, { recursive: true, force: true });
});

function balanced(queue: DeliveryQueue): void {
  const { offered, recovered, sent, dropped, queued } = queue.accounts();
  const lost = Object.values(dropped).reduce((a, b) => a + b, 0);
  assert.equal(offered + recovered, sent + lost + queued, JSON.stringify(queue.accounts()));
}

test('a full disk drops the oldest, counted, and the rest arrives once the backend is back', {
  skip: whyNot,
}, async () => {
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]);
  const context = testContext({ id: 'otlp' });
  const state = { up: false };
  const arrived: number[] = [];
  const exporter = {
    async push(batch: Batch): Promise<void> {
      if (!state.up) throw new RetryableError('Down.', { errorType: '503' });
      arrived.push(...numbersOf(batch as LogsBatch));
    },
  };
  const config = z
    .strictObject(queueFields)
    .parse({ sending_queue: { storage: 'disk', directory: disk, num_consumers: 1 } });
  const queue = createQueue({ exporter, config, context });
  open.push(queue);
  await queue.start();
  const total = 400_000;
  for (let n = 0; n < total; n += 200) {
    queue.offer(numberedLogs(n, 200));
    if (n % 2000 === 0) await context.clock.run(10);
    balanced(queue);
  }
  const full = queue.accounts();
  console.log(`full disk: ${JSON.stringify({ ...full, failures: context.telemetry.failures.length })}`);
  assert.ok(full.dropped.disk_full! > 50_000, JSON.stringify(full));
  assert.ok(queue.stats().items > 2000);
  // Another program takes what is left of the disk, then gives it back.
  let filled = 0;
  try {
    for (; ; filled++) writeFileSync(join(disk, `other${filled}`), Buffer.alloc(64 * 1024));
  } catch {}
  for (let n = total; n < total + 20_000; n += 200) queue.offer(numberedLogs(n, 200));
  await context.clock.run(1000);
  balanced(queue);
  for (const name of readdirSync(disk)) if (name.startsWith('other')) rmSync(join(disk, name));
  state.up = true;
  for (let i = 0; i < 1000 && queue.stats().items > 0; i++) await context.clock.run(1000);
  balanced(queue);
  const { sent, dropped } = queue.accounts();
  assert.equal(queue.stats().items, 0);
  assert.equal(arrived.length, sent);
  assert.equal(new Set(arrived).size, sent, 'none twice');
  assert.equal(sent + Object.values(dropped).reduce((a, b) => a + b, 0), total + 20_000);
  assert.equal(Math.max(...arrived.slice(-1000)), total + 20_000 - 1, 'the newest is there');
  // Room again: what is offered now is durable.
  state.up = false;
  queue.offer(numberedLogs(0, 100));
  await queue.flush();
  await queue.stop(AbortSignal.abort());
  assert.ok(statSync(disk).isDirectory());
});
