/**
 * One collection of this machine, two ways into the same Prometheus: our own scrape endpoint, and our OTLP through a real OpenTelemetry
 * Collector's prometheusexporter. The series must be the same: names, labels and values.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { waitFor } from '../bed/command.ts';
import { startNetns } from '../bed/netns.ts';
import { type QueryResult, startPrometheus } from '../bed/prometheus.ts';
import { Collector, collectorBinary, freePorts } from './collector-process.ts';

const root = join(import.meta.dirname, '../..');
const binary = collectorBinary();

/** Labels that say how a series came here, not what it is. */
const wayLabels = new Set([
  'job',
  'instance',
  '__name__',
  'otel_scope_name',
  'otel_scope_version',
  'otel_scope_schema_url',
]);

/** `name{labels}` → value, without the labels of the way. */
function seriesOf(result: readonly QueryResult[]): Map<string, string> {
  const out = new Map<string, string>();
  for (const { metric, value } of result) {
    if (!value) continue;
    const labels = Object.entries(metric)
      .filter(([name]) => !wayLabels.has(name))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, text]) => `${name}="${text}"`);
    out.set(`${metric['__name__']}{${labels.join(',')}}`, value[1]);
  }
  return out;
}

test("Prometheus gets the same series from our scrape and from the Collector's of our OTLP", async (t) => {
  if ('whyNot' in binary) return t.skip(binary.whyNot);
  const folder = mkdtempSync(join(tmpdir(), 'skl-two-ways-'));
  const [otlp = 0, collectorPort = 0, ownPort = 0, prometheusPort = 0] = await freePorts(4);
  const config = {
    // One collection only: both ways show the same moment.
    receivers: { procfs: { collection_interval: '1h', initial_delay: '0' } },
    processors: { netns: {} },
    exporters: {
      prometheus: { endpoint: `127.0.0.1:${ownPort}`, resource_labels: ['*'], metric_expiration: '1h' },
      otlp: { endpoint: `http://127.0.0.1:${otlp}` },
    },
    service: {
      node_name: 'node-1',
      telemetry: { metrics: { address: 'localhost:0' } },
      health: { address: 'localhost:0' },
      pipelines: { metrics: { receivers: ['procfs'], processors: ['netns'], exporters: ['prometheus', 'otlp'] } },
    },
  };
  writeFileSync(join(folder, 'pipeline.yaml'), JSON.stringify(config));
  await using other = await startNetns('other');
  const collector = new Collector(
    binary.path,
    folder,
    {
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${otlp}` } } } },
      exporters: {
        prometheus: {
          endpoint: `127.0.0.1:${collectorPort}`,
          resource_to_telemetry_conversion: { enabled: true },
          metric_expiration: '1h',
        },
      },
      service: {
        pipelines: { metrics: { receivers: ['otlp'], exporters: ['prometheus'] } },
        telemetry: { metrics: { level: 'none' } },
      },
    },
    [otlp, collectorPort],
  );
  await collector.start();
  const agent = spawn(process.execPath, [join(root, 'cli/main.ts'), 'run', '--config', join(folder, 'pipeline.yaml')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const prometheus = await startPrometheus({
    port: prometheusPort,
    // Some ten thousand series where many tests run at once: a scrape may take its time.
    scrapeInterval: '5s',
    scrapeConfigs: [
      { job_name: 'own', static_configs: [{ targets: [`127.0.0.1:${ownPort}`] }], honor_labels: false },
      { job_name: 'collector', static_configs: [{ targets: [`127.0.0.1:${collectorPort}`] }], honor_labels: false },
    ],
  });
  try {
    const selector = (job: string) => `{job="${job}",__name__!~"up|scrape_.*|target_info|skoop_source_.*"}`;
    const arrived = async () => {
      const own = seriesOf(await prometheus.query(selector('own')));
      const theirs = seriesOf(await prometheus.query(selector('collector')));
      return own.size > 300 && own.size === theirs.size && { own, theirs };
    };
    const both = await waitFor('both ways to have arrived', arrived, { timeoutMs: 120_000 });
    assert.deepEqual([...both.theirs.keys()].sort(), [...both.own.keys()].sort());
    for (const [series, value] of both.own) assert.equal(both.theirs.get(series), value, series);
    assert.ok([...both.own.keys()].some((s) => s.includes(`skoop_netns_inode="${other.inode}"`)));
  } finally {
    agent.kill('SIGTERM');
    await prometheus.stop();
    await collector.stop();
    rmSync(folder, { recursive: true });
  }
});
