/**
 * One collection of a node, two ways into the same Prometheus: our own scrape endpoint, and our OTLP through a real OpenTelemetry
 * Collector's prometheusexporter. The series must be the same: names, labels and values.
 *
 * All of it lives in a test node: what is observed are that node's processes and seven namespaces made for this, whatever else the machine
 * is doing.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAgent } from '../bed/agent.ts';
import { waitFor } from '../bed/command.ts';
import { startNode, type TestNode } from '../bed/node.ts';
import { type Prometheus, type QueryResult, startPrometheus } from '../bed/prometheus.ts';
import { Collector, collectorBinary } from './collector-process.ts';

const binary = collectorBinary();
const namespaces = Array.from({ length: 7 }, (_, i) => `skl-${i + 1}`);
/** The last that a collection gives of the namespaces, which wait for a name, and of the node. */
const lastSources = ['procfs/tcpsummary', existsSync('/proc/pressure/cpu') ? 'procfs/psi' : 'procfs/io'];
const otlpPort = 4318;
const collectorPort = 9465;

/** Labels that say how a series came here, not what it is. */
const wayLabels = new Set([
  'job',
  'instance',
  '__name__',
  'otel_scope_name',
  'otel_scope_version',
  'otel_scope_schema_url',
]);
/** Of Prometheus itself, and what only the scrape endpoint says. */
const notCollected = /^(up|scrape_.*|target_info|skoop_source_.*)$/;

type Series = Map<string, number>;

/** `name{labels}` → value, without the labels of the way. */
function seriesOf(samples: Iterable<readonly [name: string, labels: Readonly<Record<string, string>>, value: number]>) {
  const out: Series = new Map();
  for (const [name, labels, value] of samples) {
    if (notCollected.test(name)) continue;
    const text = Object.entries(labels)
      .filter(([label]) => !wayLabels.has(label))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([label, of]) => `${label}="${of}"`);
    out.set(`${name}{${text.join(',')}}`, value);
  }
  return out;
}

const fromQuery = (result: readonly QueryResult[]) =>
  seriesOf(result.map(({ metric, value }) => [metric['__name__']!, metric, Number(value![1])] as const));

/** What differs, with the sizes and the first few series of each side; undefined when nothing does. */
function difference(expected: Series, seen: Series): string | undefined {
  const missing = [...expected.keys()].filter((s) => !seen.has(s));
  const surplus = [...seen.keys()].filter((s) => !expected.has(s));
  const altered = [...expected].filter(([s, value]) => seen.has(s) && !Object.is(seen.get(s), value));
  if (missing.length + surplus.length + altered.length === 0) return undefined;
  const few = (list: readonly string[]) => `${list.length}${list.length ? ` (${list.slice(0, 3).join(', ')})` : ''}`;
  const values = altered.map(([s, value]) => `${s} ${seen.get(s)} for ${value}`);
  return `${seen.size} series for ${expected.size}: missing ${few(missing)}, surplus ${few(surplus)}, altered ${few(values)}`;
}

/** Waits until the job's series are the expected ones; says what differs, and how the scrapes went, when they do not become it. */
async function arrived(prometheus: Prometheus, job: string, expected: Series): Promise<void> {
  await waitFor(`the series of ${job}`, async () => {
    const differs = difference(expected, fromQuery(await prometheus.query(`{job="${job}"}`)));
    if (differs === undefined) return true;
    const [target] = (await prometheus.targets()).filter((t) => t.labels['job'] === job);
    throw new Error(`${differs}; the target is ${target?.health} ${target?.lastError}`);
  });
}

async function makeNamespaces(node: TestNode): Promise<number[]> {
  const inodes: number[] = [];
  for (const name of namespaces) {
    const { code, stderr } = await node.run(['ip', 'netns', 'add', name]);
    assert.equal(code, 0, stderr);
    inodes.push(statSync(node.path(`/run/netns/${name}`)).ino);
  }
  return inodes;
}

const config = {
  // One collection only: both ways show the same moment.
  receivers: { procfs: { collection_interval: '1h', initial_delay: '0' } },
  processors: { netns: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464', resource_labels: ['*'], metric_expiration: '1h' },
    otlp: { endpoint: `http://127.0.0.1:${otlpPort}` },
  },
  service: {
    pipelines: { metrics: { receivers: ['procfs'], processors: ['netns'], exporters: ['prometheus', 'otlp'] } },
  },
};

const collectorConfig = {
  receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${otlpPort}` } } } },
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
};

test("Prometheus gets the same series from our scrape and from the Collector's of our OTLP", async (t) => {
  if ('whyNot' in binary) return t.skip(binary.whyNot);
  const folder = mkdtempSync(join(tmpdir(), 'skl-two-ways-'));
  const node = await startNode('node-1');
  try {
    const inodes = await makeNamespaces(node);
    await new Collector(binary.path, folder, collectorConfig, [otlpPort, collectorPort], node).start();
    const agent = await startAgent(node, config);
    const served = await agent.until('the whole collection', (samples) => {
      const sources = samples.flatMap((s) => s.labels['skoop_source'] ?? []);
      return lastSources.every((name) => sources.includes(name)) && samples;
    });
    const expected = seriesOf(served.map(({ name, labels, value }) => [name, labels, value] as const));

    // The namespaces are alike, so each has the same series; the node has more.
    const perNamespace = inodes.map((inode) => {
      const own = [...expected.keys()].filter((s) => s.includes(`skoop_netns_inode="${inode}"`));
      return own.map((s) => s.replace(/,?skoop_netns_(inode|name)="[^"]*"/g, '')).sort();
    });
    assert.ok(perNamespace[0]!.length > 100, `${perNamespace[0]!.length} series`);
    for (const series of perNamespace) assert.deepEqual(series, perNamespace[0]);
    const others = [...expected.keys()].filter((s) => s.includes('skoop_netns_inode=')).length;
    assert.equal(others, 7 * perNamespace[0]!.length, 'of namespaces that are not the node’s');

    const prometheus = await startPrometheus({
      node,
      scrapeConfigs: [
        { job_name: 'own', static_configs: [{ targets: ['127.0.0.1:9464'] }] },
        { job_name: 'collector', static_configs: [{ targets: [`127.0.0.1:${collectorPort}`] }] },
      ],
    });
    try {
      await arrived(prometheus, 'own', expected);
      await arrived(prometheus, 'collector', expected);
    } finally {
      await prometheus.stop();
    }
  } finally {
    await node.stop();
    rmSync(folder, { recursive: true });
  }
});
