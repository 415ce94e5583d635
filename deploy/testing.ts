/** What the tests of the chart, the manifests and the examples share: reading Kubernetes objects and judging a DaemonSet. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { components } from '../components.ts';
import { type AgentConfig, problemText, readConfig } from '../pipeline/config.ts';

// biome-ignore lint/suspicious/noExplicitAny: Kubernetes objects as they come; the assertions say what they must be.
export type KubernetesObject = any;

export const deployFolder = import.meta.dirname;

/** The objects of a file of YAML documents. */
export function objectsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text)
    .map((document) => {
      assert.deepEqual(document.errors, []);
      return document.toJS();
    })
    .filter((o) => o !== null);
}

/** The one object of a kind. */
export function only(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
  const found = objects.filter((o) => o.kind === kind);
  assert.equal(found.length, 1, `${found.length} objects of kind ${kind}`);
  return found[0];
}

/** Reads a pipeline as the agent would, warnings as errors; fails with the agent's own sentences. */
export async function configOf(text: string, env: Readonly<Record<string, string>> = {}): Promise<AgentConfig> {
  const options = { file: 'pipeline.yaml', registry: components, env: { NODE_NAME: 'n1', ...env }, strict: true };
  const result = await readConfig(text, options);
  assert.deepEqual(result.problems.map(problemText), []);
  assert.ok(result.ok);
  return result.config;
}

/** Values over values, as Helm lays them: maps are merged, everything else replaced, null removes. */
export function mergeValues(base: KubernetesObject, over: KubernetesObject): KubernetesObject {
  if (!isMap(base) || !isMap(over)) return over;
  const out = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete out[key];
    else out[key] = mergeValues(out[key], value);
  }
  return out;
}

const isMap = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);

/** The chart's default values. */
export function chartValues(): KubernetesObject {
  return parse(readFileSync(`${deployFolder}/helm/skoopline/values.yaml`, 'utf8'));
}

/** The pipeline that an example's values and the chart's make together, as text. */
export function examplePipeline(values: KubernetesObject): string {
  return stringify(mergeValues(chartValues(), values).pipeline);
}

/** What every DaemonSet of ours must be, whatever its values: least privilege, and what reading a node takes. */
export function assertLeastPrivilege(daemonSet: KubernetesObject, capabilities: readonly string[]): void {
  const pod = daemonSet.spec.template.spec;
  assert.deepEqual([pod.hostNetwork, pod.hostPID, pod.hostIPC], [true, true, undefined]);
  assert.equal(pod.dnsPolicy, 'ClusterFirstWithHostNet');
  assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault');
  assert.equal(pod.containers.length, 1);
  const [container] = pod.containers;
  assert.deepEqual(container.securityContext, {
    runAsUser: 0,
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: [...capabilities] },
  });
  const writable = container.volumeMounts.filter((m: KubernetesObject) => m.readOnly !== true);
  assert.deepEqual(
    writable.map((m: KubernetesObject) => m.mountPath).filter((p: string) => p !== '/var/lib/skoopline'),
    ['/tmp'],
    'what is writable',
  );
  const volumes = new Map(pod.volumes.map((v: KubernetesObject) => [v.name, v]));
  for (const mount of container.volumeMounts) assert.ok(volumes.has(mount.name), `volume ${mount.name}`);
  assert.equal(volumes.size, container.volumeMounts.length, 'no volume without a mount');
}

/** Probes and named ports that agree with what the pipeline listens on. */
export function assertPorts(daemonSet: KubernetesObject, config: AgentConfig): void {
  const [container] = daemonSet.spec.template.spec.containers;
  const port = (name: string) => container.ports.find((p: KubernetesObject) => p.name === name)?.containerPort;
  assert.equal(config.service.health.address, `0.0.0.0:${port('health')}`);
  assert.equal(config.service.telemetry.metrics.address, `0.0.0.0:${port('telemetry')}`);
  const scrape = config.exporters.get('prometheus')?.config as { endpoint: string } | undefined;
  if (scrape) assert.equal(scrape.endpoint, `0.0.0.0:${port('metrics')}`);
  assert.deepEqual(container.readinessProbe.httpGet, { path: '/readyz', port: 'health' });
  assert.deepEqual(container.livenessProbe.httpGet, { path: '/healthz', port: 'health' });
}

const ignored = () => new Set(readFileSync(`${deployFolder}/../.dockerignore`, 'utf8').split('\n').filter(Boolean));

/**
 * The build stage of the Dockerfile in a folder of its own: the working copy less what .dockerignore names, the packages and objects that
 * are here, `tools/build.ts`. Afterwards `work`/dist, package.json and node_modules are what the image has in /opt/skoopline.
 */
export function buildAsImage(work: string): string {
  const root = dirname(deployFolder);
  const leave = ignored();
  for (const name of readdirSync(root)) {
    if (!leave.has(name)) cpSync(`${root}/${name}`, `${work}/${name}`, { recursive: true });
  }
  cpSync(`${root}/.output/bpf`, `${work}/.output/bpf`, { recursive: true });
  symlinkSync(`${root}/node_modules`, `${work}/node_modules`);
  const PATH = `${root}/node_modules/.bin:${dirname(process.execPath)}:${process.env['PATH']}`;
  return execFileSync(process.execPath, ['tools/build.ts'], { cwd: work, encoding: 'utf8', env: { PATH } });
}
