import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Observable, Subject } from 'rxjs';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import type { Batch, EntitiesBatch, LogsBatch, MetricsBatch, PodEntity } from '../../pipeline/batch.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { record, testContext, testEpochMs } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import type { ContainerExit, PodSource } from './pod-source.ts';
import { Session } from './session.ts';

function pod(name: string, netns = 11, more: Partial<PodEntity> = {}): PodEntity {
  return {
    kind: 'pod',
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    hostNetwork: false,
    netns,
    sandboxId: `sandbox-${name}`,
    state: 'ready',
    createdAtMs: testEpochMs - 5000,
    ips: ['10.0.0.1'],
    labels: {},
    annotations: {},
    containers: [{ id: `c-${name}`, name: 'app', image: 'i', state: 'running', restartCount: 0 }],
    runtime: 'containerd',
    ...more,
  };
}

const namespace = (netns: number): NetnsInfo => ({
  netns,
  host: false,
  path: '',
  pids: [],
  podUids: [],
  containerIds: [],
  firstSeenMs: 0,
});

/** A runtime whose answers the test gives. */
class FakeSource implements PodSource {
  readonly runtime = 'containerd';
  readonly endpoint = '/fake';
  readonly wakes = new Subject<string>();
  readonly wake$ = this.wakes.asObservable();
  pods: readonly PodEntity[] = [];
  lists = 0;
  closed = 0;
  failure: Error | undefined;
  exits: Record<string, ContainerExit> = {};

  async list(): Promise<readonly PodEntity[]> {
    this.lists++;
    if (this.failure) throw this.failure;
    return this.pods;
  }
  async exitOf(id: string): Promise<ContainerExit | undefined> {
    return this.exits[id];
  }
  close(): void {
    this.closed++;
  }
}

function start(settings: object = {}, source = new FakeSource()) {
  const context = testContext({ id: 'cri' });
  const state = {
    connects: 0,
    connectError: undefined as Error | undefined,
    namespaces: [namespace(11), namespace(12)],
  };
  const netns$ = new Subject<string>();
  let gauge: readonly PodEntity[] = [];
  const out = record(
    new Observable<Batch>((subscriber) => {
      const session = new Session(
        {
          config: config.parse(settings),
          context,
          connect: async () => {
            state.connects++;
            if (state.connectError) throw state.connectError;
            return source;
          },
          inventory: async () => state.namespaces,
          netnsWake$: netns$,
          complete: (pods) => pods,
          onPods: (pods) => {
            gauge = pods;
          },
        },
        subscriber,
      );
      session.start();
      return () => session.stop();
    }),
  );
  const settle = async () => {
    for (let i = 0; i < 20; i++) await turn();
  };
  return {
    ...context,
    source,
    state,
    netns$,
    out,
    settle,
    gauge: () => gauge,
    run: async (ms: number) => {
      await context.clock.run(ms);
      await settle();
    },
    pods: () =>
      out.values
        .filter((b): b is EntitiesBatch => b.kind === 'entities' && b.source === 'cri')
        .map((b) => b.entities.map((e) => (e as PodEntity).name)),
    events: () => out.values.flatMap((b) => (b.kind === 'logs' ? (b as LogsBatch).records.map((r) => r.body) : [])),
  };
}

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
    t.state.namespaces = [namespace(11)];
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
