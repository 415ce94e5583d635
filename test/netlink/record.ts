/**
 * Records what this kernel answers, for the codecs' tests: `node test/netlink/record.ts` as root writes receivers/netlink/testdata/*.bin
 * and host/netlink/testdata/*.bin. A capture is a row of datagrams, each behind its length (32 bits, little-endian).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { check, libc } from '../../host/ffi/libc.ts';
import {
  NetlinkProtocol,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLMSG_DONE,
  NLMSG_ERROR,
  netlinkRequest,
} from '../../host/netlink/message.ts';
import { socketRequest } from '../../host/netlink/sock-diag.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import { CT_GET, CT_GET_STATS, CT_GET_STATS_CPU, conntrackRequest } from '../../receivers/netlink/conntrack-codec.ts';
import { addressRequest, linkRequest } from '../../receivers/netlink/link-codec.ts';
import { qdiscRequest } from '../../receivers/netlink/qdisc-codec.ts';
import { addClassfulQdisc, fillConntrack, join, NamedNetns, sendUdp } from './support.ts';

const kernel = Buffer.alloc(12);
kernel.writeUInt16LE(16, 0);

function save(path: string, datagrams: readonly Buffer[]): void {
  const parts = datagrams.flatMap((d) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(d.length);
    return [length, d];
  });
  mkdirSync(new URL('.', new URL(path, root)), { recursive: true });
  writeFileSync(new URL(path, root), Buffer.concat(parts));
  console.log(path, datagrams.length, 'datagrams', Buffer.concat(parts).length, 'bytes');
}
const root = new URL('../../', import.meta.url);

/** Sends one request and keeps every datagram up to the end. */
function ask(protocol: number, netns: string | undefined, request: Buffer, flags: number): Buffer[] {
  const socket = NetlinkSocket.open({ protocol, ...(netns !== undefined && { netns }) });
  request.writeUInt16LE(request.readUInt16LE(6) | flags, 6);
  check('sendto', libc.sendto(socket.fd, request, request.length, 0, kernel, kernel.length));
  const out: Buffer[] = [];
  for (let done = false; !done; ) {
    const m = socket.receive();
    if (m === undefined) break;
    let end = 0;
    while (m.next()) {
      end = (m.end + 3) & ~3;
      if (m.type === NLMSG_DONE || m.type === NLMSG_ERROR) done = true;
    }
    out.push(Buffer.from(m.buffer.subarray(0, end)));
  }
  socket.close();
  return out;
}

/** Keeps what a group says while something happens. */
function listen(netns: string, protocol: number, groups: readonly number[], happen: () => void): Buffer[] {
  const socket = NetlinkSocket.open({ protocol, netns, groups });
  happen();
  const out: Buffer[] = [];
  for (let m = socket.receive(); m !== undefined; m = socket.receive()) {
    let end = 0;
    while (m.next()) end = (m.end + 3) & ~3;
    out.push(Buffer.from(m.buffer.subarray(0, end)));
  }
  socket.close();
  return out;
}

const { route, netfilter, sockDiag } = NetlinkProtocol;
const data = 'receivers/netlink/testdata';
{
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.90.1');
  a.ip('addr', 'add', 'fd00:90::1/64', 'dev', 'eth0', 'nodad');
  a.ip('neigh', 'replace', '10.90.1.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  a.ip('neigh', 'replace', 'fd00:90::2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  addClassfulQdisc(a);
  a.exec('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1', 'net.netfilter.nf_conntrack_timestamp=1');
  a.exec(
    'nft',
    'add table ip skl; add chain ip skl out { type nat hook output priority -100; }; add rule ip skl out udp dport 53 dnat to 10.90.1.2:5353',
  );
  a.ip('route', 'add', '192.0.2.0/24', 'via', '10.90.1.2');
  const events = listen(a.path, netfilter, [1, 2, 3], () => {
    sendUdp(a, '192.0.2.7', [53, 54], 72);
    fillConntrack(a, 3, { tcpState: 3, status: 0b1110 });
    fillConntrack(a, 3, { tcpState: 7, status: 0b1110, update: true });
    a.exec('conntrack', '-D', '-p', 'udp', '--dport', '54');
  });
  save(`${data}/conntrack-events.bin`, events);
  save(`${data}/conntrack-entries.bin`, ask(netfilter, a.path, conntrackRequest(CT_GET), NLM_F_DUMP));
  save(`${data}/conntrack-cpu.bin`, ask(netfilter, a.path, conntrackRequest(CT_GET_STATS_CPU), NLM_F_DUMP));
  save(`${data}/conntrack-usage.bin`, ask(netfilter, a.path, conntrackRequest(CT_GET_STATS), NLM_F_ACK));
  save(`${data}/qdisc.bin`, ask(route, a.path, qdiscRequest(), NLM_F_DUMP));
  save(`${data}/links.bin`, ask(route, a.path, linkRequest(), NLM_F_DUMP));
  save(`${data}/addresses.bin`, ask(route, a.path, addressRequest(), NLM_F_DUMP));
  save(`${data}/neighbours.bin`, ask(route, a.path, netlinkRequest(30, 0, Buffer.alloc(12)), NLM_F_DUMP));
  save(`${data}/neighbour-tables.bin`, ask(route, undefined, netlinkRequest(66, 0, Buffer.alloc(4)), NLM_F_DUMP));
  save(
    `${data}/link-events.bin`,
    listen(a.path, route, [1, 5, 9], () => {
      b.ip('link', 'set', 'eth0', 'down');
      a.ip('addr', 'del', '10.90.1.1/24', 'dev', 'eth0');
    }),
  );
}
{
  using a = new NamedNetns();
  a.ip('addr', 'add', 'fd00:90::1/128', 'dev', 'lo');
  // Loopback of the own namespace is enough for sockets of every family.
  const server = createServer().listen(0, '::');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const clients = ['127.0.0.1', '::1'].map((host) => connect(port, host));
  await Promise.all(clients.map((c) => new Promise((resolve) => c.once('connect', resolve))));
  for (const c of clients) c.write('hello');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const query = { family: 0, protocol: 6, extensions: 0b1001011 };
  save('host/netlink/testdata/tcp-sockets.bin', ask(sockDiag, undefined, socketRequest(query), NLM_F_DUMP));
  for (const c of clients) c.destroy();
  server.close();
  save(
    'host/netlink/testdata/refused.bin',
    ask(route, undefined, netlinkRequest(38, 0, Buffer.from([0, 1, 0, 0])), NLM_F_DUMP),
  );
  save(
    'host/netlink/testdata/no-device.bin',
    ask(route, undefined, netlinkRequest(16, 0, Buffer.alloc(16)), NLM_F_ACK),
  );
}
