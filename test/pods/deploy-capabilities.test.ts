/** The DaemonSet as it is shipped, through containerd and runc, beside real pods; then with each capability taken away, against docs/security.md. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import type { Sample } from '../bed/exposition.ts';
import {
  buildImageFiles,
  type DeployedAgent,
  deployAgent,
  type ImageFiles,
  listedCapabilities,
} from './deployed-agent.ts';

const root = `${import.meta.dirname}/../..`;
const skip = !existsSync('/sys/kernel/btf/vmlinux')
  ? 'this kernel has no BTF (/sys/kernel/btf/vmlinux)'
  : globSync(`${root}/.output/bpf/*.bpf.o`).length === 0 && 'there are no BPF objects here (no clang)';

/** Bits of include/uapi/linux/capability.h. */
const bits: Readonly<Record<string, number>> = {
  DAC_READ_SEARCH: 2,
  NET_ADMIN: 12,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  SYSLOG: 34,
  PERFMON: 38,
  BPF: 39,
};
const mask = (names: readonly string[]) => names.reduce((m, n) => m | (1n << BigInt(bits[n]!)), 0n);

interface Row {
  readonly capability: string;
  readonly pods: readonly string[];
  readonly node: readonly string[];
  readonly says: readonly string[];
}

const quoted = (text: string) => Array.from(text.matchAll(/`([^`]+)`/g), (m) => m[1]!);

/** The table of docs/security.md. */
function rows(): Row[] {
  const page = readFileSync(`${root}/docs/security.md`, 'utf8');
  return Array.from(page.matchAll(/^\| `([A-Z_]+)` \|[^|]*\|([^|]*)\|([^|]*)\|$/gm), ([, capability, off, says]) => ({
    capability: capability!,
    pods: quoted(/of pods: (`[^;]*)/.exec(off!)?.[1] ?? ''),
    node: quoted(/of the node: ([^;]*)/.exec(off!)?.[1] ?? ''),
    says: quoted(says!).filter((s) => !s.startsWith('skoopline ')),
  }));
}

/** Rounds at short intervals, and what is absent told in the log. */
const quick = (text: string) =>
  text
    .replace(/^( {2}(?:procfs|netlink|ebpf)): \{\}$/gm, '$1: {collection_interval: 2s}')
    .replace(/^( {2}telemetry:)$/m, '$1\n    logs: {level: debug}');

const ofPod = (samples: readonly Sample[], pod: string, name: string) =>
  samples.find((s) => s.name === name && s.labels['k8s_pod_name'] === pod);
const ofNode = (samples: readonly Sample[], name: string) =>
  samples.find((s) => s.name === name && !s.labels['k8s_pod_name']);

describe('the DaemonSet', { skip }, () => {
  let bed: Bed;
  let image: ImageFiles;
  let web: Pod;
  let client: Pod;
  /** Descriptors that the agent counts in the pod of another user, with every capability. */
  let openFiles: number;

  before(async () => {
    image = buildImageFiles();
    bed = await startBed({ name: 'node-a' });
    // As systemd has it on a node; the mount of /run follows what the runtime mounts below it.
    assert.equal((await bed.node.run(['mount', '--make-rshared', '/run'])).code, 0);
    const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', labels: { app: 'web' }, command: serve });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    const asOther =
      'echo low:x:65534:65534::/:/bin/sh >> /etc/passwd; exec su low -c "exec sleep 2147483647 5<&0 6<&0 7<&0"';
    await bed.runPod({ name: 'low-0', namespace: 'shop', command: ['sh', '-c', asOther] });
    const rules = [
      'add table ip skl',
      'add chain ip skl in { type filter hook input priority 0; }',
      'add rule ip skl in udp dport 5353 drop',
    ];
    assert.equal((await web.inNetns(['nft', rules.join('; ')])).code, 0);
  });
  after(async () => {
    await bed?.stop();
    image?.remove();
  });

  const probesLoaded = (agent: DeployedAgent) =>
    waitFor(
      'the probes to be loaded',
      () => agent.lines('stderr').some((l) => /All eBPF probes are off|Probe biolatency is/.test(l)),
      { timeoutMs: 60_000 },
    );
  const podsNamed = (agent: DeployedAgent) =>
    waitFor('the names of the pods', async () => {
      const samples = await agent.samples();
      return ofPod(samples, 'web-0', 'skoop_pod_info') && ofPod(samples, 'low-0', 'skoop_pod_info');
    });
  const drops = (agent: DeployedAgent) =>
    agent.events().filter((e) => e['type'] === 'PACKETLOSS' && e['pod'] === 'web-0' && e['dport'] === '5353');
  /** 17 datagrams that the rule in web-0 drops. */
  async function dropped17(agent: DeployedAgent) {
    const before = drops(agent).length;
    const send = `for i in $(seq 17); do echo hi > /dev/udp/${web.ip}/5353; done`;
    assert.equal((await client.inNetns(['bash', '-c', send])).code, 0);
    await waitFor('17 drops', () => drops(agent).length >= before + 17);
    return drops(agent).slice(before);
  }

  test('has its capabilities and no other, sees every pod, and attributes 17 drops with their reason', async (t) => {
    const agent = await deployAgent(bed, image);
    t.after(() => agent.stop());
    const status = await agent.status();
    assert.equal(BigInt(`0x${status.get('CapEff')}`), mask(listedCapabilities()));
    assert.equal(BigInt(`0x${status.get('CapBnd')}`), mask(listedCapabilities()));
    assert.deepEqual([status.get('NoNewPrivs'), status.get('Seccomp')], ['1', '2'], 'no_new_privs and a filter');
    assert.equal(await agent.health('/healthz'), 200);
    await probesLoaded(agent);
    await podsNamed(agent);
    const off = agent.lines('stderr').filter((l) => /Probe \w+ is off/.test(l) && !/kprobes/.test(l));
    assert.deepEqual(off, [], 'no default probe is off for another reason than a kernel without kprobes');
    assert.deepEqual(
      (await dropped17(agent)).map((e) => [e['pod'], e['namespace'], e['reason']].join()),
      Array(17).fill('web-0,shop,NETFILTER_DROP'),
    );
    const samples = await waitFor('every series of the table', async () => {
      const found = await agent.samples();
      const missing = rows().flatMap((r) => [
        ...r.pods.filter((n) => !ofPod(found, 'web-0', n)),
        ...r.node.filter((n) => !ofNode(found, n)),
      ]);
      return missing.length === 0 && found;
    });
    openFiles = ofPod(samples, 'low-0', 'skoop_fd_open')!.value;
  });

  test('docs/security.md has a row for each capability', () => {
    assert.deepEqual(
      rows().map((r) => r.capability),
      listedCapabilities(),
    );
  });

  for (const row of rows()) {
    test(`without ${row.capability} is off what docs/security.md says`, async (t) => {
      const capabilities = listedCapabilities().filter((c) => c !== row.capability);
      // Without SYS_ADMIN, what stands for it in the table is BPF and PERFMON.
      if (row.capability === 'SYS_ADMIN') capabilities.push('PERFMON', 'BPF');
      const agent = await deployAgent(bed, image, { capabilities, pipeline: quick });
      t.after(() => agent.stop());
      await probesLoaded(agent);
      await podsNamed(agent);
      assert.equal((await dropped17(agent)).length, 17, 'drops are seen and named all the same');
      const kept = (which: 'pods' | 'node') =>
        [...new Set(rows().flatMap((r) => r[which]))].filter((n) => !row[which].includes(n));
      const samples = await waitFor(`all that is not off without ${row.capability}`, async () => {
        const found = await agent.samples();
        const missing = [
          ...kept('pods').filter((n) => !ofPod(found, 'web-0', n)),
          ...kept('node').filter((n) => !ofNode(found, n)),
        ];
        if (missing.length > 0) throw new Error(`${missing.join(', ')} missing`);
        return found;
      });
      if (row.capability === 'DAC_READ_SEARCH') {
        const fewer = ofPod(samples, 'low-0', 'skoop_fd_open')?.value ?? 0;
        assert.ok(fewer < openFiles, `${fewer} of ${openFiles} descriptors`);
      }
      const log = () => agent.lines('stderr').join('\n');
      const doctor = row.capability === 'SYSLOG' ? await agent.skoopline('doctor', '--seconds', '0') : '';
      await waitFor(`its sentence: ${row.says.join(' … ')}`, () =>
        row.says.every((s) => (doctor || log()).includes(s)),
      );
      // Nothing of them came with what was waited for, nor since.
      const after = await agent.samples();
      assert.deepEqual(
        row.pods.filter((n) => ofPod(after, 'web-0', n)),
        [],
      );
      assert.deepEqual(
        row.node.filter((n) => ofNode(after, n)),
        [],
      );
    });
  }

  test('without SYS_ADMIN, BPF and PERFMON it says that it may not load programs, and counts on', async (t) => {
    const capabilities = listedCapabilities().filter((c) => c !== 'SYS_ADMIN');
    const agent = await deployAgent(bed, image, { capabilities, pipeline: quick });
    t.after(() => agent.stop());
    await podsNamed(agent);
    const sentence = 'The agent may not load BPF programs: it lacks CAP_BPF and CAP_PERFMON.';
    assert.ok(readFileSync(`${root}/docs/security.md`, 'utf8').includes(sentence));
    await waitFor('its sentence', () => agent.lines('stderr').some((l) => l.includes(sentence)));
    await waitFor('counters of a pod', async () =>
      ofPod(await agent.samples(), 'web-0', 'system_network_io_bytes_total'),
    );
  });
});
