import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  bench,
  conntrackStatistics,
  fillConntrack,
  join,
  NamedNetns,
  readingOf,
  sendUdp,
  snapshotOf,
} from './support.ts';

/** Makes the namespace track connections, by a rule that asks for their state. */
function track(ns: NamedNetns): void {
  ns.exec(
    'nft',
    'add table inet skl; add chain inet skl out { type filter hook output priority 0; }; add rule inet skl out ct state established accept',
  );
}

const counters = [
  ['skoop.conntrack.found', 'found'],
  ['skoop.conntrack.invalid', 'invalid'],
  ['skoop.conntrack.insert_failed', 'insert_failed'],
  ['skoop.conntrack.dropped', 'drop'],
  ['skoop.conntrack.early_dropped', 'early_drop'],
  ['skoop.conntrack.errors', 'error'],
  ['skoop.conntrack.search_restarts', 'search_restart'],
  ['skoop.conntrack.clashes_resolved', 'clash_resolve'],
  ['skoop.conntrack.chains_too_long', 'chaintoolong'],
] as const;

test('connections by protocol and state are those that were made', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  fillConntrack(a, 17);
  fillConntrack(a, 13, { from: 100, status: 0b1110 });
  fillConntrack(a, 11, { from: 200, tcpState: 3, status: 0b1110 });
  fillConntrack(a, 5, { from: 300, tcpState: 7, status: 0b1010 });
  const { round, context } = bench();
  const batch = (await round(a, b)).get('netlink/conntrack');
  const connections = (transport: string, state: string) =>
    readingOf(batch, a, 'skoop.conntrack.connections', {
      'network.transport': transport,
      'skoop.conntrack.state': state,
    });
  assert.equal(readingOf(batch, a, 'skoop.conntrack.entries'), 46);
  assert.equal(connections('udp', 'unreplied'), 17);
  assert.equal(connections('udp', 'assured'), 13);
  assert.equal(connections('tcp', 'established'), 11);
  assert.equal(connections('tcp', 'time_wait'), 5);
  assert.equal(connections('tcp', 'close'), undefined, 'never seen is absent');
  assert.equal(snapshotOf(batch, b.inode), undefined, 'a namespace that tracks nothing is absent');
  assert.deepEqual(context.telemetry.rejections, {});
  a.exec('conntrack', '-F');
  const after = (await round(a, b)).get('netlink/conntrack');
  assert.equal(
    readingOf(after, a, 'skoop.conntrack.connections', {
      'network.transport': 'udp',
      'skoop.conntrack.state': 'assured',
    }),
    0,
    'seen once is told to be zero',
  );
});

test('a table that is too large is not dumped, and that is counted', async () => {
  using a = new NamedNetns();
  fillConntrack(a, 31);
  const { round, context } = bench({ scrapers: { conntrack: { max_entries: 30 } } });
  const batch = (await round(a)).get('netlink/conntrack');
  assert.equal(readingOf(batch, a, 'skoop.conntrack.entries'), 31);
  const names = snapshotOf(batch, a.inode)?.schema.series.filter(
    (s) => s.metric.name === 'skoop.conntrack.connections',
  );
  const values = snapshotOf(batch, a.inode)?.values;
  assert.ok(names?.every((s) => Number.isNaN(values?.[s.offset])));
  assert.equal(context.telemetry.count('conntrack_tables_not_dumped'), 1);
});

test('a full table is that of one namespace: usage near 1, drops counted, as conntrack -S says', async (t) => {
  const limit = Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8'));
  if (limit > 600_000) return t.skip(`nf_conntrack_max is ${limit} here: filling it takes too much memory`);
  using a = new NamedNetns();
  using b = new NamedNetns();
  using peer = new NamedNetns();
  join(a, 'eth0', peer, 'eth0', '10.78.1');
  join(b, 'eth0', peer, 'eth1', '10.78.2');
  for (const [ns, prefix] of [
    [a, '10.78.1'],
    [b, '10.78.2'],
  ] as const) {
    track(ns);
    ns.ip('neigh', 'replace', `${prefix}.2`, 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
    // One connection, so that tracking is known to be on.
    sendUdp(ns, `${prefix}.2`, [6000]);
  }
  const { roundWithHost } = bench({ scrapers: { conntrack: { max_entries: 1000 } } });
  const before = (await roundWithHost(a, b)).get('netlink/conntrack');
  const already = readingOf(before, a, 'skoop.conntrack.entries') ?? 0;
  // Assured entries are not thrown out to make room.
  fillConntrack(a, limit - already, { status: 0b1110 });
  for (const [ns, prefix] of [
    [a, '10.78.1'],
    [b, '10.78.2'],
  ] as const) {
    sendUdp(
      ns,
      `${prefix}.2`,
      Array.from({ length: 23 }, (_, i) => 7000 + i),
    );
  }
  const batch = (await roundWithHost(a, b)).get('netlink/conntrack');
  const of = (ns: NamedNetns, name: string) => readingOf(batch, ns, name) ?? Number.NaN;
  assert.ok(of(a, 'skoop.conntrack.utilization') > 0.99, `usage ${of(a, 'skoop.conntrack.utilization')}`);
  assert.ok(of(b, 'skoop.conntrack.utilization') < 0.01);
  assert.ok(of(a, 'skoop.conntrack.dropped') >= 22, `dropped ${of(a, 'skoop.conntrack.dropped')}`);
  assert.equal(of(b, 'skoop.conntrack.dropped'), 0);
  assert.equal(of(b, 'skoop.conntrack.entries') - (readingOf(before, b, 'skoop.conntrack.entries') ?? 0), 23);
  for (const ns of [a, b]) {
    const statistics = conntrackStatistics(ns);
    for (const [metric, key] of counters) assert.equal(of(ns, metric), statistics.get(key), `${metric} as ${key}`);
  }
  assert.equal(readingOf(batch, a, 'skoop.conntrack.limit'), undefined, 'the limit is the node’s');
});

test('tables take turns when all of them together are beyond the budget; entries are always new', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  for (const ns of [a, b]) fillConntrack(ns, 3);
  // No dump is that fast: each table is counted once in many rounds.
  const { round } = bench({ scrapers: { conntrack: { dump_budget: '1us' } } });
  await round(a, b);
  for (const ns of [a, b]) fillConntrack(ns, 4, { from: 100 });
  const batch = (await round(a, b)).get('netlink/conntrack');
  const udp = { 'network.transport': 'udp', 'skoop.conntrack.state': 'unreplied' };
  const seen = [a, b].map((ns) => [
    readingOf(batch, ns, 'skoop.conntrack.entries'),
    readingOf(batch, ns, 'skoop.conntrack.connections', udp),
  ]);
  assert.deepEqual(seen, [
    [7, 3],
    [7, 3],
  ]);
  const { round: rich } = bench({ scrapers: { conntrack: { dump_budget: '60s' } } });
  await rich(a, b);
  for (const ns of [a, b]) fillConntrack(ns, 2, { from: 200 });
  const next = (await rich(a, b)).get('netlink/conntrack');
  assert.deepEqual(
    [a, b].map((ns) => readingOf(next, ns, 'skoop.conntrack.connections', udp)),
    [9, 9],
  );
});
