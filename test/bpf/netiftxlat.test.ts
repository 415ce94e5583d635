import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Snapshot } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { connect, Netns, ProbeSession, until } from './harness.ts';

const udp = (n: number, bytes: number) =>
  `import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(${n}): s.sendto(b'x'*${bytes},('10.99.0.2',9))`;
const eth0 = { 'network.interface.name': 'eth0' };

/** Packets the interface's discipline has let go, and those it holds still. */
function qdisc(netns: Netns): { sent: number; waiting: number; dropped: number } {
  const [q] = JSON.parse(netns.run('tc -s -j qdisc show dev eth0')) as {
    packets: number;
    qlen: number;
    drops: number;
  }[];
  return { sent: q!.packets, waiting: q!.qlen, dropped: q!.drops };
}

test('each packet that waits in a tbf is measured once, and those that wait too long are told', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('netiftxlat', { threshold: '100ms', rate_limit: 0 });
  // 23 packets of 1 kB at 200 kbit/s: the last one waits for nearly a second.
  a.run('tc qdisc add dev eth0 root tbf rate 200kbit burst 3kb limit 100kb');
  a.python(udp(23, 1000));
  await until(() => qdisc(a).waiting === 0);
  assert.ok(qdisc(a).sent >= 23);
  // A multicast report of the kernel may leave between the two readings: they agree as soon as it is quiet.
  await until(() => session.sum('skoop.qdisc.wait', a, eth0) === qdisc(a).sent);
  assert.equal(session.sum('skoop.qdisc.wait', b), 0);
  // The kernel's own multicast reports wait with them.
  const events = (await session.events(a)).filter((e) => e.attributes['network.transport'] === 'udp');
  assert.ok(events.length > 7 && events.length < 23, `${events.length}`);
  for (const e of events) {
    assert.equal(e.attributes['kubeskoop.type'], 'NETIFTXLAT_QDISC');
    assert.equal(e.attributes['destination.address'], '10.99.0.2');
    assert.equal(e.attributes['network.interface.name'], 'eth0');
    assert.ok(Number(e.attributes['skoop.latency']) > 0.1);
  }
  assert.ok(Math.max(...events.map((e) => Number(e.attributes['skoop.latency']))) > 0.5);
});

test('the packet that waited longest is the exemplar of its interval', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('netiftxlat', { threshold: '100ms', rate_limit: 0 });
  a.run('tc qdisc add dev eth0 root tbf rate 200kbit burst 3kb limit 100kb');
  a.python(udp(23, 1000));
  await until(() => qdisc(a).waiting === 0);
  const latency = (e: { attributes: Attributes }) => Number(e.attributes['skoop.latency']);
  const [slowest] = (await session.events(a)).toSorted((x, y) => latency(y) - latency(x));
  assert.ok(slowest && latency(slowest) > 0.5);
  // The first reading since: all of it is one interval.
  const snapshots = session.collect().snapshots.filter((s) => s.owner?.netns === a.inode);
  const exemplars = snapshots.flatMap((s) => (s.exemplars ?? []).map((e) => ({ ...e, offset: seriesAt(s, e.offset) })));
  const keys = ['source.address', 'source.port', 'destination.address', 'destination.port'];
  assert.deepEqual(exemplars, [
    {
      offset: 'skoop.qdisc.wait {"network.interface.name":"eth0"}',
      value: latency(slowest),
      timeUnixNs: slowest.timeUnixNs,
      attributes: Object.fromEntries(Object.entries(slowest.attributes).filter(([key]) => keys.includes(key))),
    },
  ]);
});

function seriesAt({ schema }: Snapshot, offset: number): string {
  const series = schema.series.find((s) => s.offset === offset);
  return `${series?.metric.name} ${JSON.stringify(series?.attributes)}`;
}

test('packets dropped by the discipline are not measured', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('netiftxlat');
  // So slow that next to nothing leaves while the packets come, however busy the machine is.
  a.run('tc qdisc add dev eth0 root tbf rate 80kbit burst 3kb limit 5kb');
  a.python(udp(31, 1000));
  await until(() => qdisc(a).waiting === 0);
  assert.ok(qdisc(a).dropped > 11, `${qdisc(a).dropped} dropped`);
  await until(() => session.sum('skoop.qdisc.wait', a, eth0) === qdisc(a).sent);
});

test('the driver is measured when asked for, and without a queue nothing waits', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('netiftxlat', { xmit: true });
  const transmitted = () => Number(a.run("awk '/eth0:/ { print $11 }' /proc/net/dev"));
  const before = transmitted();
  a.python(udp(29, 100));
  assert.ok(transmitted() - before >= 29);
  await until(() => session.sum('skoop.driver.transmit', a, eth0) === transmitted() - before);
  assert.equal(session.sum('skoop.qdisc.wait', a), 0);
  assert.deepEqual(await session.events(a), []);
});
