import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { of, Subject } from 'rxjs';
import {
  type Batch,
  itemCount,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  noResource,
  type Resource,
  type Snapshot,
} from '../../pipeline/batch.ts';
import { type Attributes, defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import component from './index.ts';
import { compilePattern } from './pattern.ts';
import { createProcessor } from './processor.ts';

const common = { unit: '1', description: 'A test.', source: 'test', scope: 'netns' } as const;
const m = defineMetrics({
  'skoop.a.one': { ...common, instrument: 'counter' },
  'skoop.a.two': { ...common, instrument: 'histogram', histogram: { scale: 0, offset: 0, buckets: 2 } },
  'skoop.b.three': { ...common, instrument: 'gauge' },
});
const schema = makeSchema([
  { metric: m['skoop.a.one'], attributes: { 'network.interface.name': 'eth0' } },
  { metric: m['skoop.a.two'] },
  { metric: m['skoop.b.three'] },
  { metric: m['skoop.a.one'], attributes: { 'network.interface.name': 'veth7' } },
]);
const scope = { name: 'test' };
const podResource = (namespace: string, name: string): Resource => ({
  attributes: { 'k8s.namespace.name': namespace, 'k8s.pod.name': name },
});
const shop = podResource('shop', 'web-0');
const system = podResource('kube-system', 'dns-1');
const node: Resource = { attributes: { 'k8s.node.name': 'node-a' } };

const snapshot = (resource: Resource, values = [1, 10, 11, 12, 13, 14, 2, 3]): Snapshot => ({
  owner: undefined,
  resource,
  startTimeMs: 0,
  timeMs: 0,
  schema,
  values: Float64Array.from(values),
});
const exemplarAt = (offset: number) => ({ offset, value: 0.5, timeUnixNs: 7n, attributes: { 'source.port': 23 } });
const metricsOf = (...snapshots: Snapshot[]): MetricsBatch =>
  deepFreeze({ kind: 'metrics', source: 's', scope, snapshots });
const event = (eventName: string, attributes: Attributes = {}, resource = noResource) => ({
  timeUnixNs: 0n,
  observedTimeUnixNs: 0n,
  severityNumber: 9 as const,
  eventName,
  body: '',
  attributes,
  owner: undefined,
  resource,
});
const logsOf = (...records: ReturnType<typeof event>[]): LogsBatch =>
  deepFreeze({ kind: 'logs', source: 's', scope, records });

function run(settings: object, ...batches: Batch[]) {
  const context = testContext();
  const out = record(of(...batches).pipe(createProcessor(config.parse(settings), context)));
  return { values: out.values, drops: context.telemetry.dropCalls };
}

const seriesOf = (batch: Batch | undefined) =>
  (batch as MetricsBatch).snapshots.map((s) =>
    s.schema.series.map(
      (d) => `${d.metric.name}=${[...s.values.subarray(d.offset, d.offset + (d.metric.histogram ? 5 : 1))]}`,
    ),
  );

describe('metrics', () => {
  test('without rules everything passes as the same object', () => {
    const batch = metricsOf(snapshot(shop));
    assert.equal(run({}, batch).values[0], batch);
  });

  test('include by glob: values keep their series, histograms whole', () => {
    const { values, drops } = run({ metrics: { include: ['skoop.a.*'] } }, metricsOf(snapshot(shop)));
    assert.deepEqual(seriesOf(values[0]), [['skoop.a.one=1', 'skoop.a.two=10,11,12,13,14', 'skoop.a.one=3']]);
    assert.deepEqual(drops, [{ reason: 'filtered', n: 1, signal: 'metrics' }]);
  });

  test('an exemplar goes where its series goes, and with it', () => {
    const batch = metricsOf({ ...snapshot(shop), exemplars: [exemplarAt(1)] });
    const left = (settings: object) => {
      const [s] = (run({ metrics: settings }, batch).values[0] as MetricsBatch).snapshots;
      const [exemplar] = s!.exemplars ?? [];
      const metric = s!.schema.series.find((d) => d.offset === exemplar?.offset)?.metric.name;
      return [exemplar?.offset, metric, 'exemplars' in s!];
    };
    assert.deepEqual(left({ exclude: ['skoop.b.*'] }), [1, 'skoop.a.two', true]);
    assert.deepEqual(left({ exclude: ['skoop.a.one'] }), [0, 'skoop.a.two', true]);
    assert.deepEqual(left({ exclude: ['skoop.a.two'] }), [undefined, undefined, false]);
  });

  test('exclude exactly, and by an attribute’s value; what lacks the attribute stays', () => {
    const settings = {
      metrics: { exclude: ['skoop.a.two'] },
      attributes: { 'network.interface.name': { exclude: ['/^veth/'] } },
    };
    const { values, drops } = run(settings, metricsOf(snapshot(shop)));
    assert.deepEqual(seriesOf(values[0]), [['skoop.a.one=1', 'skoop.b.three=2']]);
    assert.deepEqual(drops, [{ reason: 'filtered', n: 2, signal: 'metrics' }]);
  });

  test('series without a value are not counted as dropped', () => {
    const nan = Number.NaN;
    const { drops } = run(
      { metrics: { exclude: ['*'] } },
      metricsOf(snapshot(shop, [nan, 10, 11, 12, 13, 14, nan, 3])),
    );
    assert.deepEqual(drops, [{ reason: 'filtered', n: 2, signal: 'metrics' }]);
  });

  test('a batch of which nothing is left goes on empty, so that what was there is gone', () => {
    const { values } = run({ metrics: { exclude: ['*'] } }, metricsOf(snapshot(shop)));
    assert.equal(values.length, 1);
    assert.deepEqual((values[0] as MetricsBatch).snapshots, []);
  });

  test('the filtered schema is made once and shared', () => {
    const { values } = run(
      { metrics: { include: ['skoop.b.*'] } },
      metricsOf(snapshot(shop), snapshot(system)),
      metricsOf(snapshot(shop)),
    );
    const schemas = values.flatMap((b) => (b as MetricsBatch).snapshots.map((s) => s.schema));
    assert.equal(schemas.length, 3);
    assert.equal(new Set(schemas).size, 1);
  });

  test('by namespace and pod; the node is hostNetwork; a namespace without a pod has no name', () => {
    const stranger: Resource = { attributes: { 'skoop.netns.inode': 7 } };
    const all = metricsOf(snapshot(shop), snapshot(system), snapshot(node), snapshot(stranger));
    const left = (settings: object) =>
      run(settings, all).values.flatMap((b) => (b as MetricsBatch).snapshots.map((s) => s.resource));
    assert.deepEqual(left({ namespaces: { exclude: ['kube-*'] } }), [shop, node, stranger]);
    assert.deepEqual(left({ namespaces: { include: ['shop'] } }), [shop]);
    assert.deepEqual(left({ pods: { include: ['hostNetwork', 'dns-?'] } }), [system, node]);
    assert.equal(run({ namespaces: { include: ['shop'] } }, all).drops[0]?.n, 12);
  });

  test('received = sent + dropped, whatever the rules', () => {
    const name = fc.constantFrom('skoop.a.one', 'skoop.a.*', '*', '?', '/two$/', 'none', 'skoop.b.three');
    const lists = fc.record({
      include: fc.option(fc.array(name), { nil: undefined }),
      exclude: fc.option(fc.array(name), { nil: undefined }),
    });
    const value = fc.constantFrom(0, 1, Number.NaN);
    fc.assert(
      fc.property(lists, fc.array(fc.array(value, { minLength: 8, maxLength: 8 }), { maxLength: 5 }), (rules, rows) => {
        const batch = metricsOf(...rows.map((row, i) => snapshot(i % 2 ? shop : system, row)));
        const { values, drops } = run({ metrics: rules, namespaces: { exclude: ['shop'] } }, batch);
        const dropped = drops.reduce((n, d) => n + d.n, 0);
        assert.equal(itemCount(values[0]!) + dropped, itemCount(batch));
      }),
    );
  });
});

describe('events', () => {
  test('by event name or KubeSkoop type', () => {
    const batch = logsOf(
      event('skoop.tcp.reset', { 'kubeskoop.type': 'TCPRESET_NOSOCK' }),
      event('skoop.tcp.reset', { 'kubeskoop.type': 'TCPRESET_ACTIVE' }),
      event('skoop.packet.dropped'),
    );
    const left = (events: object) =>
      run({ events }, batch).values.flatMap((b) =>
        (b as LogsBatch).records.map((r) => r.attributes['kubeskoop.type'] ?? r.eventName),
      );
    assert.deepEqual(left({ include: ['skoop.tcp.*'] }), ['TCPRESET_NOSOCK', 'TCPRESET_ACTIVE']);
    assert.deepEqual(left({ include: ['TCPRESET_NOSOCK'] }), ['TCPRESET_NOSOCK']);
    assert.deepEqual(left({ exclude: ['TCPRESET_*'] }), ['skoop.packet.dropped']);
    assert.deepEqual(left({ include: ['skoop.tcp.reset'], exclude: ['TCPRESET_ACTIVE'] }), ['TCPRESET_NOSOCK']);
  });

  test('a batch of which nothing is left does not go on, and all of it is counted', () => {
    const { values, drops } = run(
      { namespaces: { exclude: ['hostNetwork'] } },
      logsOf(event('a'), event('b'), event('c')),
    );
    assert.deepEqual(values, []);
    assert.deepEqual(drops, [{ reason: 'filtered', n: 3, signal: 'logs' }]);
  });
});

test('entities always pass', () => {
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse({ pods: { exclude: ['*'] } }), testContext())));
  const batch: Batch = { kind: 'entities', source: 'cri', timeMs: 0, entities: [] };
  input$.next(batch);
  assert.equal(out.values[0], batch);
});

describe('patterns', () => {
  test('exact, glob and regular expression', () => {
    const hits = (pattern: string, ...values: string[]) => values.filter(compilePattern(pattern));
    assert.deepEqual(hits('a.b', 'a.b', 'axb', 'a.bc'), ['a.b']);
    assert.deepEqual(hits('a.*b', 'a.b', 'a.xxb', 'axb', 'a.b '), ['a.b', 'a.xxb']);
    assert.deepEqual(hits('w?b-(1)*', 'web-(1)', 'wb-(1)', 'wéb-(1)\n2'), ['web-(1)', 'wéb-(1)\n2']);
    assert.deepEqual(hits('/^kube-/', 'kube-system', 'my-kube-x'), ['kube-system']);
    assert.deepEqual(hits('/', '/', 'a'), ['/']);
  });

  test('a bad regular expression is told with its place', () => {
    const problems = component.check?.(
      config.parse({ metrics: { include: ['ok', '/(/'] }, attributes: { a: { exclude: ['/[/'] } } }),
    );
    assert.deepEqual(
      problems?.map((p) => p.path.join('.')),
      ['metrics.include.1', 'attributes.a.exclude.0'],
    );
  });
});
