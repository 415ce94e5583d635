/** The two example lines of KubeSkoop's introduction, for real: a reset without a socket, and a loss with the kernel's stack. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';

const pipeline = readFileSync(`${import.meta.dirname}/../../pipeline.yaml`, 'utf8');
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';

const address = String.raw`\d+\.\d+\.\d+\.\d+`;
/** Everything up to the details, as KubeSkoop prints it: type, owner, protocol, flow. */
const head = (type: string, pod: string, namespace: string) =>
  `type=${type} pod=${pod} namespace=${namespace} protocol=TCP saddr=${address} sport=\\d+ daddr=${address} dport=\\d+`;
/** Further fields: no space in any of them. */
const fields = String.raw`( [\w.]+=\S+)*`;
const frame = String.raw`[\w.]+\+0x[0-9A-F]+(\[\w+\])?`;

describe("the seed's example lines", { skip: noBtf }, () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;
  let client: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    web = await bed.runPod({ name: 'storage-monitor-5775dfdc77-fj767', namespace: 'kube-system' });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    agent = await bed.startAgent(pipeline, { ready: false });
    await waitFor('the probes to be on', () => /Probe tcpreset is on/.test(agent.log()), { timeoutMs: 60_000 });
    await agent.until(
      'the names of the pods',
      (samples) => select(samples, 'target_info', { k8s_pod_name: client.name }).length > 0,
    );
  });
  after(() => bed?.stop());

  const ask = (pod: Pod, port: number) =>
    pod.exec(['sh', '-c', `timeout 5 wget -qO /dev/null http://${web.ip}:${port}/; exit 0`]);
  const lineOf = (type: string, pod: string, port: number) =>
    waitFor(`a line of ${type}`, () =>
      agent.lines().find((l) => l.startsWith(`type=${type} pod=${pod} `) && l.includes(` dport=${port}`)),
    );

  test('type=TCPRESET_NOSOCK names the pod that has no socket for the segment', async () => {
    await ask(client, 443);
    const line = await lineOf('TCPRESET_NOSOCK', web.name, 443);
    assert.match(line, new RegExp(`^${head('TCPRESET_NOSOCK', web.name, 'kube-system')}${fields}$`));
    assert.match(line, new RegExp(` saddr=${client.ip} sport=\\d+ daddr=${web.ip} dport=443( |$)`));
  });

  test('without enable_stack no line has a stack', async () => {
    const line = await lineOf('PACKETLOSS', web.name, 443);
    assert.doesNotMatch(line, /stacktrace:/);
  });

  test('type=PACKETLOSS has its stack once the switch is on', async (t) => {
    const changed = parse(pipeline) as { receivers: Record<string, unknown> };
    changed.receivers['ebpf'] = { probes: { packetloss: { enable_stack: true } } };
    const on = () => agent.log().match(/Probe tcpreset is on/g)?.length ?? 0;
    const before = on();
    writeFileSync(bed.node.path(agent.configPath), stringify(changed));
    agent.signal('SIGHUP');
    await waitFor('the probes to be on again', () => on() > before, { timeoutMs: 60_000 });
    await ask(client, 6443);
    const line = await lineOf('PACKETLOSS', web.name, 6443);
    const whole = new RegExp(
      `^${head('PACKETLOSS', web.name, 'kube-system')}${fields} stacktrace:${frame}( ${frame})+$`,
    );
    assert.match(line, whole);
    // The path that a segment takes to a port nobody listens on; what the kernel runs to tell us is cut.
    assert.match(line, / stacktrace:(\S+ )*tcp_v4_rcv\+0x[0-9A-F]+ .*ip_local_deliver\S*\+0x/);
    assert.doesNotMatch(line, /bpf_trace_run|bpf_prog_/);
    t.diagnostic(line);
  });

  test('what the node itself loses is of hostNetwork, with its stack', async (t) => {
    // The node's own address: nobody listens on this port.
    await client.exec(['sh', '-c', 'timeout 5 wget -qO /dev/null http://198.18.0.1:6444/; exit 0']);
    const line = await lineOf('PACKETLOSS', 'hostNetwork', 6444);
    assert.match(
      line,
      new RegExp(`^${head('PACKETLOSS', 'hostNetwork', 'hostNetwork')}${fields} stacktrace:${frame}( ${frame})+$`),
    );
    t.diagnostic(line);
  });
});
