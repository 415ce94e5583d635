import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { JsonLogsSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { LogsBatch, Resource } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { FileExporter } from './exporter.ts';
import { otlpJson } from './otlp-json.ts';

type Test = { after(f: () => Promise<void>): void };
const never = new AbortController().signal;
const pod = (name: string): Resource => ({ attributes: { 'k8s.pod.name': name, 'k8s.namespace.name': 'shop' } });
const resources = [pod('web-1'), pod('web-2')];

function logs(from: number, n: number): LogsBatch {
  return {
    kind: 'logs',
    source: 'ebpf/tcpreset',
    scope: { name: 'skoopline/ebpf', version: '0.1.0' },
    records: Array.from({ length: n }, (_, i) => ({
      timeUnixNs: 1_767_323_045_000_000_000n + BigInt(from + i),
      observedTimeUnixNs: 1_767_323_046_000_000_000n,
      severityNumber: 13,
      eventName: 'skoop.tcp.reset',
      body: 'Reset.',
      attributes: { 'kubeskoop.type': 'TCPRESET_NOSOCK', i: from + i, ratio: 0.5, ok: true, list: ['a', 'b'] },
      owner: { netns: 1 },
      resource: resources[(from + i) % 2]!,
    })),
  };
}

async function exporterIn(t: Test, input: Record<string, unknown> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'skl-file-'));
  const path = join(folder, 'deep', 'events.log');
  const context = testContext();
  const exporter = new FileExporter(config.parse({ path, ...input }), context);
  await exporter.start();
  t.after(async () => {
    await exporter.stop();
    await rm(folder, { recursive: true });
  });
  const names = () => readdirSync(join(folder, 'deep')).sort();
  const numbers = () =>
    names().flatMap((n) =>
      [...readFileSync(join(folder, 'deep', n), 'utf8').matchAll(/ i=(\d+)/g)].map((x) => Number(x[1])),
    );
  return { exporter, path, context, names, numbers };
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('file exporter', () => {
  it('appends lines, in the order of pushes, and to what is there already', async (t) => {
    const { exporter, path, numbers, context } = await exporterIn(t);
    await Promise.all(range(5).map((i) => exporter.push(logs(i * 10, 10), never)));
    assert.deepEqual(numbers(), range(50));
    assert.match(
      readFileSync(path, 'utf8').split('\n')[0]!,
      /^time=2026-01-02T03:04:05\.000000000Z type=TCPRESET_NOSOCK pod=web-1 namespace=shop i=0 ratio=0\.5 ok=true list=a,b$/,
    );
    assert.equal(context.telemetry.count('written_bytes'), statSync(path).size);
    assert.equal(statSync(path).mode & 0o777, 0o640);
    await exporter.stop();
    const again = new FileExporter(config.parse({ path }), testContext());
    await again.start();
    await again.push(logs(50, 1), never);
    await again.stop();
    assert.deepEqual(numbers(), range(51));
  });

  it('begins a new file before the old one grows too large, keeps so many, loses no line', async (t) => {
    const { exporter, names, numbers, context } = await exporterIn(t, { rotation: { max_size: 2000, max_backups: 3 } });
    for (let i = 0; i < 4; i++) {
      await exporter.push(logs(i * 10, 10), never);
      context.clock.advance(1);
    }
    assert.equal(names().length, 4);
    assert.match(names()[0]!, /^events-2026-01-02T03-04-05\.001Z\.log$/);
    assert.deepEqual(
      numbers().sort((a, b) => a - b),
      range(40),
    );
    await exporter.push(logs(40, 10), never);
    assert.deepEqual(
      numbers().sort((a, b) => a - b),
      range(50).slice(10),
      'the oldest file is gone',
    );
    assert.equal(context.telemetry.read('rotations'), 4);
  });

  it('tells files of one millisecond apart', async (t) => {
    const { exporter, names, numbers } = await exporterIn(t, { rotation: { max_size: 1, max_backups: 0 } });
    for (let i = 0; i < 12; i++) await exporter.push(logs(i, 1), never);
    assert.equal(names().length, 12);
    assert.deepEqual(
      numbers().sort((a, b) => a - b),
      range(12),
    );
  });

  it('begins a new file when the old one is old, and removes what is older still', async (t) => {
    const { exporter, names, context } = await exporterIn(t, { rotation: { interval: '1h', max_age: '90m' } });
    await exporter.push(logs(0, 1), never);
    context.clock.advance(3_599_999);
    await exporter.push(logs(1, 1), never);
    assert.equal(names().length, 1);
    context.clock.advance(1);
    await exporter.push(logs(2, 1), never);
    assert.equal(names().length, 2);
    context.clock.advance(2 * 3_600_000);
    await exporter.push(logs(3, 1), never);
    assert.equal(names().length, 2, 'one of two backups was too old');
  });

  it('opens the file anew after somebody moved it: by itself within a second, at once on SIGHUP', async (t) => {
    const { exporter, path, context, numbers } = await exporterIn(t);
    await exporter.push(logs(0, 1), never);
    renameSync(path, `${path}.1`);
    await exporter.push(logs(1, 1), never);
    assert.equal(existsSync(path), false, 'not looked at yet');
    context.clock.advance(1000);
    await exporter.push(logs(2, 1), never);
    assert.match(readFileSync(path, 'utf8'), / i=2 /);
    renameSync(path, `${path}.2`);
    process.emit('SIGHUP');
    await exporter.push(logs(3, 1), never);
    assert.match(readFileSync(path, 'utf8'), / i=3 /);
    assert.deepEqual(numbers().sort(), [0, 1, 2, 3]);
    truncateSync(path, 0);
    context.clock.advance(1000);
    await exporter.push(logs(4, 1), never);
    assert.equal(readFileSync(path, 'utf8').includes('\0'), false);
  });

  it('has a full disk tried again, and leaves no half line', async (t) => {
    // /dev/full takes nothing: every write is ENOSPC.
    const context = testContext();
    const exporter = new FileExporter(config.parse({ path: '/dev/full' }), context);
    await exporter.start();
    t.after(() => exporter.stop());
    await assert.rejects(exporter.push(logs(0, 1), never), (error) => {
      assert.ok(error instanceof RetryableError);
      assert.equal(error.errorType, 'ENOSPC');
      return true;
    });
    assert.equal(context.telemetry.failures.length, 1);
    assert.equal(context.telemetry.count('written_bytes'), 0);
  });

  it('says in one sentence why it cannot start', async () => {
    const exporter = new FileExporter(config.parse({ path: '/proc/version/events.log' }), testContext());
    await assert.rejects(exporter.start(), {
      code: 'E_FILE',
      message: /^Cannot open \/proc\/version\/events\.log: .*\.$/,
    });
    await exporter.stop();
  });

  it('flushes to disk, or writes JSON, when asked', async (t) => {
    const { exporter, path } = await exporterIn(t, { fsync: 'batch', format: 'json' });
    await exporter.push(logs(0, 2), never);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      lines.map((l) => JSON.parse(l).attributes.i),
      [0, 1],
    );
  });
});

describe('OTLP JSON lines', () => {
  it('say what OpenTelemetry’s own serializer says', () => {
    const batch = logs(0, 3);
    const records = batch.records.map((r) => ({
      hrTime: [Number(r.timeUnixNs / 1_000_000_000n), Number(r.timeUnixNs % 1_000_000_000n)],
      hrTimeObserved: [Number(r.observedTimeUnixNs / 1_000_000_000n), Number(r.observedTimeUnixNs % 1_000_000_000n)],
      severityNumber: r.severityNumber,
      severityText: 'WARN',
      eventName: r.eventName,
      body: r.body,
      attributes: r.attributes,
      droppedAttributesCount: 0,
      resource: sdkResources.get(r.resource),
      instrumentationScope: batch.scope,
    }));
    const bytes = JsonLogsSerializer.serializeRequest(records as never)!;
    assert.deepEqual(plain(JSON.parse(otlpJson(batch))), plain(JSON.parse(Buffer.from(bytes).toString())));
  });
});

const sdkResources = new Map(
  resources.map((r) => [r, resourceFromAttributes({ ...r.attributes } as Record<string, string>)]),
);

/** Integers as text (both are allowed by the JSON mapping), and without fields that hold their default. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const out: Record<string, unknown> = {};
  for (const [k, v] of Object.entries(value)) {
    if (k === 'intValue' || k.endsWith('UnixNano')) out[k] = String(v);
    else if (v !== 0 && v !== undefined) out[k] = plain(v);
  }
  return out;
}
