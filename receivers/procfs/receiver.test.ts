import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Batch } from '../../pipeline/batch.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import procfs from './index.ts';

const host = (name: string) => join(import.meta.dirname, '../../test/hosts', name);
const parse = (extra: object = {}) =>
  config.parse({
    collection_interval: '10s',
    initial_delay: '1s',
    root_path: host('handwritten-6.8-cgroup2'),
    ...extra,
  });
const sources = (values: readonly Batch[]) => values.map((b) => (b.kind === 'entities' ? 'entities' : b.source));
const everySource = [
  'entities',
  'id/netdev',
  'id/tcp',
  'id/udp',
  'id/ip',
  'id/icmp',
  'id/tcpext',
  'id/sock',
  'id/tcpsummary',
  'id/softnet',
  'id/fd',
  'id/io',
  'id/psi',
  'id/sched',
];

describe('procfs receiver', () => {
  it('collects after the delay and then at the interval; entities come first, and again only when something changed', async () => {
    const context = testContext({ id: 'id' });
    const recording = record(procfs.create(parse(), context).run());
    context.clock.advance(999);
    assert.equal(recording.values.length, 0);
    context.clock.advance(1);
    await recording.until((v) => v.length === 14);
    assert.deepEqual(sources(recording.values), everySource);
    // The collection is over when the next one is not skipped.
    await new Promise((resolve) => setImmediate(resolve));
    context.clock.advance(10_000);
    await recording.until((v) => v.length === 27);
    assert.deepEqual(sources(recording.values.slice(14)), everySource.slice(1));
    recording.subscription.unsubscribe();
    assert.equal(context.clock.pending, 0);
    assert.equal(recording.ended, 'no');
    assert.deepEqual(context.telemetry.failures, []);
    assert.equal(context.telemetry.read('namespaces'), 2);
    assert.ok((context.telemetry.read('collection_duration', { stage: 'namespaces' }) ?? -1) > 0);
  });

  it('leaves out what would overlap and what nobody has room for, and counts both', async () => {
    const context = testContext({ id: 'id' });
    const recording = record(procfs.create(parse(), context).run());
    context.clock.advance(1000);
    context.clock.advance(10_000);
    assert.equal(context.telemetry.count('collections_skipped', { reason: 'still_running' }), 1);
    await recording.until((v) => v.length === 14);
    await new Promise((resolve) => setImmediate(resolve));
    context.pressure(true);
    context.clock.advance(30_000);
    assert.equal(context.telemetry.count('collections_skipped', { reason: 'pressure' }), 3);
    context.pressure(false);
    context.clock.advance(10_000);
    await recording.until((v) => v.length === 27);
    recording.subscription.unsubscribe();
  });

  it('reads nothing that is switched off', async () => {
    const off = Object.fromEntries(
      Object.keys(parse().scrapers).map((name) => [name, { enabled: ['tcp', 'fd'].includes(name) }]),
    );
    const context = testContext({ id: 'id' });
    const metrics = { 'skoop.fd.sockets': { enabled: false }, 'skoop.tcp.max_conn': { enabled: true } };
    const recording = record(procfs.create(parse({ scrapers: off, metrics }), context).run());
    context.clock.advance(1000);
    await recording.until((v) => v.length === 3);
    recording.subscription.unsubscribe();
    assert.deepEqual(sources(recording.values), ['entities', 'id/tcp', 'id/fd']);
    const names = recording.values.flatMap((b) =>
      b.kind === 'metrics' ? (b.snapshots[0]?.schema.series.map((s) => s.metric.name) ?? []) : [],
    );
    assert.ok(names.includes('skoop.tcp.max_conn') && !names.includes('skoop.fd.sockets'));
  });

  it('all snapshots of one shape share their schema, in this round and the next', async () => {
    const context = testContext({ id: 'id' });
    const recording = record(procfs.create(parse(), context).run());
    context.clock.advance(1000);
    await recording.until((v) => v.length === 14);
    await new Promise((resolve) => setImmediate(resolve));
    context.clock.advance(10_000);
    await recording.until((v) => v.length === 27);
    recording.subscription.unsubscribe();
    for (const source of ['id/tcp', 'id/netdev', 'id/tcpext', 'id/fd']) {
      const snapshots = recording.values.flatMap((b) =>
        b.kind === 'metrics' && b.source === source ? b.snapshots : [],
      );
      assert.equal(snapshots.length, 4);
      assert.equal(new Set(snapshots.map((s) => s.schema)).size, 1, source);
      for (const round of [snapshots.slice(0, 2), snapshots.slice(2)]) {
        assert.equal(new Set(round.map((s) => s.values)).size, 2, 'no two owners share their values');
      }
    }
  });

  it('a host without anything gives nothing and does not fail', async () => {
    const context = testContext({ id: 'id' });
    const recording = record(procfs.create(parse({ root_path: host('no-such-host') }), context).run());
    context.clock.advance(1000);
    await recording.until((v) => v.length === 1);
    recording.subscription.unsubscribe();
    assert.deepEqual(
      recording.values.map((b) => b.kind === 'entities' && b.entities),
      [[]],
    );
    assert.deepEqual(context.telemetry.failures, []);
  });
});
