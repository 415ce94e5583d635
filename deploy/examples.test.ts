/** Each example is one that the agent takes, laid over the chart's values as Helm does it. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { configOf, deployFolder, examplePipeline, objectsOf, only } from './testing.ts';

const env = { OTLP_ENDPOINT: 'https://otlp.example.com', OTLP_TOKEN: 'secret' };
const pipelineOf = (name: string) => {
  const values = parse(readFileSync(`${deployFolder}/examples/${name}.yaml`, 'utf8'));
  return configOf(examplePipeline(values), env);
};

const goals: Readonly<Record<string, { metrics: string; logs: string }>> = {
  'gateway-collector': { metrics: 'otlp,page', logs: 'otlp,page' },
  'prometheus-loki': { metrics: 'prometheus,page', logs: 'loki,debug,page' },
  'otlp-backend': { metrics: 'otlp,page', logs: 'otlp,page' },
};

for (const [name, wanted] of Object.entries(goals)) {
  test(`${name} sends metrics to ${wanted.metrics} and events to ${wanted.logs}`, async () => {
    const config = await pipelineOf(name);
    const sent = Object.fromEntries(config.pipelines.map((p) => [p.id, p.exporters.join()]));
    assert.deepEqual(sent, wanted);
    const used = new Set(config.pipelines.flatMap((p) => p.exporters));
    assert.deepEqual([...config.exporters.keys()].sort(), [...used].sort(), 'no exporter that nothing uses');
  });
}

test('the token of the OTLP backend comes from a Secret and is in no ConfigMap', async () => {
  const text = readFileSync(`${deployFolder}/examples/otlp-backend.yaml`, 'utf8');
  const values = parse(text);
  assert.deepEqual(
    values.env.map((e: { name: string; valueFrom: object }) => [e.name, Object.keys(e.valueFrom)]),
    [
      ['OTLP_ENDPOINT', ['secretKeyRef']],
      ['OTLP_TOKEN', ['secretKeyRef']],
    ],
  );
  const config = await pipelineOf('otlp-backend');
  const { headers } = config.exporters.get('otlp')!.config as { headers: Record<string, string> };
  assert.equal(headers['authorization'], 'Bearer secret');
});

test('the sidecar has no rights, no token and a pipeline that asks no runtime', async () => {
  const objects = objectsOf(readFileSync(`${deployFolder}/examples/sidecar.yaml`, 'utf8'));
  const { spec } = only(objects, 'Pod');
  assert.equal(spec.automountServiceAccountToken, false);
  const agent = spec.containers.find((c: { name: string }) => c.name === 'skoopline');
  assert.deepEqual(agent.securityContext.capabilities, { drop: ['ALL'] });
  assert.deepEqual([agent.securityContext.runAsNonRoot, agent.securityContext.readOnlyRootFilesystem], [true, true]);
  const config = await configOf(only(objects, 'ConfigMap').data['pipeline.yaml']);
  assert.equal((config.receivers.get('cri')!.config as { mode: string }).mode, 'sidecar');
  assert.equal(config.receivers.has('ebpf'), false);
});

test('every example is tested', () => {
  const files = globSync('*.yaml', { cwd: `${deployFolder}/examples` }).map((f) => f.replace(/\.yaml$/, ''));
  assert.deepEqual(files.sort(), [...Object.keys(goals), 'sidecar'].sort());
});
