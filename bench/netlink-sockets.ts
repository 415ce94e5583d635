/**
 * sock_diag with tcp_info: `node bench/netlink-sockets.ts [--sockets 10000] [--rounds 21]`. Needs root and gcc.
 *
 * Takes turns, in one run, between the receiver's dump and decode, the whole tcp_info scraper, the same dump in C
 * (bench/c/netlink-floor.c) and `ss -tin`.
 */
import { parseArgs } from 'node:util';
import { NetlinkProtocol } from '../host/netlink/message.ts';
import { DiagExtension, dumpSockets, IPPROTO_TCP, type SocketRecord, stateMask } from '../host/netlink/sock-diag.ts';
import { NetlinkSocket } from '../host/netlink/socket.ts';
import { fakeNetns } from '../host/netns/fake-proc.ts';
import { hostRoot } from '../host/proc-root.ts';
import type { NetnsVisit } from '../receivers/netlink/scraper.ts';
import { TcpInfoScraper } from '../receivers/netlink/tcp-info.ts';
import { WorstPeers } from '../receivers/netlink/worst-peers.ts';
import { BenchNetns, cpuNs, longestHold, report } from './netlink-turns.ts';

const { values: options } = parseArgs({
  options: { sockets: { type: 'string', default: '10000' }, rounds: { type: 'string', default: '21' } },
});

const sums = new Float64Array(1);
function read(s: SocketRecord): void {
  const i = s.info;
  if (i === undefined) return;
  sums[0] =
    (sums[0] as number) +
    i.rttUs +
    i.congestionWindow +
    i.unacked +
    i.totalRetransmits +
    i.dataSegmentsOut +
    i.busyUs +
    i.receiveWindowLimitedUs +
    i.sendBufferLimitedUs +
    i.deliveryRate +
    i.lastDataSentMs +
    s.cookieLow;
}

using netns = new BenchNetns();
const world = netns.start('netlink-sockets', String(Number(options.sockets) / 2));
if ((await world.line()) !== 'ready') throw new Error('The sockets could not be made.');
const floor = netns.start('netlink-floor', 'sockets');
const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.sockDiag, netns: netns.path });
const query = { family: 0, protocol: IPPROTO_TCP, states: stateMask(1, 8, 4), extensions: DiagExtension.info };

const all = () => true;
const peers = new WorstPeers({ limit: 3, min_rtt: 100, min_retransmit_ratio: 0.01, min_segments: 20 }, all);
const scraper = new TcpInfoScraper(1_000_000, 15_000, all, peers, hostRoot);
const info = fakeNetns(netns.inode, { path: netns.path });
const visit = (): NetnsVisit => ({
  info,
  startTimeMs: 0,
  timeMs: Date.now(),
  diag: socket,
  route: socket,
  netfilter: socket,
  rejected: () => undefined,
  dropped: () => undefined,
});
const scrape = async () => {
  scraper.begin();
  peers.begin();
  await scraper.visit(visit());
  scraper.finish(new Set([info.life]));
};

const c: number[] = [];
const decode: number[] = [];
const whole: number[] = [];
const ss: number[] = [];
let entries = 0;
const time = async (into: number[], run: () => Promise<unknown>) => {
  const started = cpuNs();
  await run();
  into.push(cpuNs() - started);
};
for (let i = 0; i < Number(options.rounds) + 3; i++) {
  const [ns = 0, n = 0] = await floor.ask();
  entries = n;
  c.push(ns);
  await time(decode, () => dumpSockets(socket, query, read));
  await time(whole, scrape);
  if (i % 3 === 0) ss.push(netns.time('ss', '-tinOH'));
}
for (const list of [c, decode, whole]) list.splice(0, 3);
report('TCP sockets with tcp_info', entries, [
  ['C: dump and decode', c],
  ['skoopline: dump and decode', decode],
  ['skoopline: the tcp_info scraper', whole],
  ['ss -tin, its start included', ss],
]);
const hold = await longestHold(async () => {
  for (let i = 0; i < 10; i++) await scrape();
});
console.log(`  event loop held for at most ${hold.toFixed(1)} ms in 10 rounds`);
socket.close();
