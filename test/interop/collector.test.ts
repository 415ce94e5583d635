// biome-ignore-all lint/suspicious/noExplicitAny: what arrived is JSON of another program, and is compared with what was sent.
/**
 * What our push exporters send, as a real OpenTelemetry Collector understood it: its file exporter's output is compared record by record
 * and data point by data point with what went in. OTLP over HTTP (protobuf, JSON) and gRPC, compressed, with TLS and mutual TLS, and
 * Loki's push API as Loki's own code decodes it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import loki from '../../exporters/loki/index.ts';
import otlp from '../../exporters/otlp/index.ts';
import { logsBatches, metricsBatches } from '../../exporters/otlp/testdata/batches.ts';
import {
  type Batch,
  itemCount,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { Exporter, ExporterDeclaration } from '../../pipeline/component.ts';
import { eventLine } from '../../pipeline/event-line.ts';
import { queueFields } from '../../pipeline/queue/config.ts';
import { createQueue } from '../../pipeline/queue/index.ts';
import { numberedLogs } from '../../pipeline/queue/testing.ts';
import { testContext } from '../../pipeline/testing.ts';
import { Collector, collectorBinary, freePorts } from './collector-process.ts';

const binary = collectorBinary();
const never = new AbortController().signal;

/** A certificate authority, a server's and a client's certificates, and a client certificate nobody trusts. */
function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=skl-test-ca');
  for (const [name, signer] of [
    ['server', 'ca'],
    ['client', 'ca'],
  ] as const) {
    const signed = ['-CA', `${signer}.pem`, '-CAkey', `${signer}.key`, '-addext', 'subjectAltName=DNS:localhost'];
    openssl('req', '-x509', ...key, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-subj', `/CN=${name}`, ...signed);
  }
  openssl('req', '-x509', ...key, '-keyout', 'stranger.key', '-out', 'stranger.pem', '-subj', '/CN=stranger');
}

// --- what was sent and what arrived, in one spelling ---

type AnyValue = Record<string, unknown>;
interface KeyValue {
  key: string;
  value: AnyValue;
}

/** An attribute as text that tells types apart. Whole numbers may be int or double. */
function canonical(v: AttributeValue, json = false): string {
  // What JSON cannot say as a number is sent as a string there.
  if (json && typeof v === 'number' && Number.isInteger(v) && !Number.isSafeInteger(v)) return `string:${v}`;
  if (typeof v === 'number') return `n:${v === 0 ? 0 : v}`;
  return typeof v === 'object' ? `l:${JSON.stringify(v)}` : `${typeof v}:${v}`;
}
function canonicalAny(v: AnyValue): string {
  if ('stringValue' in v) return `string:${v['stringValue']}`;
  if ('boolValue' in v) return `boolean:${v['boolValue']}`;
  if ('intValue' in v) return `n:${Number(v['intValue'])}`;
  if ('doubleValue' in v) return `n:${Number(v['doubleValue']) === 0 ? 0 : Number(v['doubleValue'])}`;
  const list = (v['arrayValue'] as { values?: AnyValue[] }).values ?? [];
  return `l:${JSON.stringify(list.map((x) => x['stringValue']))}`;
}
const attributesText = (a: Attributes, json = false) =>
  JSON.stringify(Object.entries(a).map(([k, v]) => [k, canonical(v, json)]));
const keyValuesText = (list: KeyValue[] = []) =>
  JSON.stringify(list.map(({ key, value }) => [key, canonicalAny(value)]));

function recordText(r: LogRecord, json = false): string {
  const { timeUnixNs, observedTimeUnixNs, severityNumber, eventName, body } = r;
  return [
    timeUnixNs,
    observedTimeUnixNs,
    severityNumber,
    eventName,
    body,
    attributesText(r.attributes, json),
    attributesText(r.resource.attributes),
  ].join(' ');
}

/** Every data point of a batch as text, with time to the microsecond. */
function* pointTexts(batch: MetricsBatch): Generator<string> {
  for (const s of batch.snapshots) {
    for (const d of s.schema.series) {
      if (Number.isNaN(s.values[d.offset])) continue;
      const { name, unit, description, instrument } = d.metric;
      yield [
        name,
        unit,
        description,
        instrument,
        attributesText(d.attributes),
        attributesText(s.resource.attributes),
        timesText(s),
        valueText(s, d),
      ].join(' ');
    }
  }
}
const micros = (ms: number) => Math.round(ms * 1000);
const timesText = (s: Snapshot) => `${micros(s.startTimeMs)} ${micros(s.timeMs)}`;
function valueText(
  { values, exemplars = [] }: Snapshot,
  { metric, offset }: MetricsBatch['snapshots'][0]['schema']['series'][0],
): string {
  if (!metric.histogram) return String(values[offset]! + 0);
  const { scale, offset: first, buckets } = metric.histogram;
  const counts = [...values.subarray(offset + 3, offset + 3 + buckets)]
    .map((n, i) => [first + i, n])
    .filter(([, n]) => n! > 0);
  const own = exemplars.filter((e) => e.offset === offset);
  const texts = own.map((e) => [String(e.timeUnixNs), e.value + 0, attributesText(e.attributes)]);
  return JSON.stringify([values[offset], values[offset + 1], values[offset + 2], scale, counts, texts]);
}

/** The end of the text of a point that has one. */
const exemplarText = /,\[\["\d+".*\]\]\]$/;

interface Arrived {
  readonly records: Map<string, string[]>;
  readonly points: Map<string, string[]>;
}

/** Reads the file exporter's lines; what arrived by scope name. */
function readArrived(folder: string): Arrived {
  const out: Arrived = { records: new Map(), points: new Map() };
  for (const r of jsonLines(join(folder, 'logs.json')).flatMap((l) => l.resourceLogs)) {
    for (const s of r.scopeLogs) {
      const texts = s.logRecords.map((x: any) =>
        [
          x.timeUnixNano ?? 0,
          x.observedTimeUnixNano ?? 0,
          x.severityNumber,
          x.eventName ?? '',
          x.body?.stringValue ?? '',
          keyValuesText(x.attributes),
          keyValuesText(r.resource.attributes),
        ].join(' '),
      );
      append(out.records, s.scope?.name ?? '', texts);
    }
  }
  for (const r of jsonLines(join(folder, 'metrics.json')).flatMap((l) => l.resourceMetrics)) {
    for (const s of r.scopeMetrics) {
      for (const metric of s.metrics) append(out.points, s.scope.name, arrivedPoints(metric, r.resource));
    }
  }
  return out;
}

function append<T>(map: Map<string, T[]>, key: string, values: T[]): void {
  const list = map.get(key);
  if (list) for (const v of values) list.push(v);
  else map.set(key, [...values]);
}

function arrivedPoints(metric: any, resource: any): string[] {
  const kind = metric.gauge
    ? 'gauge'
    : metric.exponentialHistogram
      ? 'histogram'
      : metric.sum.isMonotonic
        ? 'counter'
        : 'updowncounter';
  const data = metric.gauge ?? metric.sum ?? metric.exponentialHistogram;
  if (kind !== 'gauge') assert.equal(data.aggregationTemporality, 2);
  const time = (ns: string | undefined) => String((BigInt(ns ?? 0) + 500n) / 1000n);
  return data.dataPoints.map((p: any) =>
    [
      metric.name,
      metric.unit,
      metric.description,
      kind,
      keyValuesText(p.attributes),
      keyValuesText(resource.attributes),
      time(p.startTimeUnixNano),
      time(p.timeUnixNano),
      kind === 'histogram' ? arrivedHistogram(p) : String((p.asDouble ?? 0) + 0),
    ].join(' '),
  );
}

function arrivedHistogram(p: any): string {
  const counts = (p.positive?.bucketCounts ?? [])
    .map((n: string, i: number) => [(p.positive.offset ?? 0) + i, Number(n)])
    .filter(([, n]: number[]) => n! > 0);
  const exemplars = (p.exemplars ?? []).map((e: any) => [
    e.timeUnixNano ?? '0',
    (e.asDouble ?? 0) + 0,
    keyValuesText(e.filteredAttributes),
  ]);
  return JSON.stringify([Number(p.count ?? 0), p.sum ?? 0, Number(p.zeroCount ?? 0), p.scale ?? 0, counts, exemplars]);
}

function jsonLines(path: string): any[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  return text
    .split('\n')
    .filter((line, i, all) => line !== '' && i < all.length - 1)
    .map((line) => JSON.parse(line));
}

function assertSame(arrived: readonly string[] | undefined, sent: readonly string[]): void {
  const got = new Set(arrived);
  const wanted = new Set(sent);
  // The first few differences say more than all of them.
  const missing = sent.filter((s) => !got.has(s)).slice(0, 3);
  const extra = (arrived ?? []).filter((s) => !wanted.has(s)).slice(0, 3);
  assert.deepEqual({ missing, extra, n: arrived?.length }, { missing: [], extra: [], n: sent.length });
}

// --- the cases ---

const logSamples = fc.sample(logsBatches, { numRuns: 12, seed: 20261123 });
const metricSamples = fc.sample(metricsBatches, { numRuns: 12, seed: 20261123 });

describe('a real OpenTelemetry Collector', { skip: 'whyNot' in binary ? binary.whyNot : false }, () => {
  const folder = mkdtempSync(join(tmpdir(), `skl${process.pid}-otelcol-`));
  const exporters: Exporter[] = [];
  let collector: Collector;
  let ports: number[];

  const make = async (declaration: ExporterDeclaration, input: object) => {
    const context = { ...testContext({ id: declaration.type }), clock: systemClock };
    const parsed = (declaration.config as z.ZodType).parse(input);
    assert.deepEqual(declaration.check?.(parsed) ?? [], []);
    const exporter = declaration.create(parsed, context);
    exporters.push(exporter);
    await exporter.start?.();
    return exporter;
  };
  const inScope = <B extends Batch>(batch: B, name: string): B => ({ ...batch, scope: { name } });

  before(async () => {
    makeCertificates(folder);
    ports = await freePorts(7);
    const endpoint = (i: number) => `localhost:${ports[i]}`;
    const server = { cert_file: join(folder, 'server.pem'), key_file: join(folder, 'server.key') };
    const mutual = { ...server, client_ca_file: join(folder, 'ca.pem') };
    const receivers = {
      otlp: { protocols: { http: { endpoint: endpoint(0) }, grpc: { endpoint: endpoint(1) } } },
      'otlp/tls': {
        protocols: { http: { endpoint: endpoint(2), tls: server }, grpc: { endpoint: endpoint(3), tls: server } },
      },
      'otlp/mtls': {
        protocols: { http: { endpoint: endpoint(4), tls: mutual }, grpc: { endpoint: endpoint(5), tls: mutual } },
      },
      loki: { protocols: { http: { endpoint: endpoint(6) } }, use_incoming_timestamp: true },
    };
    const file = (name: string) => ({ path: join(folder, name), format: 'json', append: true, flush_interval: '50ms' });
    const config = {
      receivers,
      exporters: { 'file/logs': file('logs.json'), 'file/metrics': file('metrics.json') },
      service: {
        telemetry: { metrics: { level: 'none' } },
        pipelines: {
          logs: { receivers: Object.keys(receivers), exporters: ['file/logs'] },
          metrics: { receivers: Object.keys(receivers).filter((r) => r !== 'loki'), exporters: ['file/metrics'] },
        },
      },
    };
    collector = await new Collector((binary as { path: string }).path, folder, config, ports).start();
  });

  after(async () => {
    for (const exporter of exporters) await exporter.stop?.(never);
    await collector?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Waits until the file holds as many items of a scope as were sent, and a little more would show. */
  const arrived = async (scope: string, kind: 'records' | 'points', n: number): Promise<string[]> => {
    const end = Date.now() + 15_000;
    for (;;) {
      const list = readArrived(folder)[kind].get(scope) ?? [];
      if (list.length >= n || Date.now() > end) return list;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  const ca = join(folder, 'ca.pem');
  const client = { ca_file: ca, cert_file: join(folder, 'client.pem'), key_file: join(folder, 'client.key') };
  const cases: readonly [name: string, port: number, input: object][] = [
    ['http/protobuf gzip', 0, {}],
    ['http/protobuf zstd', 0, { compression: 'zstd' }],
    ['http/protobuf plain', 0, { compression: 'none' }],
    ['http/json gzip', 0, { protocol: 'http/json' }],
    ['grpc gzip', 1, { protocol: 'grpc' }],
    ['grpc plain', 1, { protocol: 'grpc', compression: 'none' }],
    ['http TLS', 2, { tls: { ca_file: ca } }],
    ['grpc TLS', 3, { protocol: 'grpc', tls: { ca_file: ca } }],
    ['http mutual TLS', 4, { tls: client }],
    ['grpc mutual TLS', 5, { protocol: 'grpc', tls: client }],
  ];
  for (const [name, port, input] of cases) {
    it(`takes OTLP over ${name} unaltered, split into small requests`, async () => {
      const scheme = 'tls' in input ? 'https' : 'http';
      const exporter = await make(otlp, {
        endpoint: `${scheme}://localhost:${ports[port]}`,
        max_request_bytes: '16KiB',
        ...input,
      });
      const logs = logSamples.map((b) => inScope(b, name));
      const metrics = metricSamples.map((b) => inScope(b, name));
      for (const batch of [...logs, ...metrics]) assert.equal(await exporter.push(batch, never), undefined);
      const records = logs.flatMap((b) => b.records.map((r) => recordText(r, name.startsWith('http/json'))));
      assertSame(await arrived(name, 'records', records.length), records);
      const points = metrics.flatMap((b) => [...pointTexts(b)]);
      assert.ok(points.filter((p) => exemplarText.test(p)).length > 31, 'exemplars are among them');
      assert.equal(
        points.length,
        metrics.reduce((n, b) => n + itemCount(b), 0),
      );
      assertSame(await arrived(name, 'points', points.length), points);
    });
  }

  it('is refused without a client certificate, and reached once the certificate is replaced by a symlink swap', async () => {
    for (const version of ['v1', 'v2']) mkdirSync(join(folder, version));
    const place = (name: string, version: string) => {
      for (const ext of ['pem', 'key'])
        execFileSync('cp', [join(folder, `${name}.${ext}`), join(folder, version, `tls.${ext}`)]);
    };
    place('stranger', 'v1');
    place('client', 'v2');
    symlinkSync('v1', join(folder, 'data'));
    const context = testContext({ id: 'otlp' });
    const tls = { ca_file: ca, cert_file: join(folder, 'data/tls.pem'), key_file: join(folder, 'data/tls.key') };
    const parsed = (otlp.config as z.ZodType).parse({ endpoint: `https://localhost:${ports[4]}`, tls });
    const exporter = otlp.create(parsed, context);
    exporters.push(exporter);
    await exporter.start?.();
    const batch = inScope(logSamples[0]!, 'swapped');
    await assert.rejects(exporter.push(batch, never), { name: 'RetryableError' });
    symlinkSync('v2', join(folder, 'data.new'));
    renameSync(join(folder, 'data.new'), join(folder, 'data'));
    await assert.rejects(exporter.push(batch, never), { name: 'RetryableError' }, 'not looked at yet');
    context.clock.advance(30_000);
    await exporter.push(batch, never);
    assertSame(
      await arrived('swapped', 'records', batch.records.length),
      batch.records.map((r) => recordText(r)),
    );
  });

  for (const format of ['json', 'protobuf'] as const) {
    it(`takes Loki pushes as ${format} unaltered`, async () => {
      const exporter = await make(loki, {
        endpoint: `http://localhost:${ports[6]}`,
        format,
        static_labels: { case: format },
        max_request_bytes: '16KiB',
      });
      const sent = lokiBatch();
      assert.equal(await exporter.push(sent, never), undefined);
      const expected = sent.records.map(
        (r) => `${r.timeUnixNs} ${eventLine(r)} ${JSON.stringify(lokiAttributes(r, format))}`,
      );
      const end = Date.now() + 15_000;
      let got: string[] = [];
      while (got.length < expected.length && Date.now() < end) {
        got = readLoki(folder, format);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assertSame(got, expected);
    });
  }

  it('gets everything although it is stopped, hung and started again at random', { timeout: 120_000 }, async () => {
    const name = 'conserved';
    const exporter = await make(otlp, { endpoint: `http://localhost:${ports[0]}`, timeout: '1s' });
    const context = { ...testContext({ id: 'conserve' }), clock: systemClock };
    const config = z.strictObject(queueFields).parse({
      sending_queue: { storage: 'disk', directory: join(folder, 'queue') },
      retry_on_failure: { initial_interval: '50ms', max_interval: '500ms' },
    });
    const queue = createQueue({ exporter, config, context });
    await queue.start();
    const total = 100_000;
    const size = 500;
    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const trouble = (async () => {
      for (let round = 0; round < 4; round++) {
        await sleep(150 + 300 * Math.random());
        await collector.stop();
        await sleep(300 * Math.random());
        await collector.start();
        await sleep(150 + 300 * Math.random());
        collector.signal('SIGSTOP');
        await sleep(1500);
        collector.signal('SIGCONT');
      }
    })();
    for (let n = 0; n < total; n += size) {
      queue.offer(inScope(numberedLogs(n, size), name));
      await sleep(40);
    }
    await trouble;
    const end = Date.now() + 60_000;
    while (queue.stats().items > 0 && Date.now() < end) await sleep(50);
    await queue.stop(AbortSignal.timeout(1000));
    const { offered, sent, queued, dropped } = queue.accounts();
    assert.deepEqual({ offered, sent, queued, dropped }, { offered: total, sent: total, queued: 0, dropped: {} });
    const got = await arrived(name, 'records', total);
    const numbers = new Set(got.map((text) => Number(text.split(' ')[0]!.slice(-12))));
    assert.equal(numbers.size, total);
    // A request that hung is sent again; it may have been taken both times.
    assert.ok(got.length - total <= 5 * 4 * size, `${got.length - total} twice`);
  });
});

function lokiBatch(): LogsBatch {
  const [{ records, ...rest }] = logSamples.toSorted((a, b) => b.records.length - a.records.length) as [LogsBatch];
  const text = 'ä "quoted" \\ \n\t€';
  const attributes = {
    'kubeskoop.type': 'PACKETLOSS',
    'source.port': 443,
    'skoop.text': text,
    list: ['a', 'b'],
    ok: true,
  };
  const base = 1_760_000_000_000_000_000n;
  return {
    ...rest,
    records: records.map((r, i) => ({ ...r, timeUnixNs: base + BigInt(i), eventName: `e${i % 3}`, attributes })),
  };
}

/**
 * What Loki's decoder makes of labels and metadata: all strings, names without dots. Of structured metadata in JSON it keeps the escapes
 * (it takes the raw bytes between the quotes); of labels, lines and protobuf it does not.
 */
function lokiAttributes(r: LogRecord, format: string): [string, string][] {
  const levels = { 5: 'debug', 9: 'info', 13: 'warn', 17: 'error' } as const;
  const { 'k8s.namespace.name': namespace, 'k8s.node.name': node, ...resource } = r.resource.attributes;
  const out: Record<string, string> = {
    case: format,
    namespace: String(namespace),
    node: String(node),
    event: r.eventName,
  };
  out['level'] = levels[r.severityNumber];
  const raw = (text: string) => (format === 'json' ? JSON.stringify(text).slice(1, -1) : text);
  for (const [k, v] of Object.entries({ ...r.attributes, ...resource })) out[k.replaceAll('.', '_')] = raw(String(v));
  return Object.entries(out).sort();
}

function readLoki(folder: string, format: string): string[] {
  const out: string[] = [];
  for (const r of jsonLines(join(folder, 'logs.json')).flatMap((l) => l.resourceLogs)) {
    for (const x of r.scopeLogs.flatMap((s: any) => s.logRecords)) {
      const pairs = (x.attributes ?? []).map(({ key, value }: KeyValue) => [key, value['stringValue']]).sort();
      if (!pairs.some(([k, v]: string[]) => k === 'case' && v === format)) continue;
      out.push(`${x.timeUnixNano} ${x.body.stringValue} ${JSON.stringify(pairs)}`);
    }
  }
  return out;
}
