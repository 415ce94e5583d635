/** The default pipeline on real pods in trouble: the right pod, the kind, the reason and the exact number; and silence without trouble. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';

const pipeline = readFileSync(`${import.meta.dirname}/../../pipeline.yaml`, 'utf8');
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';

/** Ends once 50 datagrams came to port 5000. */
const receive50 = `
const socket = require('node:dgram').createSocket('udp4');
let left = 50;
socket.on('message', () => --left || socket.close());
socket.bind(5000);`;

type Event = Record<string, string>;

describe('the default pipeline', { skip: noBtf }, () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;
  let client: Pod;
  let other: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', labels: { app: 'web' }, command: serve });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    other = await bed.runPod({ name: 'cli-1', namespace: 'data' });
    agent = await bed.startAgent(pipeline, { ready: false });
    await waitFor('the probes to be on', () => /Probe tcpreset is on/.test(agent.log()), { timeoutMs: 60_000 });
    await agent.until(
      'the names of the pods',
      (samples) => select(samples, 'target_info', { k8s_pod_name: 'cli-1' }).length > 0,
    );
  });
  after(() => bed?.stop());

  /** Events of the bed's own namespaces: what BPF sees of the rest of the machine is not of this node. */
  const eventsSince = (line: number) => {
    const ours = new Set(['web-0', 'cli-0', 'cli-1', 'hostNetwork']);
    return agent
      .events()
      .slice(line)
      .filter((e) => ours.has(e['pod'] ?? '') || /^(late|calm)-/.test(e['pod'] ?? ''));
  };
  const of = (events: readonly Event[], type: string, pod: Pod) =>
    events.filter((e) => e['type'] === type && e['pod'] === pod.name && e['namespace'] === pod.namespace);
  const mark = () => agent.events().length;

  const fetch = (pod: Pod, n: number, url: string) =>
    pod.exec(['sh', '-c', `for i in $(seq ${n}); do timeout 5 wget -qO /dev/null ${url}; done; exit 0`]);

  test('23 connections to a closed port are 23 resets of the pod that has none, and 23 received by the one that asked', async () => {
    const from = mark();
    await fetch(client, 23, `http://${web.ip}:81/`);
    await waitFor('23 resets', () => of(eventsSince(from), 'TCPRESET_RECEIVE', client).length >= 23);
    const events = eventsSince(from);
    const resets = events.filter((e) => e['type']?.startsWith('TCPRESET'));
    assert.equal(of(resets, 'TCPRESET_NOSOCK', web).length, 23);
    assert.equal(of(resets, 'TCPRESET_RECEIVE', client).length, 23);
    assert.equal(resets.length, 46, 'and no other');
    const [reset] = of(resets, 'TCPRESET_NOSOCK', web) as [Event];
    assert.deepEqual(
      [reset['protocol'], reset['saddr'], reset['daddr'], reset['dport']],
      ['TCP', client.ip, web.ip, '81'],
    );
  });

  test('17 datagrams dropped by a rule in a pod are 17 losses of that pod, with the reason', async () => {
    const rules = [
      'add table ip skl',
      'add chain ip skl in { type filter hook input priority 0; }',
      'add rule ip skl in udp dport 5353 drop',
    ];
    assert.equal((await web.inNetns(['nft', rules.join('; ')])).code, 0);
    const from = mark();
    const send = `for i in $(seq 17); do echo hi > /dev/udp/${web.ip}/5353; done`;
    assert.equal((await client.inNetns(['bash', '-c', send])).code, 0);
    await waitFor('17 losses', () => of(eventsSince(from), 'PACKETLOSS', web).length >= 17);
    await web.inNetns(['nft', 'delete table ip skl']);
    const losses = eventsSince(from).filter((e) => e['type'] === 'PACKETLOSS');
    assert.equal(losses.length, 17, JSON.stringify(losses.find((e) => e['pod'] !== 'web-0')));
    assert.deepEqual(
      [...new Set(losses.map((e) => [e['pod'], e['reason'], e['protocol'], e['dport']].join()))],
      ['web-0,NETFILTER_DROP,UDP,5353'],
    );
  });

  test('what the node drops is of the node and of no pod', async () => {
    const rules = [
      'add table ip skl',
      'add chain ip skl in { type filter hook input priority 0; }',
      'add rule ip skl in udp dport 5354 drop',
    ];
    assert.equal((await bed.node.run(['nft', rules.join('; ')])).code, 0);
    const from = mark();
    // The bridge's own address is the first of the range.
    const send = 'for i in $(seq 7); do echo hi > /dev/udp/198.18.0.1/5354; done';
    assert.equal((await other.inNetns(['bash', '-c', send])).code, 0);
    const dropped = () => eventsSince(from).filter((e) => e['type'] === 'PACKETLOSS' && e['dport'] === '5354');
    await waitFor('7 losses', () => dropped().length >= 7);
    await bed.node.run(['nft', 'delete table ip skl']);
    assert.deepEqual(
      dropped().map((e) => e['pod']),
      Array(7).fill('hostNetwork'),
    );
  });

  test('the last events of a pod carry its name, though it is gone when they are read', async () => {
    const late = await bed.runPod({ name: 'late-0', namespace: 'shop' });
    const from = mark();
    await fetch(late, 5, `http://${web.ip}:82/`);
    await bed.removePod(late);
    await waitFor('its events', () => of(eventsSince(from), 'TCPRESET_RECEIVE', late).length === 5);
  });

  test('ordinary traffic makes no event of loss or reset', async () => {
    const from = mark();
    const calm = await bed.runPod({
      name: 'calm-0',
      namespace: 'data',
      command: ['httpd', '-f', '-p', '80', '-h', '/www'],
    });
    const sink = [process.execPath, '-e', receive50];
    const listening = calm.inNetns(sink);
    await waitFor('a socket for the datagrams', () =>
      / 00000000:1388 /.test(readFileSync(calm.proc('net/udp'), 'utf8')),
    );
    for (let round = 0; round < 3; round++) {
      for (const pod of [client, other]) {
        await fetch(pod, 20, `http://${web.ip}/`);
        await fetch(pod, 20, `http://${calm.ip}/`);
        // Keep-alive, half-close and larger bodies, as curl does it.
        const curl = await pod.inNetns([
          'curl',
          '-sS',
          '-o',
          '/dev/null',
          `http://${web.ip}/`,
          '-o',
          '/dev/null',
          `http://${web.ip}/bin/busybox`,
        ]);
        assert.equal(curl.code, 0, curl.stderr);
      }
      await agent.scrape();
    }
    await client.inNetns(['bash', '-c', `for i in $(seq 50); do echo datagram > /dev/udp/${calm.ip}/5000; done`]);
    assert.equal((await listening).code, 0);
    await bed.removePod(calm);
    await agent.scrape();
    const events = eventsSince(from).filter((e) => /^(PACKETLOSS|TCPRESET)/.test(e['type'] ?? ''));
    assert.deepEqual(events, []);
  });
});
