import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import type { MetricsBatch } from '../../pipeline/batch.ts';
import { upperBounds } from '../../pipeline/batch.ts';
import type { Attributes, Instrument, MetricDefinition } from '../../pipeline/catalogue.ts';
import { labelName, prometheusFamily } from './naming.ts';
import { metricsBatch, pod, textOf, viewOf } from './testing.ts';

/**
 * The writer against OpenTelemetry's own serializer on the same data. Where that one is right the bytes are equal; where the
 * specification says otherwise, the difference is listed here and asserted.
 */

const zero: [number, number] = [0, 0];

/** The SDK's objects for a batch: the resource's labels as attributes of each point, the name with its unit. */
function toSdk(batch: MetricsBatch): ResourceMetrics {
  const byMetric = new Map<MetricDefinition, MetricData>();
  for (const [s, snapshot] of batch.snapshots.entries()) {
    for (const { metric, attributes, offset } of snapshot.schema.series) {
      const first = snapshot.values[offset]!;
      if (Number.isNaN(first)) continue;
      const point = (value: unknown) => ({
        startTime: zero,
        endTime: zero,
        attributes: { ...attributes, ...snapshot.resource.attributes },
        value,
        order: s,
      });
      let data = byMetric.get(metric);
      if (!data) {
        const descriptor = { name: sdkName(metric), unit: '', description: metric.description, valueType: 1 };
        const shared = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE, dataPoints: [] };
        data = (metric.instrument === 'histogram'
          ? { ...shared, dataPointType: DataPointType.HISTOGRAM }
          : metric.instrument === 'counter'
            ? { ...shared, dataPointType: DataPointType.SUM, isMonotonic: true }
            : { ...shared, dataPointType: DataPointType.GAUGE }) as unknown as MetricData;
        byMetric.set(metric, data);
      }
      (data.dataPoints as unknown[]).push(point(metric.histogram ? explicit(metric, snapshot.values, offset) : first));
    }
  }
  const metrics = [...byMetric]
    .sort(([a], [b]) => (prometheusFamily(a).name < prometheusFamily(b).name ? -1 : 1))
    .map(([, data]) => data);
  return { resource: resourceFromAttributes({}), scopeMetrics: [{ scope: { name: 'test' }, metrics }] };
}

/** Difference 1: the SDK adds no unit to the name, so it is given the name with the unit. */
function sdkName(metric: MetricDefinition): string {
  return prometheusFamily(metric).name.replace(/_total$/, '');
}

function explicit(metric: MetricDefinition, values: Float64Array, offset: number) {
  const layout = metric.histogram!;
  const base = 2 ** (2 ** -layout.scale);
  const counts = [values[offset + 2]!, ...values.subarray(offset + 3, offset + 3 + layout.buckets), 0];
  return {
    count: values[offset]!,
    sum: values[offset + 1]!,
    buckets: { boundaries: [base ** layout.offset, ...upperBounds(layout)], counts },
  };
}

const sdk = () => new PrometheusSerializer('', false, undefined, true, true);

const name = fc
  .tuple(
    fc.stringMatching(/^[a-z][a-z0-9]{0,6}$/),
    fc.array(fc.stringMatching(/^[a-zA-Z0-9_.\-/]{1,6}$/), { maxLength: 3 }),
  )
  .map(([head, rest]) => [head, ...rest].join('.'))
  .filter((n) => !/(_|-|\.|\/)$/.test(n) && !/total$/i.test(n));
const value = fc.oneof(
  fc.double({ noNaN: true }),
  fc.maxSafeInteger(),
  fc.integer(),
  fc.constantFrom(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, 2 ** 32 - 1, 2 ** 32, 2 ** 53),
);
const attributes = fc
  .uniqueArray(
    fc.tuple(
      fc.string({ unit: 'grapheme', minLength: 1 }).filter((k) => !/^[0-9]/.test(k)),
      fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean(), fc.array(fc.string())),
    ),
    { selector: ([k]) => labelName(k), maxLength: 4 },
  )
  .map((pairs) => Object.fromEntries(pairs.filter(([k]) => k !== '__proto__')) as Attributes)
  .filter((a) => !Object.keys(a).some((k) => labelName(k).startsWith('k8s_')));

const instrument = fc.constantFrom<Instrument>('counter', 'gauge', 'updowncounter');

function metric(n: string, kind: Instrument, unit: string, description: string): MetricDefinition {
  return {
    name: n,
    instrument: kind,
    unit,
    description,
    attributes: {},
    source: '',
    scope: 'netns',
    maxSeries: 1,
    enabled: true,
    stability: 'beta',
    ...(kind === 'histogram' && { histogram: { scale: 1, offset: -6, buckets: 12 } }),
  };
}

describe('the same data through @opentelemetry/exporter-prometheus', () => {
  it('gives the same bytes for any names, labels and numbers', () => {
    const input = fc.record({
      metrics: fc.uniqueArray(
        fc.record({
          name,
          instrument,
          unit: fc.constantFrom('s', 'By', '{packet}', '', '%', 'By/s'),
          // Difference 2: the SDK puts "description missing" for an empty one.
          description: fc.string({ unit: 'grapheme', minLength: 1 }),
          sets: fc.uniqueArray(attributes, { selector: (a) => JSON.stringify(a), minLength: 1, maxLength: 3 }),
        }),
        { selector: (x) => prometheusFamily({ ...x }).name, minLength: 1, maxLength: 4 },
      ),
      values: fc.array(value, { minLength: 60, maxLength: 60 }),
    });
    fc.assert(
      fc.property(input, ({ metrics, values }) => {
        let i = 0;
        const series = metrics.flatMap((x) => {
          const definition = metric(x.name, x.instrument, x.unit, x.description);
          return x.sets.map((a) => ({ metric: definition, attributes: a }));
        });
        const batch = metricsBatch(
          'a',
          ['p', 'q'].map((p) => ({
            resource: pod(p, 'n'),
            series: series.map((s) => ({ ...s, value: values[i++ % values.length]! })),
          })),
        );
        // Difference 3: snapshots of pods share one schema here, and the SDK has points in the order of pods: compare as lines.
        assert.deepEqual(lines(textOf(viewOf([batch]))), lines(sdk().serialize(toSdk(batch))));
      }),
      { numRuns: 300 },
    );
  });

  it('gives the same buckets for histograms', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1e6 }), { minLength: 13, maxLength: 13 }), fc.nat(), (counts, sum) => {
        const total = counts.reduce((a, b) => a + b, 0);
        const batch = metricsBatch('a', [
          {
            series: [
              {
                metric: metric('skoop.h', 'histogram', 's', 'H.'),
                attributes: { a: 'b' },
                value: [total, sum / 7, ...counts],
              },
            ],
          },
        ]);
        // Difference 4: bounds are `1` there and `1.0` here (see boundText). The last bucket there is ours of +Inf.
        const normal = (text: string) =>
          lines(text.replace(/le="([^"]+)"/g, (_, le: string) => `le="${le === '+Inf' ? le : Number(le)}"`)).map((l) =>
            l.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(',').sort().join()}}`),
          );
        assert.deepEqual(normal(textOf(viewOf([batch]))).sort(), normal(sdk().serialize(toSdk(batch))).sort());
      }),
    );
  });

  it('differs where the SDK breaks the format or the specification', () => {
    const clash = metricsBatch('a', [
      {
        series: [
          {
            metric: metric('skoop.c', 'gauge', '', 'C.'),
            attributes: { 'a.b': '1', a_b: '2', '9lives': 'x' },
            value: 1,
          },
        ],
      },
    ]);
    // Difference 5: one label name twice is an invalid exposition; the specification joins the values.
    assert.match(sdk().serialize(toSdk(clash)), /a_b="1",a_b="2"/);
    assert.match(textOf(viewOf([clash])), /a_b="1;2"/);
    // Difference 6: a label cannot begin with a digit.
    assert.match(sdk().serialize(toSdk(clash)), /,9lives="x"/);
    assert.match(textOf(viewOf([clash])), /,_9lives="x"/);
    // Difference 7: a trailing separator of the name gives two underscores there.
    const odd = metricsBatch('a', [{ series: [{ metric: metric('skoop.odd.', 'counter', '', 'O.'), value: 1 }] }]);
    assert.match(textOf(viewOf([odd])), /^skoop_odd_total\{/m);
  });
});

/** Lines, the samples of a family in any order. */
function lines(text: string): string[] {
  const out: string[] = [];
  let samples: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) {
      out.push(...samples.sort());
      samples = [];
      out.push(line);
    } else if (line !== '') samples.push(line);
  }
  return [...out, ...samples.sort()].filter((l) => l !== '# no registered metrics');
}
