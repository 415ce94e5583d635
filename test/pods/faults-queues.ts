/** What queues, devices and BPF programs drop below IP. */
import { waitFor } from '../bed/command.ts';
import { type Fault, loss, type Site } from './faults-world.ts';

/** SKF_NET_OFF: offsets from the network header, which is where it is on the way in and on the way out. */
const net = 0xfff00000;
/** Classic BPF as `tc filter ... bpf bytecode` takes it: returns `verdict` for UDP over IPv4 to a port, else 0. */
const udpTo = (port: number, verdict: number) =>
  `6,48 0 0 ${net + 9},21 0 3 17,40 0 0 ${net + 22},21 0 1 ${port},6 0 0 ${verdict},6 0 0 0`;
const TC_ACT_SHOT = 2;

const show = 'tc -s qdisc show dev eth0';

async function filtered(site: Site, side: 'ingress' | 'egress', port: number, body: () => Promise<unknown>) {
  await site.sh(
    `tc qdisc add dev eth0 clsact; tc filter add dev eth0 ${side} bpf da bytecode '${udpTo(port, TC_ACT_SHOT)}'`,
  );
  await body();
  await site.sh('tc qdisc del dev eth0 clsact');
}

export const queueFaults: readonly Fault[] = [
  {
    name: 'queue of the client overflows (tbf)',
    async make(world) {
      const { client, server, port } = world;
      const p = port();
      await server.hands.run(`u = socket.socket(socket.AF_INET, UDP); u.bind(('0.0.0.0', ${p}))`);
      await client.sh('tc qdisc add dev eth0 root tbf rate 80kbit burst 2000 limit 4000');
      await client.hands.run(`udp('${server.ip}', ${p}, 37, 1000)`);
      const dropped = Number(/dropped (\d+)/.exec(await client.sh(show))?.[1]);
      // What it still holds would be lost with it.
      await waitFor('the queue to be empty', async () => /backlog 0b/.test(await client.sh(show)));
      await client.sh('tc qdisc del dev eth0 root');
      await server.hands.run('u.close()');
      return [{ ...loss(client, dropped, 'QDISC_DROP', { dport: p }), counter: 'tc dropped' }];
    },
  },
  {
    name: 'queue of the client is long (no loss: late)',
    async make({ client, server, port }) {
      const p = port();
      await server.hands.run(`u = socket.socket(socket.AF_INET, UDP); u.bind(('0.0.0.0', ${p}))`);
      await client.sh('tc qdisc add dev eth0 root tbf rate 800kbit burst 2000 limit 400000');
      await client.hands.run(`udp('${server.ip}', ${p}, 37, 1000)`);
      await waitFor('the queue to be empty', async () => /backlog 0b/.test(await client.sh(show)));
      await client.sh('tc qdisc del dev eth0 root');
      const came = await server.hands.run(
        `u.settimeout(5); out = sum(len(u.recv(2000)) for _ in range(37)); u.close()`,
      );
      if (came !== 37_000) throw new Error(`${came} bytes came.`);
      return [];
    },
  },
  {
    name: 'tc BPF program drops on the way in',
    async make({ client, server, port }) {
      const p = port();
      await filtered(server, 'ingress', p, () => client.hands.run(`udp('${server.ip}', ${p}, 13)`));
      return [loss(server, 13, 'TC_INGRESS', { dport: p })];
    },
  },
  {
    name: 'tc BPF program drops on the way out',
    async make({ client, server, port }) {
      const p = port();
      await filtered(client, 'egress', p, () => client.hands.run(`udp('${server.ip}', ${p}, 11)`));
      return [loss(client, 11, 'TC_EGRESS', { dport: p })];
    },
  },
  {
    name: 'XDP program drops',
    async make({ client, server, port }) {
      const p = port();
      await server.hands.run(`x = xdp_drop(${p})`);
      await client.hands.run(`udp('${server.ip}', ${p}, 17)`);
      await server.hands.run('[os.close(fd) for fd in x]');
      return [loss(server, 17, 'NOT_SPECIFIED', { dport: p, location: 'do_xdp_generic' })];
    },
  },
  {
    name: 'interface of the node smaller than the packet (bridged)',
    async make({ client, server, node, port }) {
      const p = port();
      const veth = await vethOf(node, server);
      await node.sh(`ip link set ${veth} mtu 1000`);
      await client.hands.run(`udp('${server.ip}', ${p}, 7, 1300, options=[(0, 10, 3)])`);
      await node.sh(`ip link set ${veth} mtu 1500`);
      return [loss(node, 7, 'NOT_SPECIFIED', { dport: p, location: 'br_nf_dev_queue_xmit' })];
    },
  },
];

async function vethOf(node: Site, site: Site): Promise<string> {
  const index = /^\d+: eth0@if(\d+)/m.exec(await site.sh('ip link show eth0'))![1]!;
  return new RegExp(`^${index}: (\\w+)@`, 'm').exec(await node.sh('ip link'))![1]!;
}
