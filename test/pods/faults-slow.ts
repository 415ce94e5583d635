/** Faults that the kernel needs seconds for: queues of listeners, timers. Made in pods of their own while the others are made. */
import { waitFor } from '../bed/command.ts';
import { counterOf, type Fault, grown, loss, told, type Wanted, withRules } from './faults-world.ts';

const drop = 'NETFILTER_DROP';
/** SYNs as raw packets, from ports of which the client's kernel knows nothing: nothing repeats them. */
const syns = (from: string, to: string, port: number, n: number) =>
  `raw('${to}', [ip_packet('${from}', '${to}', 6, tcp_segment('${from}', '${to}', 1000 + i, ${port}, 2, seq=100)) for i in range(${n})])`;

export const slowFaults: readonly Fault[] = [
  {
    name: 'accept queue full: SYNs dropped without a word',
    async make(world) {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      await server.hands.run(`ls1 = listen(${p}, 2)`);
      await client.hands.run(`cs1 = [socket.create_connection(('${server.ip}', ${p})) for _ in range(3)]`);
      const before = counterOf(server, 'TcpExt.ListenOverflows');
      await client.hands.run(syns(client.ip, server.ip, p, 5));
      await grown(server, 'TcpExt.ListenOverflows', before, 5);
      // Nobody is left waiting: the connections are taken and ended in order.
      await server.hands.run('for _ in range(3): ls1.accept()[0].close()\nls1.close()');
      await client.hands.run('for c in cs1: c.recv(1); c.close()');
      world.moves(server, 'TcpExt.ListenOverflows', 'TcpExt.ListenDrops');
      return [told(server, 'skoop.tcp.accept_queue_full', 1, { dport: p, 'skoop.queue.limit': 2 })];
    },
  },
  {
    name: 'accept queue full: handshakes that end too late',
    async make(world) {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      // Three handshakes whose end is held back until ordinary connections have filled the queue.
      const kept = await withRules(
        client,
        'input',
        [`tcp sport ${p} tcp dport 1000-1002 counter drop`],
        async (dropped) => {
          await server.hands.run(`ls2 = listen(${p}, 4)`);
          await client.hands.run(`n2 = sniff(); ${syns(client.ip, server.ip, p, 3)}
acks, seen = [], set()
while len(acks) < 3:
  d = n2.recv(200)
  sport, dport, seq = struct.unpack('!HHI', d[20:28])
  if d[9] == 6 and sport == ${p} and dport not in seen:
    seen.add(dport)
    acks.append(ip_packet('${client.ip}', '${server.ip}', 6, tcp_segment('${client.ip}', '${server.ip}', dport, ${p}, 0x10, seq=101, ack=seq + 1)))
n2.close()
cs2 = [socket.create_connection(('${server.ip}', ${p})) for _ in range(5)]`);
          const before = counterOf(server, 'TcpExt.ListenOverflows');
          await client.hands.run(`raw('${server.ip}', acks)`);
          await grown(server, 'TcpExt.ListenOverflows', before, 3);
          await server.hands.run('for _ in range(5): ls2.accept()[0].close()\nls2.close()');
          await client.hands.run('for c in cs2: c.recv(1); c.close()');
          return dropped();
        },
      );
      return [
        loss(server, 3, 'TCP_LISTEN_OVERFLOW', { dport: p, flags: 'ACK' }),
        told(server, 'skoop.tcp.accept_queue_full', 1, { dport: p, 'skoop.queue.limit': 4 }),
        { ...loss(client, kept, drop, { sport: p }), counter: 'nft counter' },
      ];
    },
  },
  {
    name: 'SYN queue full, cookies sent',
    async make(world) {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      const seen = () =>
        world.agent.events().filter((e) => e['type'] === 'skoop.tcp.syn_queue_full' && e['dport'] === String(p)).length;
      const kept = await withRules(client, 'input', [`tcp sport ${p} counter drop`], async (dropped) => {
        await server.hands.run(`ls3 = listen(${p}, 4)`);
        await client.hands.run(syns(client.ip, server.ip, p, 13));
        await waitFor('the event', () => seen() > 0);
        await server.hands.run('ls3.close()');
        return dropped();
      });
      world.moves(server, 'TcpExt.TCPReqQFullDoCookies', 'TcpExt.SyncookiesSent');
      return [
        // Once a second while it lasts.
        {
          ...told(server, 'skoop.tcp.syn_queue_full', seen(), { dport: p, 'skoop.queue.limit': 4 }),
          counter: 'seconds',
        },
        { ...loss(client, kept, drop, { sport: p }), counter: 'nft counter' },
      ];
    },
  },
  {
    name: 'SYN queue full, SYNs dropped without a word',
    async make(world) {
      const { slowClient: client, other: server, port } = world;
      const p = port();
      await server.sh('sysctl -qw net.ipv4.tcp_syncookies=0');
      const seen = () =>
        world.agent.events().filter((e) => e['type'] === 'skoop.tcp.syn_queue_full' && e['dport'] === String(p)).length;
      const kept = await withRules(client, 'input', [`tcp sport ${p} counter drop`], async (dropped) => {
        await server.hands.run(`ls4 = listen(${p}, 8)`);
        await client.hands.run(syns(client.ip, server.ip, p, 31));
        await waitFor('the event', () => seen() > 0);
        await server.hands.run('ls4.close()');
        return dropped();
      });
      await server.sh('sysctl -qw net.ipv4.tcp_syncookies=1');
      world.moves(server, 'TcpExt.TCPReqQFullDrop', 'TcpExt.ListenDrops');
      return [
        {
          ...told(server, 'skoop.tcp.syn_queue_full', seen(), { dport: p, 'skoop.queue.limit': 8 }),
          counter: 'seconds',
        },
        { ...loss(client, kept, drop, { sport: p }), counter: 'nft counter' },
      ];
    },
  },
  {
    name: 'TCP_USER_TIMEOUT',
    async make(world) {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      await server.hands.run(`ls5 = listen(${p})`);
      await client.hands.run(`c5 = socket.create_connection(('${server.ip}', ${p})); c5.setsockopt(6, 18, 500)`);
      await server.hands.run('s5, _ = ls5.accept(); ls5.close()');
      const lost = await withRules(server, 'input', [`tcp dport ${p} counter drop`], async (dropped) => {
        await client.hands.run("c5.send(b'x')");
        // SO_ERROR
        await waitFor(
          'the connection to fail',
          async () => (await client.hands.run('out = c5.getsockopt(1, 4)')) !== 0,
        );
        return dropped();
      });
      // TCP_INFO, tcpi_total_retrans: what is dropped is these, the first one, and whatever the end of the connection sends.
      const sentAgain = Number(
        await client.hands.run("out = struct.unpack_from('I', c5.getsockopt(6, 11, 192), 100)[0]"),
      );
      await server.hands.run("s5.setsockopt(1, 13, struct.pack('ii', 1, 0)); s5.close()");
      await client.hands.run('c5.close()');
      world.moves(client, 'TcpExt.TCPAbortOnTimeout');
      return [
        { ...loss(server, lost, drop, { dport: p }), counter: 'nft counter' },
        {
          ...told(client, 'TCPRETRANS', sentAgain, { dport: p }),
          counter: 'tcpi_total_retrans',
        },
        // The other end learns nothing of it; its reset finds nobody.
        told(server, 'TCPRESET_ACTIVE', 1, { sport: p }),
        loss(client, 1, 'NO_SOCKET', { sport: p, flags: 'RST|ACK' }),
      ];
    },
  },
  {
    name: 'keep-alive gives up',
    async make({ slowClient: client, slowServer: server, port, agent }) {
      const p = port();
      await server.hands.run(`ls6 = listen(${p})`);
      await client.hands.run(`c6 = socket.create_connection(('${server.ip}', ${p}))`);
      await server.hands.run('s6, _ = ls6.accept(); ls6.close()');
      const gone = () => agent.events().some((e) => e['type'] === 'TCPRESET_ACTIVE' && e['dport'] === String(p));
      const lost = await withRules(server, 'input', [`tcp dport ${p} counter drop`], async (dropped) => {
        // TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, then SO_KEEPALIVE.
        await client.hands.run('[c6.setsockopt(6, o, 1) for o in (4, 5, 6)]; c6.setsockopt(1, 9, 1)');
        await waitFor('the reset', gone);
        return dropped();
      });
      await server.hands.run("s6.setsockopt(1, 13, struct.pack('ii', 1, 0)); s6.close()");
      await client.hands.run('c6.close()');
      return [
        told(client, 'TCPRESET_ACTIVE', 1, { dport: p, reason: 'TCP_KEEPALIVE_TIMEOUT' }),
        { ...loss(server, lost, drop, { dport: p }), counter: 'nft counter' },
        told(server, 'TCPRESET_ACTIVE', 1, { sport: p }),
        loss(client, 1, 'NO_SOCKET', { sport: p, flags: 'RST|ACK' }),
      ];
    },
  },
  {
    name: 'connect times out',
    async make({ slowClient: client, slowServer: server, port, agent }) {
      const p = port();
      const failed = () =>
        agent.events().filter((e) => e['type'] === 'skoop.tcp.connect_failed' && e['dport'] === String(p)).length;
      const lost = await withRules(server, 'input', [`tcp dport ${p} counter drop`], async (dropped) => {
        await client.hands.run(`cs7 = []
for _ in range(3):
  s = socket.socket(); s.setblocking(False); s.setsockopt(6, 18, 500); s.connect_ex(('${server.ip}', ${p})); cs7.append(s)`);
        await waitFor('the connections to fail', () => failed() >= 3);
        return dropped();
      });
      await client.hands.run('for c in cs7: c.close()');
      return [
        told(client, 'skoop.tcp.connect_failed', 3, { dport: p, 'error.type': 'ETIMEDOUT' }),
        { ...loss(server, lost, drop, { dport: p, flags: 'SYN' }), counter: 'nft counter' },
      ];
    },
  },
  {
    name: 'connect to an address nobody has',
    async make(world) {
      const { slowClient: client, port, agent } = world;
      const p = port();
      await client.sh('sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=1 net.ipv4.neigh.eth0.retrans_time_ms=50');
      await client.hands.run(`cs8 = opening('198.18.3.78', ${p}, 2)`);
      await waitFor(
        'the connections to fail',
        () =>
          agent.events().filter((e) => e['type'] === 'skoop.tcp.connect_failed' && e['dport'] === String(p)).length >=
          2,
      );
      await client.hands.run('for c in cs8: c.close()');
      world.moves(client, 'Tcp.AttemptFails');
      return [
        told(client, 'skoop.tcp.connect_failed', 2, { dport: p, 'error.type': 'EHOSTUNREACH' }),
        loss(client, 2, 'NEIGH_FAILED', { dport: p, flags: 'SYN' }),
      ];
    },
  },
  {
    name: 'window of the reader at zero (no loss)',
    async make(world): Promise<readonly Wanted[]> {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      const [full, probes] = [counterOf(server, 'TcpExt.TCPToZeroWindowAdv'), counterOf(client, 'TcpExt.TCPWinProbe')];
      await server.hands.run(
        `ls9 = socket.socket(); ls9.setsockopt(1, 8, 8192); ls9.bind(('0.0.0.0', ${p})); ls9.listen(1)`,
      );
      await client.hands.run(`c9 = socket.create_connection(('${server.ip}', ${p})); c9.setblocking(False)
left9 = 100000 - c9.send(b'x' * 100000)`);
      await grown(server, 'TcpExt.TCPToZeroWindowAdv', full, 1);
      await grown(client, 'TcpExt.TCPWinProbe', probes, 1);
      await server.hands.run('s9, _ = ls9.accept(); ls9.close()');
      await client.hands.run('c9.shutdown(1)');
      await server.hands.run('while s9.recv(65536): pass\ns9.close()');
      await client.hands.run('c9.close()');
      world.moves(server, 'TcpExt.TCPToZeroWindowAdv', 'TcpExt.TCPFromZeroWindowAdv');
      world.moves(client, 'TcpExt.TCPWinProbe');
      return [];
    },
  },
  {
    name: 'receive queue of a socket over its limit',
    async make(world): Promise<readonly Wanted[]> {
      const { slowClient: client, slowServer: server, port } = world;
      const p = port();
      const before = counterOf(server, 'TcpExt.RcvPruned');
      await server.hands.run(`ls10 = listen(${p})`);
      await client.hands.run(`c10 = socket.create_connection(('${server.ip}', ${p})); c10.sendall(b'x' * 20000)`);
      await server.hands.run('s10, _ = ls10.accept(); received(s10, 20000); s10.setsockopt(1, 8, 2304); ls10.close()');
      await client.hands.run("c10.setblocking(False); c10.send(b'y' * 20000)");
      await grown(server, 'TcpExt.RcvPruned', before, 1);
      await server.hands.run(
        's10.setsockopt(1, 8, 262144)\nn10 = 0\nwhile n10 < 40000: n10 += len(s10.recv(65536))\ns10.close()',
      );
      await client.hands.run('c10.close()');
      world.moves(server, 'TcpExt.RcvPruned', 'TcpExt.PruneCalled');
      return [
        {
          ...loss(server, counterOf(server, 'TcpExt.RcvPruned') - before, 'PROTO_MEM', { dport: p }),
          counter: 'TcpExt.RcvPruned',
        },
      ];
    },
  },
];
