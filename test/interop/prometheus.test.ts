/**
 * The Prometheus exporter alone, scraped by a real Prometheus over the loopback in every format it can ask for: the numbers that queries
 * give are the numbers that were exported.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import declaration from '../../exporters/prometheus/index.ts';
import { type MetricsBatch, makeSchema, type Resource } from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { Exporter } from '../../pipeline/component.ts';
import { testContext } from '../../pipeline/testing.ts';
import { waitFor } from '../bed/command.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';

const m = defineMetrics({
  'system.network.io': { instrument: 'counter', unit: 'By', description: 'Bytes.', source: 't', scope: 'netns' },
  'skoop.test.ratio': { instrument: 'gauge', unit: '1', description: 'Share.', source: 't', scope: 'netns' },
  'skoop.test.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Waiting, "quoted" \\ and\nbroken.',
    source: 't',
    scope: 'netns',
    histogram: { scale: 0, offset: -21, buckets: 24 },
  },
  // Bounds of 2^(k/2), large ones too: what Prometheus makes of them as `le` is its own business.
  'skoop.test.size': {
    instrument: 'histogram',
    unit: 'By',
    description: 'Sizes.',
    source: 't',
    scope: 'netns',
    histogram: { scale: 1, offset: 30, buckets: 16 },
  },
});

const schema = makeSchema([
  {
    metric: m['system.network.io'],
    attributes: { 'network.interface.name': 'eth"0\\\n', 'network.io.direction': 'receive' },
  },
  { metric: m['skoop.test.ratio'] },
  { metric: m['skoop.test.wait'], attributes: { op: 'read' } },
  { metric: m['skoop.test.size'] },
]);
const waits = Array.from({ length: 24 }, (_, i) => (i % 3 === 0 ? 0 : (i * 7) % 11));
const sizes = Array.from({ length: 16 }, (_, i) => i + 1);
const zeros = 5;
const waitCount = zeros + waits.reduce((a, b) => a + b, 0);
const sizeCount = sizes.reduce((a, b) => a + b, 0);

const podResource = (name: string): Resource => ({
  attributes: {
    'k8s.node.name': 'node-1',
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': name,
    'k8s.pod.uid': `uid-${name}`,
  },
});
const pods = new Map(['web-0', 'web-1', 'ünï-2'].map((name) => [name, podResource(name)]));

function batch(names: readonly string[]): MetricsBatch {
  return {
    kind: 'metrics',
    source: 'test/all',
    scope: { name: 'test' },
    snapshots: names.map((name, i) => ({
      owner: { netns: 100 + i },
      resource: pods.get(name)!,
      startTimeMs: Date.now() - 60_000,
      timeMs: Date.now(),
      schema,
      values: Float64Array.from([
        ...[2 ** 53 - i, i + 0.1 + 0.2],
        ...[waitCount, 12.25 + i, zeros, ...waits],
        ...[sizeCount, 1e9, 0, ...sizes],
      ]),
    })),
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The formats, by the job that scrapes each. */
const jobs = {
  text: { enable_open_metrics: false, native_histograms: false },
  openmetrics: { native_histograms: false },
  native: {},
} as const;
type Job = keyof typeof jobs;

describe('a real Prometheus and this exporter', () => {
  const exporters = new Map<Job, Exporter & { readonly port?: number | undefined }>();
  let prometheus: Prometheus;
  const push = async (names: readonly string[]) => {
    for (const e of exporters.values()) await e.push(batch(names), new AbortController().signal);
  };
  const number = (expression: string) => prometheus.number(expression);

  before(async () => {
    for (const [job, options] of Object.entries(jobs)) {
      const config = declaration.config.parse({ endpoint: '127.0.0.1:0', ...options });
      const exporter = declaration.create(config, { ...testContext(), clock: systemClock });
      await exporter.start?.();
      exporters.set(job as Job, exporter);
    }
    await push([...pods.keys()]);
    prometheus = await startPrometheus({
      port: await freePort(),
      scrapeInterval: '1s',
      flags: ['--enable-feature=native-histograms'],
      scrapeConfigs: Array.from(exporters, ([job, e]) => ({
        job_name: job,
        static_configs: [{ targets: [`127.0.0.1:${e.port}`] }],
      })),
    });
    await waitFor('three targets to be up', async () => (await number('sum(up)')) === 3);
  });
  after(async () => {
    await prometheus?.stop();
    for (const e of exporters.values()) await e.stop?.(AbortSignal.abort());
  });

  it('has no complaint about any format', async () => {
    for (const target of await prometheus.targets()) assert.equal(target.lastError, '', target.labels['job']);
    assert.doesNotMatch(prometheus.log(), /level=(warn|error)/);
  });

  for (const job of Object.keys(jobs) as Job[]) {
    it(`reads the very numbers and labels from ${job}`, async () => {
      for (const [i, pod] of [...pods.keys()].entries()) {
        const of = `{job="${job}",k8s_pod_name="${pod}",k8s_namespace_name="shop",k8s_node_name="node-1"}`;
        assert.equal(await number(`skoop_test_ratio${of}`), i + 0.1 + 0.2);
        const [io] = await prometheus.query(`system_network_io_bytes_total${of}`);
        assert.equal(Number(io?.value?.[1]), 2 ** 53 - i);
        assert.equal(io?.metric['network_interface_name'], 'eth"0\\\n');
        assert.equal(io?.metric['network_io_direction'], 'receive');
      }
      assert.equal(await number(`count(target_info{job="${job}",k8s_pod_uid=~"uid-.*"})`), 3);
      const joined = 'on(job, k8s_node_name, k8s_namespace_name, k8s_pod_name) group_left(k8s_pod_uid) target_info';
      const [row] = await prometheus.query(`skoop_test_ratio{job="${job}",k8s_pod_name="web-1"} * ${joined}`);
      assert.equal(row?.metric['k8s_pod_uid'], 'uid-web-1');
      const age = await number(`time() - skoop_source_collection_timestamp_seconds{job="${job}"}`);
      assert.ok(age >= 0 && age < 60, `${age} s old`);
    });
  }

  it('has the same classic buckets from text and OpenMetrics, and the sums of the data', async () => {
    for (const [name, counts, zero] of [
      ['skoop_test_wait_seconds', waits, zeros],
      ['skoop_test_size_bytes', sizes, 0],
    ] as const) {
      const bounds = async (job: Job) =>
        (await prometheus.query(`${name}_bucket{job="${job}",k8s_pod_name="web-0"}`))
          .map((r) => [r.metric['le'] ?? '', Number(r.value?.[1])] as const)
          .sort((a, b) => Number(a[0].replace('+Inf', 'Infinity')) - Number(b[0].replace('+Inf', 'Infinity')));
      const text = await bounds('text');
      assert.deepEqual(await bounds('openmetrics'), text);
      let below: number = zero;
      const expected = [below, ...counts.map((n) => (below += n)), below];
      assert.deepEqual(
        text.map(([, n]) => n),
        expected,
      );
      assert.equal(text.at(-1)?.[0], '+Inf');
    }
    assert.equal(await number('skoop_test_wait_seconds_sum{job="text",k8s_pod_name="web-1"}'), 13.25);
  });

  it('has native histograms, with every bucket, from the protobuf format', async () => {
    const of = '{job="native",k8s_pod_name="web-0"}';
    assert.equal(await number(`histogram_count(skoop_test_wait_seconds${of})`), waitCount);
    assert.equal(await number(`histogram_sum(skoop_test_wait_seconds${of})`), 12.25);
    // Bucket bounds of schema 0 are powers of two: shares at them are exact.
    for (const k of [3, 8, 20]) {
      const below = zeros + waits.slice(0, k).reduce((a, b) => a + b, 0);
      const share = await number(`histogram_fraction(0, ${2 ** (k - 21)}, skoop_test_wait_seconds${of})`);
      // Half of the zero bucket lies above zero for Prometheus, since it might hold negative values.
      assert.ok(Math.abs(share * waitCount - below) <= zeros + 1e-6, `${share * waitCount} is about ${below}`);
    }
    const [result] = await prometheus.query(`skoop_test_size_bytes${of}`);
    assert.ok(result?.histogram);
    const { buckets } = result.histogram[1] as { buckets: [number, string, string, string][] };
    assert.deepEqual(
      buckets.map(([, low, high, n]) =>
        [Math.log2(Number(low)) * 2, Math.log2(Number(high)) * 2, Number(n)].map((x) => Math.round(x * 1e6) / 1e6),
      ),
      sizes.map((n, i) => [30 + i, 31 + i, n]),
    );
  });

  it('ends the series of a pod that is gone, and keeps the others', async () => {
    await push(['web-0', 'ünï-2']);
    await waitFor('web-1 to be stale', async () => (await prometheus.query('{k8s_pod_name="web-1"}')).length === 0);
    assert.equal(await number('count(skoop_test_ratio)'), 6);
    await push([...pods.keys()]);
    await waitFor('web-1 to be back', async () => (await number('count(skoop_test_ratio)')) === 9);
  });

  it('sees the target down, and no series, when nothing is collected any more', async () => {
    const config = declaration.config.parse({ endpoint: `127.0.0.1:${exporters.get('text')?.port}` });
    await exporters.get('text')?.stop?.(AbortSignal.abort());
    const empty = declaration.create(config, { ...testContext(), clock: systemClock });
    await empty.start?.();
    exporters.set('text', empty);
    await waitFor('up to be 0', async () => (await number('up{job="text"}')) === 0);
    const target = (await prometheus.targets()).find((t) => t.labels['job'] === 'text');
    assert.match(target?.lastError ?? '', /503/);
    assert.equal((await prometheus.query('skoop_test_ratio{job="text"}')).length, 0);
  });
});
