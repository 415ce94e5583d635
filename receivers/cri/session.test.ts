import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import type { PodEntity } from '../../pipeline/batch.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { FakeSource, pod, start } from './testing.ts';

describe('rounds', () => {
  test('the first list at once, then one each interval; entities come before the metrics of the same pods', async () => {
    const t = start();
    t.source.pods = [pod('web-0')];
    await t.settle();
    assert.deepEqual(
      t.out.values.map((b) => `${b.kind} ${b.source}`),
      ['entities cri/netns', 'entities cri', 'metrics cri/pods'],
    );
    await t.run(9999);
    assert.equal(t.source.lists, 1);
    await t.run(1);
    assert.equal(t.source.lists, 2);
    assert.deepEqual(t.pods(), [['web-0'], ['web-0']]);
    assert.deepEqual(
      t.gauge().map((p) => p.name),
      ['web-0'],
    );
  });

  test('a burst of wake-ups costs one list after 100 ms and a second look a second after the last', async () => {
    const t = start();
    await t.settle();
    for (let i = 0; i < 23; i++) t.source.wakes.next('/tasks/start');
    t.netns$.next('netns');
    await t.run(99);
    assert.equal(t.source.lists, 1);
    await t.run(1);
    assert.equal(t.source.lists, 2);
    await t.run(899);
    assert.equal(t.source.lists, 2);
    await t.run(1);
    assert.equal(t.source.lists, 3);
    await t.run(5000);
    assert.equal(t.source.lists, 3);
  });

  test('a wake-up that finds nothing new emits nothing', async () => {
    const t = start();
    t.source.pods = [pod('web-0')];
    await t.settle();
    const before = t.out.values.length;
    t.source.wakes.next('/tasks/exit');
    await t.run(2000);
    assert.equal(t.source.lists, 3);
    assert.equal(t.out.values.length, before);
  });

  test('a slow runtime is never asked twice at once, and once more after it answered', async () => {
    const source = new FakeSource();
    const answers: ((pods: readonly PodEntity[]) => void)[] = [];
    source.list = () => {
      source.lists++;
      return new Promise((resolve) => answers.push(resolve));
    };
    const t = start({}, source);
    await t.run(55_000);
    assert.equal(source.lists, 1);
    answers[0]?.([]);
    await t.settle();
    assert.equal(source.lists, 2);
    answers[1]?.([]);
    await t.settle();
    assert.equal(source.lists, 2);
  });

  test('unsubscribing ends everything: no timers, connection closed, twice is safe', async () => {
    const t = start();
    await t.settle();
    t.out.subscription.unsubscribe();
    t.out.subscription.unsubscribe();
    await t.settle();
    assert.equal(t.clock.pending, 0);
    assert.equal(t.source.closed, 1);
    assert.equal(t.source.wakes.observed, false);
  });

  test('unsubscribing before the runtime was found leaves nothing behind', async () => {
    const t = start();
    t.out.subscription.unsubscribe();
    await t.settle();
    assert.equal(t.clock.pending, 0);
    assert.equal(t.source.closed, t.state.connects);
    assert.equal(t.source.wakes.observed, false);
    assert.deepEqual(t.out.values, []);
  });
});

describe('a runtime that is gone', () => {
  test('the last list stays, failures are counted, it comes back by itself', async () => {
    const t = start();
    t.source.pods = [pod('a', 11), pod('b', 12)];
    await t.settle();
    t.source.failure = new Error('connect ENOENT');
    await t.run(10_000);
    assert.deepEqual(t.pods().at(-1), ['a', 'b']);
    assert.equal(t.telemetry.failures.length, 1);
    t.source.failure = undefined;
    await t.run(500);
    assert.deepEqual(t.telemetry.recoveries, ['runtime']);
    assert.deepEqual(t.events(), [], 'nothing started or stopped');
  });

  test('waits between tries double and stay below the interval', async () => {
    const t = start();
    await t.settle();
    t.source.failure = new Error('down');
    const at: number[] = [];
    for (let ms = 0; ms < 30_000; ms += 250) {
      const before = t.source.lists + t.state.connects * 0;
      await t.run(250);
      if (t.source.lists > before) at.push(ms + 250);
    }
    assert.deepEqual(at.slice(0, 5), [10_000, 10_500, 11_500, 13_500, 17_500]);
    assert.ok(at.length <= 9, `${at}`);
  });

  test('pods whose namespace ends are gone at once, the rest after keep_last', async () => {
    const t = start({ keep_last: '60s' });
    t.source.pods = [pod('a', 11), pod('b', 12)];
    await t.settle();
    t.source.failure = new Error('down');
    t.state.namespaces = [fakeNetns(11)];
    await t.run(10_000);
    assert.deepEqual(t.pods().at(-1), ['a']);
    await t.run(40_000);
    assert.deepEqual(t.pods().at(-1), ['a']);
    await t.run(30_000);
    assert.deepEqual(t.pods().at(-1), []);
    t.source.failure = undefined;
    await t.run(20_000);
    assert.deepEqual(t.pods().at(-1), ['a', 'b']);
    assert.deepEqual(t.events(), [], 'pods that were there all the time did not start');
  });

  test('after three failures the runtime is searched anew', async () => {
    const t = start();
    await t.settle();
    assert.equal(t.state.connects, 1);
    t.source.failure = new Error('down');
    await t.run(12_000);
    assert.equal(t.source.closed, 1);
    t.source.failure = undefined;
    await t.run(10_000);
    assert.equal(t.state.connects, 2);
    assert.equal(t.source.wakes.observed, true);
  });

  test('no runtime on this machine: absent, not failed; namespaces are told all the same; one that comes later is found', async () => {
    const source = new FakeSource();
    const t = start({}, source);
    t.state.connectError = new AbsentError('No container runtime socket found.');
    await t.settle();
    assert.deepEqual(t.telemetry.absences, { 'container runtime': 'No container runtime socket found.' });
    assert.deepEqual(t.telemetry.failures, []);
    assert.deepEqual(
      t.out.values.map((b) => b.source),
      ['cri/netns'],
    );
    t.state.connectError = undefined;
    source.pods = [pod('late')];
    await t.run(10_000);
    assert.deepEqual(t.pods(), [['late']]);
  });

  test('an inventory that fails costs the namespaces, not the pods', async () => {
    const t = start();
    t.source.pods = [pod('a')];
    await t.settle();
    Object.defineProperty(t.state, 'namespaces', {
      get: () => {
        throw new Error('EACCES');
      },
    });
    await t.run(10_000);
    assert.deepEqual(t.pods(), [['a'], ['a']]);
    assert.equal(t.telemetry.failures[0]?.what, 'inventory');
  });
});
