import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filter } from 'rxjs';
import { AbsentError } from './errors.ts';
import { makeBench, settled } from './testing/bench.ts';
import { entities, points, records } from './testing/parts.ts';

const config = (exporters = '[sink, entity_sink]') => `
receivers: { source: {}, source/off: {} }
processors: { stage: {} }
exporters: { sink: { queue_size: 50 }, entity_sink: {} }
service:
  pipelines:
    metrics: { receivers: [source, source/off], processors: [stage], exporters: ${exporters} }
    logs: { receivers: [source], exporters: [sink] }
`;

test('the running pipeline is described with exact counts on every node and every way', async () => {
  const bench = makeBench();
  bench.receivers.set('source/off', () => {
    throw new AbsentError('This kernel has none.');
  });
  assert.deepEqual(bench.engine.describe().nodes, [], 'nothing runs yet');
  await bench.apply(config());
  bench.emit('source', points(23));
  bench.emit('source', records(7));
  bench.emit('source', entities(5));
  // More than the queue can ever hold.
  bench.emit('source', records(53));
  await settled();
  bench.clock.advance(1000);

  const { pipelines, nodes, edges, monotonicMs } = bench.engine.describe();
  assert.equal(monotonicMs, 1000);
  assert.deepEqual(
    pipelines.map(({ id, signal, receivers, processors, exporters }) => [id, signal, receivers, processors, exporters]),
    [
      ['metrics', 'metrics', ['source', 'source/off'], ['stage'], ['sink', 'entity_sink']],
      ['logs', 'logs', ['source'], [], ['sink']],
    ],
  );
  const ways = edges.map(({ from, to, pipeline, items }) => [`${from} → ${to} (${pipeline})`, items]);
  assert.deepEqual(Object.fromEntries(ways), {
    'receiver source → processor stage in metrics (metrics)': { metrics: 23, entities: 5 },
    'receiver source/off → processor stage in metrics (metrics)': { metrics: 0, entities: 0 },
    'processor stage in metrics → exporter sink (metrics)': { metrics: 23 },
    'processor stage in metrics → exporter entity_sink (metrics)': { entities: 5 },
    'receiver source → exporter sink (logs)': { logs: 60 },
  });
  const of = (key: string) => nodes.find((n) => n.key === key)!;
  assert.deepEqual(of('receiver source').received, { metrics: 23, logs: 60, entities: 5 });
  assert.deepEqual(of('receiver source').state, { state: 'running' });
  assert.deepEqual(of('receiver source/off').state, { state: 'absent', reason: 'This kernel has none.' });
  const stage = of('processor stage in metrics');
  assert.deepEqual([stage.received, stage.sent, stage.held], [{ metrics: 23, entities: 5 }, stage.received, 0]);
  const sink = of('exporter sink');
  assert.equal(sink.type, 'sink');
  assert.deepEqual(sink.received, { metrics: 23, logs: 60 });
  assert.deepEqual([sink.sent.metrics, sink.sent.logs], [23, 7]);
  assert.deepEqual(sink.dropped, { too_large: 53 });
  assert.equal(sink.queue?.itemsCapacity, 50);
  assert.equal(sink.queue?.items, 0);
  await bench.engine.stop(AbortSignal.abort());
});

test('what a processor drops and what waits in a queue is told', async () => {
  const bench = makeBench();
  bench.processors.set('stage', () => (batch$) => batch$.pipe(filter(() => false)));
  let release = () => {};
  bench.exporters.set('sink', () => ({
    push: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  }));
  await bench.apply(config());
  bench.emit('source', points(13));
  bench.emit('source', records(11));
  const { nodes } = bench.engine.describe();
  const of = (key: string) => nodes.find((n) => n.key === key)!;
  assert.equal(of('processor stage in metrics').held, 13, 'a stage that neither sends on nor counts a drop holds them');
  const { items, inFlight } = of('exporter sink').queue!;
  assert.deepEqual([items, inFlight], [11, 1]);
  release();
  await settled();
  assert.equal(bench.engine.describe().nodes.find((n) => n.key === 'exporter sink')!.queue!.items, 0);
  await bench.engine.stop(AbortSignal.abort());
});

test('after a reload it is the new graph, and what stayed goes on counting', async () => {
  const bench = makeBench();
  await bench.apply(config());
  bench.emit('source', points(23));
  await bench.apply(config('[sink]'));
  bench.emit('source', points(7));
  const { nodes } = bench.engine.describe();
  assert.equal(
    nodes.some((n) => n.id === 'entity_sink'),
    false,
  );
  assert.equal(nodes.find((n) => n.id === 'source')!.received.metrics, 30);
  await bench.engine.stop(AbortSignal.abort());
});
