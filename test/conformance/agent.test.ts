import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { components } from '../../components.ts';
import { unbalanced } from '../../pipeline/accounting.ts';
import { Agent } from '../../pipeline/agent.ts';
import { handles, settledHandles } from './handles.ts';

/** The whole agent on this very machine, with every component that can run without sending to anybody. */

const config = (directory: string) => `
receivers:
  procfs: { collection_interval: 1s }
  netlink: { collection_interval: 1s }
  cri: { collection_interval: 1s }
processors:
  memory_limiter: {}
  netns: {}
  pod: {}
  symbolize: {}
  filter: {}
  limit_series: {}
  batch: {}
exporters:
  prometheus: { endpoint: '127.0.0.1:0' }
  file: { path: ${directory}/events.log }
service:
  telemetry: { metrics: { address: '127.0.0.1:0' } }
  health: { address: '127.0.0.1:0' }
  pipelines:
    metrics:
      receivers: [procfs, netlink, cri]
      processors: [memory_limiter, netns, pod, filter, limit_series]
      exporters: [prometheus]
    logs:
      receivers: [netlink, cri]
      processors: [memory_limiter, netns, pod, symbolize, filter, batch]
      exporters: [file]
`;

async function agentIn(directory: string) {
  const file = join(directory, 'pipeline.yaml');
  writeFileSync(file, config(directory));
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const agent = await Agent.load({ file, registry: components, log, version: '0', env: {} });
  await agent.start();
  const value = (name: string) =>
    (agent.telemetry.read().find((r) => r.name === name)?.points ?? []).reduce((n, p) => n + p.value, 0);
  const sent = async (n: number) => {
    while (value('otelcol_exporter_sent_metric_points') < n) await new Promise((r) => setTimeout(r, 20));
  };
  return { agent, file, lines, value, sent };
}

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'skl-agent-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test('everything together: what was received was sent, dropped or is queued, at every component', async () => {
  using dir = folder();
  const { agent, value, sent } = await agentIn(dir.path);
  await sent(1);
  const once = value('otelcol_receiver_accepted_metric_points');
  await sent(once + 1);
  assert.deepEqual(unbalanced(agent.telemetry.read(), agent.engine.graph!, { sameGraph: true }), []);
  const { metrics } = agent.addresses;
  const page = await (await fetch(`http://${metrics}/metrics`)).text();
  assert.match(page, /^otelcol_exporter_sent_metric_points_total\{exporter="prometheus"\} [1-9]/m);
  await agent.stop();
  assert.deepEqual(unbalanced(agent.telemetry.read(), agent.engine.graph!, { sameGraph: true, flushed: true }), []);
});

test('started and stopped again and again, it leaves nothing open', async () => {
  using dir = folder();
  const round = async () => {
    const { agent, sent } = await agentIn(dir.path);
    await sent(1);
    await agent.stop();
  };
  await round();
  await settledHandles({}, 500);
  const before = handles();
  await round();
  await round();
  assert.deepEqual(await settledHandles(before), []);
});

test('a reload on the real thing replaces one processor and keeps the rest', async () => {
  using dir = folder();
  const { agent, file, lines, value, sent } = await agentIn(dir.path);
  await sent(1);
  const before = agent.engine.graph!;
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace('filter: {}', 'filter: { namespaces: { exclude: [nobody] } }'),
  );
  assert.equal(await agent.reload(), true, JSON.stringify(lines.at(-1)));
  const after = agent.engine.graph!;
  for (const [id, source] of before.sources) assert.equal(after.sources.get(id), source);
  for (const [id, sink] of before.sinks) assert.equal(after.sinks.get(id), sink);
  const replaced = [...after.stages].filter(([id, stage]) => before.stages.get(id) !== stage).map(([id]) => id);
  assert.deepEqual(replaced, ['metrics filter', 'logs filter']);
  await sent(value('otelcol_receiver_accepted_metric_points') + 1);
  await agent.stop();
  assert.deepEqual(unbalanced(agent.telemetry.read(), agent.engine.graph!, { flushed: true }), []);
});
