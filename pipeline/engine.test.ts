import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { map, NEVER, Observable, of, tap, throwError } from 'rxjs';
import { unbalanced } from './accounting.ts';
import { type Batch, itemCount } from './batch.ts';
import { RetryableError } from './component.ts';
import { AbsentError } from './errors.ts';
import { type Bench, makeBench, settled } from './testing/bench.ts';
import { entities, points, records } from './testing/parts.ts';

const two = `
receivers: { source/a: {}, source/b: {} }
processors: { stage/one: {}, stage/two: {} }
exporters: { sink/m: {}, sink/l: {}, entity_sink: {} }
service:
  pipelines:
    metrics: { receivers: [source/a, source/b], processors: [stage/one, stage/two], exporters: [sink/m, entity_sink] }
    logs: { receivers: [source/a], processors: [stage/one], exporters: [sink/l, sink/m] }
`;
const stopNow = () => AbortSignal.abort();
const never = () => new AbortController().signal;

async function running(text: string, prepare: (bench: Bench) => void = () => {}): Promise<Bench> {
  const bench = makeBench();
  prepare(bench);
  await bench.apply(text);
  return bench;
}

const items = (batches: readonly Batch[]) => batches.reduce((n, b) => n + itemCount(b), 0);

test('exporters start before receivers and stop after them', async () => {
  const bench = await running(two);
  const order = bench.events.filter((e) => !e.startsWith('create'));
  assert.deepEqual(order, [
    'start sink/m',
    'start sink/l',
    'start entity_sink',
    'subscribe source/a',
    'subscribe source/b',
  ]);
  bench.events.length = 0;
  await bench.engine.stop(never());
  assert.deepEqual(bench.events.slice(0, 2), ['unsubscribe source/a', 'unsubscribe source/b']);
  assert.deepEqual(bench.events.slice(2).sort(), ['stop entity_sink', 'stop sink/l', 'stop sink/m']);
  bench.events.length = 0;
  await bench.engine.stop(never());
  assert.deepEqual(bench.events, [], 'twice is safe');
  assert.equal(bench.clock.pending, 0);
});

test('each component is made once, each processor once for each pipeline', async () => {
  const { events } = await running(two);
  assert.equal(events.filter((e) => e === 'create receiver source/a').length, 1);
  assert.equal(events.filter((e) => e === 'subscribe source/a').length, 1);
  assert.equal(events.filter((e) => e === 'create processor stage/one').length, 2);
  assert.equal(events.filter((e) => e === 'create exporter sink/m').length, 1);
});

test('signals go where their pipeline sends them', async () => {
  const bench = await running(two);
  bench.emit('source/a', points(7));
  bench.emit('source/b', points(11));
  bench.emit('source/a', records(3));
  bench.emit('source/b', records(5));
  bench.emit('source/a', entities(2));
  await settled();
  assert.deepEqual(
    bench.pushed('sink/m').map((b) => [b.kind, itemCount(b)]),
    [
      ['metrics', 7],
      ['metrics', 11],
      ['logs', 3],
    ],
  );
  assert.deepEqual(
    bench.pushed('sink/l').map((b) => [b.kind, itemCount(b)]),
    [['logs', 3]],
  );
  assert.deepEqual(
    bench.pushed('entity_sink').map((b) => [b.kind, itemCount(b)]),
    [['entities', 2]],
  );
  const accepted = (what: string, receiver: string) => bench.value(`otelcol_receiver_accepted_${what}`, { receiver });
  assert.equal(accepted('metric_points', 'source/a'), 7);
  assert.equal(accepted('log_records', 'source/b'), 5);
  assert.equal(bench.value('otelcol_receiver_dropped_items', { receiver: 'source/b', reason: 'no_pipeline' }), 5);
  const incoming = (pipeline: string, signal: string) =>
    bench.value('otelcol_processor_incoming_items', { processor: 'stage/one', pipeline, 'otel.signal': signal });
  assert.equal(incoming('metrics', 'metrics'), 18);
  assert.equal(incoming('metrics', 'entities'), 2);
  assert.equal(incoming('logs', 'logs'), 3);
  assert.equal(incoming('logs', 'entities'), 2);
  assert.deepEqual(unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }), []);
});

test('the same batch object reaches every exporter: nothing is copied', async () => {
  const bench = await running(two);
  const batch = records(3);
  bench.emit('source/a', batch);
  await settled();
  assert.equal(bench.pushed('sink/m')[0], batch);
  assert.equal(bench.pushed('sink/l')[0], batch);
});

test('pressure on a receiver is that of any queue downstream of it', async () => {
  let release = () => {};
  const bench = await running(two.replace('sink/l: {}', 'sink/l: { queue_size: 100 }'), (b) => {
    b.exporters.set('sink/l', () => ({ push: () => new Promise((resolve) => (release = resolve)) }));
  });
  const seen: Record<string, boolean[]> = { 'source/a': [], 'source/b': [] };
  for (const [id, list] of Object.entries(seen)) bench.contexts.get(id)!.pressure$.subscribe((p) => list.push(p));
  bench.emit('source/a', records(83));
  await settled();
  assert.deepEqual(seen, { 'source/a': [false, true], 'source/b': [false] });
  release();
  await settled();
  assert.deepEqual(seen, { 'source/a': [false, true, false], 'source/b': [false] });
});

test('a processor that throws costs one batch, counted, and the stream goes on', async () => {
  const one = `
receivers: { source: {} }
processors: { stage: {} }
exporters: { sink: {} }
service: { pipelines: { logs: { receivers: [source], processors: [stage], exporters: [sink] } } }`;
  const bench = await running(one, (b) => {
    b.processors.set('stage', () =>
      map((batch) => {
        if (itemCount(batch) === 13) throw new Error('Thirteen.');
        return batch;
      }),
    );
  });
  for (const n of [2, 13, 3, 13, 13, 5]) bench.emit('source', records(n));
  await settled();
  assert.equal(items(bench.pushed('sink')), 10);
  assert.equal(bench.value('otelcol_processor_dropped_items', { reason: 'processor_error' }), 39);
  assert.equal(bench.value('otelcol_processor_failures', { what: 'process' }), 3);
  assert.equal(bench.lines.filter((l) => l['msg'] === 'Failed.').length, 1, 'logged at a limited rate');
  assert.deepEqual(unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }), []);
});

test('what a failing processor held is counted too, and one that cannot be applied is tried again later', async () => {
  let isBroken = true;
  const held: Batch[] = [];
  const bench = await running(
    `
receivers: { source: {} }
processors: { stage/holds: {}, stage/broken: {} }
exporters: { sink: {} }
service:
  pipelines:
    logs: { receivers: [source], processors: [stage/holds], exporters: [sink] }
    logs/b: { receivers: [source], processors: [stage/broken], exporters: [sink] }`,
    (b) => {
      b.processors.set(
        'stage/holds',
        () => (stream$) =>
          new Observable((out) =>
            stream$.subscribe((batch) => {
              held.push(batch);
              if (held.length === 3) out.error(new Error('Full.'));
            }),
          ),
      );
      b.processors.set('stage/broken', () => (stream$) => (isBroken ? throwError(() => new Error('No.')) : stream$));
    },
  );
  for (const n of [2, 3, 5, 7]) bench.emit('source', records(n));
  assert.equal(bench.value('otelcol_processor_dropped_items', { processor: 'stage/holds' }), 10);
  assert.equal(bench.value('otelcol_processor_dropped_items', { reason: 'processor_down' }), 17);
  assert.equal(bench.states.get({ kind: 'processor', id: 'stage/broken', pipeline: 'logs/b' })?.state, 'failed');
  isBroken = false;
  await bench.clock.run(1000);
  bench.emit('source', records(11));
  await settled();
  assert.equal(items(bench.pushed('sink')), 11);
  assert.equal(bench.states.get({ kind: 'processor', id: 'stage/broken', pipeline: 'logs/b' })?.state, 'running');
});

test('what processors hold goes out when the agent stops', async () => {
  const bench = await running(
    `
receivers: { source: {} }
processors: { stage/hold: {}, stage/pass: {} }
exporters: { sink: {} }
service: { pipelines: { logs: { receivers: [source], processors: [stage/hold, stage/pass], exporters: [sink] } } }`,
    (b) => {
      b.processors.set(
        'stage/hold',
        () => (stream$) =>
          new Observable((out) => {
            const kept: Batch[] = [];
            return stream$.subscribe({
              next: (batch) => kept.push(batch),
              complete: () => {
                for (const batch of kept) out.next(batch);
                out.complete();
              },
            });
          }),
      );
    },
  );
  for (const n of [2, 3, 5]) bench.emit('source', records(n));
  await settled();
  assert.equal(items(bench.pushed('sink')), 0);
  await bench.engine.stop(never());
  assert.equal(items(bench.pushed('sink')), 10);
  assert.deepEqual(unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }), []);
});

test('a stop that must not wait counts what it leaves behind', async () => {
  const bench = await running(
    `
receivers: { source: {} }
processors: { stage: {} }
exporters: { sink: {} }
service: { pipelines: { logs: { receivers: [source], processors: [stage], exporters: [sink] } } }`,
    (b) => {
      b.processors.set(
        'stage',
        () => (stream$) =>
          new Observable((out) => {
            let n = 0;
            return stream$.subscribe((batch) => {
              if (n++ > 0) out.next(batch);
            });
          }),
      );
      b.exporters.set('sink', () => ({
        push: async () => {
          throw new RetryableError('Down.', { errorType: '503' });
        },
      }));
    },
  );
  for (const n of [2, 3, 5]) bench.emit('source', records(n));
  await bench.engine.stop(stopNow());
  assert.equal(bench.value('otelcol_processor_dropped_items', { reason: 'shutdown' }), 2);
  assert.equal(bench.value('otelcol_exporter_dropped_items', { reason: 'shutdown' }), 8);
  assert.deepEqual(unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }), []);
});

test('a component this host cannot run is off with its reason and the rest runs', async () => {
  const bench = await running(two, (b) => {
    b.receivers.set('source/a', () => ({ run: () => throwError(() => new AbsentError('The kernel is too old.')) }));
    b.processors.set('stage/one', () => {
      throw new AbsentError('No symbols here.');
    });
  });
  bench.emit('source/b', points(7));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 7, 'what cannot process passes on');
  assert.deepEqual(bench.states.get({ kind: 'receiver', id: 'source/a' }), {
    state: 'absent',
    reason: 'The kernel is too old.',
  });
  const stage = { kind: 'processor' as const, id: 'stage/one', pipeline: 'metrics' };
  assert.deepEqual(bench.states.get(stage), { state: 'absent', reason: 'No symbols here.' });
  assert.equal(bench.value('otelcol_component_state', { component: 'source/a', state: 'absent' }), 1);
  assert.equal(bench.clock.pending, 0, 'nobody tries again');
});

test('an exporter that cannot start stops the start in one sentence, and nothing is left running', async () => {
  const bench = makeBench();
  bench.exporters.set('sink/l', () => ({
    start: async () => {
      throw new Error('The address is in use.');
    },
    push: async () => {},
  }));
  await assert.rejects(bench.apply(two), { message: /^exporter sink\/l cannot start: The address is in use\./ });
  assert.ok(bench.events.includes('stop sink/m'));
  assert.ok(!bench.events.some((e) => e.startsWith('subscribe')));
  assert.deepEqual(bench.states.list(), []);
});

test('a receiver that emits nonsense is refused and lives on', async () => {
  const bench = await running(two);
  bench.emit('source/a', undefined as unknown as Batch);
  bench.emit('source/a', { kind: 'metrics' } as unknown as Batch);
  bench.emit('source/a', points(3));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 3);
  assert.equal(bench.value('otelcol_receiver_failures', { receiver: 'source/a', what: 'batch' }), 2);
  assert.equal(bench.value('otelcol_receiver_refused_metric_points', { receiver: 'source/a' }), 1);
});

test('a batch that a processor turned into the other signal is counted', async () => {
  const bench = await running(two, (b) => {
    b.processors.set('stage/two', () => map((batch) => (batch.kind === 'metrics' ? records(4) : batch)));
  });
  bench.emit('source/b', points(4));
  await settled();
  assert.equal(bench.value('otelcol_pipeline_dropped_items', { pipeline: 'metrics' }), 4);
});

test('received = sent + dropped + queued, whatever happens', async () => {
  const step = fc.record({
    from: fc.constantFrom('source/a', 'source/b'),
    n: fc.integer({ min: 1, max: 9 }),
    kind: fc.constantFrom('metrics', 'logs', 'entities'),
    wait: fc.boolean(),
  });
  const fate = fc.constantFrom('ok', 'ok', 'retry', 'refuse');
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      fc.array(fate, { maxLength: 30 }),
      fc.boolean(),
      async (steps, fates, hurry) => {
        let i = 0;
        const bench = await running(two, (b) => {
          b.processors.set('stage/one', () =>
            tap((batch) => {
              if (itemCount(batch) === 7) throw new Error('Seven.');
            }),
          );
          b.exporters.set('sink/m', () => ({
            push: async () => {
              const f = fates[i++] ?? 'ok';
              if (f === 'retry') throw new RetryableError('Later.', { errorType: '503' });
              if (f === 'refuse') throw new Error('Never.');
            },
          }));
        });
        const make = { metrics: points, logs: records, entities };
        for (const { from, n, kind, wait } of steps) {
          bench.emit(from, make[kind as keyof typeof make](n));
          if (wait) await bench.clock.run(500);
          assert.deepEqual(
            unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }),
            [],
          );
        }
        if (hurry) await bench.engine.stop(stopNow());
        else {
          const stopping = bench.engine.stop(never());
          await bench.clock.run(120_000);
          await stopping;
        }
        assert.deepEqual(
          unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true }),
          [],
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('the accounting can fail: an item that vanishes is found', async () => {
  const bench = await running(two, (b) => {
    b.processors.set(
      'stage/two',
      () => (stream$) => new Observable((out) => stream$.subscribe((b) => itemCount(b) === 4 || out.next(b))),
    );
  });
  bench.emit('source/a', points(4));
  bench.emit('source/a', points(5));
  const found = unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true, sameGraph: true });
  assert.deepEqual(found, [{ where: 'processor stage/two in metrics', received: 9, sent: 5, dropped: 0, queued: 0 }]);
});

test('a receiver that completes is stopped, not failed', async () => {
  const bench = await running(two, (b) => {
    b.receivers.set('source/a', () => ({ run: () => of(points(3)) }));
    b.receivers.set('source/b', () => ({ run: () => NEVER }));
  });
  await settled();
  assert.deepEqual(bench.states.get({ kind: 'receiver', id: 'source/a' }), { state: 'stopped' });
  assert.deepEqual(bench.states.get({ kind: 'receiver', id: 'source/b' }), { state: 'running' });
  assert.equal(items(bench.pushed('sink/m')), 3);
});
