import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogsBatch, MetricsBatch } from '../../pipeline/batch.ts';
import { testEpochMs } from '../../pipeline/testing.ts';
import { pod, start } from './testing.ts';

describe('events', () => {
  test('pods that were there at the start are no news; those that come and go are', async () => {
    const t = start();
    t.source.pods = [pod('old')];
    await t.settle();
    t.source.pods = [pod('new', 12)];
    t.source.wakes.next('x');
    await t.run(100);
    assert.deepEqual(t.events(), [
      'Pod shop/new started.',
      'Container app of pod shop/old exited.',
      'Container app of pod shop/new started.',
      'Pod shop/old stopped.',
    ]);
    const logs = t.out.values.find((b): b is LogsBatch => b.kind === 'logs');
    assert.deepEqual(logs?.records[0]?.owner, { podUid: 'uid-new', netns: 12 });
    assert.equal(logs?.records[0]?.timeUnixNs, BigInt(testEpochMs - 5000) * 1_000_000n);
    assert.ok(
      t.out.values.indexOf(logs!) > t.out.values.findLastIndex((b) => b.kind === 'entities'),
      'names come first',
    );
  });

  test('an exited container tells code, reason and time; one that failed is a warning', async () => {
    const t = start();
    const before = pod('web');
    t.source.pods = [before];
    await t.settle();
    t.source.pods = [pod('web', 11, { containers: [{ ...before.containers[0]!, state: 'exited' }] })];
    t.source.exits['c-web'] = { exitCode: 137, reason: 'OOMKilled', finishedAtNs: 42n };
    await t.run(10_000);
    const record = t.out.values.filter((b): b is LogsBatch => b.kind === 'logs').flatMap((b) => b.records)[0];
    assert.equal(record?.body, 'Container app of pod shop/web exited with code 137 (OOMKilled).');
    assert.equal(record?.attributes['process.exit.code'], 137);
    assert.equal(record?.attributes['skoop.container.exit_reason'], 'OOMKilled');
    assert.equal(record?.timeUnixNs, 42n);
    assert.equal(record?.severityNumber, 13);
  });

  test('a container that was restarted between two lists: exited and started', async () => {
    const t = start();
    t.source.pods = [pod('web')];
    await t.settle();
    t.source.pods = [
      pod('web', 11, { containers: [{ id: 'c-web-2', name: 'app', image: 'i', state: 'running', restartCount: 1 }] }),
    ];
    await t.run(10_000);
    assert.deepEqual(t.events(), ['Container app of pod shop/web exited.', 'Container app of pod shop/web started.']);
  });

  test('a sandbox that is not ready any more but whose namespace lives has not stopped', async () => {
    const t = start();
    t.source.pods = [pod('web')];
    await t.settle();
    t.source.pods = [pod('web', 11, { state: 'notready' })];
    await t.run(10_000);
    assert.deepEqual(t.events(), []);
  });

  test('events: false emits none', async () => {
    const t = start({ events: false });
    await t.settle();
    t.source.pods = [pod('web')];
    await t.run(10_000);
    assert.deepEqual(t.events(), []);
  });
});

describe('metrics', () => {
  test('one snapshot a pod and one a container; the same schema while nothing changes', async () => {
    const t = start();
    t.source.pods = [
      pod('web', 11, { containers: [{ id: 'c1', name: 'app', image: 'i', state: 'running', restartCount: 7 }] }),
    ];
    await t.settle();
    await t.run(10_000);
    const [one, two] = t.out.values.filter((b): b is MetricsBatch => b.kind === 'metrics');
    assert.deepEqual(
      one?.snapshots.map((s) => [
        s.owner,
        s.schema.series.map((d) => [d.metric.name, d.attributes, s.values[d.offset]]),
      ]),
      [
        [
          { podUid: 'uid-web', netns: 11 },
          [
            [
              'skoop.pod.info',
              {
                'skoop.pod.ip': '10.0.0.1',
                'skoop.pod.state': 'ready',
                'skoop.pod.host_network': false,
                'container.runtime.name': 'containerd',
              },
              1,
            ],
          ],
        ],
        [
          { podUid: 'uid-web', netns: 11, containerId: 'c1' },
          [
            ['skoop.container.state', { 'skoop.container.state': 'running' }, 1],
            ['k8s.container.restart.count', {}, 7],
          ],
        ],
      ],
    );
    assert.deepEqual(
      two?.snapshots.map((s) => s.schema),
      one?.snapshots.map((s) => s.schema),
    );
    assert.equal(two?.snapshots[0]?.schema, one?.snapshots[0]?.schema);
  });

  test('two sandboxes of one pod are one series: the newer’s', async () => {
    const t = start();
    t.source.pods = [
      pod('web', 11, { sandboxId: 'old', state: 'notready', createdAtMs: 1 }),
      pod('web', 12, { sandboxId: 'new', createdAtMs: 2 }),
    ];
    await t.settle();
    const batch = t.out.values.find((b): b is MetricsBatch => b.kind === 'metrics');
    const info = batch?.snapshots.filter((s) => s.schema.series[0]?.metric.name === 'skoop.pod.info');
    assert.deepEqual(
      info?.map((s) => s.owner?.netns),
      [12],
    );
  });
});
