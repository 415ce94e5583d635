/**
 * Every alert, fired by a real fault in a real pod, on the bed's node or of an agent, and resolved when the fault is over. Thresholds are those of
 * the rule files; only the five minutes that they look back are 20 s here, and they fire at once.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ruleFiles } from '../../tools/dashboards/alerts.ts';
import { type Bed, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';
import { type Hands, startHands } from '../pods/faults-hands.ts';
import { type Site, siteOf } from '../pods/faults-world.ts';
import { type AlertFault, type AlertWorld, alertFaults, troubledPipeline } from './alert-faults.ts';

const missing = ['/usr/bin/containerd', '/usr/lib/cni/bridge', '/sys/kernel/btf/vmlinux'].filter((p) => !existsSync(p));
const skip = missing.length > 0 ? `${missing.join(', ')} not here` : false;

const alerts = ruleFiles.flatMap((f) => f.groups.flatMap((g) => g.alerts));
const window = '20s';

const watching = {
  receivers: {
    procfs: { collection_interval: '2s' },
    netlink: { collection_interval: '2s' },
    ebpf: { collection_interval: '2s' },
    cri: {},
  },
  processors: { netns: {}, pod: {}, symbolize: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/kubeskoop': { endpoint: '127.0.0.1:9465', naming: 'kubeskoop' },
    debug: {},
  },
  service: {
    telemetry: { metrics: { address: '127.0.0.1:8888' } },
    pipelines: {
      metrics: {
        receivers: ['procfs', 'netlink', 'ebpf', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'prometheus/kubeskoop'],
      },
      logs: { receivers: ['ebpf', 'cri'], processors: ['netns', 'pod', 'symbolize'], exporters: ['debug'] },
    },
  },
};

interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
  readonly value: string;
}

/** How one alert went. */
interface Outcome {
  readonly fired: Alert;
  readonly resolved: boolean;
}

/** Labels that an alert of this fault must carry: rules for KubeSkoop's names have KubeSkoop's labels. */
function labelsOf(alert: string, { of, labels }: AlertFault): Record<string, string> {
  if (!of) return { ...labels };
  const ks = alert.startsWith('Kubeskoop');
  const [node, namespace, pod] = ks
    ? (['k8s_node', 'k8s_namespace', 'k8s_pod'] as const)
    : (['k8s_node_name', 'k8s_namespace_name', 'k8s_pod_name'] as const);
  return { [node]: 'node-a', ...(of.pod ? { [namespace]: 'shop', [pod]: of.pod } : {}), ...labels };
}

describe('alerts', { skip }, () => {
  let bed: Bed;
  let prometheus: Prometheus;
  let world: AlertWorld;
  const stops: (() => Promise<unknown>)[] = [];
  const outcomes = new Map<string, Promise<Outcome>>();

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const pods = await Promise.all(
      ['client-0', 'server-0', 'sender-0'].map((name) => bed.runPod({ name, namespace: 'shop' })),
    );
    const sites = (await Promise.all([undefined, ...pods].map((p) => siteOf(bed, p)))) as [Site, Site, Site, Site];
    for (const site of sites) stops.push(() => site.hands.stop());
    await bed.startAgent(watching);
    const target = (job: string, port: number) => ({
      job_name: job,
      honor_labels: true,
      static_configs: [{ targets: [`127.0.0.1:${port}`] }],
    });
    prometheus = await startPrometheus({
      node: bed.node,
      scrapeInterval: '2s',
      scrapeConfigs: [
        target('skoopline', 9464),
        target('kubeskoop', 9465),
        target('agent', 8888),
        target('troubled-agent', 8889),
        {
          ...target('troubled', 9466),
          // The other agent sees the same pods: of this one only what it loses.
          metric_relabel_configs: [{ source_labels: ['__name__'], regex: 'skoop_event_lost_total', action: 'keep' }],
        },
      ],
      ruleGroups: ruleFiles.flatMap((f) =>
        f.groups.map((g) => ({
          name: g.name,
          rules: g.alerts.map(({ alert, expr, summary, description }) => ({
            alert,
            expr: expr.replaceAll('[5m]', `[${window}]`),
            for: '0s',
            annotations: { summary, description },
          })),
        })),
      ),
    });
    const [node, client, server, sender] = sites;
    world = {
      node,
      client,
      server,
      sender,
      prometheus,
      setConfig: () => assert.fail('There is no agent in trouble yet.'),
      async hands(site) {
        const hands: Hands = await startHands(bed.node, site.pod?.pid);
        stops.push(() => hands.stop());
        return hands;
      },
    };
  });
  after(async () => {
    await prometheus?.stop();
    await Promise.all(stops.map((stop) => stop()));
    await bed?.stop();
  });

  const firing = async (alert: string, fault: AlertFault) => {
    const all = (await prometheus.api<{ alerts: Alert[] }>('/api/v1/alerts')).alerts;
    const labels = Object.entries({ alertname: alert, ...labelsOf(alert, fault) });
    return all.find((a) => a.state === 'firing' && labels.every(([k, v]) => a.labels[k] === v));
  };

  /** Makes the fault until its alerts fire, ends it, and waits until none of them does. */
  async function run(fault: AlertFault): Promise<Map<string, Outcome>> {
    const fired = new Map<string, Alert>();
    const { make, undo } = await fault.prepare(world);
    try {
      await waitFor(
        `${fault.alerts.join(', ')} to fire`,
        async () => {
          await make();
          for (const name of fault.alerts) {
            const alert = await firing(name, fault);
            if (alert) fired.set(name, alert);
          }
          return fired.size === fault.alerts.length;
        },
        { timeoutMs: 120_000, everyMs: 1000 },
      );
    } finally {
      await undo();
    }
    const resolved = await waitFor(
      `${fault.alerts.join(', ')} to resolve`,
      async () => (await Promise.all(fault.alerts.map((a) => firing(a, fault)))).every((a) => a === undefined),
      { timeoutMs: 120_000, everyMs: 1000 },
    );
    return new Map([...fired].map(([name, alert]) => [name, { fired: alert, resolved }]));
  }

  test('each has a fault', () => {
    assert.deepEqual(alertFaults.flatMap((f) => f.alerts).sort(), alerts.map((a) => a.alert).sort());
  });

  test('none fires on a quiet node', async () => {
    await waitFor(
      'ten scrapes of each',
      async () =>
        (await prometheus.query('count_over_time(up{job=~"skoopline|kubeskoop|agent"}[5m]) >= 10')).length === 3,
      { everyMs: 1000 },
    );
    assert.deepEqual(await prometheus.query('count_over_time(ALERTS[5m])'), []);
  });

  test('Prometheus evaluates each without an error', async () => {
    const { groups } = await prometheus.api<{ groups: { rules: { name: string; health: string }[] }[] }>(
      '/api/v1/rules',
    );
    const rules = groups.flatMap((g) => g.rules);
    assert.deepEqual(
      rules.filter((r) => r.health !== 'ok'),
      [],
    );
    assert.equal(rules.length, alerts.length);
  });

  test('the faults are under way, side by side', async () => {
    const troubled = await bed.startAgent(troubledPipeline, { scrapeAddress: '127.0.0.1:9466' });
    const path = bed.node.path(troubled.configPath);
    world = { ...world, setConfig: (text) => writeFileSync(path, text) };
    for (const fault of alertFaults) {
      const made = run(fault);
      for (const alert of fault.alerts) {
        const outcome = made.then((all) => all.get(alert)!);
        outcome.catch(() => {});
        outcomes.set(alert, outcome);
      }
    }
  });

  for (const fault of alertFaults) {
    for (const alert of fault.alerts) {
      test(`${alert}: ${fault.fault}`, async () => {
        const { fired } = await outcomes.get(alert)!;
        const { summary, description } = fired.annotations as { summary: string; description: string };
        assert.ok(summary.includes(fault.says), summary);
        // What a template makes of a label or value that is not there.
        assert.doesNotMatch(`${summary} ${description}`, /\{\{|no value|NaN|(^| )(\/| on |of ) /);
      });
    }
  }

  test('table', async (t) => {
    const rows = [['alert', 'fault', 'condition', 'fired with', 'said']];
    for (const fault of alertFaults) {
      for (const name of fault.alerts) {
        const { fired } = await outcomes.get(name)!;
        const { expr } = alerts.find((a) => a.alert === name)!;
        const condition = /(==|[<>]) [\d.]+$/.exec(expr)![0];
        rows.push([
          name,
          fault.fault,
          condition,
          String(Number(Number(fired.value).toPrecision(3))),
          fired.annotations['summary']!,
        ]);
      }
    }
    const width = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
    for (const row of rows) t.diagnostic(row.map((cell, i) => cell.padEnd(width[i]!)).join(' | '));
  });
});
