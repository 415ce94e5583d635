import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as layout from '../../bpf/gen/selftest.gen.ts';
import { Kernel } from '../../bpf/kernel.ts';
import type { LoadedProbe } from '../../bpf/loader.ts';
import type { Snapshot } from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { testContext } from '../../pipeline/testing.ts';
import { ActiveProbe } from '../../receivers/ebpf/active-probe.ts';
import { Collection, durationLayout } from '../../receivers/ebpf/collection.ts';
import type { LivingNamespaces } from '../../receivers/ebpf/reaper.ts';
import { SharedRing } from '../../receivers/ebpf/ring.ts';
import { emitWith, SelfTest, selfTestProbe } from './selftest.ts';

/** offered = emitted + suppressed + lost, for every owner, whatever happens; and nothing grows. */

interface Bench extends Disposable {
  readonly probe: ActiveProbe;
  readonly ring: SharedRing;
  readonly context: ReturnType<typeof testContext>;
  /** The namespaces that exist: inode → cookie, undefined where the kernel does not say. */
  readonly living: Map<number, number | undefined>;
  reap(): number;
  emit(owner: { cookie: number; netns: number; owners?: number }, want: number, type?: number): void;
  /** Reads the ring empty and decodes. @returns number of events */
  drain(): number;
  value(metric: string, netns: number | undefined, where?: Record<string, string>): number;
}

async function bench(config: { rate_limit?: number; burst?: number; ring?: number } = {}): Promise<Bench> {
  const context = testContext({ id: 'ebpf' });
  const kernel = await Kernel.probe();
  const ring = new SharedRing(config.ring ?? 1 << 20);
  let loaded: LoadedProbe | undefined;
  const definition = selfTestProbe((l) => {
    loaded = l;
  });
  const { rate_limit = 0, burst = 1 } = config;
  const living = new Map<number, number | undefined>();
  const cookieOf = (netns: number) => living.get(netns);
  const alive: LivingNamespaces = { has: (netns) => living.has(netns), cookieOf };
  const { telemetry, log, clock } = context;
  const env = { kernel, telemetry, log, clock, ringFd: ring.fd, cookieOf };
  const probe = new ActiveProbe(definition, { enabled: true, events: true, rate_limit, burst }, 3, env);
  return {
    probe,
    ring,
    context,
    living,
    reap: () => probe.reap(alive),
    emit: (owner, want, type = 0) => emitWith(loaded!, owner, want, type),
    drain: () => {
      let n = 0;
      const take = (at: number, length: number) => {
        if (probe.decode(ring.reader.view, at, length, context.telemetry)) n++;
      };
      while (ring.reader.consume(take, 4096) > 0);
      return n;
    },
    value: (metric, netns, where = {}) => sumOf(probe.collect(0), metric, netns, where),
    [Symbol.dispose]: () => {
      probe.close();
      ring.close();
    },
  };
}

function sumOf(
  snapshots: readonly Snapshot[],
  metric: string,
  netns: number | undefined,
  where: Record<string, string>,
): number {
  let sum = 0;
  for (const s of snapshots.filter((x) => x.owner?.netns === netns)) {
    for (const d of s.schema.series) {
      if (d.metric.name === metric && Object.entries(where).every(([k, v]) => d.attributes[k] === v))
        sum += s.values[d.offset]!;
    }
  }
  return sum;
}

test('events of an owner: as many as offered, in order', async () => {
  using b = await bench();
  b.emit({ cookie: 9, netns: 77 }, 997);
  assert.equal(b.drain(), 997);
  assert.equal(b.value('skoop.event.emitted', 77, { 'skoop.event.type': 'zero' }), 997);
  assert.equal(b.value('test.count', 77), 997);
  assert.equal(b.value('skoop.event.suppressed', 77), 0);
});

test('the limit holds for each owner and type alone', async () => {
  using b = await bench({ rate_limit: 0.001, burst: 5 });
  b.emit({ cookie: 1, netns: 11, owners: 3 }, 3 * 13, 0);
  b.emit({ cookie: 1, netns: 11, owners: 3 }, 3 * 7, 1);
  assert.equal(b.drain(), 30);
  for (const netns of [11, 12, 13]) {
    assert.equal(b.value('skoop.event.emitted', netns), 10);
    assert.equal(b.value('skoop.event.suppressed', netns, { 'skoop.event.type': 'zero' }), 8);
    assert.equal(b.value('skoop.event.suppressed', netns, { 'skoop.event.type': 'one' }), 2);
  }
});

test('a ring that fills loses events and counts each', async () => {
  using b = await bench({ ring: 4096 });
  b.emit({ cookie: 5, netns: 55 }, 10_007);
  const got = b.drain();
  assert.ok(got > 0 && got < 60, `${got} events`);
  assert.equal(b.value('skoop.event.emitted', 55), got);
  assert.equal(b.value('skoop.event.lost', 55), 10_007 - got);
  // Room again: events flow again.
  b.emit({ cookie: 5, netns: 55 }, 3);
  assert.equal(b.drain(), 3);
});

test('10 000 short-lived namespaces: bounded, no event without account, all gone afterwards', async () => {
  using b = await bench({ ring: 4 << 20 });
  const owners = 10_000;
  b.emit({ cookie: 1000, netns: 500_000, owners }, owners);
  assert.equal(b.drain(), owners);
  const snapshots = b.probe.collect(0);
  const emitted = snapshots.reduce((n, s) => n + sumOf([s], 'skoop.event.emitted', s.owner?.netns, {}), 0);
  assert.equal(emitted, owners);
  // Two accounts were made at load, so that owners beyond the map's 4096 entries have one in common.
  assert.equal(sumOf(snapshots, 'skoop.event.emitted', undefined, {}), owners - 4094);
  assert.equal(sumOf(snapshots, 'skoop.probe.map_full', undefined, { 'skoop.map.use': 'limit' }), owners - 4094);
  const counted = snapshots.reduce((n, s) => n + sumOf([s], 'test.count', s.owner?.netns, {}), 0);
  assert.equal(counted + sumOf(snapshots, 'skoop.probe.map_full', undefined, { 'skoop.map.use': 'count' }), owners);

  b.reap();
  assert.equal(b.probe.collect(0).length > 4000, true);
  assert.equal(b.reap() >= 4094, true);
  // What is left is the node's: the common account and what was full.
  assert.deepEqual(
    b.probe.collect(0).map((s) => s.owner),
    [undefined],
  );
  b.emit({ cookie: 20_000, netns: 999 }, 1);
  assert.equal(b.value('skoop.event.emitted', 999), 1);
});

test('an inode that is used again does not inherit, whichever of the cookies is the greater', async () => {
  using b = await bench();
  // Each CPU gives cookies out from a batch of its own: the second namespace has the smaller one, the third the greatest.
  for (const [cookie, count] of [
    [4985, 31],
    [1035, 7],
    [8193, 3],
  ] as const) {
    b.living.set(42, cookie);
    b.emit({ cookie, netns: 42 }, count);
    assert.equal(b.value('test.count', 42), count);
    assert.equal(b.value('test.count', 42), count, 'the same at each reading');
    assert.equal(b.reap(), cookie === 4985 ? 0 : 1);
    assert.equal(b.value('test.count', 42), count);
    assert.equal(b.reap(), 0);
  }
});

test('where cookies cannot be asked, the namespace that was seen last has the inode', async () => {
  using b = await bench();
  b.living.set(42, undefined);
  b.emit({ cookie: 4985, netns: 42 }, 31);
  assert.equal(b.value('test.count', 42), 31);
  b.emit({ cookie: 1035, netns: 42 }, 7);
  assert.equal(b.value('test.count', 42), 7);
  assert.equal(b.reap(), 0);
  assert.equal(b.value('test.count', 42), 7);
});

test('what a dead namespace left under an inode that lives goes, though the new one has counted nothing yet', async () => {
  using b = await bench();
  b.emit({ cookie: 1, netns: 42 }, 31);
  b.living.set(42, 1);
  assert.equal(b.reap(), 0);
  b.living.set(42, 2);
  assert.equal(b.reap(), 1);
  assert.equal(b.value('test.count', 42), 0);
});

test('a namespace that is seen alive keeps its counts; one look without it is not enough', async () => {
  using b = await bench();
  b.emit({ cookie: 1, netns: 42 }, 31);
  assert.equal(b.reap(), 0);
  b.living.set(42, 1);
  assert.equal(b.reap(), 0);
  b.living.clear();
  assert.equal(b.reap(), 0);
  assert.equal(b.value('test.count', 42), 31);
});

test('a run that the kernel leaves out, since the program was interrupted by itself, is counted', async (t) => {
  using b = await bench();
  const { loaded } = b.probe;
  if (!loaded.programs.some((p) => p.name === 'skl_fault')) {
    return t.skip('this kernel has no tracepoint page_fault_kernel to make a program interrupt itself with');
  }
  loaded.keep(loaded.program('skl_fault').attach());
  assert.equal(b.value('skoop.probe.missed', undefined), 0);
  for (let i = 0; i < 13; i++) loaded.program('skl_make_fault').testRun(Buffer.alloc(8));
  assert.equal(b.value('skoop.probe.missed', undefined, { 'skoop.probe': 'selftest' }), 13);
  return undefined;
});

test('records that are too short or of no known type are rejected and counted', async () => {
  using b = await bench();
  b.emit({ cookie: 1, netns: 42 }, 2, 1);
  b.emit({ cookie: 1, netns: 42 }, 3, 9);
  const seen: [number, number][] = [];
  b.ring.reader.consume((at, length) => seen.push([at, length]), 2);
  for (const [at, length] of seen)
    assert.equal(b.probe.decode(b.ring.reader.view, at, length - 1, b.context.telemetry), undefined);
  assert.equal(b.drain(), 0);
  assert.deepEqual(b.context.telemetry.rejections, { short_record: 2, unknown_event_type: 3 });
});

const duration = defineMetrics({
  'test.duration': {
    instrument: 'histogram',
    unit: 's',
    description: 'Test.',
    source: 'test',
    scope: 'netns',
    histogram: durationLayout,
  },
});

test('durations land in the bucket of an exponential histogram of scale 0', async () => {
  using self = await SelfTest.load();
  /** Bucket by the definition: (2^(i-30), 2^(i-29)] seconds, exact in integers: ns x 2^30 against 10^9 x 2^i. */
  const bucketOf = (ns: bigint): number => {
    let i = 0;
    while (i < 35 && ns * 2n ** 30n > 10n ** 9n * 2n ** BigInt(i + 1)) i++;
    return i;
  };
  const samples = [1n, 2n, 3n, 999n, 1000n, 1_000_000n, 999_999_999n, 1_000_000_000n, 60_000_000_000n, 10n ** 15n];
  // Both sides of each bound.
  for (let i = 1; i < 36; i++) {
    const bound = (10n ** 9n * 2n ** BigInt(i)) / 2n ** 30n;
    samples.push(bound, bound + 1n, bound > 1n ? bound - 1n : 1n);
  }
  const expected = new Float64Array(39);
  for (const ns of samples.filter((s) => s > 0n)) {
    assert.equal(self.observe(ns, 7), bucketOf(ns), `${ns} ns`);
    expected[3 + bucketOf(ns)]!++;
    expected[0]!++;
    expected[1]! += Number(ns) / 1e9;
  }
  self.observe(0n, 7);
  expected[0]!++;
  expected[2]!++;

  const out = new Collection();
  out.begin(1000);
  const series = out.series(duration['test.duration'], {});
  out.histograms(self.loaded.map('skl_self_hist'), layout.sklSelfKey, () => series);
  const [snapshot] = out.finish();
  assert.equal(snapshot?.owner?.netns, 7);
  const values = snapshot.values;
  assert.ok(Math.abs(values[1]! - expected[1]!) / expected[1]! < 1e-12);
  values[1] = expected[1]!;
  assert.deepEqual(values, expected);
});
