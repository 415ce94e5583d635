import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

const metric = 'skoop.tcp.retransmits';
const retransSegs = (ns: Netns) => Number(ns.run("awk '/^Tcp:/ {v=$13} END {print v}' /proc/net/snmp").trim());
const dropAll =
  'nft add table t; nft "add chain t i { type filter hook input priority 0; }"; nft add rule t i tcp dport 8080';

test('a SYN nobody answers is sent again as often as the client counts', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  b.run(`${dropAll} drop`);
  using session = await ProbeSession.start('tcpretrans');
  a.python(
    `import socket
s=socket.socket(); s.setsockopt(6,7,1); s.settimeout(5)
try: s.connect(('10.99.0.2',8080))
except OSError: pass`,
  );

  const segments = retransSegs(a);
  assert.ok(segments > 0);
  assert.equal(session.sum(metric, a, { 'skoop.retransmit.kind': 'syn', 'network.type': 'ipv4' }), segments);
  assert.equal(session.sum(metric, a), segments);
  assert.equal(session.sum(metric, b), 0);
  const events = await session.events(a);
  assert.equal(events.length, segments);
  assert.equal(events[0]?.attributes['kubeskoop.type'], 'TCPRETRANS');
  assert.equal(events[0]?.attributes['skoop.tcp.state'], 'TCP_SYN_SENT');
  assert.equal(events[0]?.attributes['destination.address'], '10.99.0.2');
  assert.equal(events[0]?.attributes['destination.port'], 8080);
  assert.deepEqual(await session.events(b), []);
});

test('loss on a bulk stream: segments agree with TcpRetransSegs, by kind and by peer', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _server = await b.start(
    `import socket
s=socket.socket(); s.setsockopt(1,2,1); s.bind(('0.0.0.0',8080)); s.listen(8); print('up')
while True:
  c,_=s.accept()
  while c.recv(1<<16): pass
  c.close()`,
  );
  b.run(`${dropAll} numgen random mod 100 \\< 5 drop`);
  using session = await ProbeSession.start('tcpretrans', { by_peer: true, rate_limit: 0 });
  a.python(
    "import socket\ns=socket.create_connection(('10.99.0.2',8080))\nfor i in range(300): s.sendall(b'x'*10000)\ns.close()",
  );
  await until(() => session.sum(metric, a) === retransSegs(a));

  const segments = session.sum(metric, a);
  assert.ok(segments > 0);
  assert.equal(session.sum(metric, a, { 'destination.address': '10.99.0.2' }), segments);
  const events = await session.events(a);
  const told = events.reduce((n, e) => n + Number(e.attributes['skoop.retransmit.segments']), 0);
  assert.equal(told, segments);
  assert.ok(events.some((e) => e.attributes['skoop.retransmit.kind'] === 'fast'));
});

test('a lossless exchange makes no retransmission', async () => {
  using a = new Netns();
  using session = await ProbeSession.start('tcpretrans');
  a.python(
    `import socket
s=socket.create_server(('127.0.0.1',8080)); c=socket.create_connection(('127.0.0.1',8080)); d,_=s.accept()
for i in range(23): c.sendall(b'x'); d.recv(1)`,
  );
  assert.deepEqual(await session.events(a), []);
  assert.equal(session.sum(metric, a), 0);
});
