import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineCutter } from './lines.ts';

function cut(chunks: readonly Buffer[], max = 100): { lines: string[]; tooLong: number; pending: number } {
  const lines: string[] = [];
  let tooLong = 0;
  const cutter = new LineCutter(
    max,
    (l) => lines.push(l),
    () => tooLong++,
  );
  for (const chunk of chunks) cutter.push(chunk);
  return { lines, tooLong, pending: cutter.pending };
}

test('the same lines wherever the stream is cut, within a character too', () => {
  const whole = Buffer.from('{"a":"ä€😀"}\n\n{"b":2}\n{"c"');
  for (let i = 0; i <= whole.length; i++) {
    const { lines, pending } = cut([whole.subarray(0, i), whole.subarray(i)]);
    assert.deepEqual(lines, ['{"a":"ä€😀"}', '{"b":2}'], `cut at ${i}`);
    assert.equal(pending, 4);
  }
  assert.deepEqual(cut(Array.from(whole, (b) => Buffer.of(b))).lines, ['{"a":"ä€😀"}', '{"b":2}']);
});

test('a line longer than allowed is thrown away, counted once, and the next is read', () => {
  const { lines, tooLong } = cut(
    ['x'.repeat(60), 'x'.repeat(60), 'x'.repeat(600), '\nnext\n'].map((s) => Buffer.from(s)),
  );
  assert.deepEqual(lines, ['next']);
  assert.equal(tooLong, 1);
  assert.deepEqual(cut([Buffer.from(`${'y'.repeat(100)}\n${'z'.repeat(101)}\n`)]), {
    lines: ['y'.repeat(100)],
    tooLong: 1,
    pending: 0,
  });
});
