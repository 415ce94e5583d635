import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addClassfulQdisc, bench, join, NamedNetns, readingOf, sendUdp, slotsOfSeries, snapshotOf } from './support.ts';

interface TcQdisc {
  readonly kind: string;
  readonly dev: string;
  readonly root?: boolean;
  readonly parent?: string;
  readonly bytes: number;
  readonly packets: number;
  readonly drops: number;
  readonly overlimits: number;
  readonly requeues: number;
  readonly backlog: number;
  readonly qlen: number;
}

const tc = (ns: NamedNetns): TcQdisc[] => JSON.parse(ns.exec('tc', '-s', '-j', 'qdisc', 'show')) as TcQdisc[];

const fields = [
  ['skoop.qdisc.io', 'bytes'],
  ['skoop.qdisc.packets', 'packets'],
  ['skoop.qdisc.drops', 'drops'],
  ['skoop.qdisc.overlimits', 'overlimits'],
  ['skoop.qdisc.requeues', 'requeues'],
  ['skoop.qdisc.queue.length', 'qlen'],
  ['skoop.qdisc.queue.size', 'backlog'],
] as const;

test('drops of a tbf are those of tc, on the right device and in the right namespace only', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.77.1');
  join(a, 'eth1', b, 'eth1', '10.77.2');
  // 8 kbit/s, room for 3 packets: a burst of 23 loses most.
  a.exec('tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', '8kbit', 'burst', '1600', 'limit', '3200');
  a.exec('tc', 'qdisc', 'add', 'dev', 'eth1', 'root', 'tbf', 'rate', '1gbit', 'burst', '100k', 'limit', '100k');
  // ARP first, so that nothing waits for it.
  a.ip('neigh', 'replace', '10.77.1.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  a.ip('neigh', 'replace', '10.77.2.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'eth1');
  sendUdp(
    a,
    '10.77.1.2',
    Array.from({ length: 23 }, (_, i) => 7000 + i),
    1000,
  );
  sendUdp(
    a,
    '10.77.2.2',
    Array.from({ length: 7 }, (_, i) => 7000 + i),
    100,
  );

  const { round, context } = bench({ scrapers: { qdisc: {} } });
  // The slow queue empties a packet a second: read before and after until both say the same.
  for (let tries = 0; ; tries++) {
    const before = tc(a);
    const batch = (await round(a, b)).get('netlink/qdisc');
    const after = tc(a);
    if (JSON.stringify(before) !== JSON.stringify(after) && tries < 20) continue;
    for (const dev of ['eth0', 'eth1']) {
      const row = after.find((q) => q.dev === dev && q.root);
      assert.ok(row);
      for (const [metric, field] of fields) {
        const attributes = { 'network.interface.name': dev, 'skoop.qdisc.kind': 'tbf' };
        assert.equal(readingOf(batch, a, metric, attributes), row[field], `${dev} ${metric}`);
      }
    }
    const drops = (dev: string) => readingOf(batch, a, 'skoop.qdisc.drops', { 'network.interface.name': dev });
    assert.ok((drops('eth0') ?? 0) >= 18, `eth0 dropped ${drops('eth0')}`);
    assert.equal(drops('eth1'), 0);
    assert.equal(snapshotOf(batch, b.inode), undefined, 'the peer has no queue: noqueue is absent, not zero');
    assert.deepEqual(context.telemetry.rejections, {});
    return;
  }
});

test('a classful root is counted once, not with its children', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.77.3');
  addClassfulQdisc(a);
  a.ip('neigh', 'replace', '10.77.3.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  const { round } = bench();
  const read = async () => {
    const batch = (await round(a)).get('netlink/qdisc');
    return readingOf(batch, a, 'skoop.qdisc.packets', { 'skoop.qdisc.kind': 'htb' }) ?? 0;
  };
  const before = await read();
  assert.equal(
    sendUdp(
      a,
      '10.77.3.2',
      Array.from({ length: 13 }, (_, i) => 7000 + i),
    ),
    13,
  );
  assert.equal((await read()) - before, 13);
  const batch = (await round(a)).get('netlink/qdisc');
  const kinds = new Set(snapshotOf(batch, a.inode)?.schema.series.map((s) => s.attributes['skoop.qdisc.kind']));
  assert.deepEqual([...kinds].sort(), ['htb', 'ingress']);
});

test('a replaced qdisc begins anew', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.77.4');
  const add = () =>
    a.exec(
      'tc',
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'handle',
      '5:',
      'tbf',
      'rate',
      '1gbit',
      'burst',
      '64k',
      'limit',
      '64k',
    );
  add();
  a.ip('neigh', 'replace', '10.77.4.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  sendUdp(
    a,
    '10.77.4.2',
    Array.from({ length: 11 }, (_, i) => 7000 + i),
  );
  const { round } = bench();
  const first = snapshotOf((await round(a)).get('netlink/qdisc'), a.inode);
  a.exec('tc', 'qdisc', 'del', 'dev', 'eth0', 'root');
  add();
  const second = snapshotOf((await round(a)).get('netlink/qdisc'), a.inode);
  assert.ok(first && second);
  assert.equal(first.schema, second.schema, 'the same shape is the same object');
  const packets = (s: typeof first) => slotsOfSeries(s, 'skoop.qdisc.packets')?.[0] ?? Number.NaN;
  assert.ok(packets(second) < packets(first));
  assert.equal(second.startTimeMs, first.timeMs);
});
