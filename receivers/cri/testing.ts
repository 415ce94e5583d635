import { setImmediate as turn } from 'node:timers/promises';
import { Observable, Subject } from 'rxjs';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import type { Batch, EntitiesBatch, LogsBatch, PodEntity } from '../../pipeline/batch.ts';
import { record, testContext, testEpochMs } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import type { ContainerExit, PodSource } from './pod-source.ts';
import { Session } from './session.ts';

export function pod(name: string, netns = 11, more: Partial<PodEntity> = {}): PodEntity {
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

/** A runtime whose answers the test gives. */
export class FakeSource implements PodSource {
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

export function start(settings: object = {}, source = new FakeSource()) {
  const context = testContext({ id: 'cri' });
  const state = {
    connects: 0,
    connectError: undefined as Error | undefined,
    namespaces: [fakeNetns(11), fakeNetns(12)],
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
