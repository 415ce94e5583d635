import assert from 'node:assert/strict';
import { check, libc } from '../../host/ffi/libc.ts';
import {
  NetlinkProtocol,
  NLM_F_CREATE,
  NLM_F_EXCL,
  netlinkRequest,
  type RequestAttribute,
} from '../../host/netlink/message.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import { inNetns } from '../../host/netns/enter.ts';
import { type NetnsInfo, NetnsInventory } from '../../host/netns/inventory.ts';
import { hostRoot } from '../../host/proc-root.ts';
import type { LogRecord, MetricsBatch, Snapshot } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import { type RecordingTelemetry, testContext } from '../../pipeline/testing.ts';
import { config, type NetlinkConfig } from '../../receivers/netlink/config.ts';
import { CT_NEW, conntrackGroups } from '../../receivers/netlink/conntrack-codec.ts';
import { Round } from '../../receivers/netlink/round.ts';
import { makeScrapers } from '../../receivers/netlink/scrapers.ts';
import { waitFor } from '../bed/command.ts';
import { NamedNetns, runSync } from '../bed/named-netns.ts';

export { NamedNetns, runSync as run };

/** Joins two namespaces by a veth pair with addresses `10.PREFIX.1/24` and `.2`; the ends are called as given. */
export function join(a: NamedNetns, nameA: string, b: NamedNetns, nameB: string, prefix: string): void {
  a.ip('link', 'add', nameA, 'type', 'veth', 'peer', 'name', nameB, 'netns', b.name);
  a.ip('addr', 'add', `${prefix}.1/24`, 'dev', nameA);
  b.ip('addr', 'add', `${prefix}.2/24`, 'dev', nameB);
  a.ip('link', 'set', nameA, 'up');
  b.ip('link', 'set', nameB, 'up');
}

/** A root with a child on `eth0`: htb with one class, in it a tbf; and an ingress. */
export function addClassfulQdisc(ns: NamedNetns): void {
  for (const what of [
    'qdisc add dev eth0 root handle 1: htb default 10',
    'class add dev eth0 parent 1: classid 1:10 htb rate 100mbit',
    'qdisc add dev eth0 parent 1:10 handle 10: tbf rate 1gbit burst 64k limit 64k',
    'qdisc add dev eth0 ingress',
  ]) {
    ns.exec('tc', ...what.split(' '));
  }
}

export interface Bench {
  readonly context: ReceiverContext & { readonly telemetry: RecordingTelemetry };
  readonly records: LogRecord[];
  /** One round over these namespaces (and the node's own when asked). */
  round(...namespaces: readonly NamedNetns[]): Promise<Map<string, MetricsBatch>>;
  roundWithHost(...namespaces: readonly NamedNetns[]): Promise<Map<string, MetricsBatch>>;
}

export const parse = (input: unknown): NetlinkConfig => config.parse(input);

/** A context with real time and telemetry that remembers. */
export function realContext(): Bench['context'] {
  const context = testContext({ id: 'netlink' });
  return { ...context, clock: systemClock, telemetry: context.telemetry };
}

/** The receiver's scrapers without its timer: rounds happen when asked for, over the test's own namespaces. */
export function bench(input: unknown = {}): Bench {
  const context = realContext();
  const records: LogRecord[] = [];
  const batches = new Map<string, MetricsBatch>();
  const scrapers = makeScrapers(parse(input), context, hostRoot, (r) => records.push(...r));
  const round = new Round(context, { name: 'test' }, (batch) => batches.set(batch.source, batch));
  const inventory = new NetnsInventory(hostRoot, systemClock);
  const go = async (namespaces: readonly NamedNetns[], host: boolean) => {
    batches.clear();
    const wanted = new Set(namespaces.map((n) => n.inode));
    const infos = inventory.scan().filter((n) => wanted.has(n.netns) || (host && n.host));
    await round.run(scrapers, infos);
    return new Map(batches);
  };
  return {
    context,
    records,
    round: (...namespaces) => go(namespaces, false),
    roundWithHost: (...namespaces) => go(namespaces, true),
  };
}

export function infoOf(ns: NamedNetns): NetnsInfo {
  const info = new NetnsInventory(hostRoot, systemClock).scan().find((n) => n.netns === ns.inode);
  assert.ok(info, `${ns.name} is in the inventory`);
  return info;
}

export function snapshotOf(batch: MetricsBatch | undefined, netns: number): Snapshot | undefined {
  return batch?.snapshots.find((s) => s.owner?.netns === netns);
}

/** Slots of the one series with this name and these attributes (others may be there too); undefined when absent. */
export function slotsOfSeries(
  s: Snapshot | undefined,
  name: string,
  attributes: Attributes = {},
): Float64Array | undefined {
  const found = s?.schema.series.filter(
    (d) => d.metric.name === name && Object.entries(attributes).every(([k, v]) => d.attributes[k] === v),
  );
  assert.ok((found?.length ?? 0) <= 1, `one series of ${name}`);
  const series = found?.[0];
  if (s === undefined || series === undefined || Number.isNaN(s.values[series.offset])) return undefined;
  return s.values.subarray(series.offset);
}

export function readingOf(
  batch: MetricsBatch | undefined,
  ns: NamedNetns,
  name: string,
  attributes: Attributes = {},
): number | undefined {
  return slotsOfSeries(snapshotOf(batch, ns.inode), name, attributes)?.[0];
}

/** Bucket of a histogram that holds `value`, by the layout. */
export function countNear(s: Snapshot | undefined, name: string, low: number, high: number): number {
  const series = s?.schema.series.find((d) => d.metric.name === name);
  const layout = series?.metric.histogram;
  if (s === undefined || series === undefined || layout === undefined) return 0;
  let n = 0;
  for (let i = 0; i < layout.buckets; i++) {
    const upper = 2 ** (layout.offset + i + 1);
    if (upper > low && upper / 2 < high) n += s.values[series.offset + 3 + i] as number;
  }
  return n;
}

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

function inetAddress(ip: string, port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(ip.split('.').map(Number), 4);
  return address;
}

/** Sends UDP datagrams from a namespace; how many the kernel took. */
export function sendUdp(ns: NamedNetns, to: string, ports: readonly number[], size = 10): number {
  return inNetns(ns.path, () => {
    const fd = check('socket', libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const data = Buffer.alloc(size, 0x61);
    let sent = 0;
    for (const port of ports) if (libc.sendto(fd, data, data.length, 0, inetAddress(to, port), 16) === size) sent++;
    libc.close(fd);
    return sent;
  });
}

function be16(n: number): Buffer {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(n);
  return b;
}
function be32(n: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(n);
  return b;
}
function tuple(source: Buffer, destination: Buffer, protocol: number, from: number, to: number): RequestAttribute[] {
  return [
    [
      1,
      [
        [1, source],
        [2, destination],
      ],
    ],
    [
      2,
      [
        [1, Buffer.from([protocol])],
        [2, be16(from)],
        [3, be16(to)],
      ],
    ],
  ];
}

/** A ctnetlink request that makes connection number `n`: udp 10.0.0.0/8 → 192.0.2.1:53. */
export function conntrackNew(
  n: number,
  options: { tcpState?: number; status?: number; update?: boolean } = {},
): Buffer {
  const source = be32(0x0a000000 + Math.floor(n / 60_000));
  const destination = be32(0xc0000201);
  const port = 1024 + (n % 60_000);
  const protocol = options.tcpState === undefined ? 17 : 6;
  const attributes: RequestAttribute[] = [
    [1, tuple(source, destination, protocol, port, 53)],
    [2, tuple(destination, source, protocol, 53, port)],
    [7, be32(1000)],
  ];
  if (options.status !== undefined) attributes.push([3, be32(options.status)]);
  if (options.tcpState !== undefined) attributes.push([4, [[1, [[1, Buffer.from([options.tcpState])]]]]]);
  const flags = options.update ? 0 : NLM_F_CREATE | NLM_F_EXCL;
  return netlinkRequest(CT_NEW, flags, Buffer.from([AF_INET, 0, 0, 0]), attributes);
}

/** Makes `count` connections in a namespace's table, many requests to a datagram. */
export function fillConntrack(
  ns: NamedNetns,
  count: number,
  options: { from?: number; tcpState?: number; status?: number; update?: boolean } = {},
): void {
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.netfilter, netns: ns.path });
  const kernel = Buffer.alloc(12);
  kernel.writeUInt16LE(16, 0);
  const from = options.from ?? 0;
  try {
    for (let i = 0; i < count; i += 256) {
      const requests = Array.from({ length: Math.min(256, count - i) }, (_, k) => conntrackNew(from + i + k, options));
      const data = Buffer.concat(requests);
      check('sendto', libc.sendto(socket.fd, data, data.length, 0, kernel, kernel.length));
      // Only refusals are answered.
      const answer = socket.receive();
      assert.equal(answer, undefined, 'the kernel takes every connection');
    }
  } finally {
    socket.close();
  }
}

/** `conntrack -S`: the counters of all CPUs, summed. */
export function conntrackStatistics(ns: NamedNetns): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [, key = '', value] of ns.exec('conntrack', '-S').matchAll(/(\w+)=(\d+)/g)) {
    if (key !== 'cpu') sums.set(key, (sums.get(key) ?? 0) + Number(value));
  }
  return sums;
}

/** Waits until a condition holds; fails after a minute: a machine with many namespaces and no idle CPU takes its time. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor(what, condition, { timeoutMs: 60_000, everyMs: 10 });
}

export { conntrackGroups };
