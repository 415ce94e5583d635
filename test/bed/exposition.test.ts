import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEventLine } from './agent.ts';
import { parseExposition, select, valueOfOne } from './exposition.ts';

const text = [
  '# HELP a_total Counts a.',
  '# TYPE a_total counter',
  'a_total{pod="x",path="C:\\\\dir \\"q\\"\\n"} 3',
  'a_total{pod="y"} 4 # {trace="1"} 1',
  'b 1e+09',
  'c{le="+Inf"} +Inf 1700000000000',
  '# EOF',
  '',
].join('\n');

test('samples are read with their escapes, exemplars and timestamps', () => {
  assert.deepEqual(parseExposition(text), [
    { name: 'a_total', labels: { pod: 'x', path: 'C:\\dir "q"\n' }, value: 3 },
    { name: 'a_total', labels: { pod: 'y' }, value: 4 },
    { name: 'b', labels: {}, value: 1e9 },
    { name: 'c', labels: { le: '+Inf' }, value: Infinity },
  ]);
});

test('a line that is none throws, so that a broken scrape cannot pass as an empty one', () => {
  assert.throws(() => parseExposition('<html>'), /Not a sample line/);
});

test('valueOfOne wants exactly one sample', () => {
  const samples = parseExposition(text);
  assert.equal(select(samples, 'a_total').length, 2);
  assert.equal(valueOfOne(samples, 'a_total', { pod: 'y' }), 4);
  assert.throws(() => valueOfOne(samples, 'a_total'), /2 samples of a_total/);
  assert.throws(() => valueOfOne(samples, 'a_total', { pod: 'z' }), /0 samples of a_total/);
});

test('an event line is read field by field, its stack to the end of the line', () => {
  assert.deepEqual(parseEventLine('type=PACKETLOSS pod=a namespace=b sport=80 stacktrace:f+0x1 g+0x2'), {
    type: 'PACKETLOSS',
    pod: 'a',
    namespace: 'b',
    sport: '80',
    stacktrace: 'f+0x1 g+0x2',
  });
});
