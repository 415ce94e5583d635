/** The kernel gives the inode number of an ended namespace to the next one: what was said of the first must not pass to the second. Needs root. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Subject } from 'rxjs';
import { NetnsInventory } from '../../host/netns/inventory.ts';
import { ProcRoot } from '../../host/proc-root.ts';
import type { Batch, MetricsBatch, PodEntity, SeriesDescriptor, Snapshot } from '../../pipeline/batch.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { config as processorConfig } from '../../processors/netns/config.ts';
import { createProcessor } from '../../processors/netns/processor.ts';
import { config as netlinkConfig } from '../../receivers/netlink/config.ts';
import { Round } from '../../receivers/netlink/round.ts';
import { makeScrapers } from '../../receivers/netlink/scrapers.ts';
import { Collection } from '../../receivers/procfs/collection.ts';
import { config as procfsConfig } from '../../receivers/procfs/config.ts';
import { Slices } from '../../receivers/procfs/slices.ts';
import { GiveUp, waitFor } from '../bed/command.ts';
import { type Netns, startNetns } from '../bed/netns.ts';

/** Sends so many datagrams and turns so many times the carrier of a veth on and off, all inside. */
async function work(ns: Netns, times: number): Promise<void> {
  const up = `for i in $(seq ${times}); do ip link set veth0 up; ip link set veth0 down; done`;
  const send = `for i in $(seq ${times}); do echo x > /dev/udp/127.0.0.1/9; done`;
  await ns.output([
    'bash',
    '-c',
    `set -e; ip link add veth0 type veth peer name veth1; ip link set veth1 up; ${up}; ${send}`,
  ]);
}

/** A namespace with this inode, once the kernel has let go of the number. */
async function startWithInode(inode: number): Promise<Netns> {
  const aside: Netns[] = [];
  try {
    return await waitFor(`a namespace with the inode ${inode}`, async () => {
      const ns = await startNetns('second');
      if (ns.inode === inode) return ns;
      aside.push(ns);
      if (aside.length > 200) throw new GiveUp('The number is somebody else’s by now.');
      return undefined;
    });
  } finally {
    for (const ns of aside) await ns.stop();
  }
}

const sent = ({ schema, values }: Snapshot) => {
  const isSent = (s: SeriesDescriptor) =>
    s.metric.name === 'skoop.udp.out_datagrams' && s.attributes['network.type'] === 'ipv4';
  return values[schema.series.find(isSent)!.offset];
};

describe('an inode that is used again', () => {
  const rounds: { procfs: Snapshot; netlink: Snapshot; named: MetricsBatch[] }[] = [];
  let inode: number;
  /** The first was there by then. */
  let firstSeenMs: number;
  /** The second was not there before. */
  let bornMs: number;

  before(async () => {
    // Time runs fast: an inventory of the last two seconds would be taken over.
    let elapsedMs = 0;
    const clock = { ...systemClock, monotonicMs: () => (elapsedMs += 3000) };
    const root = new ProcRoot();
    const context = { ...testContext(), clock };
    const collection = new Collection(procfsConfig.parse({}), context, root);
    const inventory = new NetnsInventory(root, clock);
    const scrapers = makeScrapers(netlinkConfig.parse({}), context, root, () => undefined);
    const batches: Batch[] = [];
    const netlink = new Round(context, { name: 'netlink' }, (batch) => batches.push(batch));
    const input$ = new Subject<Batch>();
    const processor = createProcessor(processorConfig.parse({ wait: '0s' }), { ...testContext(), clock });
    const out = record(input$.pipe(processor));

    const round = async () => {
      batches.length = 0;
      await collection.round(new Slices(), (batch) => batches.push(batch));
      await netlink.run(scrapers, inventory.scan());
      const seen = out.values.length;
      for (const batch of batches) input$.next(batch);
      const metrics = batches.filter((b): b is MetricsBatch => b.kind === 'metrics');
      const of = (source: string) =>
        metrics.find((b) => b.source.endsWith(source))!.snapshots.find((s) => s.owner?.netns === inode)!;
      const named = out.values.slice(seen).filter((b): b is MetricsBatch => b.kind === 'metrics');
      rounds.push({ procfs: of('/udp'), netlink: of('/link'), named });
    };

    const first = await startNetns('first');
    inode = first.inode;
    await work(first, 23);
    const cookie = inventory.scan().find((n) => n.netns === inode)?.cookie;
    assert.ok(cookie !== undefined);
    firstSeenMs = systemClock.nowMs();
    const now = systemClock.nowMs();
    const pod: PodEntity = {
      kind: 'pod',
      uid: 'u',
      name: 'web-0',
      namespace: 'shop',
      hostNetwork: false,
      netns: inode,
      netnsCookie: cookie,
      sandboxId: 's',
      state: 'ready',
      createdAtMs: now,
      ips: [],
      labels: {},
      annotations: {},
      containers: [],
      runtime: 'containerd',
    };
    input$.next({ kind: 'entities', source: 'cri', timeMs: now, entities: [pod] });
    await round();
    await first.stop();
    bornMs = systemClock.nowMs();
    const second = await startWithInode(inode);
    after(() => second.stop());
    // More than the first did: no counter falls, only the identity tells.
    await work(second, 31);
    await round();
  });

  test('is another owner, with counters from its own beginning', () => {
    const [one, two] = rounds;
    assert.equal(sent(one!.procfs), 23);
    assert.equal(sent(two!.procfs), 31);
    for (const receiver of ['procfs', 'netlink'] as const) {
      const [a, b] = [one![receiver], two![receiver]];
      assert.ok(a.owner?.netnsCookie !== undefined && b.owner?.netnsCookie !== undefined, receiver);
      assert.notEqual(a.owner.netnsCookie, b.owner.netnsCookie, receiver);
      // Between the two beginnings lies all that happened between them (either may be off by the same part of a second: btime of /proc/stat).
      const apartMs = b.startTimeMs - a.startTimeMs;
      assert.ok(apartMs >= bornMs - firstSeenMs, `${receiver}: ${apartMs} ms of ${bornMs - firstSeenMs}`);
    }
  });

  test('does not carry the name of the pod that had it', () => {
    const names = ({ named }: (typeof rounds)[number]) => [
      ...new Set(
        named.flatMap((b) =>
          b.snapshots.filter((s) => s.owner?.netns === inode).map((s) => s.resource.attributes['k8s.pod.name']),
        ),
      ),
    ];
    assert.deepEqual(names(rounds[0]!), ['web-0']);
    assert.deepEqual(names(rounds[1]!), [undefined]);
  });
});
