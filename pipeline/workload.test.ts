import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PodEntity } from './batch.ts';
import { deepFreeze } from './testing.ts';
import { type OwnerReference, workloadOf, workloadOfOwner } from './workload.ts';

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
      { kind: 'StaticPod', name: 'etcd', attributes: {} },
    ],
    ['a lone pod', pod('debug'), { kind: 'Pod', name: 'debug', attributes: {} }],
  ];
  for (const [name, entity, expected] of cases) {
    test(name, () => assert.deepEqual(workloadOf(entity, 'node-a'), expected));
  }
});

describe('the workload, by owner reference', () => {
  const minutes = Math.floor(bornMs / 60_000);
  const hashed = { 'pod-template-hash': '6d4b75cb6d' };
  const cases: [string, OwnerReference | undefined, PodEntity, string][] = [
    ['Deployment', { kind: 'ReplicaSet', name: 'web-6d4b75cb6d' }, pod('web-6d4b75cb6d-x', hashed), 'Deployment/web'],
    [
      'its pod with a name of its own',
      { kind: 'ReplicaSet', name: 'web-6d4b75cb6d' },
      pod('odd', hashed),
      'Deployment/web',
    ],
    [
      'a ReplicaSet by itself',
      { kind: 'ReplicaSet', name: 'web-6d4b75cb6d' },
      pod('web-x'),
      'ReplicaSet/web-6d4b75cb6d',
    ],
    [
      'Rollout',
      { kind: 'ReplicaSet', name: 'web-7c9' },
      pod('x', { 'rollouts-pod-template-hash': '7c9' }),
      'Rollout/web',
    ],
    ['StatefulSet', { kind: 'StatefulSet', name: 'db' }, pod('db-0'), 'StatefulSet/db'],
    ['DaemonSet', { kind: 'DaemonSet', name: 'proxy' }, pod('proxy-x7k2p'), 'DaemonSet/proxy'],
    ['Job', { kind: 'Job', name: 'migrate' }, pod('migrate-abcde'), 'Job/migrate'],
    ['CronJob', { kind: 'Job', name: `backup-${minutes}` }, pod('backup-x'), 'CronJob/backup'],
    ['static pod', { kind: 'Node', name: 'node-a' }, pod('etcd-node-a'), 'StaticPod/etcd'],
    ['somebody’s own controller', { kind: 'CloneSet', name: 'c' }, pod('c-x'), 'CloneSet/c'],
    ['nobody', undefined, pod('debug', hashed), 'Pod/debug'],
  ];
  for (const [name, owner, entity, expected] of cases) {
    test(name, () => {
      const { kind, name: of } = workloadOfOwner(owner, entity, 'node-a');
      assert.equal(`${kind}/${of}`, expected);
    });
  }
});
