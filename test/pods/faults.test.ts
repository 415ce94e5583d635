/** Real faults in real pods, seen by the agent on its default pipeline: the right pod, the kind, the reason, the exact number. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { waitFor } from '../bed/command.ts';
import { type Sample, select } from '../bed/exposition.ts';
import { datagramFaults } from './faults-datagrams.ts';
import { hostFaults } from './faults-host.ts';
import { conntrackFull, netfilterFaults } from './faults-netfilter.ts';
import { queueFaults } from './faults-queues.ts';
import { slowFaults } from './faults-slow.ts';
import { tcpFaults } from './faults-tcp.ts';
import { counterOf, type Fault, type Site, startWorld, type Wanted, type World } from './faults-world.ts';

const root = `${import.meta.dirname}/../..`;
const pipeline = readFileSync(`${root}/pipeline.yaml`, 'utf8');
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';

type Event = Record<string, string>;
/** What must be told of a fault and of nothing else. Latencies and retransmissions follow from load too. */
const strict =
  /^(PACKETLOSS|TCPRESET_\w+|skoop\.(tcp\.(connect_failed|accept_queue_full|syn_queue_full)|udp\.buffer_full))$/;

const matches = (e: Event, w: Wanted) =>
  e['type'] === w.type &&
  e['pod'] === w.whose.name &&
  e['namespace'] === w.whose.namespace &&
  Object.entries(w.where).every(([k, v]) => e[k] === v);

/** Counters of the kernel by `TcpExt.ListenDrops`, as the scrape calls them. */
const catalogue = JSON.parse(readFileSync(`${root}/docs/reference/catalogue.json`, 'utf8')) as {
  readonly metrics: readonly { readonly source: string; readonly prometheus: string }[];
};
function seriesName(counter: string): string {
  const found = catalogue.metrics.find((m) => m.source.split(', ')[0]!.endsWith(` ${counter.replace('.', ' ')}`));
  if (!found) throw new Error(`No metric is made of ${counter}.`);
  return found.prometheus;
}

/** Series are of a network namespace: those of hostNetwork pods are the node's. */
const ofSite = (site: Site) => (s: Sample) =>
  site.pod && !site.pod.hostNetwork
    ? s.labels['k8s_pod_name'] === site.name && s.labels['k8s_namespace_name'] === site.namespace
    : s.labels['k8s_pod_name'] === undefined && s.labels['skoop_netns_inode'] === undefined;
/** net/snmp and net/netstat are of IPv4, or of both. */
const ipv4 = (s: Sample) => (s.labels['network_type'] ?? 'ipv4') === 'ipv4';
const sameNetns = (a: Site, b: Site) => a === b || ((a.pod?.hostNetwork ?? true) && (b.pod?.hostNetwork ?? true));

const sum = (samples: readonly Sample[], name: string, site: Site, labels: Record<string, string> = {}) =>
  select(samples, name, labels)
    .filter(ofSite(site))
    .reduce((n, s) => n + s.value, 0);

describe('faults in real pods', { skip: noBtf }, () => {
  let world: World;
  const known = new Map<string, readonly Wanted[]>();
  const slow = new Map<Fault, Promise<readonly Wanted[]>>();

  before(async () => {
    world = await startWorld(pipeline);
  });
  after(() => world?.stop());

  const events = () => world.agent.events();
  const count = (w: Wanted) => events().filter((e) => matches(e, w)).length;
  /** Events of the bed's own pods and node: BPF sees the whole machine. */
  const ours = () => {
    const names = new Set(world.sites.map((s) => `${s.namespace}/${s.name}`));
    return events().filter((e) => names.has(`${e['namespace']}/${e['pod']}`) && strict.test(e['type'] ?? ''));
  };

  async function check(fault: Fault, made: Promise<readonly Wanted[]>) {
    const wanted = await made;
    known.set(fault.name, wanted);
    const complete = (w: Wanted) => w.limited === true || count(w) >= w.count;
    await waitFor('the events', () => wanted.every(complete), { timeoutMs: 10_000 }).catch(() => {});
    for (const w of wanted) {
      if (w.limited) assert.ok(count(w) <= w.count, `${count(w)} events`);
      else assert.equal(count(w), w.count, `${w.type} of ${w.whose.name} ${JSON.stringify(w.where)}`);
    }
  }

  test('the slow ones are under way', () => {
    for (const fault of slowFaults) {
      const made = fault.make(world);
      made.catch(() => {});
      slow.set(fault, made);
    }
  });
  for (const fault of [...netfilterFaults, ...datagramFaults, ...queueFaults, ...tcpFaults, ...hostFaults]) {
    test(fault.name, () => check(fault, fault.make(world)));
  }
  for (const fault of slowFaults) test(fault.name, () => check(fault, slow.get(fault)!));
  test(conntrackFull.name, () => check(conntrackFull, conntrackFull.make(world)));

  test('nothing else was told', () => {
    const all = [...known.values()].flat();
    const others = ours().filter((e) => !all.some((w) => matches(e, w)));
    const lines = new Map<string, number>();
    for (const e of others) {
      const key = JSON.stringify({ ...e, sport: undefined });
      lines.set(key, (lines.get(key) ?? 0) + 1);
    }
    assert.deepEqual([...lines], []);
  });

  test('each counter is what the events say', async () => {
    const all = [...known.values()].flat();
    const kinds: readonly [type: RegExp, metric: string, label?: string, field?: string][] = [
      [/^PACKETLOSS$/, 'skoop_packet_drops_total', 'skoop_drop_reason', 'reason'],
      [/^TCPRESET_/, 'skoop_tcp_resets_total'],
      [/connect_failed$/, 'skoop_tcp_connect_failures_total', 'error_type', 'error.type'],
      [/buffer_full$/, 'skoop_udp_overflows_total'],
      [/accept_queue_full$/, 'skoop_tcp_listen_accept_queue_full_total'],
      [/syn_queue_full$/, 'skoop_tcp_listen_syn_queue_full_total'],
    ];
    const expected: [Site, string, Record<string, string>, number][] = [];
    for (const site of world.sites.filter((s) => s.pod?.hostNetwork !== true)) {
      for (const [type, metric, label, field] of kinds) {
        const limited = all.filter((w) => w.limited && w.whose === site && type.test(w.type));
        const owners = world.sites.filter((s) => sameNetns(s, site)).map((s) => `${s.namespace}/${s.name}`);
        const told = events().filter((e) => owners.includes(`${e['namespace']}/${e['pod']}`) && type.test(e['type']!));
        const values = label && field ? [...new Set(told.map((e) => e[field]!))] : [undefined];
        for (const value of values) {
          const n = told.filter((e) => value === undefined || e[field!] === value).length;
          const heldBack = limited
            .filter((w) => value === undefined || w.where[field!] === value)
            .reduce((m, w) => m + w.count - count(w), 0);
          expected.push([site, metric, value === undefined ? {} : { [label!]: value }, n + heldBack]);
        }
      }
    }
    let seen: unknown[] = [];
    const wanted = expected.map(([site, metric, labels, n]) => [site.name, metric, labels, n]);
    await waitFor(
      'the counters',
      async () => {
        const samples = await world.agent.samples();
        seen = expected.map(([site, metric, labels]) => [
          site.name,
          metric,
          labels,
          sum(samples, metric, site, labels),
        ]);
        assert.deepEqual(seen, wanted);
        return true;
      },
      { timeoutMs: 45_000, everyMs: 500 },
    ).catch(() => assert.deepEqual(seen, wanted));
  });

  test('what the rate limit held back is counted, and no event was lost', async () => {
    const samples = await world.agent.samples();
    for (const site of world.sites) {
      const held = [...known.values()]
        .flat()
        .filter((w) => w.limited && w.whose === site)
        .reduce((n, w) => n + w.count - count(w), 0);
      assert.equal(sum(samples, 'skoop_event_suppressed_total', site, { skoop_probe: 'packetloss' }), held, site.name);
      assert.equal(sum(samples, 'skoop_event_lost_total', site), 0, site.name);
    }
  });

  test('the counters of /proc that moved are series of the same pods', async () => {
    for (const [site, counter] of world.moved) {
      const name = seriesName(counter);
      const kernel = counterOf(site, counter);
      assert.ok(kernel > 0, `${counter} of ${site.name} has not moved`);
      await waitFor(
        `${name} of ${site.name} to be ${kernel}`,
        async () => sum((await world.agent.samples()).filter(ipv4), name, site) === counterOf(site, counter),
      );
    }
  });

  test('table', (t) => {
    const rows = [['fault', 'pod', 'kind', 'reason', 'expected', 'got', 'number from']];
    for (const [fault, wanted] of known) {
      for (const w of wanted) {
        const reason = w.where['reason'] ?? w.where['error.type'] ?? '';
        rows.push([fault, w.whose.name, w.type, reason, String(w.count), String(count(w)), w.counter ?? 'made']);
      }
      if (wanted.length === 0) rows.push([fault, '', 'no event', '', '0', '0', 'made']);
    }
    const width = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
    for (const row of rows) t.diagnostic(row.map((cell, i) => cell.padEnd(width[i]!)).join(' | '));
    t.diagnostic(`${known.size} faults`);
  });
});
