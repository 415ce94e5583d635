import { readFileSync } from 'node:fs';
import { probes } from '../../receivers/ebpf/probes.ts';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { output, waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';
import { type Hands, startHands } from './faults-hands.ts';

/** A pod, or the node itself, with hands in its network namespace. */
export interface Site {
  /** As event lines call it: the pod's name, or `hostNetwork`. */
  readonly name: string;
  readonly namespace: string;
  /** undefined: the node. */
  readonly pod: Pod | undefined;
  readonly ip: string;
  readonly hands: Hands;
  /** Runs a shell script with this machine's tools in the network namespace; its output. Throws when it fails. */
  sh(script: string): Promise<string>;
  /** Text of a file of /proc as this namespace shows it: `net/snmp`. */
  proc(file: string): string;
}

/** Events that a fault must make: so many, of this owner, with these fields. */
export interface Wanted {
  readonly whose: Site;
  readonly type: string;
  /** Fields of the event line. */
  readonly where: Readonly<Record<string, string>>;
  readonly count: number;
  /** True when the rate limit holds some of them back: those seen and those counted as suppressed are `count`. */
  readonly limited?: boolean;
  /** Where the number comes from, if not from what the test did: the kernel's own counter. */
  readonly counter?: string;
}

export interface Fault {
  readonly name: string;
  /** Makes the fault, undoes it, and says what it must have shown. */
  readonly make: (world: World) => Promise<readonly Wanted[]>;
}

/** A counter of /proc that a fault moves. */
export type Counter = readonly [whose: Site, counter: string];

/** A node with an agent on its default pipeline, and pods to be put in trouble. */
export interface World {
  readonly bed: Bed;
  readonly agent: Agent;
  readonly node: Site;
  /** Who asks and who answers in faults that are over at once. */
  readonly client: Site;
  readonly server: Site;
  /** The same for faults that take the kernel seconds, made while the others are. */
  readonly slowClient: Site;
  readonly slowServer: Site;
  /** For faults that need a namespace of their own. */
  readonly other: Site;
  /** A pod with hostNetwork: its hands are those of the node. */
  readonly host: Site;
  readonly sites: readonly Site[];
  /** A port that no other fault uses. */
  port(): number;
  /** Says that this counter has moved: compared with the agent's series in the end. */
  moves(whose: Site, ...counters: string[]): void;
  readonly moved: readonly Counter[];
  stop(): Promise<void>;
}

/** A pod (undefined: the node) with a Python of its own in its network namespace; stop its hands in the end. */
export async function siteOf(bed: Bed, pod: Pod | undefined): Promise<Site> {
  const at = pod === undefined ? {} : { netnsOfPid: pod.pid };
  const hands = await startHands(bed.node, pod?.pid);
  return {
    name: pod?.name ?? 'hostNetwork',
    namespace: pod?.namespace ?? 'hostNetwork',
    pod,
    ip: pod?.ip ?? '198.18.0.1',
    hands,
    sh: (script) => output(bed.node.enter(['bash', '-euc', script], at)),
    proc: (file) => readFileSync(pod?.proc(file) ?? bed.node.path(`/proc/1/${file}`), 'utf8'),
  };
}

/** Starts node, pods and agent, and waits until all probes are on and all names known. */
export async function startWorld(pipeline: string): Promise<World> {
  const bed = await startBed({ name: 'node-a' });
  const names = ['client-0', 'server-0', 'client-1', 'server-1', 'other-0'];
  const pods = await Promise.all(names.map((name) => bed.runPod({ name, namespace: 'shop' })));
  const sites = await Promise.all([undefined, ...pods].map((pod) => siteOf(bed, pod)));
  const [node, client, server, slowClient, slowServer, other] = sites as [Site, Site, Site, Site, Site, Site];
  const hostPod = await bed.runPod({ name: 'host-0', namespace: 'kube-system', hostNetwork: true });
  const host: Site = { ...node, name: hostPod.name, namespace: hostPod.namespace, pod: hostPod };
  // An address behind the node's own routing: what goes there is forwarded, not bridged.
  await node.sh('sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.cni0.send_redirects=0');
  await node.sh(`ip route add 198.19.0.2/32 via ${server.ip}`);
  await server.sh('ip addr add 198.19.0.2/32 dev lo');
  const agent = await bed.startAgent(pipeline, { ready: false });
  // Each probe that is not switched off says that it is on or off, in this order.
  const last = new RegExp(`Probe ${probes.findLast((p) => p.config.parse({}).enabled)!.name} is o`);
  try {
    await waitFor('the last probe to be on', () => last.test(agent.log()), { timeoutMs: 60_000 });
  } catch (error) {
    await bed.stop();
    throw new Error(`${(error as Error).message}. The agent said:\n${agent.log()}`);
  }
  await agent.until('the names of the pods', (samples) =>
    names.every((n) => select(samples, 'target_info', { k8s_pod_name: n }).length > 0),
  );
  let port = 20_000;
  const moved: Counter[] = [];
  return {
    bed,
    agent,
    node,
    client,
    server,
    slowClient,
    slowServer,
    other,
    host,
    sites: [...sites, host],
    port: () => ++port,
    moves: (whose, ...counters) => void moved.push(...counters.map((c) => [whose, c] as const)),
    moved,
    async stop() {
      for (const site of sites) await site.hands.stop();
      await bed.stop();
    },
  };
}

let serial = 0;

/** Rules of nftables for the time of `body`. `hook`: `input`, `output`, ...; `rules` may end in `counter drop`. */
export async function withRules<T>(
  site: Site,
  hook: string,
  rules: readonly string[],
  body: (dropped: () => Promise<number>) => Promise<T>,
  family = 'inet',
): Promise<T> {
  const table = `${family} skl${++serial}`;
  const chain = [`add table ${table}`, `add chain ${table} c { type filter hook ${hook} priority 0; }`];
  const all = [...chain, ...rules.map((r) => `add rule ${table} c ${r}`)].join('\n');
  await site.sh(`nft -f - <<'END'\n${all}\nEND`);
  /** What the rules with `counter` have counted. */
  const dropped = async () => {
    const text = await site.sh(`nft list table ${table}`);
    return [...text.matchAll(/counter packets (\d+)/g)].reduce((n, m) => n + Number(m[1]), 0);
  };
  try {
    return await body(dropped);
  } finally {
    await site.sh(`nft delete table ${table}`);
  }
}

/** Waits until a counter of net/snmp or net/netstat has grown by `n`. */
export function grown(site: Site, counter: string, from: number, n: number): Promise<number> {
  return waitFor(`${n} more ${counter} in ${site.name}`, () => {
    const more = counterOf(site, counter) - from;
    return more >= n ? more : undefined;
  });
}

/** A counter of net/snmp or net/netstat by `Row.Field`. */
export function counterOf(site: Site, counter: string): number {
  const [row, field] = counter.split('.') as [string, string];
  for (const file of ['net/snmp', 'net/netstat']) {
    const rows = site
      .proc(file)
      .split('\n')
      .filter((l) => l.startsWith(`${row}: `));
    const at = rows[0]?.split(' ').indexOf(field) ?? -1;
    if (at > 0) return Number(rows[1]!.split(' ')[at]);
  }
  throw new Error(`This kernel has no ${counter}.`);
}

/** A loss of a datagram or segment, as most faults are. An empty reason: the kernel has several for it. */
export function loss(whose: Site, count: number, reason: string, where: Record<string, string | number> = {}): Wanted {
  const fields = Object.fromEntries(Object.entries(where).map(([k, v]) => [k, String(v)]));
  return { whose, type: 'PACKETLOSS', where: reason === '' ? fields : { reason, ...fields }, count };
}

/** An event that is no loss. */
export function told(whose: Site, type: string, count: number, where: Record<string, string | number> = {}): Wanted {
  return { whose, type, where: Object.fromEntries(Object.entries(where).map(([k, v]) => [k, String(v)])), count };
}
