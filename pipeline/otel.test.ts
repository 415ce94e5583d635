import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonLogsSerializer, JsonMetricsSerializer } from '@opentelemetry/otlp-transformer';
import { type LogsBatch, type MetricsBatch, makeSchema, noResource } from './batch.ts';
import { defineMetrics } from './catalogue.ts';
import { toReadableLogRecords, toResourceMetrics } from './otel.ts';

const definitions = defineMetrics({
  'skoop.packets': { instrument: 'counter', unit: '{packet}', description: 'Packets.', source: 't', scope: 'netns' },
  'skoop.queue': { instrument: 'updowncounter', unit: 'By', description: 'Queue.', source: 't', scope: 'netns' },
  'skoop.limit': { instrument: 'gauge', unit: '1', description: 'Limit.', source: 't', scope: 'netns' },
  'skoop.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Wait.',
    source: 't',
    scope: 'netns',
    histogram: { scale: 0, offset: -3, buckets: 4 },
  },
});
const schema = makeSchema([
  { metric: definitions['skoop.packets'], attributes: { direction: 'receive' } },
  { metric: definitions['skoop.packets'], attributes: { direction: 'transmit' } },
  { metric: definitions['skoop.queue'] },
  { metric: definitions['skoop.limit'] },
  { metric: definitions['skoop.wait'] },
]);
const pod = { attributes: { 'k8s.pod.name': 'web' } };
const snapshot = (resource: typeof pod | typeof noResource, values: number[]) => ({
  owner: undefined,
  resource,
  startTimeMs: 1000.5,
  timeMs: 61_000.25,
  schema,
  values: Float64Array.from(values),
});

test("metrics become the SDK's own objects, and its serializer takes them", () => {
  const batch: MetricsBatch = {
    kind: 'metrics',
    source: 't/t',
    scope: { name: 't', version: '1' },
    snapshots: [
      snapshot(pod, [3, 5, -7, 11, 6, 1.25, 1, 2, 0, 3, 0]),
      snapshot(noResource, [13, Number.NaN, Number.NaN, Number.NaN, Number.NaN, 0, 0, 0, 0, 0, 0]),
      snapshot(pod, [17, Number.NaN, Number.NaN, Number.NaN, Number.NaN, 0, 0, 0, 0, 0, 0]),
    ],
  };
  const all = toResourceMetrics(batch);
  assert.equal(all.length, 2);
  assert.deepEqual(all[0]!.resource.attributes, { 'k8s.pod.name': 'web' });
  assert.equal(toResourceMetrics(batch)[0]!.resource, all[0]!.resource, 'one object a resource');
  const json = JSON.parse(new TextDecoder().decode(JsonMetricsSerializer.serializeRequest(all[0]!)));
  const [packets, queue, limit, wait] = json.resourceMetrics[0].scopeMetrics[0].metrics;
  assert.equal(packets.sum.isMonotonic, true);
  assert.equal(packets.sum.aggregationTemporality, 2);
  assert.deepEqual(
    packets.sum.dataPoints.map((p: { asDouble: number }) => p.asDouble),
    [3, 5, 17],
  );
  assert.equal(packets.sum.dataPoints[0].startTimeUnixNano, '1000500000');
  assert.equal(packets.sum.dataPoints[0].timeUnixNano, '61000250000');
  assert.equal(queue.sum.isMonotonic, false);
  assert.equal(queue.sum.dataPoints[0].asDouble, -7);
  assert.equal(limit.gauge.dataPoints[0].asDouble, 11);
  const [h] = wait.exponentialHistogram.dataPoints;
  assert.deepEqual(
    [h.count, h.sum, h.zeroCount, h.scale, h.positive],
    [6, 1.25, 1, 0, { offset: -3, bucketCounts: [2, 0, 3, 0] }],
  );
  assert.equal(all[1]!.scopeMetrics[0]!.metrics.length, 1, 'absent is not zero');
});

test('a batch without values is nothing', () => {
  const empty = snapshot(pod, new Array(schema.slots).fill(Number.NaN));
  assert.deepEqual(toResourceMetrics({ kind: 'metrics', source: 't', scope: { name: 't' }, snapshots: [empty] }), []);
});

test("events become readable log records, and the SDK's serializer takes them", () => {
  const scope = { name: 't' };
  const record = {
    timeUnixNs: 1_700_000_000_123_456_789n,
    observedTimeUnixNs: 1_700_000_001_000_000_001n,
    severityNumber: 13 as const,
    eventName: 'skoop.packet.dropped',
    body: 'A packet was dropped.',
    attributes: { reason: 'NO_SOCKET', 'source.port': 443 },
    owner: undefined,
    resource: pod,
  };
  const batch: LogsBatch = { kind: 'logs', source: 't', scope, records: [record, record] };
  const [one, two] = toReadableLogRecords(batch);
  assert.deepEqual(one!.hrTime, [1_700_000_000, 123_456_789]);
  assert.equal(one!.resource, two!.resource);
  assert.equal(one!.instrumentationScope, two!.instrumentationScope);
  const json = JSON.parse(new TextDecoder().decode(JsonLogsSerializer.serializeRequest([one!, two!])));
  assert.equal(json.resourceLogs.length, 1);
  const [log] = json.resourceLogs[0].scopeLogs[0].logRecords;
  assert.equal(log.timeUnixNano, '1700000000123456789');
  assert.equal(log.severityText, 'WARN');
  assert.equal(log.eventName, 'skoop.packet.dropped');
  assert.deepEqual(log.body, { stringValue: 'A packet was dropped.' });
});
