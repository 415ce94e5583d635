import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, testContext } from '../../pipeline/testing.ts';
import { ResourceLabels } from './resource-labels.ts';
import { State } from './state.ts';
import { metricsBatch, pod, podA, podB, textOf, viewOf } from './testing.ts';

const m = defineMetrics({
  'skoop.a': { instrument: 'gauge', unit: '{x}', description: 'A.', source: 't', scope: 'netns' },
  'skoop.b': { instrument: 'gauge', unit: '{x}', description: 'B.', source: 't', scope: 'netns' },
  skoop_a: { instrument: 'counter', unit: '{x}', description: 'A too.', source: 't', scope: 'netns' },
  skoop_a_total: { instrument: 'gauge', unit: '{x}', description: 'Not a counter.', source: 't', scope: 'netns' },
});
const samples = (text: string) => text.split('\n').filter((l) => l !== '' && !l.startsWith('#'));
const a = (value: number, attributes = {}) => ({ metric: m['skoop.a'], attributes, value });

function stateWith(expirationMs: number) {
  const context = testContext();
  const labels = new ResourceLabels({
    naming: 'otel',
    resourceLabels: ['k8s.pod.name'],
    anonymousLabels: [],
    additionalLabels: [],
    constLabels: {},
    scopeLabels: false,
    nodeName: 'node-1',
  });
  const options = { naming: 'otel' as const, extras: false, targetInfo: false, expirationMs, nodeName: 'node-1' };
  return { state: new State(options, context.clock, labels), clock: context.clock };
}

describe('state', () => {
  it('has nothing to show before the first batch', () => {
    assert.equal(stateWith(1000).state.view(), undefined);
  });

  it('shows the latest batch of each source: what is not in it is gone', () => {
    const { state } = stateWith(300_000);
    state.put(
      metricsBatch('x', [
        { resource: podA, series: [a(1)] },
        { resource: podB, series: [a(2)] },
      ]),
    );
    state.put(metricsBatch('y', [{ resource: podA, series: [{ metric: m['skoop.b'], value: 3 }] }]));
    const before = state.view()!;
    state.put(metricsBatch('x', [{ resource: podB, series: [a(5)] }]));
    const after = samples(textOf(state.view()!)).filter((l) => !l.startsWith('skoop_source'));
    assert.deepEqual(after, ['skoop_a{k8s_pod_name="db-0"} 5', 'skoop_b{k8s_pod_name="web-1"} 3']);
    // The old view is still what it was: a scrape may be streaming it.
    assert.match(textOf(before), /^skoop_a\{k8s_pod_name="web-1"\} 1$/m);
  });

  it('changes nothing of what it is given', () => {
    const { state } = stateWith(300_000);
    state.put(deepFreeze(metricsBatch('x', [{ resource: podA, series: [a(1), a(2, { k: 'v' })] }])));
    assert.equal(samples(textOf(state.view()!)).length, 3);
  });

  it('forgets a source that fell silent', () => {
    const { state, clock } = stateWith(300_000);
    state.put(metricsBatch('x', [{ resource: podA, series: [a(1)] }]));
    clock.advance(200_000);
    state.put(metricsBatch('y', [{ resource: podB, series: [{ metric: m['skoop.b'], value: 2 }] }]));
    clock.advance(100_000);
    assert.equal(state.sources, 2);
    clock.advance(1);
    assert.equal(state.sources, 1);
    assert.doesNotMatch(textOf(state.view()!), /skoop_a/);
    clock.advance(200_000);
    assert.equal(state.view(), undefined);
  });

  it('says when each source was collected', () => {
    const { state } = stateWith(300_000);
    state.put(metricsBatch('procfs/tcp', [{ resource: podA, series: [a(1)] }]));
    assert.match(
      textOf(state.view()!),
      /^skoop_source_collection_timestamp_seconds\{skoop_source="procfs\/tcp",?.*\} 1700000015$/m,
    );
  });

  it('arranges once for scrapes of the same moment', () => {
    const { state } = stateWith(300_000);
    state.put(metricsBatch('x', [{ resource: podA, series: [a(1)] }]));
    assert.equal(state.view(), state.view());
  });
});

describe('labels of resources', () => {
  it('give way to a series own label of the same name', () => {
    const view = viewOf([metricsBatch('x', [{ resource: podA, series: [a(1, { 'k8s.pod.name': 'peer' }), a(2)] }])]);
    assert.deepEqual(samples(textOf(view)), [
      'skoop_a{k8s_pod_name="peer",k8s_node_name="node-1",k8s_namespace_name="shop"} 1',
      'skoop_a{k8s_node_name="node-1",k8s_namespace_name="shop",k8s_pod_name="web-1"} 2',
    ]);
  });

  it('tell apart what belongs to no pod', () => {
    const view = viewOf([
      metricsBatch('x', [
        { resource: { attributes: { 'skoop.netns.inode': 4026532001, 'host.name': 'h' } }, series: [a(1)] },
        { resource: { attributes: { 'skoop.netns.inode': 4026532002, 'host.name': 'h' } }, series: [a(2)] },
      ]),
    ]);
    assert.equal(view.duplicates, 0);
    assert.deepEqual(samples(textOf(view)), [
      'skoop_a{k8s_node_name="node-1",skoop_netns_inode="4026532001"} 1',
      'skoop_a{k8s_node_name="node-1",skoop_netns_inode="4026532002"} 2',
    ]);
  });

  it('may be chosen by prefix, and constants added', () => {
    const view = viewOf(
      [metricsBatch('x', [{ resource: pod('p', 'n', { 'k8s.pod.label.app': 'web' }), series: [a(1)] }])],
      {
        resource_labels: ['k8s.pod.*'],
        const_labels: { cluster: 'eu' },
      },
    );
    assert.deepEqual(samples(textOf(view)), ['skoop_a{k8s_pod_name="p",k8s_pod_label_app="web",cluster="eu"} 1']);
  });

  it('may name the scope', () => {
    const batch = metricsBatch('x', [{ resource: podA, series: [a(1)] }], { name: 'skoopline/procfs' });
    const view = viewOf([batch], { scope_labels: true, resource_labels: ['k8s.pod.name'] });
    assert.deepEqual(samples(textOf(view)), ['skoop_a{k8s_pod_name="web-1",otel_scope_name="skoopline/procfs"} 1']);
  });
});

describe('target_info', () => {
  it('has a row for each resource, with everything known of it behind the labels of its series', () => {
    const resource = pod('web-1', 'shop', { 'k8s.pod.uid': 'u1', 'service.name': 'web' });
    const view = viewOf(
      [metricsBatch('x', [{ resource, series: [a(1)] }]), metricsBatch('y', [{ resource, series: [] }])],
      {
        target_info: true,
      },
    );
    assert.deepEqual(
      samples(textOf(view)).filter((l) => l.includes('web-1') && l.startsWith('target_info')),
      [
        'target_info{k8s_node_name="node-1",k8s_namespace_name="shop",k8s_pod_name="web-1",k8s_pod_uid="u1",service_name="web"} 1',
      ],
    );
  });
});

describe('what would be there twice', () => {
  const old = pod('web-1', 'shop', { 'k8s.pod.uid': 'u1' });
  const young = pod('web-1', 'shop', { 'k8s.pod.uid': 'u2' });

  it('is shown once, of the younger owner, and counted', () => {
    const view = viewOf(
      [
        metricsBatch('x', [
          { resource: old, startTimeMs: 1000, series: [a(1), a(10, { k: '1' }), a(100, { k: 'gone' })] },
          { resource: young, startTimeMs: 2000, series: [a(2), a(20, { k: '1' })] },
          { resource: podB, startTimeMs: 500, series: [a(3)] },
        ]),
      ],
      { target_info: true },
    );
    assert.equal(view.duplicates, 2);
    const text = textOf(view);
    const values = samples(text)
      .filter((l) => l.startsWith('skoop_a'))
      .map((l) => Number(l.split(' ').at(-1)));
    assert.deepEqual(
      values.sort((p, q) => p - q),
      [2, 3, 20, 100],
    );
    // A join over target_info needs exactly one row for each pod.
    assert.equal(samples(text).filter((l) => l.startsWith('target_info') && l.includes('web-1')).length, 1);
    assert.match(text, /target_info\{.*k8s_pod_uid="u2"/);
  });

  it('does not count what has no value', () => {
    const view = viewOf([
      metricsBatch('x', [
        { resource: old, startTimeMs: 1000, series: [a(Number.NaN)] },
        { resource: young, startTimeMs: 2000, series: [a(2)] },
      ]),
    ]);
    assert.equal(view.duplicates, 0);
    assert.equal(samples(textOf(view)).length, 1);
  });

  it('does not hide a value behind a younger owner that has none', () => {
    const view = viewOf([
      metricsBatch('x', [
        { resource: old, startTimeMs: 1000, series: [a(7)] },
        { resource: old, startTimeMs: 1500, series: [a(11)] },
        { resource: young, startTimeMs: 2000, series: [a(Number.NaN)] },
      ]),
    ]);
    assert.deepEqual(
      samples(textOf(view)).map((l) => Number(l.split(' ').at(-1))),
      [11],
    );
    assert.equal(view.duplicates, 1);
  });

  it('is found across sources and metrics that become one name', () => {
    const twin = defineMetrics({
      'skoop-a': { instrument: 'gauge', unit: '{x}', description: 'A twin.', source: 't', scope: 'netns' },
    });
    const view = viewOf([
      metricsBatch('x', [{ resource: podA, startTimeMs: 2, series: [a(1, { k: '1' }), a(2, { k: '2' })] }]),
      metricsBatch('y', [
        {
          resource: podA,
          startTimeMs: 1,
          series: [
            { metric: twin['skoop-a'], attributes: { k: '2' }, value: 9 },
            { metric: twin['skoop-a'], attributes: { k: '3' }, value: 3 },
          ],
        },
      ]),
    ]);
    assert.equal(view.duplicates, 1);
    const text = textOf(view);
    assert.deepEqual(
      samples(text).map((l) => l.at(-1)),
      ['1', '2', '3'],
    );
    assert.equal(text.match(/# TYPE/g)?.length, 1);
  });

  it('as a family of another type is left out and named', () => {
    const view = viewOf([
      metricsBatch('x', [{ resource: podA, series: [{ metric: m['skoop_a'], value: 1 }] }]),
      metricsBatch('y', [{ resource: podA, series: [{ metric: m['skoop_a_total'], value: 2 }] }]),
    ]);
    assert.deepEqual(view.typeConflicts, ['skoop_a_total']);
    assert.equal(samples(textOf(view)).length, 1);
  });
});
