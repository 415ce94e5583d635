/** The whole agent, scraped by a real Prometheus in each format that it can be asked for. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { type Prometheus, promtoolCheckMetrics, startPrometheus } from '../bed/prometheus.ts';
import { mibOf } from '../pods/kernel-counters.ts';

const exporter = (port: number, more: object = {}) => ({ endpoint: `127.0.0.1:${port}`, ...more });

const config = {
  receivers: {
    procfs: { collection_interval: '1s', initial_delay: '100ms' },
    cri: { collection_interval: '1s' },
  },
  processors: { netns: {}, pod: { labels: ['app'] } },
  exporters: {
    prometheus: exporter(9464),
    'prometheus/text': exporter(9465, { enable_open_metrics: false, native_histograms: false }),
    'prometheus/kubeskoop': exporter(9466, { naming: 'kubeskoop' }),
  },
  service: {
    pipelines: {
      metrics: {
        receivers: ['procfs', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'prometheus/text', 'prometheus/kubeskoop'],
      },
    },
  },
};

const jobs = { otel: 9464, text: 9465, kubeskoop: 9466, own: 8888 };

/**
 * promtool wants no name to end in `_count`, but the semantic conventions call these `system.network.connection.count` and
 * `k8s.container.restart.count`, and the rules from OpenTelemetry to Prometheus do not rename them.
 */
const namedByConvention = /^(system_network_connection_count|k8s_container_restart_count) .* "_count" suffix$/;

describe('a real Prometheus', () => {
  let bed: Bed;
  let agent: Agent;
  let prometheus: Prometheus;
  let web: Pod;
  let client: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', labels: { app: 'web' }, command: serve });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    agent = await bed.startAgent(config);
    const job = (name: string, port: number) => ({
      job_name: name,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    });
    prometheus = await startPrometheus({
      node: bed.node,
      // Asks for the protobuf format first, then OpenMetrics, then text.
      flags: ['--enable-feature=native-histograms'],
      scrapeConfigs: Object.entries(jobs).map(([name, port]) => job(name, port)),
    });
  });
  after(async () => {
    await prometheus?.stop();
    await bed?.stop();
  });

  test('takes every scrape', async () => {
    await waitFor('all targets to be up', async () => {
      const targets = await prometheus.targets();
      const down = targets.filter((t) => t.health !== 'up').map((t) => `${t.scrapeUrl}: ${t.health} ${t.lastError}`);
      if (down.length) throw new Error(down.join('\n'));
      return targets.length === Object.keys(jobs).length;
    });
    assert.doesNotMatch(prometheus.log(), /level=(warn|error)/);
  });

  test('refuses no sample: no duplicates, nothing out of order', async () => {
    for (const job of Object.keys(jobs)) {
      await waitFor(`samples of ${job}`, () => prometheus.number(`scrape_samples_scraped{job="${job}"} > 0`));
    }
    assert.doesNotMatch(prometheus.log(), /(duplicate|out-of-order|out of order)/i);
    const [otel, text] = [
      await prometheus.number('count({job="otel"})'),
      await prometheus.number('count({job="text"})'),
    ];
    assert.ok(otel > 100 && text > 100, `${otel} and ${text} series`);
  });

  test("answers queries with the kernel's numbers under the right pod", async () => {
    const fetch = `for i in $(seq 17); do timeout 5 wget -qO /dev/null http://${web.ip}/ || exit 1; done`;
    assert.equal((await client.exec(['sh', '-c', fetch])).code, 0);
    const opens = mibOf(client).get('Tcp.ActiveOpens');
    const queries = [
      'skoop_tcp_active_opens_total{job="otel",k8s_pod_name="cli-0",k8s_namespace_name="shop",k8s_node_name="node-a"}',
      'skoop_tcp_active_opens_total{job="text",k8s_pod_name="cli-0",k8s_namespace_name="shop",k8s_node_name="node-a"}',
      'kubeskoop_tcp_activeopens{k8s_pod="cli-0",k8s_namespace="shop",k8s_node="node-a"}',
    ];
    for (const query of queries) {
      await waitFor(`${query} to be ${opens}`, async () => (await prometheus.number(query)) === opens);
    }
    const joined =
      'skoop_tcp_passive_opens_total{job="otel",k8s_pod_name="web-0"} * on (k8s_pod_name, k8s_namespace_name) ' +
      'group_left (k8s_pod_label_app) target_info{job="otel",k8s_container_name=""}';
    await waitFor('a join with target_info', async () => {
      const [result] = await prometheus.query(joined);
      return result?.metric['k8s_pod_label_app'] === 'web' && Number(result.value?.[1]) === 17;
    });
  });

  test('marks the series of a gone pod stale at the next scrape', async () => {
    const pod = await bed.runPod({ name: 'gone-0', namespace: 'shop' });
    const query = 'skoop_tcp_active_opens_total{job="otel",k8s_pod_name="gone-0"}';
    await waitFor('its series', async () => (await prometheus.query(query)).length === 1);
    await bed.removePod(pod);
    // Prometheus itself looks back five minutes: only a staleness marker ends a series at once.
    await waitFor('its series to end', async () => (await prometheus.query(query)).length === 0);
  });

  test('promtool finds nothing to complain about', async () => {
    for (const [job, port] of Object.entries(jobs)) {
      // KubeSkoop's names break the rules that promtool checks (counters as gauges, without _total): they are what they are.
      if (job === 'kubeskoop' || job === 'own') continue;
      const text = await agent.scrape({ address: `127.0.0.1:${port}`, accept: 'text/plain' });
      const { stdout, stderr } = await promtoolCheckMetrics(text);
      const complaints = `${stdout}${stderr}`.split('\n').filter((l) => l !== '' && !namedByConvention.test(l));
      assert.deepEqual(complaints, [], job);
    }
  });
});
