import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Subject } from 'rxjs';
import {
  type Batch,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type PodEntity,
  type Resource,
} from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';
import { workloadOf } from './workload.ts';

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

describe('the workload, by what controllers write on pods', () => {
  const minutes = Math.floor(bornMs / 60_000);
  const cases: [string, PodEntity, { kind: string; name: string; attributes: object }][] = [
    [
      'Deployment',
      pod('shop-api-6d4b75cb6d-hwd5b', { 'pod-template-hash': '6d4b75cb6d' }),
      {
        kind: 'Deployment',
        name: 'shop-api',
        attributes: { 'k8s.deployment.name': 'shop-api', 'k8s.replicaset.name': 'shop-api-6d4b75cb6d' },
      },
    ],
    [
      'Deployment whose pod name was cut: no dash before the generated part',
      pod(`${'a'.repeat(46)}-6d4b75cb6dxhwd5`, { 'pod-template-hash': '6d4b75cb6d' }),
      {
        kind: 'Deployment',
        name: 'a'.repeat(46),
        attributes: { 'k8s.deployment.name': 'a'.repeat(46), 'k8s.replicaset.name': `${'a'.repeat(46)}-6d4b75cb6d` },
      },
    ],
    [
      'a template hash that is not in the name tells nothing',
      pod('odd', { 'pod-template-hash': '6d4b75cb6d' }),
      { kind: 'Pod', name: 'odd', attributes: {} },
    ],
    [
      'Argo Rollout',
      pod('canary-7c9-abcde', { 'rollouts-pod-template-hash': '7c9' }),
      { kind: 'Rollout', name: 'canary', attributes: { 'k8s.replicaset.name': 'canary-7c9' } },
    ],
    [
      'StatefulSet',
      pod('db-main-12', {
        'statefulset.kubernetes.io/pod-name': 'db-main-12',
        'controller-revision-hash': 'db-main-5c',
      }),
      { kind: 'StatefulSet', name: 'db-main', attributes: { 'k8s.statefulset.name': 'db-main' } },
    ],
    [
      'DaemonSet',
      pod('kube-proxy-x7k2p', { 'controller-revision-hash': '5f9', 'pod-template-generation': '1' }),
      { kind: 'DaemonSet', name: 'kube-proxy', attributes: { 'k8s.daemonset.name': 'kube-proxy' } },
    ],
    [
      'Job',
      pod('migrate-abcde', { 'batch.kubernetes.io/job-name': 'migrate' }),
      { kind: 'Job', name: 'migrate', attributes: { 'k8s.job.name': 'migrate' } },
    ],
    [
      'CronJob: the Job ends with its time in minutes',
      pod(`backup-${minutes}-abcde`, { 'job-name': `backup-${minutes}` }),
      {
        kind: 'CronJob',
        name: 'backup',
        attributes: { 'k8s.cronjob.name': 'backup', 'k8s.job.name': `backup-${minutes}` },
      },
    ],
    [
      'a Job that ends with some other number is no CronJob’s',
      pod('load-20260102-abcde', { 'job-name': 'load-20260102' }),
      { kind: 'Job', name: 'load-20260102', attributes: { 'k8s.job.name': 'load-20260102' } },
    ],
    [
      'static pod',
      pod('etcd-node-a', {}, { annotations: { 'kubernetes.io/config.source': 'file' } }),
      { kind: 'StaticPod', name: 'etcd-node-a', attributes: {} },
    ],
    ['a lone pod', pod('debug'), { kind: 'Pod', name: 'debug', attributes: {} }],
  ];
  for (const [name, entity, expected] of cases) {
    test(name, () => assert.deepEqual(workloadOf(entity), expected));
  }
});

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
