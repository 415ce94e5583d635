import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Subject } from 'rxjs';
import {
  type Batch,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type PeerEntity,
  type PodEntity,
  type Resource,
} from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

const bornMs = Date.UTC(2026, 0, 2, 3, 4, 5);

function pod(name: string, labels: Record<string, string> = {}, more: Partial<PodEntity> = {}): PodEntity {
  return deepFreeze({
    kind: 'pod',
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    hostNetwork: false,
    sandboxId: `sandbox-${name}`,
    state: 'ready',
    createdAtMs: bornMs,
    ips: [],
    labels,
    annotations: {},
    containers: [],
    runtime: 'containerd',
    ...more,
  });
}

const metric = defineMetrics({
  'skoop.test': { instrument: 'counter', unit: '1', description: 'A test.', source: 'test', scope: 'netns' },
})['skoop.test'];
const schema = makeSchema([{ metric }]);
const scope = { name: 'test' };

function start(settings: object = {}) {
  const context = testContext({ node: 'node-a' });
  const input$ = new Subject<Batch>();
  const out = record(input$.pipe(createProcessor(config.parse(settings), context)));
  const push = (batch: Batch) => input$.next(deepFreeze(batch));
  return {
    ...context,
    out,
    push,
    know: (...entities: PodEntity[]) => push({ kind: 'entities', source: 'cri', timeMs: 0, entities }),
    through: (resource: Resource) => {
      push({
        kind: 'metrics',
        source: 's',
        scope,
        snapshots: [{ owner: undefined, resource, startTimeMs: 0, timeMs: 0, schema, values: Float64Array.of(1) }],
      });
      return (out.values.at(-1) as MetricsBatch).snapshots[0]!.resource;
    },
  };
}

const resourceOf = (name: string): Resource =>
  deepFreeze({ attributes: { 'k8s.pod.name': name, 'k8s.pod.uid': `uid-${name}`, 'service.name': name } });

describe('what goes on the data', () => {
  test('allowed labels and annotations, the workload, and the service’s name', () => {
    const t = start({ labels: ['app', 'app.kubernetes.io/*'], annotations: ['team'] });
    const labels = {
      app: 'web',
      'app.kubernetes.io/part-of': 'shop',
      'appxkubernetes.io/no': '1',
      secret: 'x',
      'pod-template-hash': '7c9',
    };
    t.know(pod('web-7c9-abcde', labels, { annotations: { team: 'payments', other: 'x' } }));
    assert.deepEqual(t.through(resourceOf('web-7c9-abcde')).attributes, {
      'k8s.pod.name': 'web-7c9-abcde',
      'k8s.pod.uid': 'uid-web-7c9-abcde',
      'service.name': 'web',
      'k8s.pod.label.app': 'web',
      'k8s.pod.label.app.kubernetes.io/part-of': 'shop',
      'k8s.pod.annotation.team': 'payments',
      'k8s.deployment.name': 'web',
      'k8s.replicaset.name': 'web-7c9',
      'skoop.workload.kind': 'Deployment',
      'skoop.workload.name': 'web',
    });
  });

  test('a static pod’s workload goes without the node’s name', () => {
    const t = start();
    t.know(pod('etcd-node-a', {}, { annotations: { 'kubernetes.io/config.source': 'file' } }));
    const { attributes } = t.through(resourceOf('etcd-node-a'));
    assert.equal(attributes['skoop.workload.name'], 'etcd');
    assert.equal(attributes['service.name'], 'etcd');
  });

  test('the name that the pod gives its service by annotation wins', () => {
    const t = start();
    t.know(pod('x', {}, { annotations: { 'resource.opentelemetry.io/service.name': 'checkout' } }));
    assert.equal(t.through(resourceOf('x')).attributes['service.name'], 'checkout');
  });

  test('a service name that somebody chose is left alone', () => {
    const t = start();
    t.know(pod('x'));
    const chosen = { attributes: { 'k8s.pod.name': 'x', 'k8s.pod.uid': 'uid-x', 'service.name': 'mine' } };
    assert.equal(t.through(chosen).attributes['service.name'], 'mine');
  });

  test('what the API server says goes before what the runtime was told; without it the latter is there again', () => {
    const t = start({ labels: ['app', 'late'] });
    const mine = resourceOf('web-7c9-abcde');
    const api: PeerEntity = {
      kind: 'peer',
      peer: 'pod',
      uid: 'uid-web-7c9-abcde',
      name: 'web-7c9-abcde',
      namespace: 'shop',
      ips: [],
      createdAtMs: bornMs,
      workload: { kind: 'CloneSet', name: 'web', attributes: {} },
      node: 'node-a',
      labels: { app: 'web', late: 'yes' },
      annotations: { 'resource.opentelemetry.io/service.name': 'front' },
    };
    const ask = (...entities: PeerEntity[]) => t.push({ kind: 'entities', source: 'k8s', timeMs: 0, entities });
    const of = () => {
      const { attributes: a } = t.through(mine);
      return [a['skoop.workload.kind'], a['k8s.pod.label.late'], a['service.name']];
    };
    ask(api);
    t.know(pod('web-7c9-abcde', { 'pod-template-hash': '7c9' }));
    assert.deepEqual(of(), ['CloneSet', 'yes', 'front']);
    const same = t.through(mine);
    ask({ ...api });
    assert.equal(t.through(mine), same, 'says the same');
    ask();
    assert.deepEqual(of(), ['Deployment', undefined, 'web']);
    ask({ ...api, node: 'node-b' });
    assert.deepEqual(of(), ['Deployment', undefined, 'web'], 'a pod of another node');
  });

  test('values that are too long are left out and counted', () => {
    const t = start({ labels: ['*'], max_value_length: 10 });
    t.know(pod('x', { a: '0123456789', b: '01234567890' }));
    const { attributes } = t.through(resourceOf('x'));
    assert.equal(attributes['k8s.pod.label.a'], '0123456789');
    assert.equal('k8s.pod.label.b' in attributes, false);
    assert.deepEqual(t.telemetry.rejections, { value_too_long: 1 });
  });

  test('a resource gives one object while the pod stays the same, another when a chosen label changes', () => {
    const t = start({ labels: ['app'] });
    const mine = resourceOf('x');
    t.know(pod('x', { app: 'a' }));
    const first = t.through(mine);
    t.know(pod('x', { app: 'a', other: 'changed' }));
    assert.equal(t.through(mine), first);
    t.know(pod('x', { app: 'b' }));
    assert.equal(t.through(mine).attributes['k8s.pod.label.app'], 'b');
  });

  test('late events of a gone pod carry what the pod had', () => {
    const t = start({ labels: ['app'] });
    const mine = resourceOf('x');
    t.know(pod('x', { app: 'a' }));
    const first = t.through(mine);
    t.know();
    assert.equal(t.through(mine), first);
  });

  test('the node and strangers pass untouched: the same batch', () => {
    const t = start();
    const batch: LogsBatch = deepFreeze({
      kind: 'logs',
      source: 's',
      scope,
      records: [
        {
          timeUnixNs: 0n,
          observedTimeUnixNs: 0n,
          severityNumber: 9,
          eventName: 'e',
          body: '',
          attributes: {},
          owner: undefined,
          resource: { attributes: { 'k8s.node.name': 'node-a' } },
        },
      ],
    });
    t.push(batch);
    assert.equal(t.out.values[0], batch);
  });
});
