import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

const echo = [
  'import socket',
  's=socket.socket(socket.AF_INET6)',
  "s.bind(('::',7))",
  's.listen(64)',
  "print('up')",
  'while True:',
  '  c=s.accept()[0]',
  '  while True:',
  '    if not c.recv(9): break',
  "    c.send(b'y')",
  '  c.close()',
].join('\n');
const pings = (n: number, address = '10.99.0.2', family = 'AF_INET') =>
  `import socket\ns=socket.socket(socket.${family});s.connect(('${address}',7))\nfor i in range(${n}): s.send(b'x'); s.recv(9)`;

/** Answers each datagram with two bytes. */
const udpEcho = [
  'import socket',
  's=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)',
  "s.bind(('::',9))",
  "print('up')",
  'while True:',
  '  d,p=s.recvfrom(99)',
  "  s.sendto(b'yy',p)",
].join('\n');
const datagrams = (n: number, address = '10.99.0.2', family = 'AF_INET') =>
  `import socket\ns=socket.socket(socket.${family},socket.SOCK_DGRAM);s.connect(('${address}',9))\nfor i in range(${n}): s.send(b'x'); s.recv(9)`;

/** Holds each packet of queue 5 for so many seconds, then lets it go (nfnetlink_queue, spoken by hand). */
const holder = (seconds: number) =>
  [
    'import socket,struct,time',
    's=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,12)',
    's.bind((0,0))',
    'def say(kind,attr,data):',
    "  body=struct.pack('>BBH',0,0,5)+struct.pack('=HH',4+len(data),attr)+data+b'\\0'*(-len(data)%4)",
    "  s.send(struct.pack('=IHHII',16+len(body),3<<8|kind,1,0,0)+body)",
    "say(2,1,struct.pack('>BBH',1,0,0))",
    "say(2,2,struct.pack('>IB',0,1))",
    "print('up')",
    'while True:',
    '  d=s.recv(65536)',
    "  if struct.unpack_from('=H',d,4)[0]!=3<<8: continue",
    "  i=struct.unpack_from('>I',d,24)[0]",
    `  time.sleep(${seconds})`,
    "  say(1,2,struct.pack('>II',1,i))",
  ].join('\n');

const receive = { 'network.io.direction': 'receive' };
const transmit = { 'network.io.direction': 'transmit' };
const metric = 'skoop.kernel.latency';

test('each segment with data is measured once on each side, ACKs and handshakes are not; quick ones are not told', async () => {
  using a = new Netns();
  using b = new Netns();
  using idle = new Netns();
  connect(a, b);
  using _up = await b.start(echo);
  using session = await ProbeSession.start('kernellatency', { threshold: '10s' });
  a.python(pings(31));
  a.python(pings(13, 'fd99::2', 'AF_INET6'));
  for (const ns of [a, b]) {
    for (const direction of [receive, transmit]) {
      const where = { ...direction, 'network.transport': 'tcp' };
      assert.equal(session.sum(metric, ns, { ...where, 'network.type': 'ipv4' }), 31);
      assert.equal(session.sum(metric, ns, { ...where, 'network.type': 'ipv6' }), 13);
    }
  }
  assert.equal(session.sum(metric, idle), 0);
  assert.deepEqual(await session.events(), []);
});

test('each datagram is measured on its way to the socket', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(udpEcho);
  using session = await ProbeSession.start('kernellatency', { threshold: '10s' });
  a.python(datagrams(29));
  a.python(datagrams(11, 'fd99::2', 'AF_INET6'));
  const where = { ...receive, 'network.transport': 'udp' };
  for (const ns of [a, b]) {
    assert.equal(session.sum(metric, ns, { ...where, 'network.type': 'ipv4' }), 29);
    assert.equal(session.sum(metric, ns, { ...where, 'network.type': 'ipv6' }), 11);
  }
  // Where functions can be watched, the way out too; where they cannot, it is absent, not wrong.
  const out = { ...transmit, 'network.transport': 'udp' };
  const sent = session.sum(metric, a, out);
  assert.ok(sent === 0 || sent === 40, `${sent}`);
  // Nobody listens there: what is dropped never reached a socket.
  a.python(
    "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(7): s.sendto(b'x',('10.99.0.2',99))",
  );
  assert.equal(session.sum(metric, b, where), 40);
  assert.deepEqual(await session.events(), []);
});

test('slow packets are told with direction, ends and duration', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(echo);
  using session = await ProbeSession.start('kernellatency', { threshold: '1ns', rate_limit: 0 });
  a.python(pings(17));
  await until(() => session.sum(metric, b, receive) === 17);
  const events = await session.events(b);
  const of = (type: string) => events.filter((e) => e.attributes['kubeskoop.type'] === type);
  assert.equal(of('RXKERNEL_SLOW').length, 17);
  assert.equal(of('TXKERNEL_SLOW').length, 17);
  for (const e of of('RXKERNEL_SLOW')) {
    assert.equal(e.eventName, 'skoop.kernel.slow');
    assert.equal(e.attributes['network.transport'], 'tcp');
    assert.equal(e.attributes['source.address'], '10.99.0.1');
    assert.equal(e.attributes['destination.address'], '10.99.0.2');
    assert.equal(e.attributes['destination.port'], 7);
    const latency = Number(e.attributes['skoop.latency']);
    assert.ok(latency > 0 && latency < 10, `${latency}`);
  }
  for (const e of of('TXKERNEL_SLOW')) {
    assert.equal(e.attributes['source.port'], 7);
    assert.equal(e.attributes['destination.address'], '10.99.0.1');
  }
});

test('packets that user space holds are told, with the time they were held; nobody else is', async (t) => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(echo);
  try {
    b.run('iptables -A INPUT -p tcp --dport 7 --tcp-flags PSH PSH -j NFQUEUE --queue-num 5');
  } catch (error) {
    return t.skip(`No queue in this kernel: ${(error as Error).message}`);
  }
  using _holder = await b.start(holder(0.03));
  using session = await ProbeSession.start('kernellatency');
  a.python(pings(7));
  assert.equal(session.sum(metric, b, receive), 7);
  const slow = (await session.events(b)).filter((e) => Number(e.attributes['skoop.latency']) >= 0.03);
  assert.equal(slow.length, 7);
  for (const e of slow) {
    assert.equal(e.attributes['kubeskoop.type'], 'RXKERNEL_SLOW');
    assert.equal(e.attributes['source.address'], '10.99.0.1');
    assert.equal(e.attributes['destination.port'], 7);
    // Where the functions of IP can be watched, the time is where it was spent.
    const inside = e.attributes['skoop.latency.local_in'];
    assert.ok(inside === undefined || Number(inside) >= 0.03);
  }
  assert.equal(session.sum(metric, a, receive), 7);
});
