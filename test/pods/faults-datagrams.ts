/** Datagrams and packets that a host does not take: sockets, headers, routes, devices. */
import { counterOf, type Fault, loss, told, withRules } from './faults-world.ts';

export const datagramFaults: readonly Fault[] = [
  {
    name: 'UDP port closed',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await client.hands.run(`udp('${server.ip}', ${p}, 23)`);
      world.moves(server, 'Udp.NoPorts');
      return [loss(server, 23, 'NO_SOCKET', { dport: p, protocol: 'UDP' })];
    },
  },
  {
    name: 'UDP receive buffer full',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      const before = counterOf(server, 'Udp.RcvbufErrors');
      await server.hands.run(
        `u = socket.socket(socket.AF_INET, UDP); u.setsockopt(1, 8, 2304); u.bind(('0.0.0.0', ${p}))`,
      );
      await client.hands.run(`udp('${server.ip}', ${p}, 53)`);
      await server.hands.run('u.close()');
      const n = counterOf(server, 'Udp.RcvbufErrors') - before;
      world.moves(server, 'Udp.RcvbufErrors', 'Udp.InErrors');
      return [
        { ...loss(server, n, 'SOCKET_RCVBUFF', { dport: p }), counter: 'Udp.RcvbufErrors' },
        {
          ...told(server, 'skoop.udp.buffer_full', n, { dport: p, 'skoop.udp.reason': 'receive_buffer' }),
          counter: 'Udp.RcvbufErrors',
        },
      ];
    },
  },
  {
    name: 'raw socket full',
    async make({ client, server }) {
      await server.hands.run(`r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); r.setsockopt(1, 8, 2304)`);
      await client.hands.run(`raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 253, b'x' * 100)] * 31)`);
      const drops = Number(server.proc('net/raw').trimEnd().split('\n').at(-1)!.trim().split(/\s+/).at(-1));
      await server.hands.run('r.close()');
      // The kernel's word for it: a packet that no raw socket took and that no protocol wants.
      return [
        { ...loss(server, drops, 'IP_NOPROTO', { location: 'ip_local_deliver_finish' }), counter: 'net/raw drops' },
      ];
    },
  },
  {
    name: 'socket filter that refuses',
    async make({ client, server, port }) {
      const p = port();
      // One instruction, BPF_RET|BPF_K 0: nothing passes.
      await server.hands.run(
        `import ctypes
code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
u = socket.socket(socket.AF_INET, UDP); u.bind(('0.0.0.0', ${p}))
u.setsockopt(1, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))`,
      );
      await client.hands.run(`udp('${server.ip}', ${p}, 13)`);
      await server.hands.run('u.close()');
      return [loss(server, 13, 'SOCKET_FILTER', { dport: p })];
    },
  },
  {
    name: 'UDP checksum wrong',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.hands.run(`u = socket.socket(socket.AF_INET, UDP); u.bind(('0.0.0.0', ${p}))`);
      await client.hands.run(
        `d = l4('${client.ip}', '${server.ip}', 17, struct.pack('!HHHH', 999, ${p}, 12, 0) + b'xxxx', 6, 1)
raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 17, d)] * 11)`,
      );
      // Its checksum is looked at when it is read.
      await server.hands.run(`u.settimeout(0.05)
try: u.recv(100)
except OSError: pass
u.close()`);
      world.moves(server, 'Udp.InCsumErrors');
      return [loss(server, 11, 'UDP_CSUM', { dport: p })];
    },
  },
  {
    name: 'IP header checksum wrong: the bridge of the node refuses it',
    async make(world) {
      const { client, server, node, port } = world;
      const p = port();
      const mac = /link\/ether (\S+)/.exec(await server.sh('ip link show eth0'))?.[1];
      const datagram = `struct.pack('!HHHH', 999, ${p}, 12, 0) + b'xxxx'`;
      await client.hands.run(
        `frames([ip_packet('${client.ip}', '${server.ip}', 17, ${datagram}, wrong=1)] * 3, '${mac}')`,
      );
      world.moves(node, 'Ip.InHdrErrors');
      return [loss(node, 3, '', { dport: p })];
    },
  },
  {
    name: 'reverse path filter',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.sh(
        'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1; ip route add 10.55.0.0/24 dev lo',
      );
      await client.sh('ip addr add 10.55.0.1/32 dev lo');
      await client.hands.run(`udp('${server.ip}', ${p}, 7, source='10.55.0.1')`);
      await client.sh('ip addr del 10.55.0.1/32 dev lo');
      await server.sh(
        'ip route del 10.55.0.0/24 dev lo; sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0',
      );
      world.moves(server, 'TcpExt.IPReversePathFilter');
      return [loss(server, 7, 'IP_RPFILTER', { dport: p })];
    },
  },
  {
    name: 'time to live expired on the node',
    async make({ client, node, port }) {
      const p = port();
      await client.hands.run(`udp('198.19.0.2', ${p}, 5, options=[(0, 2, 1)])`);
      return [loss(node, 5, 'IP_INHDR', { dport: p })];
    },
  },
  {
    name: 'no route on the node',
    async make({ client, node, port }) {
      const p = port();
      await client.hands.run(`udp('203.0.113.9', ${p}, 3)`);
      return [loss(node, 3, 'IP_INNOROUTES', { dport: p })];
    },
  },
  {
    name: 'packet too big for the route of the node',
    async make({ client, server, node, port }) {
      const p = port();
      await node.sh(`ip route replace 198.19.0.2/32 via ${server.ip} mtu lock 1000`);
      // IP_MTU_DISCOVER = IP_PMTUDISC_PROBE: never fragments, does not remember.
      await client.hands.run(`udp('198.19.0.2', ${p}, 7, 1300, options=[(0, 10, 3)])`);
      await node.sh(`ip route replace 198.19.0.2/32 via ${server.ip}`);
      return [loss(node, 7, 'PKT_TOO_BIG', { dport: p })];
    },
  },
  {
    name: 'path MTU black hole: the ICMP that tells is dropped',
    async make({ client, server, node, port }) {
      const p = port();
      await node.sh(
        `ip route replace 198.19.0.2/32 via ${server.ip} mtu lock 1000; sysctl -qw net.ipv4.icmp_ratelimit=0`,
      );
      const n = await withRules(
        client,
        'input',
        ['icmp type destination-unreachable counter drop'],
        async (dropped) => {
          await client.hands.run(`udp('198.19.0.2', ${p}, 11, 1300, options=[(0, 10, 3)])`);
          return dropped();
        },
      );
      await node.sh(`ip route replace 198.19.0.2/32 via ${server.ip}`);
      return [
        loss(node, 11, 'PKT_TOO_BIG', { dport: p }),
        {
          ...loss(client, n, 'NETFILTER_DROP', { protocol: 'ICMP', 'skoop.icmp.type': 3, 'skoop.icmp.code': 4 }),
          counter: 'nft counter',
        },
      ];
    },
  },
  {
    name: 'fragment without the rest',
    async make(world) {
      const { slowClient: client, slowServer: server, port } = world;
      await server.sh('sysctl -qw net.ipv4.ipfrag_time=1');
      await client.hands.run(
        `raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 17, struct.pack('!HHHH', 999, ${port()}, 2000, 0) + b'x' * 800, ident=i, flags=0x2000) for i in range(3)])`,
      );
      world.moves(server, 'Ip.ReasmFails');
      return [loss(server, 3, 'FRAG_REASM_TIMEOUT')];
    },
  },
  {
    name: 'neighbour that does not answer',
    async make(world) {
      const { slowClient: client, port } = world;
      const p = port();
      await client.sh('sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=1 net.ipv4.neigh.eth0.retrans_time_ms=50');
      await client.hands.run(`udp('198.18.3.77', ${p}, 3)`);
      return [loss(client, 3, 'NEIGH_FAILED', { dport: p })];
    },
  },
  {
    name: 'IPv6: UDP port closed',
    async make({ client, server, port }) {
      const p = port();
      const address = /inet6 (fe80:\S+)\/64/.exec(await server.sh('ip -6 address show dev eth0'))?.[1];
      await client.hands.run(`s = socket.socket(socket.AF_INET6, UDP)
for _ in range(19): s.sendto(b'x', ('${address}', ${p}, 0, socket.if_nametoindex('eth0')))
s.close()`);
      return [loss(server, 19, 'NO_SOCKET', { dport: p, daddr: address ?? '', 'network.type': 'ipv6' })];
    },
  },
  {
    name: 'no route at the sender (no loss: the process is told)',
    async make({ client, port }) {
      await client.sh('ip route add unreachable 203.0.113.7');
      const sent = await client.hands.run(`out = udp('203.0.113.7', ${port()}, 5)`);
      await client.sh('ip route del unreachable 203.0.113.7');
      if (sent !== 0) throw new Error(`The kernel took ${sent} datagrams.`);
      return [];
    },
  },
];
