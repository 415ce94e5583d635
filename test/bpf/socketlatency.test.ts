import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

const read = { 'skoop.socket.direction': 'read' };
const write = { 'skoop.socket.direction': 'write' };

/** Accepts, waits for `late` seconds after data is there, reads it, answers with one byte. */
const server = (late: number) =>
  [
    'import socket,select,time',
    's=socket.socket(socket.AF_INET6)',
    "s.bind(('::',7))",
    's.listen(64)',
    "print('up')",
    'while True:',
    '  c=s.accept()[0]',
    '  while True:',
    '    select.select([c],[],[])',
    `    time.sleep(${late})`,
    '    if not c.recv(9): break',
    "    c.send(b'y')",
    '  c.close()',
  ].join('\n');

const pings = (n: number, address = '10.99.0.2', family = 'AF_INET') =>
  `import socket\ns=socket.socket(socket.${family});s.connect(('${address}',7))\nfor i in range(${n}): s.send(b'x'); s.recv(9)`;

test('each message is one read and one write in each namespace; an idle connection and a quick process are never slow', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const up = await b.start(server(0));
  using session = await ProbeSession.start('socketlatency', { threshold: '10s' });
  try {
    a.python(pings(31));
    a.python(pings(13, 'fd99::2', 'AF_INET6'));
    for (const ns of [a, b]) {
      assert.equal(session.sum('skoop.socket.latency', ns, { ...read, 'network.type': 'ipv4' }), 31);
      assert.equal(session.sum('skoop.socket.latency', ns, { ...write, 'network.type': 'ipv4' }), 31);
      assert.equal(session.sum('skoop.socket.latency', ns, { ...read, 'network.type': 'ipv6' }), 13);
      assert.equal(session.sum('skoop.socket.latency', ns, { ...write, 'network.type': 'ipv6' }), 13);
    }
    for (const ns of [a, b]) assert.deepEqual(await session.events(ns), []);
  } finally {
    up.stop();
  }
});

test('a process that reads half a second late is told, with its name and both ends', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  // On a busy machine every process is late by some hundredths of a second: the threshold is well above that.
  const up = await b.start(server(0.5));
  using session = await ProbeSession.start('socketlatency', { threshold: '500ms' });
  try {
    a.python(pings(5));
    const events = await session.events(b);
    assert.equal(events.length, 5);
    for (const e of events) {
      assert.equal(e.attributes['kubeskoop.type'], 'SOCKETLAT_READSLOW');
      assert.equal(e.attributes['source.address'], '10.99.0.2');
      assert.equal(e.attributes['source.port'], 7);
      assert.equal(e.attributes['destination.address'], '10.99.0.1');
      assert.equal(e.attributes['process.executable.name'], 'python3');
      assert.ok(Number(e.attributes['skoop.latency']) >= 0.5);
    }
    // The client reads at once: that the answer came late is not its fault.
    assert.deepEqual(await session.events(a), []);
  } finally {
    up.stop();
  }
});

test('data that cannot leave because the window of the peer is closed is told when it leaves', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const up = await b.start(
    [
      'import socket,sys,time',
      's=socket.socket();s.setsockopt(socket.SOL_SOCKET,socket.SO_RCVBUF,4096)',
      "s.bind(('0.0.0.0',7));s.listen(1)",
      "print('up')",
      'c=s.accept()[0]',
      'time.sleep(0.4)',
      'while c.recv(65536): pass',
    ].join('\n'),
  );
  using session = await ProbeSession.start('socketlatency');
  try {
    a.python("import socket\ns=socket.create_connection(('10.99.0.2',7));s.sendall(b'x'*300000)");
    await until(() => session.sum('skoop.event.emitted', a) > 0);
    const [e] = await session.events(a);
    assert.equal(e?.attributes['kubeskoop.type'], 'SOCKETLAT_SENDSLOW');
    assert.equal(e?.attributes['destination.port'], 7);
    assert.equal(e?.attributes['process.executable.name'], 'python3');
    assert.ok(Number(e?.attributes['skoop.latency']) > 0.1);
  } finally {
    up.stop();
  }
});
