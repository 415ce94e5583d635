import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { hostRoot } from '../../host/proc-root.ts';
import type { MetricsBatch, Snapshot } from '../../pipeline/batch.ts';
import { makeSchema } from '../../pipeline/batch.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { testContext } from '../../pipeline/testing.ts';
import { neighbourMetrics } from './metrics-link.ts';
import { Round } from './round.ts';
import { type NetnsVisit, type Scraper, snapshot } from './scraper.ts';

const own = hostRoot.netnsInode('/proc/self/ns/net') as number;
const info = (patch: Partial<NetnsInfo> = {}) =>
  fakeNetns(own, { host: true, path: '/proc/self/ns/net', firstSeenMs: 77, ...patch });
const schema = makeSchema([{ metric: neighbourMetrics['skoop.neighbour.entries'] }]);

/** A scraper that has one value for each namespace, or throws. */
class Fake implements Scraper {
  readonly families = ['route'] as const;
  readonly visited: number[] = [];
  fail: ((ns: NetnsVisit) => Error | undefined) | undefined;
  #snapshots: Snapshot[] = [];

  begin(): void {
    this.#snapshots = [];
  }
  async visit(ns: NetnsVisit): Promise<void> {
    this.visited.push(ns.info.netns);
    const error = this.fail?.(ns);
    if (error) throw error;
    assert.ok(!ns.route.closed);
    this.#snapshots.push(snapshot(ns, schema, Float64Array.of(1)));
  }
  finish(): readonly Snapshot[] {
    return this.#snapshots;
  }
}

function setUp() {
  const context = testContext({ id: 'netlink/a' });
  const batches: MetricsBatch[] = [];
  const round = new Round(context, { name: 'test' }, (b) => batches.push(b));
  const good = new Fake();
  const bad = new Fake();
  const run = (...namespaces: NetnsInfo[]) =>
    round.run(
      [
        { name: 'bad', scraper: bad },
        { name: 'good', scraper: good },
      ],
      namespaces,
    );
  return { context, batches, round, good, bad, run };
}

test('a scraper that fails takes nothing else with it, and is told to work again', async () => {
  const { context, batches, bad, run } = setUp();
  bad.fail = () => new Error('broken');
  await run(info());
  assert.deepEqual(
    batches.map((b) => b.source),
    ['netlink/a/good'],
  );
  assert.deepEqual(
    context.telemetry.failures.map((f) => f.what),
    ['bad'],
  );
  bad.fail = undefined;
  await run(info());
  assert.deepEqual(context.telemetry.recoveries, ['bad']);
  assert.deepEqual(
    batches.slice(1).map((b) => [b.source, b.snapshots.length]),
    [
      ['netlink/a/bad', 1],
      ['netlink/a/good', 1],
    ],
  );
});

test('what the node lacks is absent, and its pods are not asked', async () => {
  const { context, bad, good, run } = setUp();
  bad.fail = () => new AbsentError('No such thing here.');
  await run(info(), info({ host: false }));
  assert.equal(bad.visited.length, 1);
  assert.equal(good.visited.length, 2);
  assert.deepEqual(context.telemetry.absences, { bad: 'No such thing here.' });
  assert.deepEqual(context.telemetry.failures, []);
});

test('the end of the last owner is told once', async () => {
  const { batches, run } = setUp();
  await run(info());
  batches.length = 0;
  await run();
  assert.deepEqual(
    batches.map((b) => b.snapshots.length),
    [0, 0],
  );
  await run();
  assert.equal(batches.length, 2);
});

test('a namespace that is gone, or whose path leads elsewhere, is left out without a word', async () => {
  const { context, good, run } = setUp();
  await run(info({ netns: 1, path: '/proc/self/ns/none' }), info({ netns: 2 }));
  assert.deepEqual(good.visited, []);
  assert.deepEqual(context.telemetry.failures, []);
});

test('the node’s values began at boot, always at the same time; a pod’s at first sight', async () => {
  const { context, batches, run } = setUp();
  await run(info(), info({ host: false }));
  const [host, pod] = batches[0]?.snapshots ?? [];
  assert.ok(host && host.startTimeMs < context.clock.nowMs());
  assert.equal(pod?.startTimeMs, 77);
  context.clock.advance(5000);
  await run(info());
  assert.equal(batches.at(-1)?.snapshots[0]?.startTimeMs, host.startTimeMs);
});

test('after stop nothing is emitted, rounds asked for at once come one after the other', async () => {
  const { batches, round, good, run } = setUp();
  await Promise.all([run(info()), run(info())]);
  assert.equal(good.visited.length, 2);
  assert.equal(batches.length, 4);
  const last = run(info());
  round.stop();
  await last;
  assert.equal(batches.length, 4);
});
