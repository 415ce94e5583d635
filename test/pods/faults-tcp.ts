/** Connections that are refused, reset, given up or not accepted. */
import { type Fault, loss, told } from './faults-world.ts';

export const tcpFaults: readonly Fault[] = [
  {
    name: 'TCP port closed',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await client.hands.run(`connect('${server.ip}', ${p}, 23)`);
      world.moves(server, 'Tcp.OutRsts');
      world.moves(client, 'Tcp.AttemptFails');
      return [
        told(server, 'TCPRESET_NOSOCK', 23, { dport: p, reason: 'NO_SOCKET' }),
        told(client, 'TCPRESET_RECEIVE', 23, { dport: p }),
        told(client, 'skoop.tcp.connect_failed', 23, { dport: p, 'error.type': 'ECONNREFUSED' }),
        loss(server, 23, 'NO_SOCKET', { dport: p, flags: 'SYN' }),
      ];
    },
  },
  {
    name: 'IPv6: TCP port closed',
    async make({ client, server, port }) {
      const p = port();
      const address = /inet6 (fe80:\S+)\/64/.exec(await server.sh('ip -6 address show dev eth0'))?.[1];
      await client.hands.run(`for _ in range(11):
  with socket.socket(socket.AF_INET6) as s: s.connect_ex(('${address}', ${p}, 0, socket.if_nametoindex('eth0')))`);
      const where = { dport: p, 'network.type': 'ipv6' };
      return [
        told(server, 'TCPRESET_NOSOCK', 11, { ...where, reason: 'NO_SOCKET' }),
        told(client, 'TCPRESET_RECEIVE', 11, where),
        told(client, 'skoop.tcp.connect_failed', 11, { ...where, 'error.type': 'ECONNREFUSED' }),
        loss(server, 11, 'NO_SOCKET', where),
      ];
    },
  },
  {
    name: 'close with data unread',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.hands.run(`ls = listen(${p})`);
      for (let i = 0; i < 5; i++) {
        await client.hands.run(`c = socket.create_connection(('${server.ip}', ${p})); c.sendall(b'x' * 100)`);
        await server.hands.run('s, _ = ls.accept(); received(s, 100); s.close()');
        await client.hands.run('try: c.recv(1)\nexcept OSError: pass\nc.close()');
      }
      await server.hands.run('ls.close()');
      world.moves(server, 'TcpExt.TCPAbortOnClose', 'Tcp.EstabResets');
      world.moves(client, 'Tcp.EstabResets');
      return [
        told(server, 'TCPRESET_ACTIVE', 5, { sport: p, reason: 'TCP_ABORT_ON_CLOSE' }),
        told(client, 'TCPRESET_RECEIVE', 5, { dport: p }),
      ];
    },
  },
  {
    name: 'SO_LINGER 0',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.hands.run(`ls = listen(${p})`);
      for (let i = 0; i < 7; i++) {
        await client.hands.run(`c = socket.create_connection(('${server.ip}', ${p}))`);
        await server.hands.run("s, _ = ls.accept(); s.setsockopt(1, 13, struct.pack('ii', 1, 0)); s.close()");
        await client.hands.run('try: c.recv(1)\nexcept OSError: pass\nc.close()');
      }
      await server.hands.run('ls.close()');
      world.moves(server, 'TcpExt.TCPAbortOnData');
      return [
        told(server, 'TCPRESET_ACTIVE', 7, { sport: p, reason: 'TCP_STATE' }),
        told(client, 'TCPRESET_RECEIVE', 7, { dport: p }),
      ];
    },
  },
  {
    name: 'data for a connection that the server has closed',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.hands.run(`ls = listen(${p})`);
      for (let i = 0; i < 3; i++) {
        await client.hands.run(`c = socket.create_connection(('${server.ip}', ${p}))`);
        await server.hands.run('s, _ = ls.accept(); s.close()');
        await client.hands.run(`c.recv(1); c.sendall(b'x')
while c.getsockopt(1, 4) == 0: time.sleep(0.002)
c.close()`);
      }
      await server.hands.run('ls.close()');
      return [
        told(server, 'TCPRESET_PROCESS', 3, { dport: p }),
        loss(server, 3, '', { dport: p, flags: 'PSH|ACK' }),
        told(client, 'TCPRESET_RECEIVE', 3, { dport: p }),
      ];
    },
  },
  {
    name: 'acknowledgement of a connection nobody knows',
    async make({ client, server, port }) {
      const p = port();
      const segment = `tcp_segment('${client.ip}', '${server.ip}', 999, ${p}, 0x10, ack=5)`;
      await client.hands.run(`raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 6, ${segment})] * 5)`);
      return [
        told(server, 'TCPRESET_NOSOCK', 5, { dport: p, reason: 'NO_SOCKET' }),
        loss(server, 5, 'NO_SOCKET', { dport: p, flags: 'ACK' }),
        // The answers: nobody waits for them either.
        loss(client, 5, 'NO_SOCKET', { sport: p, flags: 'RST' }),
      ];
    },
  },
  {
    name: 'TCP checksum wrong',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      const segment = `tcp_segment('${client.ip}', '${server.ip}', 999, ${p}, 2, wrong=1)`;
      await client.hands.run(`raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 6, ${segment})] * 7)`);
      world.moves(server, 'Tcp.InCsumErrors');
      return [loss(server, 7, 'TCP_CSUM', { dport: p })];
    },
  },
  {
    name: 'MD5 signature missing',
    async make({ client, server, port }) {
      const p = port();
      await server.hands.run(`ls = socket.socket(); ls.bind(('0.0.0.0', ${p}))
ls.setsockopt(6, 14, struct.pack('HH4s120xBBHiI80s', 2, 0, socket.inet_aton('${client.ip}'), 0, 0, 4, 0, 0, b'abcd'))
ls.listen(8)`);
      const segment = `tcp_segment('${client.ip}', '${server.ip}', 999, ${p}, 2)`;
      await client.hands.run(`raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 6, ${segment})] * 3)`);
      await server.hands.run('ls.close()');
      return [loss(server, 3, 'TCP_MD5NOTFOUND', { dport: p })];
    },
  },
  {
    name: 'reset that comes when the connection is in TIME_WAIT (no loss)',
    async make({ client, server, port }) {
      const p = port();
      await server.hands.run(`ls = listen(${p})`);
      const from = await client.hands.run<number>(
        `c = socket.create_connection(('${server.ip}', ${p})); out = c.getsockname()[1]; c.shutdown(1)`,
      );
      await server.hands.run('s, _ = ls.accept(); s.recv(1); s.close(); ls.close()');
      await client.hands.run('c.recv(1); c.close()');
      const segment = `tcp_segment('${server.ip}', '${client.ip}', ${p}, ${from}, 4)`;
      await server.hands.run(`raw('${client.ip}', [ip_packet('${server.ip}', '${client.ip}', 6, ${segment})] * 5)`);
      return [];
    },
  },
];
