/** The far end by its name, with real pods and an API server: events, flows, and flows by pair of workloads. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { nodeObject, podObject, serviceObject } from '../../receivers/k8s/testing.ts';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { parseExposition, type Sample, select } from '../bed/exposition.ts';
import type { Order } from './fake-api.ts';

const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';
const byWorkload = '127.0.0.1:9465';
const kubeconfig = '/run/skl/kubeconfig';

const config = {
  receivers: {
    ebpf: { collection_interval: '1s', probes: { flow: { enabled: true }, packetloss: { enabled: false } } },
    cri: { collection_interval: '1s' },
    k8s: { kubeconfig },
  },
  processors: { netns: {}, pod: {}, peer: {}, 'peer/workload': { by: 'workload' } },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    'prometheus/workload': { endpoint: byWorkload },
    debug: {},
  },
  service: {
    pipelines: {
      metrics: { receivers: ['ebpf', 'cri', 'k8s'], processors: ['netns', 'pod', 'peer'], exporters: ['prometheus'] },
      'metrics/workload': {
        receivers: ['ebpf', 'cri', 'k8s'],
        processors: ['netns', 'pod', 'peer/workload'],
        exporters: ['prometheus/workload'],
      },
      logs: { receivers: ['ebpf', 'cri', 'k8s'], processors: ['netns', 'pod', 'peer'], exporters: ['debug'] },
    },
  },
};

const sum = (samples: readonly Sample[]) => samples.reduce((n, s) => n + s.value, 0);

describe('far ends', { skip: noBtf }, () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;
  let cart: Pod;
  let api: ChildProcess;

  const order = (o: Order) => api.stdin!.write(`${JSON.stringify(o)}\n`);
  const apiPod = (pod: Pod, kind: string, name: string, labels: Record<string, string> = {}) =>
    podObject({
      name: pod.name,
      namespace: pod.namespace,
      uid: pod.uid,
      ips: pod.ips,
      node: 'node-a',
      owner: { kind, name },
      labels,
    });

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    web = await bed.runPod({ name: 'web-6d4b75cb6d-hwd5b', namespace: 'shop' });
    cart = await bed.runPod({ name: 'cart-0', namespace: 'shop' });
    const [command, ...args] = bed.node.enter([
      process.execPath,
      `${import.meta.dirname}/fake-api.ts`,
      '127.0.0.1',
      '6443',
    ]);
    api = spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve) => api.stdout!.once('data', resolve));
    order({ put: 'nodes', objects: [nodeObject('node-a', '198.18.0.1', 'zone-1')] });
    order({ put: 'services', objects: [serviceObject('orders', ['10.96.7.7'])] });
    order({
      put: 'pods',
      objects: [
        apiPod(web, 'ReplicaSet', 'web-6d4b75cb6d', { 'pod-template-hash': '6d4b75cb6d' }),
        apiPod(cart, 'StatefulSet', 'cart'),
      ],
    });
    const cluster = { name: 'c', cluster: { server: 'http://127.0.0.1:6443' } };
    const context = { name: 'x', context: { cluster: 'c', user: 'u' } };
    writeFileSync(
      bed.node.path(kubeconfig),
      stringify({ 'current-context': 'x', contexts: [context], clusters: [cluster], users: [{ name: 'u', user: {} }] }),
    );
    agent = await bed.startAgent(config, { ready: false });
    await waitFor('the probes to be on', () => /Probe flow is on/.test(agent.log()), { timeoutMs: 60_000 });
    await agent.until(
      'the workload by the API server',
      (samples) =>
        select(samples, 'target_info', { skoop_workload_name: 'web', skoop_workload_kind: 'Deployment' }).length > 0,
    );
  });
  after(async () => {
    api?.stdin?.end();
    await bed?.stop();
  });

  const send = (pod: Pod, to: string, port: number, times: number) =>
    pod.inNetns([
      process.execPath,
      '-e',
      `const s = require('node:dgram').createSocket('udp4'); let n = ${times};
       const next = () => (n-- > 0 ? s.send('x'.repeat(101), ${port}, '${to}', next) : s.close()); next();`,
    ]);
  const packets = { k8s_pod_name: 'cart-0', network_transport: 'udp', network_io_direction: 'transmit' };
  const folded = async () => parseExposition(await agent.scrape({ address: byWorkload }));
  const deployment = {
    skoop_peer_kind: 'pod',
    skoop_peer_workload_kind: 'Deployment',
    skoop_peer_workload_name: 'web',
    skoop_peer_k8s_namespace_name: 'shop',
    skoop_peer_zone: 'zone-1',
  };

  test('a refused connection: both events name the other pod, its workload and its zone', async (t) => {
    await cart.exec(['sh', '-c', `timeout 5 nc ${web.ip} 81 < /dev/null; exit 0`]);
    const reset = await waitFor('the reset', () =>
      agent.events().find((e) => e['type'] === 'TCPRESET_NOSOCK' && e['pod'] === web.name && e['dport'] === '81'),
    );
    const peerOf = (e: Record<string, string>) =>
      [
        e['peer.kind'],
        e['peer.pod'],
        e['peer.workload.kind'],
        e['peer.workload'],
        e['peer.namespace'],
        e['peer.zone'],
      ].join();
    assert.equal(peerOf(reset), 'pod,cart-0,StatefulSet,cart,shop,zone-1');
    const failed = await waitFor('the failed connection', () =>
      agent
        .events()
        .find((e) => e['type'] === 'skoop.tcp.connect_failed' && e['pod'] === 'cart-0' && e['dport'] === '81'),
    );
    assert.equal(peerOf(failed), `pod,${web.name},Deployment,web,shop,zone-1`);
    t.diagnostic(agent.lines().find((l) => l.includes('TCPRESET_NOSOCK')) ?? '');
  });

  test('a service that nobody answers for is named, an address of nobody is not', async () => {
    await cart.exec([
      'sh',
      '-c',
      'timeout 5 nc 10.96.7.7 82 < /dev/null; timeout 5 nc 203.0.113.9 83 < /dev/null; exit 0',
    ]);
    const failed = (port: string) =>
      waitFor(`the failed connection to port ${port}`, () =>
        agent.events().find((e) => e['type'] === 'skoop.tcp.connect_failed' && e['dport'] === port),
      );
    const service = await failed('82');
    assert.deepEqual(
      [service['peer.kind'], service['peer.service'], service['peer.namespace']],
      ['service', 'orders', 'shop'],
    );
    const nobody = await failed('83');
    assert.deepEqual(
      Object.keys(nobody).filter((k) => k.startsWith('peer.')),
      [],
    );
  });

  test('flows: 23 packets have the pod’s name by address, and the workload’s by pair', async () => {
    await send(cart, web.ip, 7001, 23);
    const named = { ...packets, destination_address: web.ip, skoop_peer_k8s_pod_name: web.name, ...deployment };
    await agent.until(
      '23 packets to the pod',
      (samples) => sum(select(samples, 'skoop_flow_packets_total', named)) === 23,
    );
    const pair = {
      ...packets,
      ...deployment,
      skoop_local_workload_kind: 'StatefulSet',
      skoop_local_workload_name: 'cart',
    };
    await waitFor(
      '23 packets to the workload',
      async () => sum(select(await folded(), 'skoop_flow_packets_total', pair)) === 23,
    );
    const own = select(await folded(), 'skoop_flow_packets_total', pair);
    assert.equal(own.length, 1);
    assert.deepEqual(
      Object.keys(own[0]!.labels).filter((l) => /_address$|_port$|pod_name$/.test(l)),
      ['k8s_pod_name'],
    );
  });

  test('another pod of the workload joins the pair; when it is gone the pair keeps what it had', async () => {
    const second = await bed.runPod({ name: 'web-6d4b75cb6d-zzzzz', namespace: 'shop' });
    order({
      put: 'pods',
      objects: [apiPod(second, 'ReplicaSet', 'web-6d4b75cb6d', { 'pod-template-hash': '6d4b75cb6d' })],
    });
    await agent.until(
      'its name',
      (samples) =>
        select(samples, 'target_info', { k8s_pod_name: second.name, skoop_workload_kind: 'Deployment' }).length > 0,
    );
    await send(cart, second.ip, 7001, 7);
    const pair = { ...packets, ...deployment };
    const seen = async () => sum(select(await folded(), 'skoop_flow_packets_total', pair));
    await waitFor('30 packets to the workload', async () => (await seen()) === 30);
    order({ delete: 'pods', uid: second.uid });
    await bed.removePod(second);
    await send(cart, web.ip, 7001, 11);
    await waitFor('41 packets to the workload', async () => (await seen()) === 41);
  });

  test('all bytes and packets are the same before and after folding', async () => {
    for (const metric of ['skoop_flow_io_bytes_total', 'skoop_flow_packets_total']) {
      for (const direction of ['receive', 'transmit']) {
        const of = (samples: readonly Sample[]) =>
          [web, cart].map((pod) =>
            sum(select(samples, metric, { k8s_pod_name: pod.name, network_io_direction: direction })),
          );
        // Both are fed by one collection; a neighbour's ARP may come between the two scrapes.
        const [before, now] = await waitFor(`${metric} ${direction} to agree`, async () => {
          const [plain, pairs] = [of(await agent.samples()), of(await folded())];
          return plain.join() === pairs.join() ? [plain, pairs] : undefined;
        });
        assert.deepEqual(now, before);
        assert.ok(
          before!.every((n) => n > 0),
          `${metric} ${direction}: ${before}`,
        );
      }
    }
  });
});
