import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { Agent, ConfigError } from './agent.ts';
import type { ComponentRegistry } from './component.ts';
import { makeParts, points } from './testing/parts.ts';
import { registry as brokenRegistry } from './testing/registry.ts';

const config = (extra = '') => `
receivers: { source: {} }
processors: { stage: {} }
exporters: { sink: {} }
service:
  node_name: node-7
  telemetry: { metrics: { address: 'localhost:0' } }
  health: { address: 'localhost:0' }
${extra}
  pipelines:
    metrics: { receivers: [source], processors: [stage], exporters: [sink] }
`;

async function started(text: string, registry: ComponentRegistry) {
  const dir = mkdtempSync(join(tmpdir(), 'skl-agent-'));
  const file = join(dir, 'pipeline.yaml');
  writeFileSync(file, text);
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null, timestamp: false }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const env = { TEST_SECRET: 's3cret', TEST_NUMBER: '0123' };
  const agent = await Agent.load({ file, registry, log, version: '1.2.3', env });
  await agent.start();
  const get = async (which: 'metrics' | 'health', path: string, method = 'GET') => {
    const response = await fetch(`http://${agent.addresses[which]}${path}`, { method });
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  return {
    agent,
    file,
    lines,
    get,
    async [Symbol.asyncDispose]() {
      await agent.stop(AbortSignal.abort());
      rmSync(dir, { recursive: true });
    },
  };
}

const sample = (text: string, series: string) =>
  text
    .split('\n')
    .find((l) => l.startsWith(`${series} `))
    ?.split(' ')[1];

test('the own metrics tell what flows, in Prometheus text', async () => {
  const parts = makeParts();
  await using run = await started(config(), parts.registry);
  parts.emit('source', points(17));
  const { status, type, text } = await run.get('metrics', '/metrics');
  assert.equal(status, 200);
  assert.equal(type, 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(sample(text, 'otelcol_receiver_accepted_metric_points_total{receiver="source"}'), '17');
  const at = 'processor="stage",pipeline="metrics",otel_signal="metrics"';
  assert.equal(sample(text, `otelcol_processor_incoming_items_total{${at}}`), '17');
  assert.equal(sample(text, `otelcol_processor_outgoing_items_total{${at}}`), '17');
  assert.equal(sample(text, 'otelcol_exporter_sent_metric_points_total{exporter="sink"}'), '17');
  assert.equal(sample(text, 'otelcol_exporter_queue_size{exporter="sink"}'), '0');
  assert.equal(sample(text, 'otelcol_component_state{kind="receiver",component="source",state="running"}'), '1');
  assert.equal(sample(text, 'otelcol_config_last_reload_successful'), '1');
  assert.ok(Number(sample(text, 'otelcol_process_memory_rss')) > 10e6);
  assert.ok(Number(sample(text, 'otelcol_process_cpu_seconds_total')) > 0);
  assert.ok(Number(sample(text, 'otelcol_process_uptime_total')) > 0);
  assert.ok(Number(sample(text, 'nodejs_eventloop_delay_max')) >= 0);
  assert.match(text, /^target_info\{service_name="skoopline",service_version="1\.2\.3",k8s_node_name="node-7"\} 1$/m);
  const names = text
    .split('\n')
    .filter((l) => l.startsWith('# TYPE '))
    .map((l) => l.split(' ')[2]);
  assert.deepEqual(names, [...new Set(names)], 'each family once');
});

test('the health page tells each component; only GET and HEAD, only what there is', async () => {
  const parts = makeParts();
  await using run = await started(config(), parts.registry);
  const ready = await run.get('health', '/readyz');
  assert.equal(ready.status, 200);
  const page = JSON.parse(ready.text);
  assert.equal(page.status, 'running');
  assert.deepEqual(page.components, [
    { kind: 'exporter', id: 'sink', state: 'running' },
    { kind: 'processor', id: 'stage', pipeline: 'metrics', state: 'running' },
    { kind: 'receiver', id: 'source', state: 'running' },
  ]);
  parts.fail('source', new Error('The socket is gone.'));
  const degraded = JSON.parse((await run.get('health', '/readyz')).text);
  assert.equal(degraded.status, 'degraded');
  const receiver = degraded.components.find((c: { kind: string }) => c.kind === 'receiver');
  assert.equal(receiver.state, 'failed');
  assert.equal(receiver.reason, 'The socket is gone.');
  assert.ok(Date.parse(receiver.retryAt) > Date.now() - 1000);
  assert.equal((await run.get('health', '/healthz')).status, 200);
  assert.equal((await run.get('health', '/nothing')).status, 404);
  assert.equal((await run.get('health', '/constructor')).status, 404);
  assert.equal((await run.get('health', '/healthz', 'POST')).status, 405);
  assert.deepEqual(await run.get('health', '/healthz', 'HEAD').then(({ status, text }) => [status, text]), [200, '']);
});

test('reload with every broken config leaves the running pipeline as it was, and says so', async () => {
  const text = `
receivers: { ebpf: {} }
exporters: { otlp: { endpoint: 'http://c:4318' } }
service:
  telemetry: { metrics: { address: 'localhost:0' } }
  health: { address: 'localhost:0' }
  pipelines: { metrics: { receivers: [ebpf], exporters: [otlp] } }
`;
  await using run = await started(text, brokenRegistry);
  const before = run.agent.engine.graph;
  const { addresses } = run.agent;
  const broken = new URL('./testdata/broken/', import.meta.url);
  const files = readdirSync(broken).filter((f) => f.endsWith('.yaml') && f !== 'unused.yaml');
  for (const [i, file] of files.entries()) {
    writeFileSync(run.file, readFileSync(new URL(file, broken)));
    assert.equal(await run.agent.reload(), false, file);
    assert.equal(run.agent.engine.graph, before, file);
    const expected = readFileSync(new URL(file.replace('.yaml', '.expected'), broken), 'utf8')
      .trimEnd()
      .split('\n');
    const told = run.lines.at(-1)!['problems'] as string[];
    assert.deepEqual(
      told.map((l) => l.slice(l.indexOf('.yaml:'))),
      expected.map((l) => l.slice(l.indexOf('.yaml:'))),
    );
    if (i > 0) continue;
    const metrics = (await run.get('metrics', '/metrics')).text;
    assert.equal(sample(metrics, 'otelcol_config_last_reload_successful'), '0');
    assert.equal(sample(metrics, 'otelcol_config_reloads_total{result="failure"}'), '1');
  }
  assert.deepEqual(run.agent.addresses, addresses);
  rmSync(run.file);
  assert.equal(await run.agent.reload(), false);
  assert.match(String(run.lines.at(-1)!['error']), /there is no such file/);
  writeFileSync(run.file, text);
  assert.equal(await run.agent.reload(), true);
  assert.equal(run.agent.engine.graph?.sinks.get('otlp'), before?.sinks.get('otlp'));
  const metrics = (await run.get('metrics', '/metrics')).text;
  assert.equal(sample(metrics, 'otelcol_config_last_reload_successful'), '1');
});

test('a change of the file is taken by itself', async () => {
  const parts = makeParts();
  await using run = await started(config(), parts.registry);
  const hash = run.agent.config.hash;
  writeFileSync(run.file, config().replace('stage: {}', 'stage: { mark: x }'));
  while (run.agent.config.hash === hash) await new Promise((r) => setTimeout(r, 20));
  assert.deepEqual(parts.events.filter((e) => e === 'create processor stage').length, 2);
  assert.deepEqual(parts.events.filter((e) => e === 'subscribe source').length, 1);
});

test('own endpoints move with the config, and stay where the new place is taken', async () => {
  const parts = makeParts();
  await using run = await started(config(), parts.registry);
  const first = run.agent.addresses;
  writeFileSync(
    run.file,
    config().replace("metrics: { address: 'localhost:0' }", "metrics: { address: '127.0.0.1:0' }"),
  );
  assert.equal(await run.agent.reload(), true);
  assert.notEqual(run.agent.addresses.metrics, first.metrics);
  assert.equal(run.agent.addresses.health, first.health);
  await assert.rejects(fetch(`http://${first.metrics}/metrics`));

  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const { metrics } = run.agent.addresses;
  writeFileSync(
    run.file,
    config().replace("metrics: { address: 'localhost:0' }", `metrics: { address: '127.0.0.1:${port}' }`),
  );
  assert.equal(await run.agent.reload(), false);
  assert.equal(run.agent.addresses.metrics, metrics);
  assert.equal((await run.get('metrics', '/metrics')).status, 200);
  taken.close();

  writeFileSync(run.file, config().replace("metrics: { address: 'localhost:0' }", 'metrics: { level: none }'));
  assert.equal(await run.agent.reload(), true);
  assert.equal(run.agent.addresses.metrics, undefined);
});

test('a start that is refused says why in one sentence and leaves nothing listening', async () => {
  const parts = makeParts();
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const text = config().replace("health: { address: 'localhost:0' }", `health: { address: '127.0.0.1:${port}' }`);
  await assert.rejects(started(text, parts.registry), {
    message: `Cannot serve health on 127.0.0.1:${port}: the address is in use.`,
  });
  taken.close();
  assert.deepEqual(parts.events, []);
  await assert.rejects(
    started('receivers: {}', parts.registry),
    (error) => error instanceof ConfigError && error.problems.length === 1,
  );
});

test('detailed telemetry has garbage collection and heap', async () => {
  const parts = makeParts();
  const text = config().replace(
    "metrics: { address: 'localhost:0' }",
    "metrics: { address: 'localhost:0', level: detailed }",
  );
  await using run = await started(text, parts.registry);
  let page = '';
  while (!page.includes('v8js_gc_duration_count')) {
    for (let i = 0; i < 100; i++) points(1000);
    page = (await run.get('metrics', '/metrics')).text;
  }
  assert.match(page, /^v8js_memory_heap_used\{v8js_heap_space_name="new_space"\} \d+$/m);
  assert.match(page, /^# TYPE v8js_gc_duration histogram$/m);
});
