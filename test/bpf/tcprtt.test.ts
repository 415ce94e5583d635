import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Snapshot } from '../../pipeline/batch.ts';
import { connect, Netns, ProbeSession, until } from './harness.ts';

const echo =
  "import socket,threading\ndef answer(c):\n  while (d:=c.recv(9)): c.send(d)\n  c.close()\ns=socket.socket()\ns.bind(('0.0.0.0',7))\ns.listen(8)\nprint('up')\nwhile True:\n  c=s.accept()[0]\n  threading.Thread(target=answer,args=(c,)).start()";

const pings = (n: number) =>
  `import socket\ns=socket.create_connection(('10.99.0.2',7))\nfor i in range(${n}): s.send(b'x'); s.recv(9)`;

/** Sum of the histogram of a namespace, seconds, and its count. */
function rtt(snapshots: readonly Snapshot[], netns: Netns): { sum: number; count: number } {
  const s = snapshots.find((x) => x.owner?.netns === netns.inode);
  const d = s?.schema.series.find((x) => x.metric.name === 'skoop.tcp.rtt');
  return s && d ? { count: s.values[d.offset]!, sum: s.values[d.offset + 1]! } : { count: 0, sum: 0 };
}

test('each connection that ends is one look at its round-trip time, at both ends and nowhere else', async () => {
  using a = new Netns();
  using b = new Netns();
  using c = new Netns();
  connect(a, b);
  using _server = await b.start(echo);
  using session = await ProbeSession.start('tcprtt');
  // Not connected, or not ended: no look.
  a.try('exec 3<> /dev/tcp/10.99.0.2/81');
  using _open = await a.start(`${pings(3)}\nprint('open')\ns.recv(9)`);
  a.python(`for i in range(23):\n${pings(2).replace(/^/gm, '  ')}\n  s.close()`);
  const count = (ns: Netns) => rtt(session.collect().snapshots, ns).count;
  await until(() => count(b) === 23);
  assert.equal(count(a), 23);
  assert.equal(count(c), 0);
  const { sum } = rtt(session.collect().snapshots, a);
  assert.ok(sum / 23 > 0.000001 && sum / 23 < 1, `${sum} s in 23 connections`);
});

test('each received segment of a connection is one look at its round-trip time, in both namespaces and in no third', async () => {
  using a = new Netns();
  using b = new Netns();
  using c = new Netns();
  connect(a, b);
  const server = await b.start(echo);
  using session = await ProbeSession.start('tcprtt', { sample: 1 });
  try {
    a.python(pings(31));
    const { snapshots } = session.collect();
    // 31 answers reach the client, and bare ACKs that the kernel makes when it is in no hurry: never more than all segments.
    const client = rtt(snapshots, a);
    const received = Number(a.run("awk '/^Tcp: [0-9]/ { print $11 }' /proc/net/snmp"));
    assert.ok(client.count >= 31 && client.count < received, `${client.count} looks at ${received} segments`);
    assert.ok(rtt(snapshots, b).count >= 31);
    assert.equal(rtt(snapshots, c).count, 0);
    assert.ok(client.sum / client.count > 0.000001, `${client.sum} s in ${client.count} round trips`);
  } finally {
    server.stop();
  }
});

test('behind a queue of 8 kbit/s the round trip is longer, and only there', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const server = await b.start(echo);
  using session = await ProbeSession.start('tcprtt', { sample: 1 });
  try {
    a.python(pings(7));
    const before = rtt(session.collect().snapshots, a);
    a.run('tc qdisc add dev eth0 root tbf rate 8kbit burst 100 latency 10s');
    a.python(pings(7));
    const after = rtt(session.collect().snapshots, a);
    const slow = (after.sum - before.sum) / (after.count - before.count);
    assert.ok(
      slow > 5 * (before.sum / before.count),
      `${before.sum / before.count} s before, ${slow} s behind the queue`,
    );
  } finally {
    server.stop();
  }
});
