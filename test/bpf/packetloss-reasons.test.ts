import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import type { LogRecord } from '../../pipeline/batch.ts';
import { connect, Netns, ProbeSession } from './harness.ts';

/** The faults of the table that the kernel gives a reason for: made a prime number of times, told with owner, reason and place. */

const send = (to: string, n: number, port = 9) =>
  `import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for i in range(${n}):
  try: s.sendto(b'x',('${to}',${port}))
  except OSError: pass`;

async function dropsOf(session: ProbeSession, netns: Netns, reason: string): Promise<LogRecord[]> {
  return (await session.events(netns)).filter((e) => e.attributes['skoop.drop.reason'] === reason);
}

const chains: readonly { hook: string; where: 'sender' | 'receiver' }[] = [
  { hook: 'input', where: 'receiver' },
  { hook: 'prerouting', where: 'receiver' },
  { hook: 'output', where: 'sender' },
  { hook: 'postrouting', where: 'sender' },
];

for (const { hook, where } of chains) {
  test(`nftables drop in ${hook}: 17 events name the hook`, async () => {
    using a = new Netns();
    using b = new Netns();
    connect(a, b);
    const culprit = where === 'sender' ? a : b;
    culprit.run(
      `nft add table ip skl; nft "add chain ip skl c { type filter hook ${hook} priority 0; }"; nft add rule ip skl c udp dport 9 drop`,
    );
    using session = await ProbeSession.start('packetloss');
    a.python(send('10.99.0.2', 17));

    const found = await dropsOf(session, culprit, 'NETFILTER_DROP');
    assert.equal(found.length, 17);
    assert.equal(session.sum('skoop.packet.drops', culprit, { 'skoop.drop.reason': 'NETFILTER_DROP' }), 17);
    for (const e of found) assert.equal(e.attributes['skoop.netfilter.hook'], hook);
    assert.equal(found[0]?.attributes['destination.port'], 9);
  });
}

test('nftables drop while forwarding belongs to the router', async () => {
  using a = new Netns();
  using router = new Netns();
  using b = new Netns();
  connect(a, router);
  router.run('ip link set eth0 down; ip link set eth0 name left; ip link set left up');
  connect(router, b);
  router.run('ip addr flush dev eth0; ip addr add 10.98.0.1/24 dev eth0; sysctl -qw net.ipv4.ip_forward=1');
  b.run('ip addr flush dev eth0; ip addr add 10.98.0.2/24 dev eth0');
  a.run('ip route add 10.98.0.0/24 via 10.99.0.2');
  router.run(
    'nft add table ip skl; nft "add chain ip skl c { type filter hook forward priority 0; }"; nft add rule ip skl c udp dport 9 drop',
  );
  using session = await ProbeSession.start('packetloss');
  a.python(send('10.98.0.2', 13));

  const found = await dropsOf(session, router, 'NETFILTER_DROP');
  assert.equal(found.length, 13);
  assert.equal(found[0]?.attributes['skoop.netfilter.hook'], 'forward');
  assert.equal(found[0]?.attributes['network.io.direction'], 'receive');
});

test('receive buffer full: the socket that does not read', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _server = await b.start(
    "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(1,8,2304); s.bind(('0.0.0.0',9)); print('up'); time.sleep(99)",
  );
  using session = await ProbeSession.start('packetloss');
  a.python(send('10.99.0.2', 101));

  const overflow = Number(b.run("awk '/^Udp:/ {v=$6} END {print v}' /proc/net/snmp").trim());
  assert.ok(overflow > 0);
  assert.equal((await dropsOf(session, b, 'SOCKET_RCVBUFF')).length, overflow);
  assert.equal(session.sum('skoop.packet.drops', b, { 'skoop.drop.reason': 'SOCKET_RCVBUFF' }), overflow);
});

test('a neighbour that does not answer', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  a.run('sysctl -qw net.ipv4.neigh.eth0.retrans_time_ms=10 net.ipv4.neigh.eth0.mcast_solicit=1');
  using session = await ProbeSession.start('packetloss');
  a.python(`${send('10.99.0.77', 3)}\nimport time\ntime.sleep(0.5)`);

  const found = await dropsOf(session, a, 'NEIGH_FAILED');
  assert.equal(found.length, 3);
  assert.equal(found[0]?.attributes['destination.address'], '10.99.0.77');
  assert.equal(found[0]?.attributes['network.io.direction'], 'transmit');
});

test('a source that reverse path filtering refuses', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  a.run('ip addr add 10.55.0.1/32 dev lo');
  // Knows its neighbour already: with the odd source its ARP request would not be answered.
  a.python(send('10.99.0.2', 1));
  b.run('sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1');
  using session = await ProbeSession.start('packetloss');
  a.python(send('10.99.0.2', 7).replace('SOCK_DGRAM)', "SOCK_DGRAM); s.bind(('10.55.0.1',0))"));

  assert.equal((await dropsOf(session, b, 'IP_RPFILTER')).length, 7);
});

test('a shaped queue that overflows', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  a.run('tc qdisc add dev eth0 root tbf rate 8kbit burst 200 limit 300');
  using session = await ProbeSession.start('packetloss');
  a.python(send('10.99.0.2', 37));

  const dropped = Number(/dropped (\d+)/.exec(a.run('tc -s qdisc show dev eth0'))?.[1]);
  assert.ok(dropped > 0);
  const found = (await session.events(a)).filter((e) => String(e.attributes['skoop.drop.reason']).startsWith('QDISC'));
  assert.equal(found.length, dropped);
});

test('interfaces that come up, multicast and closed sockets are noise, not loss', async () => {
  using session = await ProbeSession.start('packetloss');
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  a.python(
    `import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(0,32,socket.inet_aton('10.99.0.1'))
for i in range(11): s.sendto(b'x',('224.0.0.251',5353))
r=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); r.bind(('127.0.0.1',7777))
for i in range(5): s.sendto(b'x',('127.0.0.1',7777))
r.close()`,
  );
  assert.deepEqual(
    (await session.events(a)).map((e) => e.body),
    [],
  );
  assert.deepEqual(
    (await session.events(b)).map((e) => e.body),
    [],
  );
  assert.ok(session.sum('skoop.packet.noise', b, { 'network.transport': 'udp' }) >= 11);
});

test('a bridge port that spanning tree does not let forward yet loses what is sent to one host, and tells so', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  b.run('ip link add br0 type bridge stp_state 1; ip link set eth0 master br0; ip link set br0 up');
  a.run(`ip neigh add 10.99.0.7 lladdr ${b.run('cat /sys/class/net/br0/address').trim()} dev eth0`);
  using session = await ProbeSession.start('packetloss');
  a.python(send('10.99.0.7', 7));
  a.python(`${send('10.99.0.255', 5).replace('for', 's.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)\nfor')}`);
  const reasons = async (to: string) => {
    const told = (await session.events(b)).filter((e) => e.attributes['destination.address'] === to);
    return told.map((e) => String(e.attributes['skoop.drop.reason']));
  };
  const found = await reasons('10.99.0.7');
  assert.equal(found.length, 7);
  // Before 6.13 the kernel gives no reason here, and broadcasts are not told apart.
  for (const reason of found) assert.match(reason, /^(BRIDGE_INGRESS_STP_STATE|NOT_SPECIFIED)$/);
  assert.equal((await reasons('10.99.0.255')).filter((reason) => reason !== 'NOT_SPECIFIED').length, 0);
});

test('table and chain of a netfilter drop, where the kernel can be watched', async () => {
  using a = new Netns();
  a.run(
    'nft add table ip skl; nft "add chain ip skl c { type filter hook input priority 0; }"; nft add rule ip skl c udp dport 9 drop',
  );
  using session = await ProbeSession.start('packetloss', { netfilter_chains: 'always' });
  a.python(send('127.0.0.1', 5));

  const found = await dropsOf(session, a, 'NETFILTER_DROP');
  assert.equal(found.length, 5);
  // Without kprobes there is no fentry either: then neither is told.
  const watched = existsSync('/sys/bus/event_source/devices/kprobe');
  for (const e of found) {
    assert.equal(e.attributes['skoop.netfilter.hook'], 'input');
    assert.equal(e.attributes['skoop.netfilter.table'], watched ? 'skl' : undefined);
    assert.equal(e.attributes['skoop.netfilter.chain'], watched ? 'c' : undefined);
  }
});

test('chains are watched on demand: from the first netfilter drop on', async () => {
  using a = new Netns();
  a.run(
    'nft add table ip skl; nft "add chain ip skl c { type filter hook input priority 0; }"; nft add rule ip skl c udp dport 9 drop',
  );
  using session = await ProbeSession.start('packetloss');
  a.python(send('127.0.0.1', 1));
  assert.equal((await dropsOf(session, a, 'NETFILTER_DROP')).length, 1);
  a.python(send('127.0.0.1', 3));
  const found = await dropsOf(session, a, 'NETFILTER_DROP');
  assert.equal(found.length, 4);
  assert.equal(found[0]?.attributes['skoop.netfilter.chain'], undefined);
  const watched = existsSync('/sys/bus/event_source/devices/kprobe');
  assert.equal(found[3]?.attributes['skoop.netfilter.chain'], watched ? 'c' : undefined);
});
