/**
 * Who comes from KubeSkoop: a config of theirs with every probe and sink, converted by `skoopline migrate` and run beside real pods. Every query of
 * KubeSkoop's own dashboards returns data, every metric name of KubeSkoop is scraped, its events reach all three sinks.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { output, waitFor } from '../bed/command.ts';
import { type Prometheus, startPrometheus } from '../bed/prometheus.ts';
import { type Hands, startHands } from '../pods/faults-hands.ts';
import { kubeskoopQueries, rdmaQueries } from './kubeskoop-dashboards.ts';
import { type LokiTaker, startLokiTaker } from './loki-taker.ts';

const root = `${import.meta.dirname}/../..`;
const missing = ['/usr/bin/containerd', '/usr/lib/cni/bridge', '/sys/kernel/btf/vmlinux'].filter((p) => !existsSync(p));
const skip = missing.length > 0 ? `${missing.join(', ')} not here` : false;

const metricProbes =
  'conntrack qdisc fd io ipvs netdev tcpext tcp udp ip sock softnet tcpsummary packetloss tcpretrans kernellatency socketlatency netiftxlat virtcmdlatency rdma'.split(
    ' ',
  );
const eventProbes =
  'tcpreset packetloss tcpretrans kernellatency socketlatency netiftxlat softirq virtcmdlatency biolatency conntrack'.split(
    ' ',
  );
const list = (names: readonly string[]) => names.map((n) => `    - name: ${n}\n`).join('');

/** As its documentation has a user write it. */
const theirs = `debugMode: false
port: 9102
enableController: false
metrics:
  probes:
${list(metricProbes)}    - name: flow
      args:
        interfaceName: cni0
    - name: softirq
      args:
        softirq-types: [net_rx]
  additionalLabels:
    - app=\${labels:app}
event:
  probes:
${list(eventProbes)}  sinks:
    - name: stderr
    - name: file
      args:
        path: /run/skl/kubeskoop-events.json
    - name: loki
      args:
        addr: 127.0.0.1
`;

const catalogue = JSON.parse(readFileSync(`${root}/docs/reference/catalogue.json`, 'utf8')) as {
  readonly metrics: readonly { readonly kubeskoop?: readonly { readonly name: string }[] }[];
};
const allNames = [...new Set(catalogue.metrics.flatMap((m) => (m.kubeskoop ?? []).map((k) => k.name)))];

describe('a KubeSkoop user', { skip }, () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;
  let prometheus: Prometheus;
  let client: Hands;
  let server: Hands;
  let loki: LokiTaker;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', labels: { app: 'web' }, command: serve });
    const asking = await bed.runPod({ name: 'cli-0', namespace: 'shop', labels: { app: 'cli' } });
    client = await startHands(bed.node, asking.pid);
    server = await startHands(bed.node, web.pid);
    loki = await startLokiTaker(bed.node);
    // One that packets do not pass by when it is empty, as they do most others.
    const queue = 'tbf rate 1gbit burst 1mb latency 50ms'.split(' ');
    // An interface of the kind that KubeSkoop looks for (eth*) with a queue, in a pod and on the node.
    await output(bed.node.enter(['tc', 'qdisc', 'add', 'dev', 'eth0', 'root', ...queue], { netnsOfPid: web.pid }));
    await output(
      bed.node.enter([
        'sh',
        '-c',
        `ip link add eth0 type bridge; ip link set eth0 up; tc qdisc add dev eth0 root ${queue.join(' ')}`,
      ]),
    );
    await output(
      bed.node.enter([
        'sh',
        '-c',
        "nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ct state established accept'",
      ]),
    );
  });
  after(async () => {
    await prometheus?.stop();
    await Promise.all([client?.stop(), server?.stop(), loki?.stop()]);
    await bed?.stop();
  });

  test('the config converts without a note, the result is valid, and it runs', async () => {
    const folder = bed.node.path('/run/skl');
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/kubeskoop.yaml`, theirs);
    const cli = (...args: string[]) =>
      output(
        bed.node.enter([process.execPath, '--disable-warning=ExperimentalWarning', `${root}/cli/main.ts`, ...args]),
      );
    const converted = await cli('migrate', '/run/skl/kubeskoop.yaml');
    assert.doesNotMatch(converted, /^# \* /m, 'what has no equivalent is in a comment');
    writeFileSync(`${folder}/pipeline.yaml`, converted);
    await cli('validate', '/run/skl/pipeline.yaml');
    // The one change: read every 2 s instead of every 15 s, so that rates are there sooner.
    const pipeline = parse(converted) as { receivers: Record<string, object> };
    for (const name of ['procfs', 'netlink', 'ebpf']) {
      pipeline.receivers[name] = { ...pipeline.receivers[name], collection_interval: '2s' };
    }
    agent = await bed.startAgent(stringify(pipeline), { scrapeAddress: '127.0.0.1:9102' });
    prometheus = await startPrometheus({
      node: bed.node,
      scrapeInterval: '2s',
      scrapeConfigs: [{ job_name: 'kubeskoop', honor_labels: true, static_configs: [{ targets: ['127.0.0.1:9102'] }] }],
    });
  });

  /** One retransmission, drops, a late read, and ordinary traffic of both pods. */
  async function trouble(): Promise<void> {
    await client.run(`connect('${web.ip}', 80, 5); udp('${web.ip}', 5353, 7)`);
    await server.run('ls = listen(7000)');
    await client.run(`c = socket.create_connection(('${web.ip}', 7000))`);
    await server.run("s, _ = ls.accept(); s.send(b'x')");
    // KubeSkoop's threshold is 100 ms.
    await client.run('received(c, 1); time.sleep(0.15); c.recv(1); c.close()');
    await server.run('s.close(); ls.close()');
    const lost = `nft 'add table ip lost; add chain ip lost i { type filter hook input priority 0; }; add rule ip lost i tcp dport 7001 drop'`;
    await output(
      bed.node.enter(['sh', '-c', `nft delete table ip lost 2> /dev/null; ${lost}`], { netnsOfPid: web.pid }),
    );
    await client.run(`connect('${web.ip}', 7001, 1, 1.5)`);
  }

  test('every query of KubeSkoop’s dashboards returns data; those for RDMA name metrics that there are', async () => {
    const queries = kubeskoopQueries('node-a', 'shop', 'web-0');
    assert.equal(queries.length, 53);
    let left = queries;
    await waitFor(
      'data for every query',
      async () => {
        await trouble();
        const still: (typeof queries)[number][] = [];
        for (const q of left) if ((await prometheus.query(q.expr)).length === 0) still.push(q);
        left = still;
        if (left.length > 0) throw new Error(left.map((q) => `${q.where}: ${q.expr}`).join('\n'));
        return true;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
    for (const { metric } of rdmaQueries('node-a')) assert.ok(allNames.includes(metric), metric);
  });

  test('every metric name of KubeSkoop is there but for what this machine has not', async () => {
    const log = await waitFor('the last probe to be on or off', () =>
      /Probe virtcmdlatency is o/.test(agent.log()) ? agent.log() : undefined,
    );
    /** Why names of a probe are not here: proved, or undefined. */
    const absent: Readonly<Record<string, string | undefined>> = {
      rdma:
        existsSync('/sys/class/infiniband') && readdirSync('/sys/class/infiniband').length > 0
          ? undefined
          : 'no device',
      ipvs: existsSync(bed.node.path('/proc/net/ip_vs_stats')) ? undefined : 'no /proc/net/ip_vs_stats',
      virtcmdlatency: /Probe virtcmdlatency is off\. (.*?)"/.exec(log)?.[1],
    };
    const expected = allNames.filter(
      // Always 0 since Linux 5.8: off by default (receivers/netlink).
      (n) => absent[n.split('_')[1]!] === undefined && n !== 'kubeskoop_conntrack_ignore',
    );
    assert.ok(expected.length > 100, `${expected.length} names`);
    let left = expected;
    await waitFor(
      'every name',
      async () => {
        await trouble();
        const text = await agent.scrape();
        left = expected.filter((n) => !new RegExp(`^${n}\\{`, 'm').test(text));
        if (left.length > 0) throw new Error(left.join(', '));
        return true;
      },
      { timeoutMs: 60_000, everyMs: 1000 },
    );
  });

  test('an additional label is on the series of the pod that has it', async () => {
    const text = await agent.scrape();
    assert.match(
      text,
      /^kubeskoop_netdev_rxbytes\{k8s_node="node-a",k8s_namespace="shop",k8s_pod="web-0",app="web"\} \d+$/m,
    );
  });

  test('23 connections to a closed port are 23 events in each of the three sinks', async () => {
    await client.run(`connect('${web.ip}', 7002, 23)`);
    const ofUs = (text: string) =>
      text.split('\n').filter((l) => /TCPRESET_NOSOCK/.test(l) && /\b7002\b/.test(l) && /web-0/.test(l)).length;
    await waitFor('the lines on standard output', () => ofUs(agent.lines().join('\n')) === 23);
    await waitFor(
      'the lines of the file',
      () => ofUs(readFileSync(bed.node.path('/run/skl/kubeskoop-events.json'), 'utf8')) === 23,
    );
    await waitFor('the lines in Loki', async () => {
      const streams = (await loki.pushes()).flatMap((p) => p.streams);
      // The stream labels that KubeSkoop's queries select by.
      const ours = streams.filter((s) => s.stream['instance'] === 'node-a' && s.stream['job'] === 'kubeskoop');
      return ofUs(ours.flatMap((s) => s.values.map(([, line]) => line)).join('\n')) === 23;
    });
    const types = new Set(agent.events().map((e) => e['type']));
    for (const type of ['TCPRESET_RECEIVE', 'PACKETLOSS', 'TCPRETRANS', 'SOCKETLAT_READSLOW', 'ConntrackNew']) {
      assert.ok(types.has(type), `${type} among ${[...types].join(', ')}`);
    }
  });
});
