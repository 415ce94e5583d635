import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { hostRoot } from '../../host/proc-root.ts';
import { nodeNetns } from '../../receivers/ebpf/flow-interfaces.ts';
import { connect, Netns, ProbeSession, until } from './harness.ts';

/** Bytes and packets of eth0 as the kernel itself counts them. */
function interfaceCounters(netns: Netns): Record<'receive' | 'transmit', { io: number; packets: number }> {
  const n = netns.run("awk '/eth0:/ { print $2, $3, $10, $11 }' /proc/net/dev").trim().split(' ').map(Number);
  return { receive: { io: n[0]!, packets: n[1]! }, transmit: { io: n[2]!, packets: n[3]! } };
}

const udp = (n: number, bytes: number, port = 9) =>
  `import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(${n}): s.sendto(b'x'*${bytes},('10.99.0.2',${port}))`;
const sink =
  "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('',9));print('up')\nwhile True: s.recv(9999)";

const bulkServer = [
  'import socket',
  's=socket.socket(socket.AF_INET6)',
  "s.bind(('::',7))",
  's.listen(64)',
  "print('up')",
  'while True:',
  '  c=s.accept()[0]',
  '  n=0',
  '  while True:',
  '    d=c.recv(1<<20)',
  '    if not d: break',
  '    n+=len(d)',
  "  c.send(b'%d'%n)",
  '  c.close()',
].join('\n');
const bulk = (bytes: number, address: string, family: string) =>
  `import socket\ns=socket.socket(socket.${family});s.connect(('${address}',7));s.sendall(b'x'*${bytes});s.shutdown(1);assert int(s.recv(99))==${bytes}`;

test('datagrams are counted by peer, direction and protocol, byte for byte, in the right namespaces', async () => {
  using a = new Netns();
  using b = new Netns();
  using idle = new Netns();
  connect(a, b);
  const up = await b.start(sink);
  using session = await ProbeSession.start('flow');
  try {
    a.python(udp(31, 100));
    const there = { 'network.transport': 'udp', 'source.address': '10.99.0.1', 'destination.address': '10.99.0.2' };
    const sent = { ...there, 'network.io.direction': 'transmit' };
    const received = { ...there, 'network.io.direction': 'receive' };
    await until(() => session.sum('skoop.flow.packets', b, received) === 31);
    assert.equal(session.sum('skoop.flow.packets', a, sent), 31);
    assert.equal(session.sum('skoop.flow.io', a, sent), 31 * (100 + 42));
    assert.equal(session.sum('skoop.flow.io', b, received), 31 * (100 + 42));
    assert.equal(session.sum('skoop.flow.packets', a, received), 0);
    assert.equal(session.sum('skoop.flow.packets', b, sent), 0);
    idle.python("import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.sendto(b'x',('127.0.0.1',9))");
    assert.equal(session.sum('skoop.flow.packets', idle), 0, 'lo does not count');
    assert.equal(session.sum('skoop.flow.packets', undefined), 0, 'the node was not asked for');
    const series = session.collect().snapshots.flatMap((s) => s.schema.series);
    assert.ok(series.every((s) => s.attributes['source.port'] === undefined));
    assert.deepEqual(await session.events(), []);
  } finally {
    up.stop();
  }
});

test('the sum of all flows is what the interface counted, with GSO, both IP versions, ARP and all', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const up = await b.start(bulkServer);
  using session = await ProbeSession.start('flow', { enable_port_in_label: true });
  try {
    const before = { a: interfaceCounters(a), b: interfaceCounters(b) };
    a.python(bulk(3_000_017, '10.99.0.2', 'AF_INET'));
    a.python(bulk(1_000_003, 'fd99::2', 'AF_INET6'));
    for (const [netns, from] of [
      [a, before.a],
      [b, before.b],
    ] as const) {
      for (const direction of ['receive', 'transmit'] as const) {
        for (const what of ['packets', 'io'] as const) {
          const counted = () => session.sum(`skoop.flow.${what}`, netns, { 'network.io.direction': direction });
          const kernel = () => interfaceCounters(netns)[direction][what] - from[direction][what];
          // A multicast report of the kernel may leave between the two readings: they agree as soon as it is quiet.
          await until(() => counted() === kernel());
          assert.ok(kernel() > 7);
        }
      }
    }
    const there = { 'network.transport': 'tcp', 'network.io.direction': 'transmit', 'destination.port': 7 };
    assert.ok(session.sum('skoop.flow.io', a, { ...there, 'destination.address': '10.99.0.2' }) > 3_000_017);
    assert.ok(session.sum('skoop.flow.io', a, { ...there, 'destination.address': 'fd99::2' }) > 1_000_003);
  } finally {
    up.stop();
  }
});

test('flows without room and flows that end join the sum of their namespace: no packet is lost', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const up = await b.start(sink);
  // 64 flows for the whole machine, each port one of them.
  using session = await ProbeSession.start('flow', {
    max_flows: 64,
    enable_port_in_label: true,
    idle_timeout: '1ms',
  });
  try {
    const where = { 'network.io.direction': 'transmit' };
    const rest = { ...where, 'otel.metric.overflow': true };
    const before = interfaceCounters(a).transmit;
    const many = [
      'import socket',
      's=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)',
      "for i in range(211): s.sendto(b'x',('10.99.0.2',1000+i))",
    ].join('\n');
    a.python(many);
    const moved = () => ({
      io: interfaceCounters(a).transmit.io - before.io,
      packets: interfaceCounters(a).transmit.packets - before.packets,
    });
    await until(() => session.sum('skoop.flow.packets', a, where) === moved().packets);
    // All of them are idle by now: only the sum is left, and it holds everything.
    await until(() => session.sum('skoop.flow.packets', a, rest) === moved().packets);
    assert.equal(session.sum('skoop.flow.io', a, rest), moved().io);
    assert.ok(moved().packets >= 211);
    const series = session.collect().snapshots.find((s) => s.owner?.netns === a.inode)!.schema.series;
    assert.deepEqual(
      series.filter((s) => s.attributes['destination.port'] !== undefined),
      [],
    );
    // The map has room again: who comes back is counted by itself.
    a.python(udp(13, 1, 77));
    await until(() => session.sum('skoop.flow.packets', a, where) === moved().packets);
    const full = session.collect().snapshots.find((s) => s.owner === undefined)?.schema.series ?? [];
    assert.deepEqual(
      full.filter((s) => s.attributes['skoop.map.use'] === 'count'),
      [],
    );
  } finally {
    up.stop();
  }
});

test('the node is counted at the interfaces that are named, by name and by prefix', async () => {
  using a = new Netns();
  const name = `skf${process.pid}`;
  const home = { inode: nodeNetns(hostRoot) } as Netns;
  a.run(
    `ip link add eth0 type veth peer name ${name} netns ${process.pid}; ip link set eth0 up; ip addr add 10.99.7.1/24 dev eth0`,
  );
  try {
    execFileSync('ip', ['link', 'set', name, 'up']);
    // Addressed to nobody: the node's end counts it, and nothing of the node answers.
    a.run('ip neigh add 10.99.7.2 lladdr 02:00:00:00:00:07 dev eth0');
    for (const interface_name of [name, 'nosuch0, skf*']) {
      using session = await ProbeSession.start('flow', { namespaces: 'node', interface_name });
      a.python(udp(17, 10).replace('10.99.0.2', '10.99.7.2'));
      const where = { 'network.io.direction': 'receive', 'destination.address': '10.99.7.2' };
      await until(() => session.sum('skoop.flow.packets', home, where) === 17);
      assert.equal(session.sum('skoop.flow.io', home, where), 17 * (10 + 42));
      assert.equal(session.sum('skoop.flow.packets', a), 0, 'pods were not asked for');
    }
    using other = await ProbeSession.start('flow', { interface_name: 'skf' });
    a.python(udp(13, 10).replace('10.99.0.2', '10.99.7.2'));
    await until(() => other.sum('skoop.flow.packets', a, { 'network.transport': 'udp' }) === 13);
    assert.equal(other.sum('skoop.flow.packets', home), 0, 'another name');
  } finally {
    execFileSync('ip', ['link', 'del', name]);
  }
});
