/** hostNetwork pods, and more events than the rate limit lets through. */
import { type Fault, loss, told } from './faults-world.ts';

export const hostFaults: readonly Fault[] = [
  {
    name: 'refused connections of a hostNetwork pod',
    async make({ host, server, port }) {
      const p = port();
      const ask = `for i in 1 2 3 4 5; do timeout 5 wget -qO /dev/null http://${server.ip}:${p}/; done; exit 0`;
      await host.pod!.exec(['sh', '-c', ask]);
      return [
        told(host, 'TCPRESET_RECEIVE', 5, { dport: p }),
        told(host, 'skoop.tcp.connect_failed', 5, { dport: p, 'error.type': 'ECONNREFUSED' }),
        told(server, 'TCPRESET_NOSOCK', 5, { dport: p, reason: 'NO_SOCKET' }),
        loss(server, 5, 'NO_SOCKET', { dport: p, flags: 'SYN' }),
      ];
    },
  },
  {
    name: 'refused connections of the node itself',
    async make({ node, server, port }) {
      const p = port();
      await node.hands.run(`connect('${server.ip}', ${p}, 3)`);
      return [
        told(node, 'TCPRESET_RECEIVE', 3, { dport: p }),
        told(node, 'skoop.tcp.connect_failed', 3, { dport: p, 'error.type': 'ECONNREFUSED' }),
        told(server, 'TCPRESET_NOSOCK', 3, { dport: p, reason: 'NO_SOCKET' }),
        loss(server, 3, 'NO_SOCKET', { dport: p, flags: 'SYN' }),
      ];
    },
  },
  {
    name: '2003 datagrams to a closed port at once: more than the rate limit lets through',
    async make({ client, other, port }) {
      const p = port();
      await client.hands.run(`udp('${other.ip}', ${p}, 2003)`);
      return [{ ...loss(other, 2003, 'NO_SOCKET', { dport: p }), limited: true }];
    },
  },
];
