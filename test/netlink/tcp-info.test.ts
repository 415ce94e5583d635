import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { dumpSockets, IPPROTO_TCP, stateMask, tcpStates } from '../../host/netlink/sock-diag.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import { bench, countNear, join, NamedNetns, slotsOfSeries, snapshotOf, until } from './support.ts';

const peer = new URL('./tcp-peer.ts', import.meta.url).pathname;

/** Runs the TCP program in a namespace until disposed. */
async function start(ns: NamedNetns, ...args: readonly (string | number)[]): Promise<Disposable> {
  const child: ChildProcess = spawn('ip', ['netns', 'exec', ns.name, process.execPath, peer, ...args.map(String)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  assert.ok(child.stdout);
  await once(child.stdout, 'data');
  return {
    [Symbol.dispose]: () => {
      child.stdin?.end();
      child.kill('SIGKILL');
    },
  };
}

const established = { family: 0, protocol: IPPROTO_TCP, states: stateMask(1) };

test('sock_diag says what ss says', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.82.1');
  b.ip('addr', 'add', 'fd00:82::2/64', 'dev', 'eth0', 'nodad');
  a.ip('addr', 'add', 'fd00:82::1/64', 'dev', 'eth0', 'nodad');
  using _s4 = await start(b, 'serve', '10.82.1.2', 4711);
  using _s6 = await start(b, 'serve', 'fd00:82::2', 4712);
  using _c4 = await start(a, 'talk', '10.82.1.2', 4711, 13, 3);
  using _c6 = await start(a, 'talk', 'fd00:82::2', 4712, 7, 3);
  const seen: string[] = [];
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.sockDiag, netns: a.path });
  const outcome = await dumpSockets(socket, { ...established, extensions: 2 }, (s) => {
    const bracket = (address: string) => (address.includes(':') ? `[${address}]` : address);
    const info = s.info;
    seen.push(
      [
        `${bracket(s.localAddress())}:${s.localPort}`,
        `${bracket(s.remoteAddress())}:${s.remotePort}`,
        `rtt:${(info?.rttUs ?? 0) / 1000}/${(info?.rttVarianceUs ?? 0) / 1000}`,
        `cwnd:${info?.congestionWindow}`,
        `bytes_sent:${info?.bytesSent}`,
        `data_segs_out:${info?.dataSegmentsOut}`,
        `ino:${s.inode}`,
      ].join(' '),
    );
  });
  // By family one by one: the same sockets.
  let one = 0;
  for (const family of [2, 10]) await dumpSockets(socket, { ...established, family }, () => one++);
  socket.close();
  const lines = a.exec('ss', '-tinOeH', 'state', 'established').trim().split('\n');
  const expected = lines.map((line) => {
    const [, , local, remote] = line.trim().split(/\s+/);
    const pick = (key: string) => new RegExp(`\\b${key}:\\S+`).exec(line)?.[0];
    return [local, remote, ...['rtt', 'cwnd', 'bytes_sent', 'data_segs_out', 'ino'].map(pick)].join(' ');
  });
  assert.equal(outcome.interrupted, false);
  assert.equal(seen.length, 20);
  assert.equal(one, 20);
  assert.deepEqual(seen.sort(), expected.sort());
  assert.equal(tcpStates[10], 'listen');
});

test('the pod behind a slow queue has a slow RTT, its neighbour has not', async () => {
  using slow = new NamedNetns();
  using fast = new NamedNetns();
  using node = new NamedNetns();
  join(slow, 'eth0', node, 'eth0', '10.82.2');
  join(fast, 'eth0', node, 'eth1', '10.82.3');
  using _s1 = await start(node, 'serve', '10.82.2.2', 4711);
  using _s2 = await start(node, 'serve', '10.82.3.2', 4711);
  // What goes to the slow pod waits: at 60 kbit/s 17 small packets take 150 ms.
  node.exec('tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', '60kbit', 'burst', '1600', 'limit', '100000');
  // Segments are acknowledged as they come, by the kernel: else the RTT has in it how long the server waits for a CPU.
  for (const [net, dev] of [
    ['10.82.2.0/24', 'eth0'],
    ['10.82.3.0/24', 'eth1'],
  ] as const) {
    node.ip('route', 'replace', net, 'dev', dev, 'quickack', '1');
  }
  const { round } = bench({ collection_interval: '60s', scrapers: { tcp_info: { worst_peers: { min_rtt: '20ms' } } } });
  await round(slow, fast);
  using _c1 = await start(slow, 'talk', '10.82.2.2', 4711, 17, 8);
  using _c2 = await start(fast, 'talk', '10.82.3.2', 4711, 11, 8);
  const batches = await round(slow, fast);
  const batch = batches.get('netlink/tcp_info');
  const count = (ns: NamedNetns, name: string) => slotsOfSeries(snapshotOf(batch, ns.inode), name)?.[0];
  assert.equal(count(slow, 'skoop.tcp.connection.rtt'), 17);
  assert.equal(count(fast, 'skoop.tcp.connection.rtt'), 11);
  assert.equal(count(slow, 'skoop.tcp.connection.congestion_window'), 17);
  assert.equal(count(slow, 'skoop.tcp.connection.retransmit_ratio'), 17);
  const slowAbove = countNear(snapshotOf(batch, slow.inode), 'skoop.tcp.connection.rtt', 2 ** -6, 16);
  const fastAbove = countNear(snapshotOf(batch, fast.inode), 'skoop.tcp.connection.rtt', 2 ** -6, 16);
  assert.equal(slowAbove, 17);
  assert.equal(fastAbove, 0);
  const peers = batches.get('netlink/tcp_peers');
  assert.ok(
    (slotsOfSeries(snapshotOf(peers, slow.inode), 'skoop.tcp.peer.rtt', { 'network.peer.address': '10.82.2.2' })?.[0] ??
      0) > 0.02,
  );
  assert.equal(snapshotOf(peers, fast.inode), undefined, 'no series where no peer is bad');
});

test('a peer that does not read shows as time limited by its receive window', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.82.4');
  using _server = await start(b, 'serve', '10.82.4.2', 4711, 'silent');
  const { round } = bench({ collection_interval: '60s' });
  await round(a);
  using _client = await start(a, 'flood', '10.82.4.2', 4711);
  const limited = async (limit: string) => {
    const snapshot = snapshotOf((await round(a)).get('netlink/tcp_info'), a.inode);
    return slotsOfSeries(snapshot, 'skoop.tcp.busy_time', { 'skoop.tcp.limit': limit })?.[0] ?? 0;
  };
  await until('the window to be shut for 200 ms', async () => (await limited('receive_window')) > 0.2);
});

test('connections that end or idle do not make histograms fall or grow', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.82.5');
  using _server = await start(b, 'serve', '10.82.5.2', 4711);
  const { round } = bench({ collection_interval: '60s' });
  const read = async () => {
    const snapshot = snapshotOf((await round(a)).get('netlink/tcp_info'), a.inode);
    return { count: slotsOfSeries(snapshot, 'skoop.tcp.connection.rtt')?.[0], start: snapshot?.startTimeMs };
  };
  assert.deepEqual(await read(), { count: undefined, start: undefined }, 'no connection, no series');
  {
    using _client = await start(a, 'talk', '10.82.5.2', 4711, 5, 3);
    assert.equal((await read()).count, 5);
  }
  await until('the connections to be gone', () => a.exec('ss', '-tnH', 'state', 'established').trim() === '');
  const after = await read();
  assert.equal(after.count, 5);
  assert.deepEqual(await read(), after);
});
