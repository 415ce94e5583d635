import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bench, join, NamedNetns, readingOf, sendUdp, slotsOfSeries, until } from './support.ts';

test('hosts that do not answer ARP show as failed in the namespace that asked', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  using c = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.80.1');
  join(c, 'eth0', b, 'eth1', '10.80.2');
  // One probe after 10 ms, not three a second apart.
  a.exec('sysctl', '-qw', 'net.ipv4.neigh.eth0.mcast_solicit=1', 'net.ipv4.neigh.eth0.retrans_time_ms=10');
  const { roundWithHost, context } = bench();
  const state = (batch: Parameters<typeof readingOf>[0], ns: NamedNetns, name: string) =>
    readingOf(batch, ns, 'skoop.neighbour.entries', { 'network.type': 'ipv4', 'skoop.neighbour.state': name });
  for (const host of [11, 12, 13, 14, 15]) sendUdp(a, `10.80.1.${host}`, [9]);
  sendUdp(c, '10.80.2.2', [9]);
  a.ip('neigh', 'add', '10.80.1.99', 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0', 'nud', 'permanent');
  await until(
    'ARP to fail',
    async () => state((await roundWithHost(a, c)).get('netlink/neighbour'), a, 'failed') === 5,
  );
  const batch = (await roundWithHost(a, c)).get('netlink/neighbour');
  assert.equal(state(batch, a, 'permanent'), 1);
  assert.equal(state(batch, c, 'failed'), undefined);
  assert.equal(state(batch, c, 'reachable'), 1);
  const node = batch?.snapshots.find((s) => s.owner === undefined);
  const limit = slotsOfSeries(node, 'skoop.neighbour.table.limit', { 'network.type': 'ipv4' })?.[0];
  assert.equal(limit, Number(readFileSync('/proc/sys/net/ipv4/neigh/default/gc_thresh3', 'utf8')));
  assert.deepEqual(context.telemetry.rejections, {});
});
