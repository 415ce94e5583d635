/** What rules do to packets: nftables, iptables, conntrack; in pods and on the node. */
import { type Fault, loss, told, withRules } from './faults-world.ts';

const drop = 'NETFILTER_DROP';

export const netfilterFaults: readonly Fault[] = [
  {
    name: 'nftables input drop in the server',
    async make({ client, server, port }) {
      const p = port();
      await withRules(server, 'input', [`udp dport ${p} drop`], () =>
        client.hands.run(`udp('${server.ip}', ${p}, 17)`),
      );
      return [loss(server, 17, drop, { dport: p, protocol: 'UDP', 'skoop.netfilter.hook': 'input' })];
    },
  },
  {
    name: 'nftables prerouting drop in the server',
    async make({ client, server, port }) {
      const p = port();
      await withRules(server, 'prerouting', [`udp dport ${p} drop`], () =>
        client.hands.run(`udp('${server.ip}', ${p}, 7)`),
      );
      return [loss(server, 7, drop, { dport: p, 'skoop.netfilter.hook': 'prerouting' })];
    },
  },
  {
    name: 'iptables OUTPUT drop in the client',
    async make({ client, server, port }) {
      const p = port();
      await client.sh(`iptables -w -A OUTPUT -p udp --dport ${p} -j DROP`);
      const sent = await client.hands.run(`out = udp('${server.ip}', ${p}, 13)`);
      await client.sh(`iptables -w -D OUTPUT -p udp --dport ${p} -j DROP`);
      if (sent !== 0) throw new Error(`The kernel took ${sent} datagrams.`);
      return [loss(client, 13, drop, { dport: p, 'skoop.netfilter.hook': 'output' })];
    },
  },
  {
    name: 'nftables postrouting drop in the client',
    async make({ client, server, port }) {
      const p = port();
      await withRules(client, 'postrouting', [`udp dport ${p} drop`], () =>
        client.hands.run(`udp('${server.ip}', ${p}, 5)`),
      );
      return [loss(client, 5, drop, { dport: p, 'skoop.netfilter.hook': 'postrouting' })];
    },
  },
  {
    name: 'nftables ingress drop on the device of the server',
    async make({ client, server, port }) {
      const p = port();
      await withRules(
        server,
        'ingress device eth0',
        [`udp dport ${p} drop`],
        () => client.hands.run(`udp('${server.ip}', ${p}, 11)`),
        'netdev',
      );
      return [loss(server, 11, drop, { dport: p, 'skoop.netfilter.hook': 'ingress' })];
    },
  },
  {
    name: 'bridge rule on the node',
    async make({ client, server, node, port }) {
      const p = port();
      await withRules(
        node,
        'forward',
        [`ether type ip udp dport ${p} drop`],
        () => client.hands.run(`udp('${server.ip}', ${p}, 19)`),
        'bridge',
      );
      return [loss(node, 19, drop, { dport: p })];
    },
  },
  {
    name: 'forward rule on the node (routed)',
    async make({ client, node, port }) {
      const p = port();
      await withRules(node, 'forward', [`udp dport ${p} drop`], () => client.hands.run(`udp('198.19.0.2', ${p}, 29)`));
      return [loss(node, 29, drop, { dport: p, 'skoop.netfilter.hook': 'forward' })];
    },
  },
  {
    name: 'REJECT with an ICMP error in the server',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.sh(`iptables -w -A INPUT -p udp --dport ${p} -j REJECT`);
      await client.hands.run(`udp('${server.ip}', ${p}, 3)`);
      await server.sh(`iptables -w -D INPUT -p udp --dport ${p} -j REJECT`);
      world.moves(server, 'Icmp.OutDestUnreachs');
      world.moves(client, 'Icmp.InDestUnreachs');
      return [loss(server, 3, drop, { dport: p })];
    },
  },
  {
    name: 'REJECT with a TCP reset in the server',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      const rule = `-p tcp --dport ${p} -j REJECT --reject-with tcp-reset`;
      await server.sh(`iptables -w -A INPUT ${rule}`);
      await client.hands.run(`connect('${server.ip}', ${p}, 5)`);
      await server.sh(`iptables -w -D INPUT ${rule}`);
      world.moves(client, 'Tcp.AttemptFails');
      return [
        loss(server, 5, drop, { dport: p, flags: 'SYN' }),
        told(client, 'TCPRESET_RECEIVE', 5, { dport: p }),
        told(client, 'skoop.tcp.connect_failed', 5, { dport: p, 'error.type': 'ECONNREFUSED' }),
      ];
    },
  },
  {
    name: 'one segment in seven lost on the way in',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      const lost = await withRules(
        server,
        'input',
        [`tcp dport ${p} tcp flags & (syn|fin) == 0 numgen inc mod 7 == 3 counter drop`],
        async (dropped) => {
          await server.hands.run(`ls = listen(${p})`);
          await client.hands.run(`c = socket.create_connection(('${server.ip}', ${p}))`);
          await server.hands.run('s, _ = ls.accept()');
          const sending = client.hands.run(
            `for _ in range(50): c.setsockopt(6, 1, 1); c.sendall(b'x' * 1000)\nc.shutdown(1)`,
          );
          await server.hands.run(`while s.recv(65536): pass\ns.close(); ls.close()`);
          await sending;
          await client.hands.run('c.recv(1); c.close()');
          return dropped();
        },
      );
      world.moves(client, 'Tcp.RetransSegs');
      return [{ ...loss(server, lost, drop, { dport: p, protocol: 'TCP' }), counter: 'nft counter' }];
    },
  },
  {
    name: 'segments that conntrack calls invalid',
    async make({ client, server, port }) {
      const p = port();
      await withRules(server, 'input', ['ct state invalid drop'], () =>
        client.hands.run(
          `raw('${server.ip}', [ip_packet('${client.ip}', '${server.ip}', 6, tcp_segment('${client.ip}', '${server.ip}', 999, ${p}, 0x16))] * 7)`,
        ),
      );
      return [loss(server, 7, drop, { dport: p, flags: 'SYN|RST|ACK' })];
    },
  },
];

/** Slow: 262,144 entries by netlink, since the limit is that of the machine. */
export const conntrackFull: Fault = {
  name: 'connection table full',
  async make({ client, other, port }) {
    const p = port();
    const max = Number((await other.sh('cat /proc/sys/net/netfilter/nf_conntrack_max')).trim());
    await withRules(other, 'input', ['ct state new accept'], async () => {
      await other.hands.run(`fill_conntrack(${max})`);
      await client.hands.run(`udp('${other.ip}', ${p}, 5)`);
      await other.sh('conntrack -F');
    });
    return [loss(other, 5, drop, { dport: p })];
  },
};
