import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { sizeDelimitedDecodeStream } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { upperBounds } from '../../pipeline/batch.ts';
import { defineMetrics, type HistogramLayout, type MetricDefinition } from '../../pipeline/catalogue.ts';
import { type Histogram, type MetricFamily, MetricFamilySchema, MetricType } from './testdata/metrics_pb.ts';
import { metricsBatch, pod, podA, podB, protobufOf, textOf, viewOf } from './testing.ts';

/** The hand-written encoder against a decoder that protoc-gen-es made of the proto text. */

async function decode(bytes: Buffer): Promise<MetricFamily[]> {
  async function* once() {
    yield bytes;
  }
  const out: MetricFamily[] = [];
  for await (const family of sizeDelimitedDecodeStream(MetricFamilySchema, once())) out.push(family);
  return out;
}

function histogramMetric(layout: HistogramLayout): MetricDefinition {
  return defineMetrics({
    'skoop.test.wait': {
      instrument: 'histogram',
      unit: 's',
      description: 'Waiting time.',
      source: 'test',
      scope: 'netns',
      histogram: layout,
    },
  })['skoop.test.wait'];
}

const m = defineMetrics({
  'skoop.test.sent': { instrument: 'counter', unit: 'By', description: 'Bytes "sent".', source: 't', scope: 'netns' },
  'skoop.test.open': { instrument: 'gauge', unit: '{socket}', description: 'Open.', source: 't', scope: 'netns' },
});

/** Absolute bucket counts by Prometheus' index, from spans and deltas. */
function nativeBuckets(h: Histogram): Map<number, number> {
  const out = new Map<number, number>();
  let index = 0;
  let count = 0;
  let delta = 0;
  for (const [i, span] of h.positiveSpan.entries()) {
    index = i === 0 ? span.offset : index + span.offset;
    for (let k = 0; k < span.length; k++) {
      count += Number(h.positiveDelta[delta++]);
      out.set(index++, count);
    }
  }
  assert.equal(delta, h.positiveDelta.length, 'every delta belongs to a span');
  return out;
}

describe('protobuf exposition format', () => {
  it('carries counters and gauges with their labels, types, help and start', async () => {
    const batch = metricsBatch('a', [
      {
        resource: podA,
        startTimeMs: 1_700_000_000_250,
        series: [
          { metric: m['skoop.test.sent'], attributes: { peer: 'ä"b\n' }, value: 2 ** 53 },
          { metric: m['skoop.test.open'], value: -1.5 },
        ],
      },
      {
        resource: podB,
        series: [
          { metric: m['skoop.test.sent'], attributes: { peer: 'c' }, value: 0 },
          { metric: m['skoop.test.open'], value: Number.NaN },
        ],
      },
    ]);
    const [open, sent, ...rest] = await decode(protobufOf(viewOf([batch])));
    assert.equal(rest.length, 0);
    assert.equal(open?.name, 'skoop_test_open');
    assert.equal(open.type, MetricType.GAUGE);
    assert.deepEqual(
      open.metric.map((x) => x.gauge?.value),
      [-1.5],
    );
    assert.equal(sent?.name, 'skoop_test_sent_bytes_total');
    assert.equal(sent.help, 'Bytes "sent".');
    assert.equal(sent.type, MetricType.COUNTER);
    assert.deepEqual(
      sent.metric.map((x) => x.counter?.value),
      [2 ** 53, 0],
    );
    assert.equal(sent.metric[0]?.counter?.createdTimestamp?.seconds, 1_700_000_000n);
    assert.equal(sent.metric[0]?.counter?.createdTimestamp?.nanos, 250_000_000);
    assert.deepEqual(
      sent.metric[0]?.label.map((l) => [l.name, l.value]),
      [
        ['peer', 'ä"b\n'],
        ['k8s_node_name', 'node-1'],
        ['k8s_namespace_name', 'shop'],
        ['k8s_pod_name', 'web-1'],
      ],
    );
    assert.ok(fromBinary(MetricFamilySchema, new Uint8Array()));
  });

  it('carries exponential histograms as native ones of the same schema, bucket by bucket', async () => {
    const input = fc.record({
      scale: fc.integer({ min: -4, max: 8 }),
      offset: fc.integer({ min: -40, max: 40 }),
      zeros: fc.nat({ max: 100 }),
      above: fc.nat({ max: 3 }),
      counts: fc.array(fc.oneof(fc.constant(0), fc.constant(0), fc.nat({ max: 2 ** 40 })), {
        minLength: 1,
        maxLength: 60,
      }),
      sum: fc.double({ noNaN: true, noDefaultInfinity: true }),
    });
    await fc.assert(
      fc.asyncProperty(input, async ({ scale, offset, zeros, above, counts, sum }) => {
        const layout = { scale, offset, buckets: counts.length };
        const count = zeros + above + counts.reduce((a, b) => a + b, 0);
        const value = [count, sum, zeros, ...counts];
        const view = viewOf([metricsBatch('a', [{ series: [{ metric: histogramMetric(layout), value }] }])]);
        const [family] = await decode(protobufOf(view));
        const h = family!.metric[0]!.histogram!;
        assert.equal(family!.type, MetricType.HISTOGRAM);
        assert.equal(Number(h.sampleCount), count);
        assert.equal(h.sampleSum, sum);
        assert.equal(h.schema, scale);
        assert.equal(h.zeroThreshold, 1e-128);
        assert.equal(Number(h.zeroCount), zeros);
        const native = nativeBuckets(h);
        counts.forEach((n, i) => {
          assert.equal(native.get(offset + i + 1) ?? 0, n);
        });
        assert.equal(native.get(offset + counts.length + 1) ?? 0, above);
        // Prometheus refuses histograms whose parts do not add up.
        assert.equal(zeros + [...native.values()].reduce((a, b) => a + b, 0), count);
        assert.ok(h.positiveSpan.length > 0, 'marked as native');
        // Classic buckets, for scrapers that do not take native ones: the text format's.
        let below = zeros;
        const expected = [[2 ** (offset * 2 ** -scale), zeros]];
        upperBounds(layout).forEach((bound, i) => {
          below += counts[i]!;
          expected.push([bound, below]);
        });
        const classic = h.bucket.map((b) => [b.upperBound, Number(b.cumulativeCount)]);
        assert.equal(classic.length, expected.length);
        classic.forEach(([bound, n], i) => {
          assert.ok(Math.abs(bound! / expected[i]![0]! - 1) < 1e-9);
          assert.equal(n, expected[i]![1]);
        });
      }),
      { numRuns: 200 },
    );
  });

  it('puts an exemplar into the classic bucket that holds its value, and beyond them into one of its own', async () => {
    const metric = histogramMetric({ scale: 0, offset: -2, buckets: 3 });
    const exemplar = (value: number) => ({
      value,
      timeUnixNs: 1_700_000_007_000_000_023n,
      attributes: { 'source.port': 23 },
    });
    const series = [0.5, 0.5000001, 7].map((value, i) => ({
      metric,
      attributes: { i },
      value: [4, 8.5, 0, 1, 1, 1],
      exemplar: exemplar(value),
    }));
    const [family] = await decode(protobufOf(viewOf([metricsBatch('a', [{ series }])])));
    const buckets = family!.metric.map((x) => x.histogram!.bucket);
    const held = buckets.map((list) =>
      list.filter((b) => b.exemplar).map((b) => [b.upperBound, Number(b.cumulativeCount)]),
    );
    assert.deepEqual(held, [[[0.5, 1]], [[1, 2]], [[Number.POSITIVE_INFINITY, 4]]]);
    const { label, value, timestamp } = buckets[2]!.at(-1)!.exemplar!;
    assert.deepEqual([value, timestamp?.seconds, timestamp?.nanos], [7, 1_700_000_007n, 23]);
    assert.deepEqual(
      label.map((l) => [l.name, l.value]),
      [['source_port', '23']],
    );
  });

  it('leaves out native buckets of scales that Prometheus does not know', async () => {
    const metric = histogramMetric({ scale: 9, offset: 0, buckets: 2 });
    const [family] = await decode(
      protobufOf(viewOf([metricsBatch('a', [{ series: [{ metric, value: [3, 1, 0, 1, 2] }] }])])),
    );
    const h = family!.metric[0]!.histogram!;
    assert.equal(h.positiveSpan.length, 0);
    assert.deepEqual(
      h.bucket.map((b) => Number(b.cumulativeCount)),
      [0, 1, 3],
    );
  });

  it('says the same as the text format, over many chunks', async () => {
    const series = Array.from({ length: 211 }, (_, i) => ({
      metric: i % 2 === 0 ? m['skoop.test.sent'] : m['skoop.test.open'],
      attributes: { i, filler: 'z'.repeat(50) },
      value: i * 1.5,
    }));
    const resources = Array.from({ length: 37 }, (_, p) => pod(`pod-${p}`, 'n'));
    const view = viewOf(
      [
        metricsBatch(
          'a',
          resources.map((resource) => ({ resource, series })),
        ),
      ],
      { target_info: true },
    );
    const fromProtobuf = new Set<string>();
    for (const family of await decode(protobufOf(view))) {
      for (const x of family.metric) {
        const labels = x.label.map((l) => `${l.name}="${l.value}"`).join();
        fromProtobuf.add(`${family.name}{${labels}} ${x.counter?.value ?? x.gauge?.value}`);
      }
    }
    const fromText = textOf(view)
      .split('\n')
      .filter((l) => l !== '' && !l.startsWith('#'));
    // The node has a target_info too.
    assert.equal(fromText.length, 211 * 37 + 37 + 1);
    assert.deepEqual(fromProtobuf, new Set(fromText));
  });
});
