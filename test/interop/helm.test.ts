/** The chart through the real Helm: linted, rendered, refused where it must be, and the plain manifests no other than what it renders. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import {
  assertLeastPrivilege,
  assertPorts,
  chartValues,
  configOf,
  deployFolder,
  type KubernetesObject,
  objectsOf,
  only,
} from '../../deploy/testing.ts';

const root = `${import.meta.dirname}/../..`;
const chart = `${deployFolder}/helm/skoopline`;
const found = spawnSync(`${root}/tools/setup/helm.sh`, { encoding: 'utf8', timeout: 600_000 });
const helm = found.stdout.trim();
const skip = found.status === 0 ? false : found.stderr.trim().split('\n').at(-1)!;
const env = { OTLP_ENDPOINT: 'https://otlp.example.com', OTLP_TOKEN: 'secret' };

const template = (args: readonly string[] = [], kubeVersion = '1.31.0') => {
  const command = ['template', 'skoopline', chart, '-n', 'kube-system', '--kube-version', kubeVersion, ...args];
  return spawnSync(helm, command, { encoding: 'utf8' });
};
const rendered = (args: readonly string[] = [], kubeVersion?: string): KubernetesObject[] => {
  const { status, stdout, stderr } = template(args, kubeVersion);
  assert.equal(status, 0, stderr);
  return objectsOf(stdout);
};

describe('the chart', { skip }, () => {
  const all = ['-f', `${chart}/ci/all-values.yaml`];

  test('passes helm lint, with the default values and with every option', () => {
    for (const args of [[], all]) {
      const { status, stdout } = spawnSync(helm, ['lint', '--strict', chart, ...args], { encoding: 'utf8' });
      assert.equal(status, 0, stdout);
      assert.match(stdout, /1 chart\(s\) linted, 0 chart\(s\) failed/);
    }
  });

  test('without k8s.enabled there is no token, no right and no way to the API server', () => {
    const objects = rendered(['-f', `${chart}/ci/all-values.yaml`, '--set', 'k8s.enabled=false']);
    const kinds = objects.map((o) => o.kind);
    assert.equal(kinds.includes('ClusterRole') || kinds.includes('ClusterRoleBinding'), false);
    const { spec } = only(objects, 'DaemonSet').spec.template;
    assert.equal(spec.automountServiceAccountToken, false);
    assert.equal(
      spec.volumes.some((v: KubernetesObject) => v.name === 'api'),
      false,
    );
    assert.equal(/k8s/.test(only(objects, 'ConfigMap').data['pipeline.yaml']), false);
    assert.equal(only(objects, 'NetworkPolicy').spec.egress.length, 1);
  });

  test('renders with every option: disk queue, certificates, token, PodMonitor, NetworkPolicy', async () => {
    const objects = rendered(all);
    assert.deepEqual(objects.map((o) => o.kind).sort(), [
      'ClusterRole',
      'ClusterRoleBinding',
      'ConfigMap',
      'DaemonSet',
      'NetworkPolicy',
      'PodMonitor',
      'ServiceAccount',
    ]);
    const daemonSet = only(objects, 'DaemonSet');
    assertLeastPrivilege(daemonSet, chartValues().capabilities);
    assertPorts(daemonSet, await configOf(only(objects, 'ConfigMap').data['pipeline.yaml']));
    const { spec, metadata } = daemonSet.spec.template;
    assert.equal(
      spec.automountServiceAccountToken,
      false,
      'its place below /var/run is in the read-only /run of the node',
    );
    assert.equal(spec.priorityClassName, undefined);
    assert.equal(spec.containers[0].image, 'registry.example/team/skoopline:1.2.3');
    assert.deepEqual([metadata.labels.team, metadata.annotations['example.org/team']], ['net', 'net']);
    assert.deepEqual(
      spec.containers[0].env.map((e: KubernetesObject) => e.name),
      ['NODE_NAME', 'TOKEN'],
    );
    const queue = spec.volumes.find((v: KubernetesObject) => v.name === 'queue');
    assert.deepEqual(queue.hostPath, { path: '/var/lib/skoopline-queue', type: 'DirectoryOrCreate' });
    const ports = new Set(spec.containers[0].ports.map((p: KubernetesObject) => p.name));
    const monitored = only(objects, 'PodMonitor').spec.podMetricsEndpoints;
    assert.deepEqual(
      monitored.map((e: KubernetesObject) => e.port),
      ['metrics', 'telemetry'],
    );
    for (const { port } of monitored) assert.ok(ports.has(port), port);
    assert.equal(monitored[0].honorLabels, true);
    assert.deepEqual(only(objects, 'ClusterRole').rules, [
      { apiGroups: [''], resources: ['pods', 'services', 'nodes'], verbs: ['list', 'watch'] },
    ]);
    const api = spec.volumes.find((v: KubernetesObject) => v.name === 'api');
    assert.deepEqual(
      api.projected.sources.map((source: KubernetesObject) => Object.keys(source)[0]),
      ['serviceAccountToken', 'configMap'],
    );
    const mounted = spec.containers[0].volumeMounts.find((m: KubernetesObject) => m.name === 'api');
    const config = await configOf(only(objects, 'ConfigMap').data['pipeline.yaml']);
    const asked = config.receivers.get('k8s')?.config as { service_account: string; max_peers: number };
    assert.deepEqual([asked.service_account, asked.max_peers], [mounted.mountPath, 5000]);
    for (const { receivers } of config.pipelines) assert.ok(receivers.includes('k8s'));
    const policy = only(objects, 'NetworkPolicy').spec;
    assert.deepEqual(policy.policyTypes, ['Ingress', 'Egress']);
    assert.deepEqual(
      policy.egress.map((rule: KubernetesObject) => rule.ports.map((p: KubernetesObject) => p.port)),
      [[4318], [443, 6443]],
    );
  });

  test('says AppArmor in the words of the Kubernetes it is for', () => {
    const podOf = (version: string) => only(rendered([], version), 'DaemonSet').spec.template;
    const now = podOf('1.31.0');
    assert.equal(now.spec.securityContext.appArmorProfile.type, 'Unconfined');
    assert.equal(now.metadata.annotations, undefined);
    const before = podOf('1.29.0');
    assert.equal(before.spec.securityContext.appArmorProfile, undefined);
    const key = 'container.apparmor.security.beta.kubernetes.io/skoopline';
    assert.deepEqual(before.metadata.annotations, { [key]: 'unconfined' });
  });

  for (const path of globSync(`${deployFolder}/examples/*.yaml`)) {
    const name = path.split('/').at(-1)!;
    if (name === 'sidecar.yaml') continue;
    test(`renders deploy/examples/${name} to a pipeline that the agent takes`, async () => {
      const objects = rendered(['-f', path]);
      const config = await configOf(only(objects, 'ConfigMap').data['pipeline.yaml'], env);
      assertPorts(only(objects, 'DaemonSet'), config);
    });
  }

  test('takes the commands of the guides', () => {
    const pages = globSync(`${root}/docs/*.md`).map((p) => readFileSync(p, 'utf8'));
    const commands = pages.flatMap((text) =>
      Array.from(text.matchAll(/^helm (?:install|upgrade) (skoopline .*)$/gm), (m) => m[1]!),
    );
    assert.ok(commands.length >= 3, commands.join('\n'));
    for (const line of commands) {
      // What a cluster is needed for is left out.
      const args = line.replace(' --reuse-values', '').split(' ');
      const { status, stderr } = spawnSync(helm, ['template', '--kube-version', '1.31.0', ...args], {
        cwd: root,
        encoding: 'utf8',
      });
      assert.equal(status, 0, `helm template ${args.join(' ')}: ${stderr}`);
    }
  });

  const wrong: readonly (readonly [string, RegExp])[] = [
    ['ports.metrics=0', /ports[./]metrics/],
    ['image.pullPolicy=Sometimes', /image[./]pullPolicy/],
    ['image.repo=x', /repo/],
    ['capabilities={CAP_BPF}', /capabilities/],
    ['capabilities={ALL}', /capabilities/],
    ['queue.hostPath=relative', /queue[./]hostPath/],
    ['tolerations=none', /tolerations/],
    ['replicas=3', /replicas/],
  ];
  for (const [set, message] of wrong) {
    test(`refuses ${set}`, () => {
      const { status, stderr } = template(['--set', set]);
      assert.equal(status, 1);
      assert.match(stderr, /values don't meet the specifications of the schema/);
      assert.match(stderr, message);
    });
  }

  test('renders what deploy/manifests holds', () => {
    const said = spawnSync(process.execPath, ['tools/gen-manifests.ts', '--check'], { cwd: root, encoding: 'utf8' });
    assert.equal(said.status, 0, said.stdout);
    assert.equal(said.stdout, '', 'compared, and equal');
  });
});
