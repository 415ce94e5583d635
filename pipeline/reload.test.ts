import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { asyncScheduler, Observable, Subject } from 'rxjs';
import { unbalanced } from './accounting.ts';
import { type Batch, itemCount } from './batch.ts';
import { RetryableError } from './component.ts';
import { configChanges } from './reload.ts';
import { makeBench, settled } from './testing/bench.ts';
import { points, records } from './testing/parts.ts';
import { record } from './testing.ts';

const config = (
  parts: { a?: string; b?: string; one?: string; two?: string; m?: string; l?: string; pipelines?: string } = {},
) => `
receivers: { source/a: { ${parts.a ?? ''} }, source/b: { ${parts.b ?? ''} } }
processors: { stage/one: { ${parts.one ?? ''} }, stage/two: { ${parts.two ?? ''} } }
exporters: { sink/m: { ${parts.m ?? ''} }, sink/l: { ${parts.l ?? ''} } }
service:
  pipelines:
${
  parts.pipelines ??
  `    metrics: { receivers: [source/a, source/b], processors: [stage/one, stage/two], exporters: [sink/m] }
    logs: { receivers: [source/a], processors: [stage/one], exporters: [sink/l] }`
}
`;

async function running() {
  const bench = makeBench();
  await bench.apply(config());
  bench.events.length = 0;
  return bench;
}
const items = (batches: readonly Batch[]) => batches.reduce((n, b) => n + itemCount(b), 0);
const balanced = (bench: Awaited<ReturnType<typeof running>>) =>
  assert.deepEqual(unbalanced(bench.telemetry.read(), bench.engine.graph!, { flushed: true }), []);

test('the same config changes nothing', async () => {
  const bench = await running();
  const result = await bench.apply(`# A comment.\n${config()}`);
  assert.deepEqual(result, { replaced: [], kept: 7 });
  assert.deepEqual(bench.events, []);
});

test('only what differs is replaced: other receivers keep their subscription, other exporters their queue', async () => {
  const bench = await running();
  const queue = bench.engine.graph!.sinks.get('sink/l')!.node.queue;
  bench.emit('source/a', points(3));
  const result = await bench.apply(config({ b: 'mark: new' }));
  assert.deepEqual(result.replaced, ['source/b']);
  assert.deepEqual(bench.events, ['create receiver source/b', 'unsubscribe source/b', 'subscribe source/b']);
  bench.emit('source/a', points(5));
  bench.emit('source/b', points(7));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 15);
  assert.equal(bench.engine.graph!.sinks.get('sink/l')!.node.queue, queue);
  assert.equal(bench.value('otelcol_receiver_accepted_metric_points', { receiver: 'source/a' }), 8, 'counters go on');
  balanced(bench);
});

test('a processor is replaced in its pipelines only, and what the old one held goes out', async () => {
  const bench = makeBench();
  bench.processors.set(
    'stage/two',
    () => (stream$) =>
      new Observable((out) => {
        const kept: Batch[] = [];
        return stream$.subscribe({
          next: (b) => kept.push(b),
          complete: () => {
            for (const b of kept) out.next(b);
            out.complete();
          },
        });
      }),
  );
  await bench.apply(config());
  bench.emit('source/a', points(3));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 0);
  bench.events.length = 0;
  const { replaced } = await bench.apply(config({ two: 'mark: new' }));
  assert.deepEqual(replaced, ['stage/two']);
  assert.deepEqual(bench.events, ['create processor stage/two']);
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 3);
  balanced(bench);
});

test('a new processor is told who is who at once, and the others not again', async () => {
  const bench = await running();
  const pod = { kind: 'netns', netns: 7, host: false, podUids: [], containerIds: [], firstSeenMs: 0 } as const;
  const incoming = (pipeline: string) =>
    bench.value('otelcol_processor_incoming_items', { processor: 'stage/one', pipeline, 'otel.signal': 'entities' });
  bench.emit('source/a', { kind: 'entities', source: 'source/a', timeMs: 1, entities: [pod, { ...pod, netns: 8 }] });
  bench.emit('source/a', { kind: 'entities', source: 'source/a', timeMs: 2, entities: [pod] });
  assert.equal(incoming('metrics'), 3);
  await bench.apply(config({ one: 'mark: new' }));
  assert.equal(incoming('metrics'), 4, 'the last list, once');
  assert.equal(incoming('logs'), 4);
  await bench.apply(config({ one: 'mark: new', two: 'mark: new' }));
  assert.equal(incoming('metrics'), 5, 'stage/two is new in this pipeline');
  assert.equal(incoming('logs'), 4, 'nothing is new in this one');
  balanced(bench);
});

test('a replaced exporter sends what it had queued before it goes', async () => {
  const bench = makeBench();
  let open = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  bench.exporters.set('sink/m', () => ({ push: () => gate }));
  await bench.apply(config());
  for (const n of [2, 3, 5, 7, 11, 13]) bench.emit('source/a', points(n));
  const changing = bench.apply(config({ m: 'mark: "-new"' }));
  await settled();
  bench.emit('source/a', points(17));
  open();
  await changing;
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 58);
  assert.deepEqual(
    bench.events.filter((e) => / (sink\/m)/.test(e)),
    ['create exporter sink/m', 'start sink/m', 'create exporter sink/m', 'start sink/m-new', 'stop sink/m'],
  );
  balanced(bench);
});

test('pipelines come and go', async () => {
  const bench = await running();
  await bench.apply(
    config({ pipelines: '    logs/x: { receivers: [source/b], processors: [stage/two], exporters: [sink/l] }' }),
  );
  assert.deepEqual(bench.events, ['create processor stage/two', 'unsubscribe source/a', 'stop sink/m']);
  bench.emit('source/b', records(4));
  bench.emit('source/b', points(4));
  await settled();
  assert.equal(items(bench.pushed('sink/l')), 4);
  assert.equal(bench.value('otelcol_receiver_accepted_metric_points', { receiver: 'source/a' }), 0);
  const gone = bench.telemetry
    .read()
    .flatMap((r) => r.points)
    .filter((p) => Object.values(p.attributes).includes('source/a'));
  assert.deepEqual(gone, [], 'the series of what is gone end');
  assert.deepEqual(
    bench.states
      .list()
      .map(({ key }) => key.id)
      .sort(),
    ['sink/l', 'source/b', 'stage/two'],
  );
  await bench.apply(config());
  bench.emit('source/a', points(6));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 6);
});

test('a component that takes a config in place is not replaced', async () => {
  const bench = makeBench();
  await bench.apply(config({ a: 'in_place: true', m: 'in_place: true' }));
  bench.events.length = 0;
  const { replaced } = await bench.apply(config({ a: 'in_place: true, mark: x', m: 'in_place: true, mark: y' }));
  assert.deepEqual(replaced, []);
  assert.deepEqual(bench.events, ['reconfigure sink/m', 'reconfigure source/a']);
  bench.emit('source/a', points(3));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 3);
});

test('a component that cannot be made leaves everything as it was', async () => {
  const bench = makeBench();
  await bench.apply(config({ a: 'in_place: true' }));
  bench.events.length = 0;
  bench.processors.set('stage/two', () => {
    throw new Error('Out of memory.');
  });
  const change = config({ a: 'in_place: true, mark: x', two: 'mark: x', m: 'mark: x' });
  await assert.rejects(bench.apply(change), { message: 'processor stage/two cannot start: Out of memory.' });
  assert.deepEqual(
    bench.events.filter((e) => /^(start|stop|subscribe|unsubscribe)/.test(e)),
    [],
  );
  bench.emit('source/a', points(3));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 3);
  assert.equal(bench.states.get({ kind: 'receiver', id: 'source/a' })?.state, 'running');
  balanced(bench);
});

test('an exporter that cannot start leaves everything as it was', async () => {
  const bench = makeBench();
  bench.exporters.set('sink/m', ({ mark }) => ({
    start: async () => {
      if (mark === '-bad') throw new Error('No such file.');
    },
    push: async () => {},
  }));
  await bench.apply(config());
  const before = bench.engine.graph;
  bench.events.length = 0;
  await assert.rejects(
    bench.apply(config({ m: 'mark: "-bad"', a: 'mark: x' })),
    /exporter sink\/m cannot start: No such file\./,
  );
  assert.equal(bench.engine.graph, before);
  assert.ok(!bench.events.some((e) => /subscribe|stop sink\/m$/.test(e)));
  bench.emit('source/a', points(3));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 3);
  assert.equal(bench.states.get({ kind: 'exporter', id: 'sink/m' })?.state, 'running');
  assert.equal(
    bench.value('otelcol_exporter_queue_capacity', { exporter: 'sink/m' }),
    100_000,
    'its gauges are its own',
  );
});

function inUse() {
  return Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' });
}

test('an exporter whose address its predecessor holds starts when that one is gone', async () => {
  const bench = makeBench();
  let holder: string | undefined;
  bench.exporters.set('sink/m', ({ mark }) => ({
    start: async () => {
      if (holder !== undefined) throw inUse();
      holder = mark;
    },
    stop: async () => {
      if (holder === mark) holder = undefined;
    },
    push: async () => {
      assert.equal(holder, mark);
    },
  }));
  await bench.apply(config({ m: 'mark: "1"' }));
  bench.emit('source/a', points(3));
  await bench.apply(config({ m: 'mark: "2"' }));
  assert.equal(holder, '2');
  bench.emit('source/a', points(5));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 8);
  assert.equal(bench.states.get({ kind: 'exporter', id: 'sink/m' })?.state, 'running');
});

test('a change that fails half way is undone', async () => {
  const bench = makeBench();
  let holder: string | undefined;
  bench.exporters.set('sink/m', ({ mark }) => ({
    start: async () => {
      if (holder !== undefined) throw inUse();
      if (mark === 'bad') throw new Error('Broken.');
      holder = mark;
    },
    stop: async () => {
      if (holder === mark) holder = undefined;
    },
    push: async () => {
      assert.equal(holder, mark);
    },
  }));
  await bench.apply(config({ m: 'mark: "1"' }));
  await assert.rejects(
    bench.apply(config({ m: 'mark: bad', a: 'mark: x' })),
    /exporter sink\/m cannot start: Broken\./,
  );
  assert.equal(holder, '1');
  assert.equal(bench.engine.graph!.config.exporters.get('sink/m')!.plain !== undefined, true);
  bench.emit('source/a', points(5));
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 5);
  balanced(bench);
});

test('a hundred reloads leave nothing behind', async () => {
  const bench = await running();
  for (let i = 0; i < 100; i++) {
    await bench.apply(config({ a: `mark: "${i}"`, two: `mark: "${i}"`, m: `mark: "${i}"` }));
    bench.emit('source/a', points(1));
  }
  await settled();
  assert.equal(items(bench.pushed('sink/m')), 100);
  const of = (what: string) => bench.events.filter((e) => e.startsWith(what)).length;
  assert.equal(of('unsubscribe source/a'), 100);
  assert.equal(of('start sink/m'), of('stop sink/m'));
  assert.equal(bench.states.list().length, 7);
  assert.equal(bench.clock.pending, 0);
  balanced(bench);
});

test('a replaced exporter hands its queue on disk over: every record is sent once', async () => {
  using dir = folder();
  const bench = makeBench();
  let isUp = false;
  const sent: number[] = [];
  bench.exporters.set('sink/m', () => ({
    push: async (batch) => {
      if (!isUp) throw new RetryableError('Down.', { errorType: '503' });
      sent.push(itemCount(batch));
    },
  }));
  const at = (mark: string) => config({ m: `mark: "${mark}", directory: "${dir.path}"` });
  await bench.apply(at('1'));
  for (const n of [2, 3, 5]) bench.emit('source/a', points(n));
  await bench.clock.run(100);
  const changing = bench.apply(at('2'));
  await settled();
  for (const n of [7, 11]) bench.emit('source/a', points(n));
  await bench.clock.run(11_000);
  await changing;
  isUp = true;
  await bench.clock.run(120_000);
  assert.deepEqual(
    sent.sort((a, b) => a - b),
    [2, 3, 5, 7, 11],
  );
  await bench.engine.stop(new AbortController().signal);
  balanced(bench);
});

// --- the file ---

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'skl-reload-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test('a file that is written, replaced or swapped as a ConfigMap is seen once each', async () => {
  using dir = folder();
  const version = (name: string, text: string) => {
    mkdirSync(join(dir.path, name));
    writeFileSync(join(dir.path, name, 'pipeline.yaml'), text);
  };
  version('..v1', 'one');
  symlinkSync('..v1', join(dir.path, '..data'));
  const file = join(dir.path, 'pipeline.yaml');
  symlinkSync('..data/pipeline.yaml', file);
  const asked$ = new Subject<void>();
  const seen = record(configChanges({ file, first: 'one', scheduler: asyncScheduler, asked$ }));

  version('..v2', 'two');
  symlinkSync('..v2', join(dir.path, '..data_tmp'));
  renameSync(join(dir.path, '..data_tmp'), join(dir.path, '..data'));
  await seen.until((v) => v.length === 1);

  rmSync(file);
  writeFileSync(`${file}.new`, 'three');
  renameSync(`${file}.new`, file);
  await seen.until((v) => v.some((c) => 'text' in c && c.text === 'three'));

  writeFileSync(file, 'four');
  await seen.until((v) => v.some((c) => 'text' in c && c.text === 'four'));

  asked$.next();
  await seen.until((v) => v.at(-1)?.asked === true);
  seen.subscription.unsubscribe();
  const texts = seen.values.map((c) => ('text' in c ? c.text : 'error'));
  assert.deepEqual(
    texts.filter((t) => t !== 'error'),
    ['two', 'three', 'four', 'four'],
  );
});
