import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { Collection, durationLayout } from './collection.ts';

const metrics = defineMetrics({
  'test.count': { instrument: 'counter', unit: '1', description: 'Test.', source: 'test', scope: 'netns' },
  'test.duration': {
    instrument: 'histogram',
    unit: 's',
    description: 'Test.',
    source: 'test',
    scope: 'netns',
    histogram: durationLayout,
  },
});

test('entries of one series add up, owners share a schema, start times stay', () => {
  const out = new Collection();
  const a = out.series(metrics['test.count'], { x: 'a' });
  assert.equal(out.series(metrics['test.count'], { x: 'a' }), a);
  const b = out.series(metrics['test.count'], { x: 'b' });
  const round = (nowMs: number, second: boolean) => {
    out.begin(nowMs);
    out.add(1, 10, a, 2);
    out.add(1, 10, b, 5);
    out.add(1, 10, a, 3);
    if (second) {
      out.add(2, 20, b, 1);
      out.add(2, 20, a, 1);
    }
    return out.finish();
  };
  const [first, other] = round(1000, true);
  assert.deepEqual([...first!.values], [5, 5]);
  assert.equal(first!.schema, other!.schema);
  assert.equal(first!.owner?.netns, 10);
  assert.equal(round(2000, false).length, 1);
  const again = round(3000, true);
  assert.deepEqual(
    again.map((s) => s.startTimeMs),
    [1000, 3000],
  );
  assert.equal(again[0]!.schema, first!.schema);
});

test('histograms add up slot by slot, beside numbers', () => {
  const out = new Collection();
  const h = out.series(metrics['test.duration'], {});
  const c = out.series(metrics['test.count'], {});
  const one = new Float64Array(39);
  one[0] = 1;
  one[1] = 0.5;
  one[3 + 28] = 1;
  out.begin(0);
  out.addHistogram(0, 0, h, one);
  out.addHistogram(0, 0, h, one);
  out.add(0, 0, c, 7);
  const [s] = out.finish();
  assert.equal(s!.owner, undefined);
  assert.equal(s!.values.length, 40);
  assert.deepEqual([s!.values[0], s!.values[1], s!.values[31], s!.values[39]], [2, 1, 2, 7]);
});

test('series that come and go do not add up', () => {
  const out = new Collection();
  const stays = out.series(metrics['test.count'], { peer: 'stays' });
  for (let round = 0; round < 40; round++) {
    out.begin(round);
    out.add(1, 1, stays, round);
    for (let i = 0; i < 1000; i++) out.add(1, 1, out.series(metrics['test.count'], { peer: `${round}/${i}` }), 1);
    const [s] = out.finish();
    assert.equal(s!.schema.series.length, 1001);
    const at = s!.schema.series.find((d) => d.attributes['peer'] === 'stays')!;
    assert.equal(s!.values[at.offset], round);
  }
});

test('series that are swept come back as new ones, and the others stay as they are', () => {
  const out = new Collection();
  const kept = out.series(metrics['test.count'], { x: 'kept' });
  const round = (peers: readonly number[]) => {
    out.begin(1000);
    out.add(1, 10, kept, 7);
    for (const p of peers) out.add(1, 10, out.series(metrics['test.count'], { peer: p }), p);
    out.forgetUnused([metrics['test.count']]);
    return out.finish()[0]!;
  };
  const first = out.series(metrics['test.count'], { peer: 2 });
  assert.deepEqual([...round([2, 3]).values], [7, 2, 3]);
  assert.equal(out.series(metrics['test.count'], { peer: 2 }), first);
  assert.deepEqual([...round([3]).values], [7, 3]);
  const second = out.series(metrics['test.count'], { peer: 2 });
  assert.notEqual(second, first);
  const last = round([2]);
  assert.deepEqual([...last.values], [7, 2]);
  assert.deepEqual(
    last.schema.series.map((s) => s.attributes),
    [{ x: 'kept' }, { peer: 2 }],
  );
  assert.equal(out.series(metrics['test.count'], { x: 'kept' }), kept);
});
