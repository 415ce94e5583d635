import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ProcRoot } from '../../host/proc-root.ts';
import type { Batch, MetricsBatch } from '../../pipeline/batch.ts';
import { createReceiver } from '../../receivers/netlink/receiver.ts';
import { fillConntrack, join, NamedNetns, parse, realContext, slotsOfSeries, snapshotOf, until } from './support.ts';

const openFiles = () => readdirSync('/proc/self/fd').length;

function start(input: object) {
  const context = realContext();
  const batches: Batch[] = [];
  const subscription = createReceiver(parse(input), context, { root: new ProcRoot() })
    .run()
    .subscribe((b) => batches.push(b));
  const last = (source: string) =>
    batches.filter((b): b is MetricsBatch => b.kind === 'metrics' && b.source === source).at(-1);
  const stop = () => subscription.unsubscribe();
  return { context, batches, last, stop, [Symbol.dispose]: stop };
}

test('runs round after round, follows namespaces that come and go, and leaves nothing behind', async () => {
  // What the first socket and the first watch allocate for good is there before counting.
  using warm = start({ collection_interval: '50ms' });
  await until('a round', () => warm.batches.length > 0);
  warm.stop();
  const before = openFiles();
  using agent = start({
    collection_interval: '50ms',
    scrapers: { conntrack: { events: { enabled: true, namespaces: 'all' } } },
  });
  const inodes: number[] = [];
  for (let i = 0; i < 3; i++) {
    using ns = new NamedNetns();
    inodes.push(ns.inode);
    fillConntrack(ns, 29);
    await until('the namespace in a batch', () => snapshotOf(agent.last('netlink/conntrack'), ns.inode) !== undefined);
  }
  // Somebody else's new namespace may have got the inode of one of them: it has not their 29 connections.
  const entries = (inode: number) =>
    slotsOfSeries(snapshotOf(agent.last('netlink/conntrack'), inode), 'skoop.conntrack.entries')?.[0];
  await until('the namespaces to be gone', () => inodes.every((inode) => entries(inode) !== 29));
  agent.stop();
  const n = agent.batches.length;
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.equal(agent.batches.length, n, 'nothing after stop');
  assert.equal(openFiles(), before);
  assert.deepEqual(agent.context.telemetry.rejections, {});
});

test('stop before the first round, and twice, is safe', async () => {
  const before = openFiles();
  using agent = start({});
  agent.stop();
  agent.stop();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(agent.batches, []);
  assert.equal(openFiles(), before);
});

test('events reach the stream with the owner they belong to, and losses wake the table up', async () => {
  using ns = new NamedNetns();
  using agent = start({
    collection_interval: '1h',
    scrapers: {
      conntrack: {
        max_entries: 200_000,
        events: { enabled: true, namespaces: 'all', types: ['new'], rate_limit: 0, receive_buffer: '64KiB' },
      },
    },
  });
  await until('the first round', () => agent.last('netlink/conntrack') !== undefined);
  fillConntrack(ns, 30_000);
  // One hour to the next round: only the loss can have made this one.
  await until('the table after the loss', () => {
    const s = snapshotOf(agent.last('netlink/conntrack'), ns.inode);
    const entries = s?.schema.series.find((d) => d.metric.name === 'skoop.conntrack.entries');
    return entries !== undefined && s?.values[entries.offset] === 30_000;
  });
  const records = agent.batches.flatMap((b) => (b.kind === 'logs' ? b.records : []));
  assert.ok(records.some((r) => r.eventName === 'skoop.conntrack.new' && r.owner?.netns === ns.inode));
  assert.ok(records.some((r) => r.eventName === 'skoop.conntrack.events_lost'));
  agent.stop();
});

test('single metrics are switched off and on, unknown ones are refused', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.83.1');
  using agent = start({
    collection_interval: '1h',
    scrapers: { qdisc: { enabled: false } },
    metrics: { 'skoop.conntrack.ignored': { enabled: true }, 'skoop.conntrack.utilization': { enabled: false } },
  });
  await until('the first round', () => agent.last('netlink/link') !== undefined);
  const names = new Set(agent.last('netlink/conntrack')?.snapshots[0]?.schema.series.map((s) => s.metric.name));
  assert.ok(names.has('skoop.conntrack.ignored'));
  assert.ok(!names.has('skoop.conntrack.utilization'));
  assert.equal(agent.last('netlink/qdisc'), undefined);
  agent.stop();
});
