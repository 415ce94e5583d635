/** From a slow packet of a real pod to the exemplar that a real Prometheus answers with, through OpenMetrics and through protobuf. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { probes } from '../../receivers/ebpf/probes.ts';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { python, waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';

const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';

const off = Object.fromEntries(probes.map((p) => [p.name, { enabled: false }]));
const config = {
  receivers: {
    cri: { collection_interval: '1s' },
    ebpf: { collection_interval: '1s', probes: { ...off, netiftxlat: { enabled: true, rate_limit: 0 } } },
  },
  processors: { netns: {}, pod: {}, limit_series: {} },
  exporters: {
    debug: {},
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/openmetrics': { endpoint: '127.0.0.1:9465', native_histograms: false },
    'prometheus/text': { endpoint: '127.0.0.1:9466', native_histograms: false, enable_open_metrics: false },
  },
  service: {
    pipelines: {
      metrics: {
        receivers: ['cri', 'ebpf'],
        processors: ['netns', 'pod', 'limit_series'],
        exporters: ['prometheus', 'prometheus/openmetrics', 'prometheus/text'],
      },
      logs: { receivers: ['cri', 'ebpf'], processors: ['netns', 'pod'], exporters: ['debug'] },
    },
  },
};
const jobs = { protobuf: 9464, openmetrics: 9465, text: 9466 };

interface SeriesExemplars {
  readonly seriesLabels: Readonly<Record<string, string>>;
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: string;
    readonly timestamp: number;
  }[];
}

describe('exemplars', { skip: noBtf }, () => {
  let bed: Bed;
  let agent: Agent;
  let prometheus: Prometheus;
  let web: Pod;
  let client: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    web = await bed.runPod({ name: 'web-0', namespace: 'shop' });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    agent = await bed.startAgent(config, { ready: false });
    await waitFor('the probe to be on', () => /Probe netiftxlat is on/.test(agent.log()), { timeoutMs: 60_000 });
    await agent.until('the name of the pod', (s) => select(s, 'target_info', { k8s_pod_name: 'cli-0' }).length > 0);
    prometheus = await startPrometheus({
      node: bed.node,
      flags: ['--enable-feature=exemplar-storage,native-histograms'],
      scrapeConfigs: Object.entries(jobs).map(([job_name, port]) => ({
        job_name,
        static_configs: [{ targets: [`127.0.0.1:${port}`] }],
      })),
    });
  });
  after(async () => {
    await prometheus?.stop();
    await bed?.stop();
  });

  test('the slowest packet in a queue is found by its ports', async () => {
    const startS = Date.now() / 1000 - 60;
    const shape = 'tc qdisc add dev eth0 root tbf rate 200kbit burst 3kb limit 100kb'.split(' ');
    assert.equal((await client.inNetns(shape)).code, 0);
    const send = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 4723))
for i in range(23): s.sendto(b'x' * 1000, ('${web.ip}', 9))`;
    assert.equal((await client.inNetns([python, '-c', send])).code, 0);
    const slow = () => agent.events().filter((e) => e['type'] === 'NETIFTXLAT_QDISC' && e['sport'] === '4723');
    // 23 kB at 25 kB/s, of which the first 3 go at once.
    await waitFor('the queue to be empty', async () => {
      const { stdout } = await client.inNetns(['tc', '-s', 'qdisc', 'show', 'dev', 'eth0']);
      return /backlog 0b/.test(stdout);
    });
    await waitFor('the events', () => slow().length > 7);

    // Of protobuf Prometheus makes native histograms: one series, without buckets of their own.
    const metrics = { openmetrics: 'skoop_qdisc_wait_seconds_bucket', protobuf: 'skoop_qdisc_wait_seconds' };
    const query = async (selector: string) =>
      prometheus.api<SeriesExemplars[]>(
        `/api/v1/query_exemplars?query=${encodeURIComponent(selector)}&start=${startS}&end=${startS + 300}`,
      );
    const found = async (selector: string) =>
      (await query(selector)).flatMap(({ seriesLabels, exemplars }) =>
        exemplars.filter((e) => e.labels['source_port'] === '4723').map((e) => ({ seriesLabels, ...e })),
      );
    // An event line says its latency as it is in the attribute: the last packet waited longest, and stays the exemplar.
    const longest = () => Math.max(...slow().map((e) => Number(e['latency'])));
    for (const [job, metric] of Object.entries(metrics)) {
      const slowest = await waitFor(`the exemplar of ${job}`, async () =>
        (await found(`${metric}{job="${job}"}`)).find((e) => Number(e.value) === longest()),
      );
      assert.ok(Number(slowest.value) > 0.5, slowest.value);
      assert.deepEqual(slowest.labels, {
        source_address: client.ip,
        source_port: '4723',
        destination_address: web.ip,
        destination_port: '9',
      });
      const { k8s_pod_name, k8s_namespace_name, network_interface_name, le } = slowest.seriesLabels;
      assert.deepEqual([k8s_pod_name, k8s_namespace_name, network_interface_name], ['cli-0', 'shop', 'eth0']);
      if (job === 'protobuf') assert.equal(le, undefined);
      else
        assert.ok(
          Number(slowest.value) <= Number(le) && Number(slowest.value) > Number(le) / 2,
          `${slowest.value} ${le}`,
        );
      assert.ok(slowest.timestamp > startS + 60 && slowest.timestamp <= Date.now() / 1000, `${slowest.timestamp}`);
    }
    assert.deepEqual(await query('{job="text"}'), []);
    assert.equal(
      await prometheus.number('skoop_qdisc_wait_seconds_count{job="text",k8s_pod_name="cli-0"} >= bool 23'),
      1,
    );
    assert.doesNotMatch(prometheus.log(), /exemplar.*(err|invalid|refus|out of order)/i);
    assert.match(
      await agent.scrape({ address: '127.0.0.1:9465', accept: 'application/openmetrics-text' }),
      / # \{source_address=/,
    );
  });
});
