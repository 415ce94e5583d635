import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtobufLogsSerializer, ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import fc from 'fast-check';
import {
  type Exemplar,
  itemCount,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { toReadableLogRecords, toResourceMetrics } from '../../pipeline/otel.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { encodeLogs, logsByResource, severityText, sliceBytes } from './encode-logs.ts';
import { encodeMetrics, msToNs } from './encode-metrics.ts';
import { encodeJson } from './json.ts';
import { dividedSnapshots } from './split.ts';
import { logsBatches, metricsBatches, pods, schemaOfAll, scope } from './testdata/batches.ts';
import { decodeOtlp } from './testdata/decode.ts';

const unlimited = 2 ** 30;

function encodeAllLogs(batch: LogsBatch, maxBytes = unlimited) {
  const out = [];
  for (const r of encodeLogs(logsByResource(batch), maxBytes, new ProtobufWriter(64))) {
    if (!r) continue;
    out.push({ ...r, bytes: Uint8Array.from(r.bytes) });
  }
  return out;
}

function encodeAllMetrics(batch: MetricsBatch, maxBytes = unlimited) {
  const out = [];
  const w = new ProtobufWriter(64);
  for (const r of encodeMetrics(dividedSnapshots(batch, maxBytes, w), maxBytes, w)) {
    if (!r) continue;
    out.push({ ...r, bytes: Uint8Array.from(r.bytes) });
  }
  return out;
}

/** All records of a decoded request. */
function recordsOf(request: { resourceLogs: { scopeLogs: { logRecords: unknown[] }[] }[] }): unknown[] {
  return request.resourceLogs.flatMap((r) => r.scopeLogs.flatMap((s) => s.logRecords));
}

/** OTLP JSON of a value, as protobuf's own JSON mapping prints it. */
function anyValue(v: AttributeValue): unknown {
  if (typeof v === 'string') return { stringValue: v };
  if (typeof v === 'boolean') return { boolValue: v };
  if (typeof v === 'number') return Number.isSafeInteger(v) ? { intValue: String(v) } : { doubleValue: v };
  return { arrayValue: v.length > 0 ? { values: v.map(anyValue) } : {} };
}
const keyValues = (a: Attributes) => Object.entries(a).map(([key, v]) => ({ key, value: anyValue(v) }));
/** proto3 leaves out what is empty or zero. */
const present = (o: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(o).filter(([, v]) => v !== '' && v !== 0 && v !== '0' && !(Array.isArray(v) && v.length === 0)),
  );

function expectedRecord(r: LogRecord) {
  return present({
    timeUnixNano: String(r.timeUnixNs),
    severityNumber: r.severityNumber,
    severityText: severityText[r.severityNumber],
    body: { stringValue: r.body },
    attributes: keyValues(r.attributes),
    observedTimeUnixNano: String(r.observedTimeUnixNs),
    eventName: r.eventName,
  });
}

test('logs decode by the published protos to what went in', () => {
  fc.assert(
    fc.property(logsBatches, (batch) => {
      const [only, ...more] = encodeAllLogs(batch);
      assert.equal(more.length, 0);
      const { resourceLogs } = decodeOtlp('ExportLogsServiceRequest', only!.bytes);
      const resources = [...new Set(batch.records.map((r) => r.resource))];
      assert.deepEqual(
        resourceLogs,
        resources.map((resource) => ({
          resource: { attributes: keyValues(resource.attributes) },
          scopeLogs: [
            {
              scope: { ...scope },
              logRecords: batch.records.filter((r) => r.resource === resource).map(expectedRecord),
            },
          ],
        })),
      );
    }),
    { numRuns: 200 },
  );
});

test("logs decode to the same as the OpenTelemetry serializer's", () => {
  fc.assert(
    fc.property(logsBatches, (batch) => {
      // The SDK writes whole numbers beyond 2^53 as int_value; we as double_value, which is what they are.
      fc.pre(
        batch.records.every((r) =>
          Object.values(r.attributes).every((v) => !Number.isInteger(v) || Number.isSafeInteger(v)),
        ),
      );
      const official = ProtobufLogsSerializer.serializeRequest(toReadableLogRecords(batch))!;
      const ours = encodeAllLogs(batch)[0]!.bytes;
      assert.deepEqual(decodeOtlp('ExportLogsServiceRequest', ours), decodeOtlp('ExportLogsServiceRequest', official));
    }),
    { numRuns: 100 },
  );
});

test('logs are split below the limit, in order, none lost, none twice', () => {
  fc.assert(
    fc.property(logsBatches, fc.integer({ min: 300, max: 6000 }), (batch, limit) => {
      const grouped = logsByResource(batch);
      const requests = encodeAllLogs(batch, limit);
      const decoded = requests.map((r) => decodeOtlp('ExportLogsServiceRequest', r.bytes));
      let done = 0;
      for (const [i, r] of requests.entries()) {
        const records = recordsOf(decoded[i]);
        assert.equal(records.length, r.items);
        assert.deepEqual(records, grouped.records.slice(done, r.done).map(expectedRecord));
        assert.ok(r.bytes.length <= limit || r.items === 1, `${r.bytes.length} > ${limit} with ${r.items} records`);
        done = r.done;
      }
      assert.equal(done, batch.records.length);
    }),
    { numRuns: 200 },
  );
});

test('a large request is written in slices, between which the event loop may turn', () => {
  const records = Array.from({ length: 4001 }, (_, i): LogRecord => {
    const time = BigInt(i);
    const fixed = { severityNumber: 9, eventName: 'skoop.test', attributes: {}, owner: undefined } as const;
    const body = String(i).padStart(300, '0');
    return { ...fixed, timeUnixNs: time, observedTimeUnixNs: time, body, resource: pods[i < 2000 ? 0 : 1]! };
  });
  const w = new ProtobufWriter();
  const written = [0];
  let bytes: Uint8Array | undefined;
  for (const r of encodeLogs({ kind: 'logs', source: 'test', scope, records }, unlimited, w)) {
    written.push(w.position);
    bytes = r?.bytes;
  }
  const slices = written.slice(1).map((n, i) => n - written[i]!);
  assert.equal(slices.length, Math.ceil(bytes!.length / sliceBytes));
  for (const n of slices) assert.ok(n < sliceBytes + 1000, `${n}`);
  const arrived = recordsOf(decodeOtlp('ExportLogsServiceRequest', bytes!));
  assert.deepEqual(arrived, records.map(expectedRecord));
});

function expectedPoint(s: Snapshot, offset: number, attributes: Attributes) {
  return present({
    attributes: keyValues(attributes),
    startTimeUnixNano: String(msToNs(s.startTimeMs)),
    timeUnixNano: String(msToNs(s.timeMs)),
    asDouble: s.values[offset],
  });
}

/** The value is in a oneof, so zero is present. */
function expectedExemplar({ timeUnixNs, value, attributes }: Exemplar) {
  const rest = present({ timeUnixNano: String(timeUnixNs), filteredAttributes: keyValues(attributes) });
  return { ...rest, asDouble: value };
}

function expectedHistogram(s: Snapshot, series: (typeof schemaOfAll.series)[number]) {
  const { offset, attributes, metric } = series;
  const layout = metric.histogram!;
  const counts = [...s.values.slice(offset + 3, offset + 3 + layout.buckets)];
  const low = counts.findIndex((n) => n > 0);
  const high = counts.findLastIndex((n) => n > 0);
  const positive = present({ offset: layout.offset + low, bucketCounts: counts.slice(low, high + 1).map(String) });
  const exemplars = (s.exemplars ?? []).filter((e) => e.offset === offset).map(expectedExemplar);
  const { sum, ...rest } = present({
    exemplars,
    attributes: keyValues(attributes),
    startTimeUnixNano: String(msToNs(s.startTimeMs)),
    timeUnixNano: String(msToNs(s.timeMs)),
    count: String(s.values[offset]),
    sum: `sum ${s.values[offset + 1]}`,
    scale: layout.scale,
    zeroCount: String(s.values[offset + 2]),
    ...(low < 0 ? {} : { positive }),
  });
  assert.ok(sum);
  return { ...rest, sum: s.values[offset + 1] };
}

const dataKeys = { counter: 'sum', updowncounter: 'sum', gauge: 'gauge', histogram: 'exponentialHistogram' } as const;

function expectedMetrics(s: Snapshot) {
  const metrics = [...new Set(s.schema.series.map((d) => d.metric))];
  return metrics.flatMap((metric) => {
    const series = s.schema.series.filter((d) => d.metric === metric && !Number.isNaN(s.values[d.offset]));
    if (series.length === 0) return [];
    const dataPoints = series.map((d) => {
      if (metric.histogram) return expectedHistogram(s, d);
      const { asDouble, ...point } = expectedPoint(s, d.offset, d.attributes);
      // The value is in a oneof, so zero is present.
      return { ...point, asDouble: asDouble ?? s.values[d.offset] };
    });
    const data = {
      dataPoints,
      ...(metric.instrument === 'gauge' ? {} : { aggregationTemporality: 2 }),
      ...(metric.instrument === 'counter' ? { isMonotonic: true } : {}),
    };
    return [
      { name: metric.name, description: metric.description, unit: metric.unit, [dataKeys[metric.instrument]]: data },
    ];
  });
}

test('metrics decode by the published protos to what went in', () => {
  fc.assert(
    fc.property(metricsBatches, (batch) => {
      const requests = encodeAllMetrics(batch);
      const decoded = requests.flatMap((r) => decodeOtlp('ExportMetricsServiceRequest', r.bytes).resourceMetrics);
      const withValues = batch.snapshots.filter((s) => expectedMetrics(s).length > 0);
      assert.deepEqual(
        decoded,
        withValues.map((s) => ({
          resource: { attributes: keyValues(s.resource.attributes) },
          scopeMetrics: [{ scope: { ...scope }, metrics: expectedMetrics(s) }],
        })),
      );
      assert.equal(
        requests.reduce((n, r) => n + r.items, 0),
        itemCount(batch),
      );
    }),
    { numRuns: 200 },
  );
});

/** Data points by pod, metric and attributes, histograms with their buckets by index: requests may group and trim differently. */
function pointsOf(request: Decoded): Map<string, unknown[]> {
  const out = new Map<string, unknown[]>();
  for (const rm of request.resourceMetrics ?? []) {
    for (const m of rm.scopeMetrics[0]!.metrics) {
      const [kind, data] = Object.entries(m).find(([k]) => ['gauge', 'sum', 'exponentialHistogram'].includes(k))!;
      const { dataPoints, ...rest } = data as { dataPoints: Record<string, unknown>[] };
      for (const { attributes, positive, negative: _, timeUnixNano, ...point } of dataPoints) {
        // A double holds a Unix time to about a quarter of a microsecond; what is below is rounding.
        const timeUs = (BigInt((timeUnixNano as string | undefined) ?? 0) + 500n) / 1000n;
        const key = JSON.stringify([
          rm.resource,
          rm.scopeMetrics[0]!.scope,
          m.name,
          m.description,
          m.unit,
          kind,
          rest,
          attributes,
        ]);
        out.set(key, [...(out.get(key) ?? []), { ...point, timeUs, buckets: bucketsOf(positive as Buckets) }]);
      }
    }
  }
  return out;
}
interface Buckets {
  offset?: number;
  bucketCounts?: string[];
}
interface Decoded {
  resourceMetrics?: {
    resource: unknown;
    scopeMetrics: { scope: unknown; metrics: ({ name: string } & Record<string, unknown>)[] }[];
  }[];
}
function bucketsOf(positive: Buckets | undefined) {
  return (positive?.bucketCounts ?? [])
    .map((n, i) => [i + (positive?.offset ?? 0), Number(n)])
    .filter(([, n]) => n !== 0);
}

test("metrics decode to the same as the OpenTelemetry serializer's", () => {
  fc.assert(
    fc.property(metricsBatches, (batch) => {
      // The SDK knows no exemplars.
      const bare = { ...batch, snapshots: batch.snapshots.map(({ exemplars: _, ...rest }) => rest) };
      const official = Buffer.concat(
        toResourceMetrics(bare).map((rm) => ProtobufMetricsSerializer.serializeRequest(rm)!),
      );
      const ours = Buffer.concat(encodeAllMetrics(bare).map((r) => r.bytes));
      assert.deepEqual(
        pointsOf(decodeOtlp('ExportMetricsServiceRequest', ours)),
        pointsOf(decodeOtlp('ExportMetricsServiceRequest', official)),
      );
    }),
    { numRuns: 100 },
  );
});

test('metrics as JSON carry each exemplar in the data point of its series', async () => {
  let seen = 0;
  for (const batch of fc.sample(metricsBatches, { numRuns: 53, seed: 7 })) {
    const json: Decoded[] = [];
    for await (const r of encodeJson(batch, unlimited)) json.push(JSON.parse(Buffer.from(r.bytes).toString()));
    const arrived = json.flatMap((j) => [...exemplarsOf(j)]);
    const sent = encodeAllMetrics(batch).flatMap((r) => [
      ...exemplarsOf(decodeOtlp('ExportMetricsServiceRequest', r.bytes)),
    ]);
    assert.deepEqual(arrived.sort(), sent.sort());
    seen += arrived.length;
  }
  assert.ok(seen > 53, `${seen}`);
});

/** Exemplars with what tells their data point, as text. */
function* exemplarsOf(request: Decoded): Generator<string> {
  for (const { resource, scopeMetrics } of request.resourceMetrics ?? []) {
    for (const { name, exponentialHistogram } of scopeMetrics[0]!.metrics) {
      const points = (exponentialHistogram as { dataPoints: Record<string, unknown>[] } | undefined)?.dataPoints ?? [];
      for (const { attributes = [], count, exemplars = [] } of points) {
        for (const exemplar of exemplars as Record<string, unknown>[]) {
          const { filteredAttributes = [], timeUnixNano = '0', asDouble } = exemplar;
          // An empty list may have no `values`.
          const filtered = JSON.stringify(filteredAttributes).replaceAll('{"values":[]}', '{}');
          const of = (resource as { attributes: unknown }).attributes;
          yield JSON.stringify([of, name, attributes, Number(count ?? 0), filtered, timeUnixNano, asDouble]);
        }
      }
    }
  }
}

test('metrics as JSON hold the same points, and infinite values are counted', async () => {
  const batches = fc.sample(metricsBatches, { numRuns: 30, seed: 5 });
  for (const batch of batches) {
    const requests = [];
    for await (const r of encodeJson(batch, 3000)) requests.push(r);
    const json = requests.map((r) => JSON.parse(Buffer.from(r.bytes).toString()));
    const count = (m: Map<string, unknown[]>) => [...m.values()].reduce((n, points) => n + points.length, 0);
    assert.equal(
      json.reduce((n, j) => n + count(pointsOf(j)), 0),
      itemCount(batch),
    );
    assert.equal(
      requests.reduce((n, r) => n + r.items, 0),
      itemCount(batch),
    );
    assert.equal(
      requests.at(-1)?.done ?? batch.snapshots.length,
      batch.snapshots.findLastIndex((s) => expectedMetrics(s).length > 0) + 1,
    );
  }
  const values = new Float64Array(schemaOfAll.slots).fill(Number.NaN);
  values[schemaOfAll.series[0]!.offset] = 7;
  values[schemaOfAll.series[4]!.offset] = Number.POSITIVE_INFINITY;
  const snapshot = { owner: undefined, resource: pods[0]!, startTimeMs: 0, timeMs: 0, schema: schemaOfAll, values };
  const requests = [];
  for await (const r of encodeJson({ kind: 'metrics', source: 'test', scope, snapshots: [snapshot] }, unlimited))
    requests.push(r);
  assert.deepEqual(
    requests.map((r) => [r.items, r.unencodable]),
    [[1, 1]],
  );
});

test('metrics are split below the limit by snapshot, and a large snapshot by series', () => {
  const names = Object.fromEntries(
    Array.from({ length: 1009 }, (_, i) => [
      `skoop.m${i}`,
      { instrument: 'counter', unit: '1', description: 'A counter.', source: 'test', scope: 'netns' } as const,
    ]),
  );
  const schema = makeSchema(Object.values(defineMetrics(names)).map((metric) => ({ metric })));
  const snapshots = pods.map((resource, p) => ({
    owner: undefined,
    resource,
    startTimeMs: 1000,
    timeMs: 2000,
    schema,
    values: Float64Array.from({ length: schema.slots }, (_, i) => p * 10_000 + i),
  }));
  const batch: MetricsBatch = { kind: 'metrics', source: 'test', scope, snapshots };
  const limit = 20_000;
  const requests = encodeAllMetrics(batch, limit);
  const seen = new Map<string, number>();
  for (const r of requests) {
    assert.ok(r.bytes.length <= limit, `${r.bytes.length}`);
    for (const rm of decodeOtlp('ExportMetricsServiceRequest', r.bytes).resourceMetrics) {
      const pod = rm.resource.attributes[0].value.stringValue;
      for (const m of rm.scopeMetrics[0].metrics) seen.set(`${pod} ${m.name}`, m.sum.dataPoints[0].asDouble);
    }
  }
  assert.equal(
    requests.reduce((n, r) => n + r.items, 0),
    5045,
  );
  assert.equal(seen.size, 5045);
  assert.equal(seen.get('web-3 skoop.m1008'), 31_008);
});

test('a snapshot without values makes no request', () => {
  const values = new Float64Array(schemaOfAll.slots).fill(Number.NaN);
  const snapshot = { owner: undefined, resource: pods[0]!, startTimeMs: 0, timeMs: 0, schema: schemaOfAll, values };
  assert.deepEqual(encodeAllMetrics({ kind: 'metrics', source: 'test', scope, snapshots: [snapshot] }), []);
});
