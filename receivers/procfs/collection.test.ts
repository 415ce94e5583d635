import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ProcRoot } from '../../host/proc-root.ts';
import type { Batch, MetricsBatch, Snapshot } from '../../pipeline/batch.ts';
import { testContext } from '../../pipeline/testing.ts';
import { Collection } from './collection.ts';
import { config } from './config.ts';
import { destinationSeries, IpvsSummary, parseIpvs } from './ipvs.ts';
import { ipvsMetrics } from './metrics-ipvs.ts';
import { Slices, Stopped } from './slices.ts';
import { SocketCounts } from './tcpsummary.ts';

const host = join(import.meta.dirname, '../../test/hosts/handwritten-6.8-cgroup2');
const podNetns = 4026532401;
const hostNetns = 4026531840;

/** A captured host whose files can be made to fail. */
class FailingRoot extends ProcRoot {
  fail: (path: string) => string | undefined = () => undefined;
  edit: (path: string, text: string) => string = (_path, text) => text;
  constructor() {
    super({ proc: join(host, 'proc'), sys: join(host, 'sys'), run: join(host, 'run') });
  }
  override read(path: string): Buffer {
    const code = this.fail(path);
    if (code !== undefined) throw Object.assign(new Error(`${code}: ${path}`), { code });
    return Buffer.from(this.edit(path, super.read(path).toString('latin1')), 'latin1');
  }
}

function setUp() {
  const root = new FailingRoot();
  const context = testContext({ id: 'procfs' });
  const collection = new Collection(config.parse({}), context, root);
  const round = async (slices = new Slices()) => {
    const batches: Batch[] = [];
    context.clock.advance(1000);
    await collection.round(slices, (b) => batches.push(b));
    return batches.filter((b): b is MetricsBatch => b.kind === 'metrics');
  };
  const owners = (batches: readonly MetricsBatch[], scraper: string) =>
    batches.find((b) => b.source === `procfs/${scraper}`)?.snapshots.map((s) => s.owner?.netns);
  return { root, context, round, owners };
}

describe('a collection', () => {
  it('one namespace that cannot be read costs the others nothing', async () => {
    const { root, context, round, owners } = setUp();
    root.fail = (path) => (path.endsWith('/500/net/snmp') ? 'EIO' : undefined);
    const batches = await round();
    assert.deepEqual(owners(batches, 'tcp'), [hostNetns]);
    assert.deepEqual(owners(batches, 'netdev'), [hostNetns], 'nothing of a namespace that was read in part');
    assert.deepEqual(
      context.telemetry.failures.map((f) => f.what),
      ['namespace'],
    );
    root.fail = () => undefined;
    assert.deepEqual(owners(await round(), 'tcp'), [hostNetns, podNetns]);
    assert.ok(context.telemetry.recoveries.includes('namespace'));
  });

  it('a namespace whose files say the same has the same values; one digit more, and what was emitted stays as it was', async () => {
    const { root, round } = setUp();
    const of = (batches: readonly MetricsBatch[], scraper: string) =>
      batches.find((b) => b.source === `procfs/${scraper}`)!.snapshots.find((s) => s.owner?.netns === podNetns)!;
    const value = (s: Snapshot, name: string, key?: string, is?: string) =>
      s.values[
        s.schema.series.find((d) => d.metric.name === name && (key === undefined || d.attributes[key] === is))!.offset
      ];
    const retransmits = (s: Snapshot) => value(s, 'skoop.tcp.retrans_segs');
    const received = (s: Snapshot) => value(s, 'system.network.packet.count', 'network.io.direction', 'receive');
    const [first, second] = [await round(), await round()];
    for (const scraper of ['tcp', 'netdev', 'tcpext', 'ip']) {
      const [a, b] = [of(first, scraper), of(second, scraper)];
      assert.equal(a.values, b.values, scraper);
      assert.equal(a.schema, b.schema, scraper);
      assert.equal(b.timeMs - a.timeMs, 1000);
      assert.equal(b.startTimeMs, a.startTimeMs);
    }
    root.edit = (path, text) =>
      path.includes('/500/net/')
        ? text.replace(' 4000 31 2 13 1', ' 4000 37 2 13 1').replace('31 3 0', '31 7 0')
        : text;
    const third = await round();
    assert.deepEqual([retransmits(of(second, 'tcp')), retransmits(of(third, 'tcp'))], [31, 37]);
    assert.deepEqual([received(of(second, 'netdev')), received(of(third, 'netdev'))], [3, 7]);
    assert.equal(of(third, 'netdev').schema, of(first, 'netdev').schema);
    root.edit = (path, text) => (path.endsWith('/500/net/netstat') ? text.replace('1500', '1501').concat('x') : text);
    const fourth = await round();
    assert.equal(retransmits(of(fourth, 'tcp')), 31);
  });

  it('what cannot be used in a file is counted in each collection, though the file says the same', async () => {
    const { root, context, round } = setUp();
    root.edit = (path, text) => (/\/500\/net\/(netstat|dev)$/.test(path) ? `${text}x` : text);
    for (const rejected of [2, 4, 6]) {
      await round();
      assert.deepEqual(context.telemetry.rejections, { truncated: rejected });
    }
  });

  it('a namespace that ends is gone, without a word', async () => {
    const { root, context, round, owners } = setUp();
    assert.deepEqual(owners(await round(), 'tcp'), [hostNetns, podNetns]);
    root.fail = (path) => (path.includes('/500/net/') ? 'ESRCH' : undefined);
    assert.deepEqual(owners(await round(), 'tcp'), [hostNetns]);
    assert.deepEqual(context.telemetry.failures, []);
  });

  it('a pid that now stands for another namespace is not believed', async () => {
    const { root, round, owners } = setUp();
    const inode = root.netnsInode.bind(root);
    root.netnsInode = (path) => (path.endsWith('/500/ns/net') ? hostNetns : inode(path));
    assert.deepEqual(owners(await round(), 'tcp'), [hostNetns]);
  });

  it('what may not be read is absent, and the rest is there', async () => {
    const { root, context, round } = setUp();
    root.fail = (path) => (path.endsWith('/io') ? 'EACCES' : path.endsWith('.pressure') ? 'EOPNOTSUPP' : undefined);
    const sources = (await round()).map((b) => b.source);
    assert.ok(sources.includes('procfs/fd') && !sources.includes('procfs/io'));
    assert.deepEqual(Object.keys(context.telemetry.absences).sort(), ['io', 'ipvs', 'psi']);
    assert.deepEqual(context.telemetry.failures, []);
  });

  it('a stage that fails says nothing at all: a batch is complete or not there', async () => {
    const { root, context, round } = setUp();
    root.fail = (path) => (path.endsWith('softnet_stat') ? 'EIO' : undefined);
    const sources = (await round()).map((b) => b.source);
    assert.ok(!sources.includes('procfs/softnet') && sources.includes('procfs/tcp') && sources.includes('procfs/fd'));
    assert.deepEqual(
      context.telemetry.failures.map((f) => f.what),
      ['node'],
    );
  });

  it('what is no more is said once, by an empty batch', async () => {
    const { root, round } = setUp();
    const ofFd = async () => (await round()).find((b) => b.source === 'procfs/fd')?.snapshots.length;
    assert.equal(await ofFd(), 2);
    root.list = (path) => (path.endsWith('/fd') ? [] : ProcRoot.prototype.list.call(root, path));
    assert.equal(await ofFd(), 0);
    assert.equal(await ofFd(), undefined);
  });

  it('is given up in the middle when it is stopped', async () => {
    const { round } = setUp();
    const slices = new Slices();
    const running = round(slices);
    slices.stop();
    await assert.rejects(running, Stopped);
  });
});

describe('bounds', () => {
  it('real servers beyond the limit are summed in one series', () => {
    const lines = ['v', 'h', 'h', 'TCP  0A600001:01BB rr'];
    for (let i = 1; i <= 7; i++) lines.push(`  -> 0A00000${i}:0050      Masq    2      ${i}          10`);
    const summary = new IpvsSummary(3);
    parseIpvs(Buffer.from(`${lines.join('\n')}\n`), assert.fail, summary);
    const { series, values } = destinationSeries(() => true, summary.end());
    const found = series.schema.series.map((s, i) => ({ ...s, value: values[i] as number }));
    const of = (state: string) =>
      found.filter(
        (s) =>
          s.metric === ipvsMetrics['skoop.ipvs.destination.connections'] && s.attributes['skoop.ipvs.state'] === state,
      );
    assert.equal(of('active').length, 4);
    assert.equal(of('active').at(-1)?.attributes['otel.metric.overflow'], true);
    assert.equal(of('active').at(-1)?.value, 4 + 5 + 6 + 7);
    assert.equal(
      of('inactive').reduce((n, s) => n + s.value, 0),
      70,
    );
    assert.equal(summary.destinations, 7);
    assert.equal(summary.servicesWithout, 0);
  });

  it('listeners beyond the limit are summed in one, those of one port in their own', () => {
    const counts = new SocketCounts(2);
    const socket = (port: number, waiting: number) =>
      ({ state: 10, localAddress: () => '0.0.0.0', localPort: port, receiveQueue: waiting, sendQueue: 5 }) as never;
    for (const [port, waiting] of [
      [80, 1],
      [80, 2],
      [81, 3],
      [82, 7],
      [83, 11],
      [80, 4],
    ] as const) {
      counts.take(socket(port, waiting));
    }
    assert.deepEqual(
      [...counts.listeners.values()].map((l) => [l.attributes['network.local.port'], l.waiting, l.limit]),
      [
        [80, 7, 15],
        [81, 3, 5],
        [undefined, 18, 10],
      ],
    );
    assert.equal(counts.byState[10], 6);
    assert.equal(counts.receiveBytes, 0, 'a listener’s queue holds connections, not bytes');
  });
});
