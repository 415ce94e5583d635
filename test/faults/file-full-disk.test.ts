/**
 * The file exporter on a disk that fills up in the middle of a batch: a real tmpfs of 64 KiB in a mount namespace of the test's own. No line is
 * cut in two, and once there is room the same batch is written, once.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { config } from '../../exporters/file/config.ts';
import { FileExporter } from '../../exporters/file/exporter.ts';
import type { LogsBatch } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { testContext } from '../../pipeline/testing.ts';

const perBatch = 97;

function batch(n: number): LogsBatch {
  return {
    kind: 'logs',
    source: 'test',
    scope: { name: 'test' },
    records: Array.from({ length: perBatch }, (_, i) => ({
      timeUnixNs: 1n,
      observedTimeUnixNs: 1n,
      severityNumber: 9,
      eventName: 'skoop.test',
      body: '',
      attributes: { i: n * perBatch + i },
      owner: undefined,
      resource: { attributes: {} },
    })),
  };
}

/** What happened in the mount namespace. */
interface Report {
  readonly batchesWritten: number;
  readonly errorType: string | undefined;
  readonly sizeAfterFailure: number;
  readonly linesAfterFailure: number;
  readonly endsWhole: boolean;
  readonly numbersInTheEnd: readonly number[];
}

/** Runs in the child, where `folder` is the small disk. */
async function fill(folder: string): Promise<Report> {
  const path = join(folder, 'events.log');
  writeFileSync(join(folder, 'filler'), Buffer.alloc(20_000));
  const exporter = new FileExporter(config.parse({ path, format: 'json' }), testContext());
  await exporter.start();
  const never = new AbortController().signal;
  let written = 0;
  let failure: unknown;
  while (failure === undefined && written < 100) {
    await exporter.push(batch(written), never).then(
      () => written++,
      (error: unknown) => {
        failure = error;
      },
    );
  }
  const atFailure = readFileSync(path, 'utf8');
  const size = statSync(path).size;
  unlinkSync(join(folder, 'filler'));
  await exporter.push(batch(written), never);
  await exporter.stop();
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return {
    batchesWritten: written,
    errorType: failure instanceof RetryableError ? failure.errorType : undefined,
    sizeAfterFailure: size,
    linesAfterFailure: atFailure.split('\n').length - 1,
    endsWhole: atFailure.endsWith('}\n'),
    numbersInTheEnd: lines.map((l) => (JSON.parse(l) as { attributes: { i: number } }).attributes.i),
  };
}

const childFolder = process.env['SKOOPLINE_TEST_SMALL_DISK'];
if (childFolder !== undefined) {
  console.log(JSON.stringify(await fill(childFolder)));
} else {
  test('a disk that fills up cuts no line in two and doubles none', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'skl-small-disk-'));
    try {
      const script = 'mount -t tmpfs -o size=64k skl "$SKOOPLINE_TEST_SMALL_DISK" || exit 77; exec "$0" "$1"';
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const child = spawnSync('unshare', ['-rm', '/bin/sh', '-c', script, process.execPath, import.meta.filename], {
        env: { ...env, SKOOPLINE_TEST_SMALL_DISK: folder },
        encoding: 'utf8',
      });
      if (child.error || child.status === 77) return t.skip(`no mount namespace here: ${child.error ?? child.stderr}`);
      assert.equal(child.status, 0, child.stderr);
      const report = JSON.parse(child.stdout) as Report;
      assert.equal(report.errorType, 'ENOSPC');
      assert.ok(report.batchesWritten > 0);
      assert.ok(report.sizeAfterFailure < 64 * 1024);
      assert.equal(report.linesAfterFailure, report.batchesWritten * perBatch);
      assert.equal(report.endsWhole, true);
      const all = Array.from({ length: (report.batchesWritten + 1) * perBatch }, (_, i) => i);
      assert.deepEqual(report.numbersInTheEnd, all);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
