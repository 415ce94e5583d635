import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Batch, type LogsBatch, type MetricsBatch, makeSchema, type Resource } from '../../pipeline/batch.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { DebugExporter } from './exporter.ts';

const pod: Resource = { attributes: { 'k8s.pod.name': 'web-1', 'k8s.namespace.name': 'shop' } };
const never = new AbortController().signal;

function logs(n: number, name = 'x'): LogsBatch {
  return {
    kind: 'logs',
    source: 'ebpf/tcpreset',
    scope: { name: 'test' },
    records: Array.from({ length: n }, (_, i) => ({
      timeUnixNs: 1n,
      observedTimeUnixNs: 1n,
      severityNumber: 13,
      eventName: name,
      body: 'One body.',
      attributes: { i },
      owner: undefined,
      resource: pod,
    })),
  };
}

const m = defineMetrics({
  'skoop.a': { instrument: 'counter', unit: 'By', description: 'A.', source: 't', scope: 'netns' },
  'skoop.h': {
    instrument: 'histogram',
    unit: 's',
    description: 'H.',
    source: 't',
    scope: 'netns',
    histogram: { scale: 0, offset: 0, buckets: 1 },
  },
});
const metrics: MetricsBatch = {
  kind: 'metrics',
  source: 'procfs/tcp',
  scope: { name: 'test' },
  snapshots: [
    {
      owner: undefined,
      resource: pod,
      startTimeMs: 0,
      timeMs: 1000,
      schema: makeSchema([
        { metric: m['skoop.a'], attributes: { d: 'in out' } },
        { metric: m['skoop.a'], attributes: { d: 'absent' } },
        { metric: m['skoop.h'] },
      ]),
      values: Float64Array.of(7, Number.NaN, 3, 0.5, 1, 2),
    },
  ],
};

/** Takes what is written; holds its writers back while `stalled`. */
class Sink extends Writable {
  text = '';
  #held: (() => void)[] = [];
  #stalled = false;

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString();
    if (this.#stalled) this.#held.push(callback);
    else callback();
  }
  stall(): void {
    this.#stalled = true;
  }
  flow(): void {
    this.#stalled = false;
    for (const callback of this.#held.splice(0)) callback();
  }
}

async function written(batch: Batch, input: Record<string, unknown> = {}): Promise<string> {
  const sink = new Sink();
  const exporter = new DebugExporter(config.parse(input), testContext(), sink);
  await exporter.start();
  await exporter.push(batch, never);
  await exporter.stop();
  return sink.text;
}

describe('debug exporter', () => {
  it('prints a line for each event', async () => {
    assert.equal(await written(logs(2)), 'type=x pod=web-1 namespace=shop i=0\ntype=x pod=web-1 namespace=shop i=1\n');
  });

  it('prints JSON, summaries, or more, as asked', async () => {
    const json = (await written(logs(3), { format: 'json' })).trimEnd().split('\n');
    assert.deepEqual(
      json.map((l) => JSON.parse(l).attributes.i),
      [0, 1, 2],
    );
    assert.equal(await written(logs(23), { verbosity: 'basic' }), 'signal=logs source=ebpf/tcpreset items=23\n');
    assert.equal(
      await written(logs(1), { verbosity: 'detailed' }),
      'type=x pod=web-1 namespace=shop i=0\n  event=x severity=13 k8s.pod.name=web-1 k8s.namespace.name=shop\n  One body.\n',
    );
  });

  it('prints metrics not at all, in one line, or each', async () => {
    assert.equal(await written(metrics), '');
    assert.equal(await written(metrics, { metrics: 'summary' }), 'signal=metrics source=procfs/tcp items=2 owners=1\n');
    const head = (name: string) => `time=1970-01-01T00:00:01.000000000Z metric=${name} pod=web-1 namespace=shop`;
    assert.equal(
      await written(metrics, { metrics: 'full' }),
      `${head('skoop.a')} value=7 unit=By d=in\\x20out\n${head('skoop.h')} count=3 sum=0.5 unit=s\n`,
    );
  });

  it('is held back by a reader that is slow, and does not mix batches', async () => {
    const sink = new Sink({ highWaterMark: 1 });
    const exporter = new DebugExporter(config.parse({}), testContext(), sink);
    await exporter.start();
    sink.stall();
    let done = 0;
    const pushes = ['a', 'b'].map((n) => exporter.push(logs(2, n), never).then(() => done++));
    await turn();
    assert.equal(done, 0);
    assert.equal(sink.text.split('\n').length - 1, 2, 'only the first batch is under way');
    sink.flow();
    await Promise.all(pushes);
    assert.deepEqual(sink.text.match(/type=./g), ['type=a', 'type=a', 'type=b', 'type=b']);
  });

  it('gives a batch up when it is told to', async () => {
    const sink = new Sink({ highWaterMark: 1 });
    const exporter = new DebugExporter(config.parse({}), testContext(), sink);
    await exporter.start();
    sink.stall();
    const abort = new AbortController();
    const push = exporter.push(logs(1), abort.signal);
    await turn();
    abort.abort();
    await assert.rejects(push, /took too long/);
  });

  it('goes on, counting, when nobody reads any more', async () => {
    const context = testContext();
    const epipe = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    const broken = new Writable({ write: (_chunk, _encoding, callback) => callback(epipe) });
    const exporter = new DebugExporter(config.parse({}), context, broken);
    await exporter.start();
    await assert.rejects(exporter.push(logs(1), never), /nobody reads it any more/);
    await turn();
    await assert.rejects(exporter.push(logs(1), never), /nobody reads it any more/);
    assert.deepEqual(
      context.telemetry.failures.map((f) => f.what),
      ['standard output'],
    );
    await exporter.stop();
    await exporter.stop();
  });
});
