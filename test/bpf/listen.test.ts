import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

/** Listens and never accepts; prints its pid. */
const lazy = (backlog: number) =>
  `import socket,os,time\ns=socket.socket()\ns.bind(('0.0.0.0',8080))\ns.listen(${backlog})\nprint(os.getpid())\ntime.sleep(600)`;

/** Opens n connections without waiting for them and keeps them. */
const opens = (n: number) =>
  `import socket,time\nc=[]\nfor i in range(${n}):\n  s=socket.socket();s.setblocking(False);c.append(s)\n  try: s.connect(('10.99.0.2',8080))\n  except BlockingIOError: pass\nprint('up')\ntime.sleep(600)`;

test('the accept queue that is full is named with its port, length and process; the SYNs dropped after it make no event', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const server = await b.start(lazy(2));
  using session = await ProbeSession.start('listen');
  const client = await a.start(opens(11));
  try {
    await until(() => session.sum('skoop.tcp.listen.queued', b) === 3);
    // A backlog of 2 lets 3 in: the third fills it.
    assert.equal(session.sum('skoop.tcp.listen.queued', b, { 'network.local.port': 8080 }), 3);
    assert.equal(session.sum('skoop.tcp.listen.accept_queue_full', b, { 'network.local.port': 8080 }), 1);
    const events = await session.events(b);
    assert.equal(events.length, 1);
    const [e] = events;
    assert.equal(e?.eventName, 'skoop.tcp.accept_queue_full');
    assert.equal(e?.attributes['destination.port'], 8080);
    assert.equal(e?.attributes['skoop.queue.length'], 3);
    assert.equal(e?.attributes['skoop.queue.limit'], 2);
    assert.equal(e?.attributes['process.pid'], Number(server.line));
    assert.deepEqual(await session.events(a), []);
  } finally {
    client.stop();
    server.stop();
  }
});

test('a full SYN queue is named once a second, by the listener it belongs to', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  b.run('sysctl -qw net.ipv4.tcp_syncookies=0 net.ipv4.tcp_max_syn_backlog=8');
  // The handshakes never end: SYN-ACKs do not reach the client.
  a.run(
    'nft add table ip t; nft add chain ip t c "{ type filter hook input priority 0; }"; nft add rule ip t c tcp sport 8080 drop',
  );
  const server = await b.start(lazy(64));
  using session = await ProbeSession.start('listen');
  const client = await a.start(opens(31));
  try {
    await until(() => session.sum('skoop.tcp.listen.syn_queue_full', b) > 0);
    const [e] = await session.events(b);
    assert.equal(e?.eventName, 'skoop.tcp.syn_queue_full');
    assert.equal(e?.attributes['destination.port'], 8080);
    assert.equal(e?.attributes['skoop.queue.limit'], 8);
    assert.ok(Number(e?.attributes['skoop.queue.length']) > 6);
    assert.equal(session.sum('skoop.tcp.listen.accept_queue_full', b), 0);
    assert.equal(session.sum('skoop.tcp.listen.queued', b), 0);
  } finally {
    client.stop();
    server.stop();
  }
});

test('a server that accepts has no full queue', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const server = await b.start(
    "import socket\ns=socket.socket()\ns.bind(('0.0.0.0',8080))\ns.listen(64)\nprint('up')\nwhile True: s.accept()[0].close()",
  );
  using session = await ProbeSession.start('listen');
  try {
    a.python(
      "import socket\nfor i in range(29):\n  s=socket.create_connection(('10.99.0.2',8080));s.recv(1);s.close()",
    );
    assert.equal(session.sum('skoop.tcp.listen.queued', b), 29);
    assert.equal(session.sum('skoop.tcp.listen.accept_queue_full', b), 0);
    assert.deepEqual(await session.events(b), []);
  } finally {
    server.stop();
  }
});
