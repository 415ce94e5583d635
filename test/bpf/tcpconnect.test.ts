import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

/** Listens in the background and accepts all; prints a line when it is up. */
const server = (family: string, address: string) =>
  `import socket\ns=socket.socket(socket.${family})\ns.bind(('${address}',8080))\ns.listen(64)\nprint('up')\nwhile True: s.accept()`;

const connects = (address: string, port: number, n: number, family = 'AF_INET') =>
  [
    'import socket',
    `for i in range(${n}):`,
    `  s=socket.socket(socket.${family})`,
    `  try: s.connect(('${address}',${port}))`,
    '  except ConnectionRefusedError: pass',
    '  s.close()',
  ].join('\n');

test('23 connects are timed, 7 refused ones are failures with errno and process, of the pod that tried', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const up = await b.start(server('AF_INET6', '::'));
  using session = await ProbeSession.start('tcpconnect');
  try {
    a.python(connects('10.99.0.2', 8080, 23));
    a.python(connects('fd99::2', 8080, 13, 'AF_INET6'));
    a.python(connects('10.99.0.2', 81, 7));

    assert.equal(session.sum('skoop.tcp.connect.duration', a, { 'network.type': 'ipv4' }), 23);
    assert.equal(session.sum('skoop.tcp.connect.duration', a, { 'network.type': 'ipv6' }), 13);
    assert.equal(session.sum('skoop.tcp.connect.failures', a, { 'error.type': 'ECONNREFUSED' }), 7);
    assert.equal(session.sum('skoop.tcp.connect.failures', a), 7);
    assert.equal(session.sum('skoop.tcp.accepted', b, { 'network.type': 'ipv4' }), 23);
    assert.equal(session.sum('skoop.tcp.accepted', b, { 'network.type': 'ipv6' }), 13);
    assert.equal(session.sum('skoop.tcp.accepted', a), 0);
    assert.equal(session.sum('skoop.tcp.connect.duration', b), 0);
    assert.equal(session.sum('skoop.tcp.connect.syn_retransmits', a), 0);
    assert.deepEqual(await session.events(b), []);
    const events = await session.events(a);
    assert.equal(events.length, 7);
    for (const e of events) {
      assert.equal(e.eventName, 'skoop.tcp.connect_failed');
      assert.equal(e.attributes['source.address'], '10.99.0.1');
      assert.equal(e.attributes['destination.address'], '10.99.0.2');
      assert.equal(e.attributes['destination.port'], 81);
      assert.equal(e.attributes['error.type'], 'ECONNREFUSED');
      assert.equal(e.attributes['process.executable.name'], 'python3');
    }
  } finally {
    up.stop();
  }
});

/** A TcpExt counter of the namespace, as the kernel has it. */
function counterOf(netns: Netns, name: string): number {
  const [names, values] = netns
    .run('cat /proc/net/netstat')
    .split('\n')
    .filter((l) => l.startsWith('TcpExt:'))
    .map((l) => l.split(' '));
  return Number(values![names!.indexOf(name)]);
}

test('a connect nobody answers is told with its retransmitted SYNs, whether the kernel or the process gives up', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  b.run(
    'nft add table ip t; nft add chain ip t c "{ type filter hook input priority 0; }"; nft add rule ip t c tcp dport 80 drop',
  );
  using session = await ProbeSession.start('tcpconnect');
  // TCP_SYNCNT 1: ETIMEDOUT after some 3 s; how many SYNs go out in that time is for the kernel to say (tcp_syn_linear_timeouts).
  const timesOut = a.start(
    "import socket\ns=socket.socket()\ns.setsockopt(6,7,1)\ntry: s.connect(('10.99.0.2',80))\nexcept TimeoutError: print('timeout')",
  );
  a.python(
    "import socket\nfor i in range(5):\n  s=socket.socket()\n  s.setblocking(False)\n  try: s.connect(('10.99.0.2',80))\n  except BlockingIOError: pass\n  s.close()",
  );
  assert.equal(session.sum('skoop.tcp.connect.failures', a, { 'error.type': 'aborted' }), 5);
  assert.equal((await timesOut).line, 'timeout');
  await until(() => session.sum('skoop.tcp.connect.failures', a, { 'error.type': 'ETIMEDOUT' }) === 1);
  const sentAgain = counterOf(a, 'TCPSynRetrans');
  assert.ok(sentAgain > 0);
  assert.equal(session.sum('skoop.tcp.connect.syn_retransmits', a), sentAgain);
  const last = (await session.events(a)).at(-1);
  assert.equal(last?.attributes['error.type'], 'ETIMEDOUT');
  assert.equal(last?.attributes['skoop.tcp.syn_retransmits'], sentAgain);
  assert.ok(Number(last?.attributes['skoop.latency']) > 1);
});
