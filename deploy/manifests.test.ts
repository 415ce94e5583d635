/** The plain manifests: what is applied as it is must be what the chart promises. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { assertLeastPrivilege, assertPorts, chartValues, configOf, deployFolder, objectsOf, only } from './testing.ts';

const objects = objectsOf(readFileSync(`${deployFolder}/manifests/skoopline.yaml`, 'utf8'));
const daemonSet = only(objects, 'DaemonSet');
const pod = daemonSet.spec.template.spec;

test('the manifests are a service account without rights, a pipeline and a DaemonSet', () => {
  assert.deepEqual(
    objects.map((o) => `${o.kind} ${o.metadata.namespace}/${o.metadata.name}`),
    [
      'ServiceAccount kube-system/skoopline',
      'ConfigMap kube-system/skoopline-pipeline',
      'DaemonSet kube-system/skoopline',
    ],
  );
  assert.equal(only(objects, 'ServiceAccount').automountServiceAccountToken, false);
  assert.equal(pod.automountServiceAccountToken, false);
});

test('the DaemonSet has the capabilities that the chart lists and nothing else', () => {
  assertLeastPrivilege(daemonSet, chartValues().capabilities);
});

test('it runs on every node, and the selector finds its pods', () => {
  assert.deepEqual(pod.tolerations, [{ operator: 'Exists' }]);
  assert.equal(pod.priorityClassName, 'system-node-critical');
  const { labels } = daemonSet.spec.template.metadata;
  for (const [key, value] of Object.entries(daemonSet.spec.selector.matchLabels)) assert.equal(labels[key], value);
});

test('its pipeline is one that the agent takes, and its ports are where the probes look', async () => {
  const config = await configOf(only(objects, 'ConfigMap').data['pipeline.yaml']);
  assertPorts(daemonSet, config);
  assert.deepEqual([...config.receivers.keys()].sort(), ['cri', 'ebpf', 'netlink', 'procfs']);
  assert.deepEqual(config.pipelines.map((p) => [p.id, p.exporters.join()]).sort(), [
    ['logs', 'debug,page'],
    ['metrics', 'prometheus,page'],
  ]);
});

test('the pipeline is read from the folder of the ConfigMap, not from a file that would never change', () => {
  const [container] = pod.containers;
  assert.deepEqual(container.args, ['run', '--config', '/etc/skoopline/pipeline.yaml']);
  const mount = container.volumeMounts.find((m: { mountPath: string }) => m.mountPath === '/etc/skoopline');
  assert.deepEqual(mount, { name: 'pipeline', mountPath: '/etc/skoopline', readOnly: true });
});

test('the default pipeline of the chart has the components of pipeline.yaml', async () => {
  const shown = await configOf(readFileSync(`${deployFolder}/../pipeline.yaml`, 'utf8'));
  const charted = await configOf(only(objects, 'ConfigMap').data['pipeline.yaml']);
  const shape = (c: typeof shown) =>
    c.pipelines
      .map(({ id, receivers, processors, exporters }) => ({ id, receivers, processors, exporters }))
      .sort((a, b) => a.id.localeCompare(b.id));
  assert.deepEqual(shape(charted), shape(shown));
});
