import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kernel } from '../../bpf/kernel.ts';
import { connect, Netns, ProbeSession } from './harness.ts';

/** Binds a socket with the smallest receive buffer there is and never reads; prints its pid. */
const deaf = (family: string, address: string) =>
  `import socket,os,time\ns=socket.socket(socket.${family},socket.SOCK_DGRAM)\ns.setsockopt(socket.SOL_SOCKET,socket.SO_RCVBUF,1)\ns.bind(('${address}',5353))\nprint(os.getpid())\ntime.sleep(600)`;

const send = (address: string, n: number, family = 'AF_INET') =>
  `import socket\ns=socket.socket(socket.${family},socket.SOCK_DGRAM)\nfor i in range(${n}): s.sendto(b'x'*700,('${address}',5353))`;

/** Udp or Udp6 RcvbufErrors of the namespace: what the kernel itself counted. */
function receiveBufferErrors(netns: Netns, version: 4 | 6): number {
  if (version === 6) return Number(/Udp6RcvbufErrors\s+(\d+)/.exec(netns.run('cat /proc/net/snmp6'))?.[1]);
  const [names, values] = netns
    .run('cat /proc/net/snmp')
    .split('\n')
    .filter((l) => l.startsWith('Udp:'))
    .map((l) => l.split(' '));
  return Number(values![names!.indexOf('RcvbufErrors')]);
}

for (const [version, family, address, any] of [
  [4, 'AF_INET', '10.99.0.2', '0.0.0.0'],
  [6, 'AF_INET6', 'fd99::2', '::'],
] as const) {
  test(`each IPv${version} datagram that finds no room is one overflow of the port, with its process`, async (t) => {
    // The tracepoint was put into the IPv6 path together with its third argument.
    const has = (await Kernel.probe()).tracepointArguments('udp_fail_queue_rcv_skb');
    if (version === 6 && has === 2) return t.skip('this kernel has the tracepoint for IPv4 only');
    using a = new Netns();
    using b = new Netns();
    connect(a, b);
    const server = await b.start(deaf(family, any));
    using session = await ProbeSession.start('udp');
    try {
      a.python(send(address, 23, family));
      const lost = receiveBufferErrors(b, version);
      assert.ok(lost > 10 && lost < 23, `${lost} lost`);
      assert.equal(session.sum('skoop.udp.overflows', b, { 'network.local.port': 5353 }), lost);
      assert.equal(session.sum('skoop.udp.overflows', b, { 'skoop.udp.reason': 'receive_buffer' }), lost);
      assert.equal(session.sum('skoop.udp.overflows', a), 0);
      const events = await session.events(b);
      assert.equal(events.length, lost);
      const [first] = events;
      assert.equal(first?.eventName, 'skoop.udp.buffer_full');
      assert.equal(first?.attributes['destination.port'], 5353);
      assert.equal(first?.attributes['skoop.queue.limit'], 2304);
      assert.ok(Number(first?.attributes['skoop.queue.length']) > 0);
      assert.equal(first?.attributes['process.pid'], Number(server.line));
      assert.equal(first?.attributes['process.executable.name'], 'python3');
    } finally {
      server.stop();
    }
  });
}

test('datagrams that are read, or that nobody waits for, are no overflow', async () => {
  using a = new Netns();
  using session = await ProbeSession.start('udp');
  a.python(
    "import socket\nr=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);r.bind(('127.0.0.1',7))\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(19):\n  s.sendto(b'x',('127.0.0.1',7));r.recv(9);s.sendto(b'x',('127.0.0.1',8))",
  );
  assert.equal(session.sum('skoop.udp.overflows', a), 0);
  assert.deepEqual(await session.events(a), []);
});
