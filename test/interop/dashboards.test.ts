/** Every query of every Prometheus dashboard, and every expression of every alert, against a real Prometheus that scrapes the agent beside pods in trouble. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { deployFolder } from '../../deploy/testing.ts';
import { ruleFiles } from '../../tools/dashboards/alerts.ts';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';

const missing = ['/usr/bin/containerd', '/usr/lib/cni/bridge', '/sys/kernel/btf/vmlinux'].filter((p) => !existsSync(p));
const skip = missing.length > 0 ? `${missing.join(', ')} not here` : false;

const pipeline = {
  receivers: {
    procfs: { collection_interval: '2s' },
    netlink: { collection_interval: '2s' },
    // softirq is off by default; the panel says so. A low limit, so that events are held back here too.
    ebpf: {
      collection_interval: '2s',
      probes: { softirq: { enabled: true }, packetloss: { rate_limit: 1, burst: 7 } },
    },
    cri: {},
  },
  processors: { netns: {}, pod: {}, symbolize: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/kubeskoop': { endpoint: '127.0.0.1:9465', naming: 'kubeskoop' },
    // Nobody listens there: the agent's health shows it.
    otlp: { endpoint: 'http://127.0.0.1:9', retry_on_failure: { initial_interval: '1s', max_interval: '1s' } },
    debug: {},
  },
  service: {
    telemetry: { metrics: { address: '127.0.0.1:8888' } },
    pipelines: {
      metrics: {
        receivers: ['procfs', 'netlink', 'ebpf', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'prometheus/kubeskoop', 'otlp'],
      },
      logs: { receivers: ['ebpf'], processors: ['netns', 'pod', 'symbolize'], exporters: ['debug'] },
    },
  },
};

interface PanelJson {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly type: string } }[];
}
const filled = (expr: string) =>
  expr.replace(/\$__rate_interval/g, '30s').replace(/\$(node|namespace|pod|instance)\b/g, '.*');
const queries = globSync(`${deployFolder}/dashboards/*.json`).flatMap((path) => {
  const { panels } = JSON.parse(readFileSync(path, 'utf8')) as { panels: PanelJson[] };
  return panels.flatMap(({ title, targets = [] }) =>
    targets
      .filter((t) => t.datasource.type === 'prometheus')
      .map((t) => ({ where: `${path.split('/').at(-1)}, ${title}`, expr: filled(t.expr) })),
  );
});

describe('dashboards and alerts', { skip }, () => {
  let bed: Bed;
  let agent: Agent;
  let prometheus: Prometheus;
  let web: Pod;
  let client: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', command: serve });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    const rules = [
      'add table ip skl',
      'add chain ip skl in { type filter hook input priority 0; }',
      'add rule ip skl in udp dport 5353 drop',
      'add rule ip skl in tcp dport 8080 drop',
      'add rule ip skl in ct state established accept',
    ];
    assert.equal((await web.inNetns(['nft', rules.join('; ')])).code, 0);
    assert.equal((await bed.node.run(['nft', rules.join('; ')])).code, 0);
    // The node's own interfaces have no queue otherwise: there is nothing but a bridge.
    assert.equal(
      (
        await bed.node.run([
          'tc',
          'qdisc',
          'add',
          'dev',
          'cni0',
          'root',
          'tbf',
          'rate',
          '1gbit',
          'burst',
          '1mb',
          'latency',
          '50ms',
        ])
      ).code,
      0,
    );
    agent = await bed.startAgent(pipeline);
    const target = (job: string, port: number) => ({
      job_name: job,
      honor_labels: true,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    });
    prometheus = await startPrometheus({
      node: bed.node,
      scrapeConfigs: [target('skoopline', 9464), target('kubeskoop', 9465), target('skoopline-agent', 8888)],
      scrapeInterval: '2s',
      ruleGroups: ruleFiles.flatMap((f) =>
        f.groups.map((g) => ({
          name: g.name,
          rules: g.alerts.map((a) => ({ alert: a.alert, expr: a.expr, for: '0s' })),
        })),
      ),
    });
  });
  after(async () => {
    await prometheus?.stop();
    await bed?.stop();
  });

  /** Drops, resets, refused and timed-out connections, retransmits and ordinary traffic, once each. */
  async function trouble(): Promise<void> {
    const udp = `for i in $(seq 40); do echo hi > /dev/udp/${web.ip}/5353; done`;
    const tcp = [
      `for i in 1 2 3 4 5; do timeout 5 wget -qO /dev/null http://${web.ip}/; timeout 5 wget -qO /dev/null http://${web.ip}:81/; done`,
      `timeout 3 wget -qO /dev/null http://${web.ip}:8080/`,
      'exit 0',
    ];
    await Promise.all([client.inNetns(['bash', '-c', udp]), client.exec(['sh', '-c', tcp.join('; ')])]);
  }

  test('every query of the dashboards returns data', async () => {
    // Nothing is lost here, so there is no such series.
    let left = queries.filter((q) => !q.expr.includes('skoop_event_lost_total'));
    assert.equal(left.length, queries.length - 1);
    await waitFor(
      'data for every query',
      async () => {
        await trouble();
        const still: typeof queries = [];
        for (const q of left) if ((await prometheus.query(q.expr)).length === 0) still.push(q);
        left = still;
        if (left.length > 0) throw new Error(left.map((q) => `${q.where}: ${q.expr}`).join('\n'));
        return true;
      },
      { timeoutMs: 120_000, everyMs: 1000 },
    );
    assert.ok(queries.length > 80, `${queries.length} queries`);
    assert.equal(agent.events().length > 0, true);
  });

  test('Prometheus evaluates every alert without an error, and drops, failures and a dead backend fire theirs', async () => {
    interface Rule {
      readonly name: string;
      readonly health: string;
      readonly lastError?: string;
      readonly state: string;
    }
    const wanted = [
      'KubeskoopPacketLoss',
      'SkooplineExporterFails',
      'SkooplinePodConnectFailures',
      'SkooplinePodPacketDrops',
    ];
    const rules = await waitFor(
      `the alerts ${wanted.join(', ')}`,
      async () => {
        await trouble();
        const { groups } = await prometheus.api<{ groups: { rules: Rule[] }[] }>('/api/v1/rules');
        const all = groups.flatMap((g) => g.rules);
        const firing = new Set(all.filter((r) => r.state === 'firing').map((r) => r.name));
        const not = wanted.filter((w) => !firing.has(w));
        if (not.length > 0) throw new Error(`${not.join(', ')} not firing`);
        return all;
      },
      { timeoutMs: 60_000, everyMs: 1000 },
    );
    assert.deepEqual(
      rules.filter((r) => r.health !== 'ok').map((r) => `${r.name}: ${r.lastError}`),
      [],
    );
    assert.equal(rules.length, ruleFiles.flatMap((f) => f.groups.flatMap((g) => g.alerts)).length);
  });
});
