import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { z } from 'zod';
import type { Batch, LogsBatch } from '../batch.ts';
import { type PushResult, RetryableError } from '../component.ts';
import { queueFields } from './config.ts';
import { queuePath } from './disk.ts';
import { createQueue, type DeliveryQueue } from './index.ts';
import { ManualClock, numberedLogs, numbersOf, readableTelemetry, settle, testContext } from './testing.ts';

const schema = z.strictObject(queueFields);
const root = mkdtempSync(join(tmpdir(), `skl${process.pid}-queue-`));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = () => join(root, String(folders++));

interface Push {
  readonly batch: LogsBatch;
  ok(result?: PushResult): void;
  fail(error: unknown): void;
}

const open: DeliveryQueue[] = [];
after(async () => {
  for (const queue of open) await queue.stop(AbortSignal.abort());
});

function setup(directory: string, sending: object = {}, retry: object = {}) {
  const clock = new ManualClock();
  const { telemetry, sums, failures } = readableTelemetry();
  const pushes: Push[] = [];
  const exporter = {
    push: (batch: Batch, signal: AbortSignal) =>
      new Promise<PushResult | undefined>((ok, fail) => {
        signal.addEventListener('abort', () => fail(new Error('Aborted.')));
        pushes.push({ batch: batch as LogsBatch, ok, fail });
      }),
  };
  const config = schema.parse({ sending_queue: { storage: 'disk', directory, ...sending }, retry_on_failure: retry });
  const queue = createQueue({ exporter, config, context: testContext(clock, telemetry) });
  open.push(queue);
  return { queue, clock, sums, failures, pushes };
}

/** Lets go of the file as a killed process would, but for the lock, which the process's end would free. */
async function crash(queue: DeliveryQueue, folder: string): Promise<string> {
  await queue.flush();
  const copy = newFolder();
  const { cpSync } = await import('node:fs');
  cpSync(folder, copy, { recursive: true });
  return copy;
}

function balanced(queue: DeliveryQueue): void {
  const { offered, recovered, sent, dropped, queued } = queue.accounts();
  const lost = Object.values(dropped).reduce((a, b) => a + b, 0);
  assert.equal(offered + recovered, sent + lost + queued, JSON.stringify(queue.accounts()));
}

const unavailable = () => new RetryableError('Unavailable.', { errorType: '503' });

test('needs a directory', () => {
  const { telemetry } = readableTelemetry();
  const config = schema.parse({ sending_queue: { storage: 'disk' } });
  assert.throws(
    () =>
      createQueue({ exporter: { push: async () => {} }, config, context: testContext(new ManualClock(), telemetry) }),
    /needs sending_queue.directory/,
  );
});

test('what was acknowledged is sent by the next process, first and in order, what was delivered is not', async () => {
  const folder = newFolder();
  const first = setup(folder, { num_consumers: 2 });
  await first.queue.start();
  for (let i = 0; i < 7; i++) first.queue.offer(numberedLogs(i * 10, 10));
  first.pushes[1]!.ok();
  await settle();
  const second = setup(await crash(first.queue, folder), { num_consumers: 1 });
  second.queue.offer(numberedLogs(900, 3));
  await second.queue.start();
  const got: number[] = [];
  for (let i = 0; i < 7; i++) {
    got.push(...numbersOf(second.pushes[i]!.batch));
    assert.deepEqual(second.pushes[i]!.batch, got.length < 61 ? numberedLogs(got.at(-10)!, 10) : numberedLogs(900, 3));
    second.pushes[i]!.ok();
    await settle();
  }
  assert.deepEqual(got, [0, 20, 30, 40, 50, 60].flatMap((n) => numbersOf(numberedLogs(n, 10))).concat([900, 901, 902]));
  assert.equal(second.queue.accounts().recovered, 60);
  assert.equal(second.queue.stats().bytes, 0);
  balanced(second.queue);
});

test('a batch delivered within the group never touches the disk', async () => {
  const folder = newFolder();
  const { queue, pushes } = setup(folder);
  await queue.start();
  queue.offer(numberedLogs(0, 10));
  pushes[0]!.ok();
  await settle();
  await queue.flush();
  const db = new DatabaseSync(queuePath(folder, 'otlp'), { readOnly: true });
  assert.equal(db.prepare('SELECT count(*) AS n FROM batches').get()!['n'], 0);
  db.close();
});

test('is written after 10 ms without being asked', async () => {
  const folder = newFolder();
  const { queue, clock } = setup(folder);
  await queue.start();
  queue.offer(numberedLogs(0, 10));
  await clock.advance(10);
  const db = new DatabaseSync(queuePath(folder, 'otlp'), { readOnly: true });
  assert.deepEqual({ ...db.prepare('SELECT kind, items FROM batches').get() }, { kind: 'logs', items: 10 });
  db.close();
});

test('tries and what remains of a batch survive', async () => {
  const folder = newFolder();
  const first = setup(folder);
  await first.queue.start();
  first.queue.offer(numberedLogs(0, 10));
  await first.queue.flush();
  first.pushes[0]!.fail(new RetryableError('Half.', { errorType: '503', remaining: numberedLogs(4, 6) }));
  await settle();
  const second = setup(await crash(first.queue, folder));
  await second.queue.start();
  assert.deepEqual(numbersOf(second.pushes[0]!.batch), [4, 5, 6, 7, 8, 9]);
  assert.equal(second.queue.accounts().recovered, 6);
});

test('stop leaves on disk what a dead backend did not take, at once', async () => {
  const folder = newFolder();
  const first = setup(folder);
  await first.queue.start();
  first.queue.offer(numberedLogs(0, 10));
  first.queue.offer(numberedLogs(10, 10));
  for (const p of first.pushes) p.fail(unavailable());
  await settle();
  await first.queue.stop(new AbortController().signal);
  assert.deepEqual(first.queue.accounts().dropped, {});
  const second = setup(folder);
  await second.queue.start();
  assert.equal(second.queue.accounts().recovered, 20);
  assert.deepEqual(
    second.pushes.map((p) => numbersOf(p.batch)[0]),
    [0, 10],
  );
});

test('a second process waits for the first to end', async () => {
  const folder = newFolder();
  const first = setup(folder);
  await first.queue.start();
  first.queue.offer(numberedLogs(0, 10));
  await first.queue.flush();
  const second = setup(folder);
  await second.queue.start();
  second.queue.offer(numberedLogs(50, 5));
  assert.match(String(second.failures[0]!.error), /in use by another process/);
  await assert.rejects(second.queue.flush(), /cannot be written now/);
  assert.equal(second.queue.accounts().recovered, 0);
  await first.queue.stop(AbortSignal.abort());
  await second.clock.advance(1000);
  assert.equal(second.queue.accounts().recovered, 10);
  await second.queue.flush();
  balanced(second.queue);
});

for (const [what, damage] of [
  ['is no database', (path: string) => writeFileSync(path, Buffer.alloc(20_000, 7))],
  ['was cut', (path: string) => truncateSync(path, 5000)],
] as const) {
  test(`a file that ${what} is moved aside and counted, and the agent goes on`, async () => {
    const folder = newFolder();
    const first = setup(folder);
    await first.queue.start();
    for (let i = 0; i < 30; i++) first.queue.offer(numberedLogs(i * 100, 100));
    await first.queue.stop(AbortSignal.abort());
    damage(queuePath(folder, 'otlp'));
    rmSync(`${queuePath(folder, 'otlp')}-wal`, { force: true });
    const second = setup(folder);
    await second.queue.start();
    second.queue.offer(numberedLogs(0, 10));
    for (let i = 0; i < 60; i++) {
      second.pushes[i]?.ok();
      await settle();
    }
    await second.queue.flush();
    assert.equal(second.sums.get('rejected{reason=corrupt_queue_file}'), 1);
    assert.equal(readdirSync(folder).filter((n) => /corrupt-\d+$/.test(n)).length, 1);
    assert.ok(second.pushes.some((p) => numbersOf(p.batch)[0] === 0 && p.batch.records.length === 10));
    balanced(second.queue);
    assert.equal(second.queue.accounts().queued, 0);
  });
}

test('a damaged batch is dropped and counted, the others are sent', async () => {
  const folder = newFolder();
  const first = setup(folder);
  await first.queue.start();
  for (let i = 0; i < 3; i++) first.queue.offer(numberedLogs(i * 10, 10));
  await first.queue.stop(AbortSignal.abort());
  const db = new DatabaseSync(queuePath(folder, 'otlp'));
  db.exec("UPDATE batches SET payload = x'534b5101000000000000' WHERE id = 2");
  db.close();
  const second = setup(folder);
  await second.queue.start();
  assert.deepEqual(
    second.pushes.map((p) => numbersOf(p.batch)[0]),
    [0, 20],
  );
  assert.equal(second.sums.get('dropped{reason=corrupt,signal=logs}'), 10);
  balanced(second.queue);
});

test('a file that turns out to be corrupt while it is read costs what is in it, each batch once', async () => {
  const folder = newFolder();
  const first = setup(folder);
  await first.queue.start();
  for (let i = 0; i < 101; i++) first.queue.offer(numberedLogs(i * 1000, 1000));
  await first.queue.stop(AbortSignal.abort());
  const db = new DatabaseSync(queuePath(folder, 'otlp'));
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
  const second = setup(folder);
  await second.queue.start();
  assert.equal(second.pushes.length, 4);
  const file = openSync(queuePath(folder, 'otlp'), 'r+');
  writeSync(file, Buffer.alloc(statSync(queuePath(folder, 'otlp')).size - 4096, 0xaa), 0, undefined, 4096);
  closeSync(file);
  // What is offered from now on has another place to be.
  second.queue.offer(numberedLogs(200_000, 7));
  for (let i = 0; i < second.pushes.length; i++) {
    second.pushes[i]!.ok();
    await settle();
  }
  balanced(second.queue);
  const { queued, sent, dropped } = second.queue.accounts();
  assert.equal(queued, 0);
  assert.equal(second.queue.stats().bytes, 0);
  assert.ok(dropped.corrupt! >= 50_000, `${dropped.corrupt}`);
  assert.equal(sent + dropped.corrupt!, 101_007);
  assert.ok(second.pushes.some((p) => numbersOf(p.batch)[0] === 200_000));
  assert.equal(second.sums.get('rejected{reason=corrupt_queue_file}'), 1);
});

test('refused batches are kept apart for a look, within bounds', async () => {
  const folder = newFolder();
  const { queue, pushes, sums } = setup(folder, { queue_bytes: '64KiB' });
  await queue.start();
  for (let i = 0; i < 20; i++) {
    queue.offer(numberedLogs(i * 10, 10));
    if (i % 2) await queue.flush();
    pushes[i]!.fail(new Error('No.'));
    await settle();
  }
  await queue.flush();
  assert.equal(sums.get('dropped{reason=not_retryable,signal=logs}'), 200);
  const db = new DatabaseSync(queuePath(folder, 'otlp'), { readOnly: true });
  const row = db.prepare('SELECT count(*) AS n, sum(length(payload)) AS bytes FROM set_aside').get()!;
  assert.ok(Number(row['n']) >= 5 && Number(row['bytes']) <= 6554, JSON.stringify(row));
  assert.equal(db.prepare('SELECT count(*) AS n FROM batches').get()!['n'], 0);
  db.close();
});

test('a file that cannot be had does not stop delivery', async () => {
  const folder = newFolder();
  writeFileSync(folder, 'not a folder');
  const { queue, pushes, sums, failures } = setup(folder);
  await queue.start();
  queue.offer(numberedLogs(0, 10));
  pushes[0]!.ok();
  await settle();
  assert.equal(sums.get('sent_log_records'), 10);
  assert.ok(failures.length > 0);
  for (let i = 0; i < 300; i++) queue.offer(numberedLogs(i * 1000, 1000));
  assert.ok(queue.stats().bytes < 40 * 1024 * 1024);
  await queue.stop(AbortSignal.abort());
  assert.ok(queue.accounts().dropped.disk_error! > 0);
  balanced(queue);
});

test('the log is moved into the file by the worker, and an emptied large file is made anew', async () => {
  const folder = newFolder();
  const { queue, pushes, failures } = setup(folder, { num_consumers: 1 });
  await queue.start();
  for (let i = 0; i < 400; i++) queue.offer(numberedLogs(i * 1000, 1000));
  await queue.flush();
  const path = queuePath(folder, 'otlp');
  // The worker's answer arrives as an event; the file grows when it has worked.
  while (statSync(path).size < 8 * 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 10));
  for (let i = 0; i < 400; i++) {
    assert.equal(numbersOf(pushes[i]!.batch)[0], i * 1000);
    pushes[i]!.ok();
    await settle();
  }
  await queue.stop(AbortSignal.abort());
  assert.deepEqual(failures, []);
  assert.ok(statSync(path).size > 8 * 1024 * 1024);
  assert.equal(existsSync(`${path}.reserve`), false);
  const next = setup(folder);
  await next.queue.start();
  assert.ok(statSync(path).size < 1024 * 1024);
});
