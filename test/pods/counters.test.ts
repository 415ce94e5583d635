/** Counters of real pods: the right owner on each series, the kernel's own numbers, and exactly what was done to one pod. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { parseExposition, type Sample, select, valueOfOne } from '../bed/exposition.ts';
import { interfacesOf, mibOf, netdevColumns, socketsOf } from './kernel-counters.ts';

const config = {
  receivers: {
    procfs: { collection_interval: '500ms', initial_delay: '100ms' },
    cri: { collection_interval: '1s' },
  },
  processors: { netns: {}, pod: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/kubeskoop': { endpoint: '127.0.0.1:9465', naming: 'kubeskoop' },
  },
  service: {
    pipelines: {
      metrics: {
        receivers: ['procfs', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'prometheus/kubeskoop'],
      },
    },
  },
};

const otelLabels = (pod: Pod) => ({
  k8s_pod_name: pod.name,
  k8s_namespace_name: pod.namespace,
  k8s_node_name: 'node-a',
});
const kubeskoopLabels = (pod: Pod) => ({ k8s_pod: pod.name, k8s_namespace: pod.namespace, k8s_node: 'node-a' });

describe('six pods and a hostNetwork pod', () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;
  let pods: Pod[];
  let host: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', command: serve });
    pods = [web];
    for (const [name, namespace] of [
      ['web-1', 'shop'],
      ['cli-0', 'shop'],
      // The same name in another namespace is another pod.
      ['cli-0', 'default'],
      ['db-0', 'data'],
      ['idle-0', 'data'],
    ] as const) {
      pods.push(await bed.runPod({ name, namespace }));
    }
    host = await bed.runPod({ name: 'host-0', namespace: 'kube-system', hostNetwork: true });
    // Each pod does something else, so that no two of them have the same numbers.
    for (const [i, pod] of pods.slice(1).entries()) {
      const fetch = `for i in $(seq ${[2, 3, 5, 7, 11][i]}); do timeout 5 wget -qO- http://${web.ip}/ || exit 1; done`;
      const { code, stdout } = await pod.exec(['sh', '-c', fetch]);
      assert.equal(code, 0, stdout);
    }
    agent = await bed.startAgent(config);
  });
  after(() => bed?.stop());

  const kubeskoop = async () => parseExposition(await agent.scrape({ address: '127.0.0.1:9465' }));

  /** Scrapes until what the kernel said just before and just after is the same, and so is what the scrape says. */
  async function settled(
    what: string,
    expected: () => object,
    seen: (samples: Sample[]) => object,
    scrape = kubeskoop,
  ) {
    let last: unknown[] = [];
    try {
      await waitFor(
        what,
        async () => {
          const earlier = expected();
          const observed = seen(await scrape());
          last = [observed, expected()];
          assert.deepEqual(last[0], earlier);
          assert.deepEqual(last[0], last[1]);
          return true;
        },
        { timeoutMs: 20_000, everyMs: 200 },
      );
    } catch {
      assert.deepEqual(last[0], last[1], `${what}; the agent said:\n${agent.log()}`);
    }
  }

  test('each series of a pod names the pod, its namespace and its node, in both namings', async () => {
    const wanted = new Set(pods.map((p) => JSON.stringify([p.name, p.namespace, 'node-a'])));
    const owners = (samples: readonly Sample[], name: string, keys: readonly string[]) =>
      new Set(
        select(samples, name)
          .filter((s) => s.labels[keys[0]!])
          .map((s) => JSON.stringify(keys.map((k) => s.labels[k] ?? ''))),
      );
    await agent.until('series of all pods', (samples) => {
      const keys = ['k8s_pod_name', 'k8s_namespace_name', 'k8s_node_name'];
      return owners(samples, 'skoop_tcp_active_opens_total', keys).size === pods.length;
    });
    const otel = await agent.samples();
    for (const name of [
      'skoop_tcp_active_opens_total',
      'skoop_tcpext_listen_drops_total',
      'skoop_udp_no_ports_total',
    ]) {
      if (select(otel, name).length === 0) assert.fail(`${name} is not there`);
      assert.deepEqual(owners(otel, name, ['k8s_pod_name', 'k8s_namespace_name', 'k8s_node_name']), wanted, name);
    }
    const old = await kubeskoop();
    for (const name of ['kubeskoop_tcp_activeopens', 'kubeskoop_netdev_rxbytes', 'kubeskoop_tcpext_listendrops']) {
      assert.deepEqual(owners(old, name, ['k8s_pod', 'k8s_namespace', 'k8s_node']), wanted, name);
    }
  });

  test('nothing is said of a namespace twice: the hostNetwork pod shares the series of the node', async () => {
    const samples = await agent.samples();
    const node = select(samples, 'skoop_tcp_active_opens_total').filter((s) => s.labels['k8s_pod_name'] === undefined);
    assert.equal(node.length, 1, JSON.stringify(node));
    assert.equal(node[0]?.labels['k8s_node_name'], 'node-a');
    assert.equal(host.netnsInode, bed.node.netnsInode);
    assert.equal(select(samples, 'skoop_tcp_active_opens_total').length, pods.length + 1);
  });

  test("KubeSkoop's names carry the numbers of net/snmp and net/netstat of that pod", async () => {
    const areas: Record<string, string> = { tcp: 'Tcp', udp: 'Udp', ip: 'Ip', tcpext: 'TcpExt' };
    for (const pod of pods) {
      const compared = new Set<string>();
      const kernel = () => {
        const mib = mibOf(pod);
        const wanted: Record<string, number> = {};
        for (const [key, value] of mib) {
          const [row, field] = key.split('.') as [string, string];
          const area = Object.keys(areas).find((a) => areas[a] === row);
          if (area) wanted[`kubeskoop_${area}_${field.toLowerCase()}`] = value;
        }
        return wanted;
      };
      await settled(
        `the counters of ${pod.namespace}/${pod.name}`,
        () =>
          Object.fromEntries(Object.entries(kernel()).filter(([name]) => compared.size === 0 || compared.has(name))),
        (samples) => {
          const seen: Record<string, number> = {};
          for (const { name, labels, value } of samples) {
            if (labels['k8s_pod'] !== pod.name || labels['k8s_namespace'] !== pod.namespace) continue;
            if (/^kubeskoop_(tcp|udp|ip|tcpext)_/.test(name)) seen[name] = value;
          }
          for (const name of Object.keys(seen)) compared.add(name);
          return seen;
        },
      );
      // KubeSkoop has 10 + 8 + 19 + 32 of them; a kernel may lack one or two.
      assert.ok(compared.size >= 65, `${compared.size} series compared`);
    }
  });

  test('interfaces and sockets have the numbers of net/dev and net/sockstat of that pod', async () => {
    for (const pod of pods) {
      await settled(
        `the interfaces of ${pod.namespace}/${pod.name}`,
        () => {
          const lines = [...interfacesOf(pod).values()];
          const sum = (column: number) => lines.reduce((n, line) => n + line[column]!, 0);
          return Object.fromEntries(Object.entries(netdevColumns).map(([name, column]) => [name, sum(column)]));
        },
        (samples) =>
          Object.fromEntries(
            Object.keys(netdevColumns).map((name) => [
              name,
              valueOfOne(samples, `kubeskoop_netdev_${name}`, kubeskoopLabels(pod)),
            ]),
          ),
      );
      await settled(
        `the sockets of ${pod.namespace}/${pod.name}`,
        () => ({ inuse: socketsOf(pod).get('TCP.inuse'), tw: socketsOf(pod).get('TCP.tw') }),
        (samples) => ({
          inuse: valueOfOne(samples, 'skoop_sock_inuse', {
            ...otelLabels(pod),
            network_transport: 'tcp',
            network_type: 'ipv4',
          }),
          tw: valueOfOne(samples, 'skoop_sock_time_wait', otelLabels(pod)),
        }),
        () => agent.samples(),
      );
    }
  });

  test('23 connections and 7 refused ones in one pod are +23 and +7 there and nothing anywhere else', async () => {
    const client = pods.find((p) => p.name === 'db-0')!;
    const names = ['skoop_tcp_active_opens_total', 'skoop_tcp_attempt_fails_total', 'skoop_tcp_passive_opens_total'];
    const countsOf = (samples: readonly Sample[], pod: Pod) =>
      names.map((n) => valueOfOne(samples, n, otelLabels(pod)));
    const base = await agent.samples();

    const connect = `for i in $(seq 23); do timeout 5 wget -qO /dev/null http://${web.ip}/ || exit 1; done`;
    assert.equal((await client.exec(['sh', '-c', connect])).code, 0);
    const refused = `for i in $(seq 7); do timeout 5 wget -qO /dev/null http://${web.ip}:81/ && exit 1; done; exit 0`;
    assert.equal((await client.exec(['sh', '-c', refused])).code, 0);

    const delta = (samples: readonly Sample[]) =>
      pods.map((p) => {
        const before = countsOf(base, p);
        return [`${p.namespace}/${p.name}`, countsOf(samples, p).map((v, i) => v - before[i]!)];
      });
    const wanted = pods.map((p) => [
      `${p.namespace}/${p.name}`,
      // A refused connection is an active open too (RFC 4022: CLOSED to SYN-SENT).
      p === client ? [30, 7, 0] : p === web ? [0, 0, 23] : [0, 0, 0],
    ]);
    await agent.until('the refused connections', (samples) => {
      const [, fails] = countsOf(samples, client);
      return fails! - countsOf(base, client)[1]! >= 7;
    });
    // And it stays so: two more collections add nothing.
    const collections = async () =>
      valueOfOne(await agent.samples(), 'skoop_source_collection_timestamp_seconds', { skoop_source: 'procfs/tcp' });
    const seen = await collections();
    await waitFor('two more collections', async () => (await collections()) > seen + 1);
    assert.deepEqual(delta(await agent.samples()), wanted);
  });
});
