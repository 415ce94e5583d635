/** What the kernel's tables say about real pods: queue drops, conntrack, ARP, round-trip times, each under the right pod's name. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { parseExposition, select, valueOfOne } from '../bed/exposition.ts';

const config = {
  receivers: {
    netlink: {
      collection_interval: '500ms',
      scrapers: { conntrack: { events: { enabled: true, namespaces: 'all', types: ['new'] } } },
    },
    cri: { collection_interval: '1s' },
  },
  processors: { netns: {}, pod: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/kubeskoop': { endpoint: '127.0.0.1:9465', naming: 'kubeskoop' },
    debug: {},
  },
  service: {
    pipelines: {
      metrics: {
        receivers: ['netlink', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'prometheus/kubeskoop'],
      },
      logs: { receivers: ['netlink', 'cri'], processors: ['netns', 'pod'], exporters: ['debug'] },
    },
  },
};

const labels = (pod: Pod) => ({ k8s_pod_name: pod.name, k8s_namespace_name: pod.namespace, k8s_node_name: 'node-a' });

interface TcQdisc {
  readonly dev: string;
  readonly root?: boolean;
  readonly drops: number;
  readonly packets: number;
  readonly backlog: number;
}

/** Runs a command of this machine in the pod's network namespace; its output. */
async function inPod(pod: Pod, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await pod.inNetns(argv);
  assert.equal(code, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** Sends datagrams of 1000 bytes to ports from 7000 on. */
const burst = (pod: Pod, to: string, n: number) =>
  inPod(
    pod,
    'bash',
    '-c',
    `d=$(printf 'x%.0s' {1..1000}); for i in $(seq ${n}); do printf %s "$d" > /dev/udp/${to}/$((7000 + i)); done`,
  );

describe('netlink in real pods', () => {
  let bed: Bed;
  let agent: Agent;
  let shaped: Pod;
  let plain: Pod;
  let tracked: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    shaped = await bed.runPod({ name: 'shaped-0', namespace: 'shop' });
    plain = await bed.runPod({
      name: 'plain-0',
      namespace: 'shop',
      command: ['httpd', '-f', '-p', '80', '-h', '/www'],
    });
    tracked = await bed.runPod({ name: 'tracked-0', namespace: 'data' });
    agent = await bed.startAgent(config);
  });
  after(() => bed?.stop());

  test('drops of a queue inside a pod are those of tc, in both namings, and no other pod has any', async () => {
    await inPod(
      shaped,
      'tc',
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'tbf',
      'rate',
      '8kbit',
      'burst',
      '1600',
      'limit',
      '3200',
    );
    await burst(shaped, plain.ip, 23);
    const tc = async () => {
      const rows = JSON.parse(await inPod(shaped, 'tc', '-s', '-j', 'qdisc', 'show', 'dev', 'eth0')) as TcQdisc[];
      return rows.find((q) => q.root);
    };
    const queue = { ...labels(shaped), network_interface_name: 'eth0', skoop_qdisc_kind: 'tbf' };
    // Two packets wait in it for seconds: until they are out the numbers move.
    await agent.until('the queue to be empty and reported', async (samples) => {
      const now = await tc();
      const drops = select(samples, 'skoop_qdisc_drops_total', queue);
      const packets = select(samples, 'skoop_qdisc_packets_total', queue);
      return now?.backlog === 0 && drops[0]?.value === now.drops && packets[0]?.value === now.packets;
    });
    const now = await tc();
    assert.ok(now && now.drops >= 18, `tc says ${now?.drops}`);
    const samples = await agent.samples();
    assert.deepEqual(select(samples, 'skoop_qdisc_drops_total', labels(plain)), []);
    const kubeskoop = parseExposition(await agent.scrape({ address: '127.0.0.1:9465' }));
    assert.equal(
      valueOfOne(kubeskoop, 'kubeskoop_qdisc_drops', { k8s_pod: 'shaped-0', k8s_namespace: 'shop' }),
      now.drops,
    );
  });

  test('conntrack of a pod that tracks is that of conntrack -S, and its events carry its name', async () => {
    await inPod(
      tracked,
      'nft',
      'add table ip skl; add chain ip skl out { type filter hook output priority 0; }; add rule ip skl out ct state established accept',
    );
    await burst(tracked, plain.ip, 17);
    const entries = await agent.until('17 connections', (samples) => {
      const found = select(samples, 'skoop_conntrack_entries', labels(tracked));
      return (found[0]?.value ?? 0) >= 17 ? found[0] : undefined;
    });
    assert.equal(entries.value, Number(await inPod(tracked, 'conntrack', '-C')));
    const samples = await agent.samples();
    const statistics = await inPod(tracked, 'conntrack', '-S');
    for (const [metric, key] of [
      ['invalid', 'invalid'],
      ['dropped', 'drop'],
      ['insert_failed', 'insert_failed'],
    ] as const) {
      const sum = [...statistics.matchAll(new RegExp(`\\b${key}=(\\d+)`, 'g'))].reduce((n, m) => n + Number(m[1]), 0);
      assert.equal(valueOfOne(samples, `skoop_conntrack_${metric}_total`, labels(tracked)), sum, metric);
    }
    const udp = { ...labels(tracked), network_transport: 'udp', skoop_conntrack_state: 'unreplied' };
    assert.ok(valueOfOne(samples, 'skoop_conntrack_connections', udp) >= 1);
    assert.deepEqual(
      select(samples, 'skoop_conntrack_entries', labels(plain)),
      [],
      'a pod that tracks nothing is absent',
    );
    await burst(tracked, plain.ip, 5);
    const event = await agent.until('an event', () =>
      agent.events().find((e) => e['type'] === 'ConntrackNew' && e['pod'] === 'tracked-0'),
    );
    assert.deepEqual([event['namespace'], event['protocol'], event['daddr']], ['data', 'UDP', plain.ip]);
  });

  test('a host that does not answer ARP shows as failed in the pod that asked', async () => {
    const missing = plain.ip.replace(/\d+$/, '250');
    await burst(plain, missing, 1);
    const failed = { ...labels(plain), network_type: 'ipv4', skoop_neighbour_state: 'failed' };
    await agent.until(
      'a failed neighbour',
      (samples) => select(samples, 'skoop_neighbour_entries', failed)[0]?.value === 1,
    );
    const samples = await agent.samples();
    assert.deepEqual(select(samples, 'skoop_neighbour_entries', { ...failed, ...labels(tracked) }), []);
  });

  test('a changed interface is told under the name of its pod', async () => {
    await inPod(tracked, 'ip', 'link', 'set', 'eth0', 'mtu', '1300');
    const line = await agent.until('the event', () =>
      agent.lines().find((l) => l.includes('mtu') && l.includes('tracked-0')),
    );
    assert.match(line, /1300/);
  });
});
