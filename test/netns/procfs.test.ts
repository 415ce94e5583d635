import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { hostRoot, ProcRoot } from '../../host/proc-root.ts';
import { type Batch, type MetricsBatch, noResource, type Snapshot } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { Collection } from '../../receivers/procfs/collection.ts';
import { config } from '../../receivers/procfs/config.ts';
import procfs from '../../receivers/procfs/index.ts';
import { metrics } from '../../receivers/procfs/metrics.ts';
import { Slices } from '../../receivers/procfs/slices.ts';
import { python } from '../bed/command.ts';

/**
 * A pair of network namespaces joined by a veth, made and removed here, and a third that nobody talks to. What is done in them is counted to the
 * last packet. Needs root.
 */

const name = `sklp${process.pid}`;
const [left, right, idle] = [`${name}a`, `${name}b`, `${name}c`];
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
const inodeOf = (ns: string) => hostRoot.netnsInode(hostRoot.run('netns', ns)) as number;

/** A process in a namespace that does what it is told, a line at a time, and answers with a line. */
class Actor {
  readonly child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  constructor(ns: string) {
    this.child = spawn('ip', ['netns', 'exec', ns, python, '-u', '-c', actorScript], { stdio: 'pipe' });
    this.child.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.child.stdout)[Symbol.asyncIterator]();
  }
  async do(command: string): Promise<string> {
    this.child.stdin.write(`${command}\n`);
    const { value, done } = await this.#lines.next();
    assert.ok(!done, `the process in the namespace ended at '${command}'`);
    return String(value);
  }
  get pid(): number {
    return this.child.pid as number;
  }
  async end(): Promise<void> {
    if (this.child.exitCode !== null) return;
    this.child.stdin.end();
    await once(this.child, 'exit');
  }
}

const actorScript = `
import socket, sys, os
kept, listeners = [], {}
def family(a): return socket.AF_INET6 if ':' in a else socket.AF_INET
for line in sys.stdin:
    c, *a = line.split()
    if c == 'listen':
        s = socket.socket(family(a[0])); s.bind((a[0], int(a[1]))); s.listen(int(a[2])); listeners[a[1]] = s
    elif c == 'accept':
        for _ in range(int(a[1])): kept.append(listeners[a[0]].accept()[0])
    elif c == 'connect':
        for _ in range(int(a[2])):
            s = socket.socket(family(a[0])); s.settimeout(5)
            try: s.connect((a[0], int(a[1]))); kept.append(s)
            except ConnectionRefusedError: s.close()
    elif c == 'send': kept[0].sendall(b'x' * int(a[0]))
    elif c == 'udp':
        s = socket.socket(family(a[0]), socket.SOCK_DGRAM)
        for _ in range(int(a[2])):
            s.sendto(b'x', (a[0], int(a[1])))
    elif c == 'close':
        for s in kept: s.close()
        kept.clear()
    elif c == 'child':
        # A child that writes a[0] times; reaped here, so that the kernel adds its numbers to ours.
        if os.fork() == 0:
            f = open('/dev/null', 'wb', buffering=0)
            for _ in range(int(a[0])): f.write(b'x')
            os._exit(0)
        os.wait()
    elif c == 'inode':
        print(os.stat('/proc/self/ns/net').st_ino); continue
    print('done')
`;

/** Runs one collection with every metric on. */
class Collector {
  readonly #collection: Collection;
  constructor() {
    // An inventory of the last two seconds would be taken over, and with it namespaces that are no more: time runs fast here.
    let elapsedMs = 0;
    const clock = { ...systemClock, monotonicMs: () => (elapsedMs += 3000) };
    const context = { ...testContext({ id: 'procfs' }), clock };
    const on = Object.fromEntries(metrics.map((m) => [m.name, { enabled: true }]));
    this.#collection = new Collection(
      config.parse({ metrics: on, scrapers: { netdev: { exclude: [] } } }),
      context,
      new ProcRoot(),
    );
  }
  async round(): Promise<Values> {
    const batches: Batch[] = [];
    await this.#collection.round(new Slices(), (b) => batches.push(b));
    return new Values(batches);
  }
}

class Values {
  readonly batches: readonly Batch[];
  constructor(batches: readonly Batch[]) {
    this.batches = batches;
  }
  snapshots(netns: number): Snapshot[] {
    return this.batches
      .filter((b): b is MetricsBatch => b.kind === 'metrics')
      .flatMap((b) => b.snapshots.filter((s) => s.owner?.netns === netns));
  }
  /** One value; NaN when it is not there. */
  get(netns: number, metric: string, attributes: Attributes = {}): number {
    for (const s of this.snapshots(netns)) {
      for (const d of s.schema.series) {
        const same = Object.entries(attributes).every(([k, v]) => d.attributes[k] === v);
        if (d.metric.name === metric && same) return s.values[d.offset] as number;
      }
    }
    return Number.NaN;
  }
  owners(): Set<number | undefined> {
    return new Set(this.batches.flatMap((b) => (b.kind === 'metrics' ? b.snapshots.map((s) => s.owner?.netns) : [])));
  }
}

/** A row of net/snmp or net/netstat, read by other code than ours. */
function reference(pid: number, file: string, row: string): Record<string, number> {
  const lines = readFileSync(`/proc/${pid}/net/${file}`, 'utf8').split('\n');
  const [names, values] = lines.filter((l) => l.startsWith(`${row}: `)).map((l) => l.split(' ').slice(1));
  return Object.fromEntries((names ?? []).map((n, i) => [n, Number(values?.[i])]));
}

describe('procfs in network namespaces', { timeout: 120_000 }, () => {
  let a: Actor;
  let b: Actor;
  const collector = new Collector();
  const v4 = { 'network.type': 'ipv4' };
  const v6 = { 'network.type': 'ipv6' };

  before(async () => {
    for (const ns of [left, right, idle]) ip('netns', 'add', ns);
    ip('-n', left, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', right);
    for (const [ns, host] of [
      [left, '1'],
      [right, '2'],
    ] as const) {
      ip('-n', ns, 'addr', 'add', `10.231.7.${host}/24`, 'dev', 'eth0');
      ip('-n', ns, 'addr', 'add', `fd5c:7::${host}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', ns, 'link', 'set', 'lo', 'up');
      ip('-n', ns, 'link', 'set', 'eth0', 'up');
    }
    a = new Actor(left);
    b = new Actor(right);
    assert.equal(Number(await a.do('inode')), inodeOf(left));
    assert.equal(Number(await b.do('inode')), inodeOf(right));
  });

  after(async () => {
    await a?.end();
    await b?.end();
    for (const ns of [left, right, idle]) ip('netns', 'del', ns);
  });

  it('23 connections and 7 refused ones are +23 and +7 there, and nowhere else', async () => {
    await b.do('listen 0.0.0.0 8080 64');
    const first = await collector.round();
    await a.do('connect 10.231.7.2 8080 23');
    await b.do('accept 8080 23');
    await a.do('connect 10.231.7.2 9 7');
    const second = await collector.round();
    const gain = (ns: string, metric: string) => second.get(inodeOf(ns), metric) - first.get(inodeOf(ns), metric);
    assert.deepEqual(
      [gain(left, 'skoop.tcp.active_opens'), gain(left, 'skoop.tcp.attempt_fails'), gain(left, 'skoop.tcp.curr_estab')],
      [30, 7, 23],
    );
    assert.equal(gain(left, 'skoop.tcp.passive_opens'), 0);
    assert.deepEqual(
      [gain(right, 'skoop.tcp.passive_opens'), gain(right, 'skoop.tcp.out_rsts'), gain(right, 'skoop.tcp.curr_estab')],
      [23, 7, 23],
    );
    assert.equal(gain(right, 'skoop.tcp.active_opens'), 0);
    for (const metric of ['active_opens', 'passive_opens', 'attempt_fails', 'out_rsts', 'curr_estab', 'in_segs']) {
      assert.equal(gain(idle, `skoop.tcp.${metric}`), 0, `${metric} of the namespace nobody talks to`);
    }
  });

  it('counts the sockets by state, the bytes in their queues and the listener', async () => {
    await a.do('send 1009');
    await b.do('listen fd5c:7::2 8081 5');
    await a.do('connect fd5c:7::2 8081 3');
    const now = await collector.round();
    const count = (ns: string, state: string) =>
      now.get(inodeOf(ns), 'system.network.connection.count', { 'network.connection.state': state });
    assert.equal(count(left, 'established'), 23 + 3);
    assert.equal(count(right, 'established'), 23 + 3);
    assert.equal(count(right, 'listen'), 2);
    assert.equal(count(left, 'listen'), 0);
    const received = now.get(inodeOf(right), 'skoop.tcp.socket_queue', { 'network.io.direction': 'receive' });
    assert.equal(received, 1009);
    const listener = { 'network.local.address': 'fd5c:7::2', 'network.local.port': 8081 };
    assert.equal(now.get(inodeOf(right), 'skoop.tcp.accept_queue', listener), 3);
    assert.equal(now.get(inodeOf(right), 'skoop.tcp.accept_queue_limit', listener), 5);
    assert.equal(count(idle, 'established'), 0);
    const inuse = { 'network.transport': 'tcp', 'network.type': 'ipv6' };
    // The two listeners are not on this side: three connections of IPv6.
    assert.equal(now.get(inodeOf(left), 'skoop.sock.inuse', inuse), 3);
  });

  it('11 datagrams to a closed port of each IP version', async () => {
    const first = await collector.round();
    // A refused datagram is told to the socket at the next call: one socket each.
    for (let i = 0; i < 11; i++) await a.do('udp 10.231.7.2 9 1');
    for (let i = 0; i < 11; i++) await a.do('udp fd5c:7::2 9 1');
    const second = await collector.round();
    for (const type of [v4, v6]) {
      const gain = (ns: string, metric: string) =>
        second.get(inodeOf(ns), metric, type) - first.get(inodeOf(ns), metric, type);
      assert.equal(gain(left, 'skoop.udp.out_datagrams'), 11);
      assert.equal(gain(right, 'skoop.udp.no_ports'), 11);
      assert.equal(gain(left, 'skoop.udp.no_ports'), 0);
      assert.equal(gain(idle, 'skoop.udp.no_ports'), 0);
    }
  });

  it('says what /proc says at the same moment', async () => {
    for (const actor of [a, b]) {
      const ns = inodeOf(actor === a ? left : right);
      const { now, said } = await still(actor.pid);
      const { Tcp, Ip, TcpExt, Dev } = said;
      assert.equal(now.get(ns, 'skoop.tcp.in_segs'), Tcp?.['InSegs']);
      assert.equal(now.get(ns, 'skoop.tcp.out_segs'), Tcp?.['OutSegs']);
      assert.equal(now.get(ns, 'skoop.tcp.retrans_segs'), Tcp?.['RetransSegs']);
      assert.equal(now.get(ns, 'skoop.ip.in_receives', v4), Ip?.['InReceives']);
      assert.equal(now.get(ns, 'skoop.tcpext.delayed_acks'), TcpExt?.['DelayedACKs']);
      assert.equal(now.get(ns, 'skoop.tcpext.tcp_pure_acks'), TcpExt?.['TCPPureAcks']);
      const received = { 'network.interface.name': 'eth0', 'network.io.direction': 'receive' };
      assert.equal(now.get(ns, 'system.network.io', received), Dev?.['bytes']);
      assert.equal(now.get(ns, 'system.network.packet.count', received), Dev?.['packets']);
    }
  });

  /** A collection during which nothing moved (IPv6 sends by itself now and then), and what /proc said. */
  async function still(pid: number) {
    const look = () => {
      const dev = /^\s*eth0:\s*(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/net/dev`, 'utf8'));
      return {
        Tcp: reference(pid, 'snmp', 'Tcp'),
        Ip: reference(pid, 'snmp', 'Ip'),
        TcpExt: reference(pid, 'netstat', 'TcpExt'),
        Dev: { bytes: Number(dev?.[1]), packets: Number(dev?.[2]) } as Record<string, number>,
      };
    };
    for (let tries = 0; tries < 20; tries++) {
      const said = look();
      const now = await collector.round();
      if (isDeepStrictEqual(said, look())) return { now, said };
    }
    return assert.fail('the namespace never kept still');
  }

  it('a namespace without a process is read all the same, and is gone when it is gone', async () => {
    const extra = `${name}d`;
    ip('netns', 'add', extra);
    const inode = inodeOf(extra);
    try {
      const now = await collector.round();
      assert.equal(now.get(inode, 'skoop.tcp.active_opens'), 0);
      assert.equal(now.get(inode, 'skoop.sock.used'), 0);
      const entity = now.batches
        .flatMap((x) => (x.kind === 'entities' ? x.entities : []))
        .find((e) => e.kind === 'netns' && e.netns === inode);
      assert.equal(entity?.kind === 'netns' && entity.name, extra);
    } finally {
      ip('netns', 'del', extra);
    }
    const later = await collector.round();
    assert.ok(!later.owners().has(inode));
  });

  it('what the node has once is on the node', async () => {
    const now = await collector.round();
    const node = now.batches.flatMap((x) =>
      x.kind === 'metrics' ? x.snapshots.filter((s) => s.owner === undefined) : [],
    );
    const seen = new Set(node.flatMap((s) => s.schema.series.map((d) => d.metric)));
    for (const metric of metrics.filter((m) => m.scope === 'node' && !m.name.startsWith('skoop.ipvs'))) {
      assert.ok(seen.has(metric), metric.name);
    }
    for (const s of now.snapshots(inodeOf(left))) {
      assert.ok(s.schema.series.every((d) => d.metric.scope !== 'node'));
      assert.equal(s.resource, noResource);
    }
  });

  it('an interface made anew goes on from where it was, and makes no new beginning for the others', async () => {
    const links = `${name}e`;
    const received = (i: string) => ({ 'network.interface.name': i, 'network.io.direction': 'transmit' });
    ip('netns', 'add', links);
    const ns = inodeOf(links);
    const actor = new Actor(links);
    try {
      const make = () => {
        ip('-n', links, 'link', 'add', 'p0', 'type', 'veth', 'peer', 'name', 'p1');
        ip('-n', links, 'addr', 'add', '10.232.7.1/24', 'dev', 'p0');
        for (const i of ['p0', 'p1', 'lo']) ip('-n', links, 'link', 'set', i, 'up');
      };
      make();
      ip('-n', links, 'neigh', 'add', '10.232.7.9', 'lladdr', '02:00:00:00:00:09', 'dev', 'p0');
      await actor.do('udp 10.232.7.9 9 13');
      const first = await collector.round();
      const bytes = first.get(ns, 'system.network.packet.count', received('p0'));
      assert.ok(bytes >= 13, `${bytes} packets`);
      ip('-n', links, 'link', 'del', 'p0');
      make();
      const raw = Number(/^\s*p0:(?:\s+\d+){9}\s+(\d+)/m.exec(readFileSync(`/proc/${actor.pid}/net/dev`, 'utf8'))?.[1]);
      assert.ok(raw < bytes, `${raw} packets since it was made anew`);
      const second = await collector.round();
      assert.ok(second.get(ns, 'system.network.packet.count', received('p0')) >= bytes + raw);
      const starts = (v: Values) => v.snapshots(ns).map((s) => s.startTimeMs);
      assert.deepEqual(new Set(starts(second)), new Set(starts(first)));
    } finally {
      await actor.end();
      ip('netns', 'del', links);
    }
  });

  it('stops in the middle of a collection and leaves nothing behind', async () => {
    const descriptors = () => hostRoot.list('/proc/self/fd').length;
    const context = testContext({ id: 'procfs' });
    const receiver = procfs.create(config.parse({ collection_interval: '1s', initial_delay: '0' }), context);
    const own = hostRoot.readlink('/proc/thread-self/ns/net');
    const before = descriptors();
    for (let i = 0; i < 8; i++) {
      const recording = record(receiver.run());
      context.clock.advance(1);
      await recording.until((v) => v.length > i);
      recording.subscription.unsubscribe();
      const count = recording.values.length;
      context.clock.advance(10_000);
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(recording.values.length, count, 'nothing comes after the end');
    }
    assert.equal(context.clock.pending, 0);
    assert.equal(descriptors(), before);
    assert.equal(hostRoot.readlink('/proc/thread-self/ns/net'), own);
    assert.deepEqual(context.telemetry.failures, []);
    assert.deepEqual(context.telemetry.rejections, {});
  });
});
