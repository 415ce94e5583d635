/**
 * Connections by protocol and state from a dump of the conntrack table: `node bench/netlink-conntrack.ts [--entries 50000] [--rounds 21]`.
 * Needs root and gcc. Takes turns between the receiver, the same in C (bench/c/netlink-floor.c) and `conntrack -L`.
 */
import { parseArgs } from 'node:util';
import { check, libc } from '../host/ffi/libc.ts';
import { NetlinkProtocol, netlinkRequest, type RequestAttribute } from '../host/netlink/message.ts';
import { NetlinkSocket } from '../host/netlink/socket.ts';
import { countConnections } from '../receivers/netlink/conntrack.ts';
import { BenchNetns, cpuNs, longestHold, report } from './netlink-turns.ts';

const { values: options } = parseArgs({
  options: { entries: { type: 'string', default: '50000' }, rounds: { type: 'string', default: '21' } },
});

const be = (n: number, bytes: number): Buffer => {
  const b = Buffer.alloc(bytes);
  b.writeUIntBE(n, 0, bytes);
  return b;
};

/** One connection: a third TCP, the rest UDP. */
function connection(n: number): Buffer {
  const tcp = n % 3 === 0;
  const source = be(0x0a000000 + Math.floor(n / 60_000), 4);
  const destination = be(0xc0000201, 4);
  const port = be(1024 + (n % 60_000), 2);
  const tuple = (from: Buffer, to: Buffer, fromPort: Buffer, toPort: Buffer): RequestAttribute[] => [
    [
      1,
      [
        [1, from],
        [2, to],
      ],
    ],
    [
      2,
      [
        [1, be(tcp ? 6 : 17, 1)],
        [2, fromPort],
        [3, toPort],
      ],
    ],
  ];
  const attributes: RequestAttribute[] = [
    [1, tuple(source, destination, port, be(53, 2))],
    [2, tuple(destination, source, be(53, 2), port)],
    [7, be(3600, 4)],
    [3, be(0b1110, 4)],
  ];
  if (tcp) attributes.push([4, [[1, [[1, be(3, 1)]]]]]);
  return netlinkRequest(0x100, 0x600, Buffer.from([2, 0, 0, 0]), attributes);
}

using netns = new BenchNetns();
const floor = netns.start('netlink-floor', 'conntrack');
const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.netfilter, netns: netns.path });
const kernel = Buffer.from([16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const wanted = Number(options.entries);
for (let i = 0; i < wanted; i += 200) {
  const data = Buffer.concat(Array.from({ length: Math.min(200, wanted - i) }, (_, k) => connection(i + k)));
  check('sendto', libc.sendto(socket.fd, data, data.length, 0, kernel, kernel.length));
}

const c: number[] = [];
const ours: number[] = [];
const tool: number[] = [];
let entries = 0;
for (let i = 0; i < Number(options.rounds) + 3; i++) {
  const [ns = 0, n = 0] = await floor.ask();
  c.push(ns);
  const started = cpuNs();
  const counted = await countConnections(socket);
  ours.push(cpuNs() - started);
  entries = counted.entries;
  if (n !== entries) throw new Error(`C sees ${n} entries, we see ${entries}.`);
  if (i % 5 === 0) tool.push(netns.time('conntrack', '-L'));
}
for (const list of [c, ours]) list.splice(0, 3);
report('Conntrack table', entries, [
  ['C: dump and decode', c],
  ['skoopline: dump, decode and count', ours],
  ['conntrack -L', tool],
]);
const hold = await longestHold(async () => {
  for (let i = 0; i < 5; i++) await countConnections(socket);
});
console.log(`  event loop held for at most ${hold.toFixed(1)} ms in 5 dumps`);
socket.close();
