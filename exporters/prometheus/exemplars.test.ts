import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Exemplar } from '../../pipeline/batch.ts';
import { type Attributes, defineMetrics } from '../../pipeline/catalogue.ts';
import { exemplarLabels } from './exemplars.ts';
import { metricsBatch, podA, podB, textOf, viewOf } from './testing.ts';
import { chunkBytes } from './text.ts';

const m = defineMetrics({
  'skoop.test.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Waiting time.',
    source: 'test',
    scope: 'netns',
    histogram: { scale: 0, offset: -2, buckets: 4 },
    kubeskoop: [{ name: 'kubeskoop_test_slow', above: 1 }],
  },
});
const metric = m['skoop.test.wait'];
const at = 1_700_000_007_000_000_023n;
const exemplar = (value: number, attributes: Attributes = { 'source.port': 23, 'process.executable.name': 'a"b' }) => ({
  value,
  timeUnixNs: at,
  attributes,
});
const slots = [11, 12.5, 1, 2, 0, 3, 5];
const labels = 'k8s_node_name="node-1",k8s_namespace_name="shop",k8s_pod_name="web-1"';
const linesOf = (text: string) => text.split('\n').filter((l) => l.includes('_bucket') || l.includes(' # '));

describe('exemplars', () => {
  it('stand on the line of the bucket that holds them, in OpenMetrics', () => {
    const batch = metricsBatch('a', [{ resource: podA, series: [{ metric, value: slots, exemplar: exemplar(1.5) }] }]);
    assert.deepEqual(linesOf(textOf(viewOf([batch]), 'openmetrics')), [
      `skoop_test_wait_seconds_bucket{le="0.25",${labels}} 1`,
      `skoop_test_wait_seconds_bucket{le="0.5",${labels}} 3`,
      `skoop_test_wait_seconds_bucket{le="1.0",${labels}} 3`,
      `skoop_test_wait_seconds_bucket{le="2.0",${labels}} 6 # {source_port="23",process_executable_name="a\\"b"} 1.5 1700000007.000000023`,
      `skoop_test_wait_seconds_bucket{le="4.0",${labels}} 11`,
      `skoop_test_wait_seconds_bucket{le="+Inf",${labels}} 11`,
    ]);
  });

  it('are not in the text format 0.0.4, nor under the names of KubeSkoop', () => {
    const series = [{ metric, value: slots, exemplar: exemplar(1.5) }];
    const batch = metricsBatch('a', [{ resource: podA, series }]);
    assert.doesNotMatch(textOf(viewOf([batch])), / # /);
    const kubeskoop = textOf(viewOf([batch], { naming: 'kubeskoop' }), 'openmetrics');
    assert.match(kubeskoop, /^kubeskoop_test_slow.* 8$/m);
    assert.doesNotMatch(kubeskoop, / # /);
  });

  for (const [value, le] of [
    [0.25, '0.25'],
    [0.5, '0.5'],
    [0.500001, '1.0'],
    [4, '4.0'],
    [4.000001, '+Inf'],
  ] as const) {
    it(`of ${value} belongs to le="${le}"`, () => {
      const batch = metricsBatch('a', [{ series: [{ metric, value: slots, exemplar: exemplar(value) }] }]);
      const held = linesOf(textOf(viewOf([batch]), 'openmetrics')).filter((l) => l.includes(' # '));
      assert.equal(held.length, 1);
      assert.match(held[0]!, new RegExp(`le="${le.replace('+', '\\+')}"`));
    });
  }

  it('go to the next bound that is shown', () => {
    const batch = metricsBatch('a', [{ series: [{ metric, value: slots, exemplar: exemplar(0.3) }] }]);
    const held = linesOf(textOf(viewOf([batch]), 'openmetrics', 3)).filter((l) => l.includes(' # '));
    assert.deepEqual(
      held.map((l) => /le="([^"]*)"/.exec(l)?.[1]),
      ['1.0'],
    );
  });

  it('of a series without a value, or of another owner, do not show', () => {
    const none = [Number.NaN, 0, 0, 0, 0, 0, 0];
    const batch = metricsBatch('a', [
      { resource: podA, series: [{ metric, value: none, exemplar: exemplar(1) }] },
      { resource: podB, series: [{ metric, value: slots }] },
    ]);
    assert.doesNotMatch(textOf(viewOf([batch]), 'openmetrics'), / # /);
  });

  it('are counted when room is made in a chunk', () => {
    const attributes = { 'process.executable.name': 'x'.repeat(80) };
    const series = Array.from({ length: 1009 }, (_, i) => ({
      metric,
      attributes: { i },
      value: slots,
      exemplar: exemplar(1.5, attributes),
    }));
    const text = textOf(viewOf([metricsBatch('a', [{ series }])]), 'openmetrics');
    assert.ok(text.length > 3 * chunkBytes);
    assert.equal(text.match(/ # \{process_executable_name="x{80}"\} 1\.5 1700000007\.000000023\n/g)?.length, 1009);
  });

  it('have 128 characters of labels at the most: the longest goes first', () => {
    const of = (attributes: Attributes) => exemplarLabels({ offset: 0, ...exemplar(1, attributes) } satisfies Exemplar);
    const lengthOf = (list: ReturnType<typeof of>) => list.reduce((n, l) => n + [...l.name, ...l.value].length, 0);
    const tuple = { 'source.port': 65535, 'destination.port': 65535, 'process.pid': 4194304 };
    const four = { 'source.address': '192.168.100.100', 'destination.address': '192.168.100.101' };
    assert.deepEqual(
      of({ ...four, ...tuple }).map((l) => l.name),
      ['source_address', 'destination_address', 'source_port', 'destination_port', 'process_pid'],
    );
    const address = 'fd00:1234:5678:9abc:def0:1234:5678:9abc';
    const six = of({ 'source.address': address, 'destination.address': address, ...tuple });
    assert.deepEqual(
      six.map((l) => l.name),
      ['source_address', 'source_port', 'destination_port', 'process_pid'],
    );
    // Characters, not bytes nor UTF-16 units: 125 and 1 + 1 + 1 of the name and value of the other.
    const exact = of({ a: '🄖'.repeat(125), b: 'c' });
    assert.deepEqual([exact.length, lengthOf(exact)], [2, 128]);
    assert.deepEqual(
      of({ a: '🄖'.repeat(126), b: 'c' }).map((l) => l.name),
      ['b'],
    );
    assert.deepEqual(of({ a: 'x'.repeat(200) }), []);
  });
});
