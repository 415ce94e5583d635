/**
 * Every query of every dashboard: PromQL against a real Prometheus that scrapes the agent beside pods in trouble, LogQL against what the same agent
 * pushes to where Loki would be. The alerts are in alerts.test.ts.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { deployFolder } from '../../deploy/testing.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';
import { type Hands, startHands } from '../pods/faults-hands.ts';
import { evaluate } from './logql.ts';
import { type LokiTaker, startLokiTaker } from './loki-taker.ts';

const missing = ['/usr/bin/containerd', '/usr/lib/cni/bridge', '/sys/kernel/btf/vmlinux'].filter((p) => !existsSync(p));
const skip = missing.length > 0 ? `${missing.join(', ')} not here` : false;

const pipeline = {
  receivers: {
    procfs: { collection_interval: '2s' },
    netlink: {
      collection_interval: '2s',
      // The peers here are near: name them all the same.
      scrapers: { tcp_info: { worst_peers: { min_rtt: '0s', min_retransmit_ratio: 0.001, min_segments: 1 } } },
    },
    // softirq and flow are off by default; the panels say so. A low limit, so that events are held back here too.
    ebpf: {
      collection_interval: '2s',
      probes: {
        softirq: { enabled: true },
        packetloss: { rate_limit: 1, burst: 7 },
        flow: { enabled: true, max_flows: 512 },
      },
    },
    cri: {},
  },
  processors: { netns: {}, pod: {}, peer: { local: true }, symbolize: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/kubeskoop': { endpoint: '127.0.0.1:9465', naming: 'kubeskoop' },
    // Nobody listens there: the agent's health shows it.
    otlp: { endpoint: 'http://127.0.0.1:9', retry_on_failure: { initial_interval: '1s', max_interval: '1s' } },
    loki: {},
  },
  service: {
    telemetry: { metrics: { address: '127.0.0.1:8888' } },
    pipelines: {
      metrics: {
        receivers: ['procfs', 'netlink', 'ebpf', 'cri'],
        processors: ['netns', 'pod', 'peer'],
        exporters: ['prometheus', 'prometheus/kubeskoop', 'otlp'],
      },
      logs: { receivers: ['ebpf'], processors: ['netns', 'pod', 'symbolize'], exporters: ['loki'] },
    },
  },
};

interface PanelJson {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly type: string } }[];
}
interface PanelQuery {
  readonly dashboard: string;
  readonly panel: string;
  readonly expr: string;
}
const filled = (expr: string) =>
  expr.replace(/\$__(rate_interval|auto)/g, '30s').replace(/\$(node|namespace|pod|instance|event)\b/g, '.*');
const queriesTo = (datasource: 'prometheus' | 'loki'): PanelQuery[] =>
  globSync(`${deployFolder}/dashboards/*.json`)
    .sort()
    .flatMap((path) => {
      const { panels } = JSON.parse(readFileSync(path, 'utf8')) as { panels: PanelJson[] };
      return panels.flatMap(({ title, targets = [] }) =>
        targets
          .filter((t) => t.datasource.type === datasource)
          .map((t) => ({ dashboard: path.split('/').at(-1)!, panel: title, expr: filled(t.expr) })),
      );
    });
const queries = queriesTo('prometheus');

describe('dashboards', { skip }, () => {
  let bed: Bed;
  let prometheus: Prometheus;
  let web: Pod;
  let client: Pod;
  let loki: LokiTaker;
  let sender: Hands;
  let taker: Hands;
  /** Panel → the most series that one look at it gave. */
  const series = new Map<string, number>();

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
      'add rule ip skl in tcp dport 7000 tcp flags & (syn|fin) == 0 numgen inc mod 7 == 3 drop',
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
    loki = await startLokiTaker(bed.node);
    await bed.startAgent(pipeline);
    // A connection that loses one segment in seven.
    [sender, taker] = await Promise.all([startHands(bed.node, client.pid), startHands(bed.node, web.pid)]);
    await taker.run('ls = listen(7000)');
    await sender.run(`c = socket.create_connection(('${web.ip}', 7000)); c.setsockopt(6, 1, 1)`);
    await taker.run('s, _ = ls.accept()');
    const target = (job: string, port: number) => ({
      job_name: job,
      honor_labels: true,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    });
    prometheus = await startPrometheus({
      node: bed.node,
      scrapeConfigs: [target('skoopline', 9464), target('kubeskoop', 9465), target('skoopline-agent', 8888)],
      scrapeInterval: '2s',
    });
  });
  after(async () => {
    await prometheus?.stop();
    await Promise.all([sender?.stop(), taker?.stop(), loki?.stop()]);
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
    await Promise.all([
      client.inNetns(['bash', '-c', udp]),
      client.exec(['sh', '-c', tcp.join('; ')]),
      sender.run("for _ in range(30): c.sendall(b'x' * 100)"),
    ]);
    await taker.run('received(s, 1); s.recv(65536)');
    // More flows than are told apart.
    await sender.run(`for net in ('192.0.2', '198.51.100', '203.0.113'):
    for i in range(1, 255): udp(f'{net}.{i}', 9, 1)`);
  }

  test('every query to Prometheus returns data', async () => {
    // Nothing is lost here, so there is no such series; alerts.test.ts loses events and has it.
    let left = queries.filter((q) => !q.expr.includes('skoop_event_lost_total'));
    assert.equal(left.length, queries.length - 1);
    await waitFor(
      'data for every query',
      async () => {
        await trouble();
        const still: PanelQuery[] = [];
        for (const q of left) {
          const found = await prometheus.query(q.expr);
          const panel = `${q.dashboard} | ${q.panel}`;
          series.set(panel, (series.get(panel) ?? 0) + found.length);
          if (found.length === 0) still.push(q);
        }
        left = still;
        if (left.length > 0) throw new Error(left.map((q) => `${q.dashboard}, ${q.panel}: ${q.expr}`).join('\n'));
        return true;
      },
      { timeoutMs: 120_000, everyMs: 1000 },
    );
    assert.ok(queries.length > 100, `${queries.length} queries`);
  });

  test('every query to Loki finds lines in what is pushed, with a value for each label that it groups by', async () => {
    const logQueries = queriesTo('loki');
    assert.equal(logQueries.length, 4);
    await waitFor('lines for every query', async () => {
      const pushes = await loki.pushes();
      for (const { dashboard, panel, expr } of logQueries) {
        const groups = evaluate(expr, pushes);
        const names = /sum by \(([\w, ]+)\)/.exec(expr)?.[1]?.split(/, */) ?? [];
        const whole = groups.filter((g) => g.count > 0 && names.every((n) => g.labels[n]));
        assert.ok(whole.length > 0, `${panel}: ${expr}: ${JSON.stringify(groups)}`);
        series.set(`${dashboard} | ${panel}`, whole.length);
      }
      return true;
    });
    const reasons = evaluate(logQueries.find((q) => q.panel === 'Drops by reason')!.expr, await loki.pushes());
    assert.ok(reasons.some((g) => g.labels['reason'] === 'NETFILTER_DROP' && g.count > 0));
  });

  test('table', (t) => {
    for (const [panel, n] of [...series].sort(([a], [b]) => (a < b ? -1 : 1))) t.diagnostic(`${panel} | ${n}`);
    t.diagnostic(`${series.size} panels`);
  });
});
