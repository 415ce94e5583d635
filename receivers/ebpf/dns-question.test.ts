import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuestion, rcodeName } from './dns-question.ts';

const label = (text: string) => [text.length, ...Buffer.from(text, 'latin1')];
const question = (labels: string[], type: number) => [...labels.flatMap(label), 0, type >> 8, type & 255, 0, 1];

test('names and types', () => {
  assert.deepEqual(parseQuestion(question(['api', 'shop', 'svc'], 28)), {
    name: 'api.shop.svc',
    type: 'AAAA',
    cut: false,
  });
  assert.deepEqual(parseQuestion(question([], 2)), { name: '.', type: 'NS', cut: false });
  assert.deepEqual(parseQuestion(question(['a'], 65_534)), { name: 'a', type: 'TYPE65534', cut: false });
  assert.equal(rcodeName(2), 'SERVFAIL');
  assert.equal(rcodeName(15), 'RCODE15');
});

test('names that were cut off say so', () => {
  const long = question(['a'.repeat(63), 'b'.repeat(63), 'c'.repeat(63)], 1);
  const found = parseQuestion(long.slice(0, 128));
  assert.equal(found?.cut, true);
  assert.equal(found?.type, undefined);
  assert.equal(found?.name, `${'a'.repeat(63)}.${'b'.repeat(63)}`);
  assert.deepEqual(parseQuestion(label('ab').slice(0, 2)), { name: 'a', type: undefined, cut: true });
  assert.deepEqual(parseQuestion([...label('ab'), 0]), { name: 'ab', type: undefined, cut: false });
  assert.deepEqual(parseQuestion(question(['ab'], 1), 3)?.cut, true);
});

test('hostile bytes never throw and never get into the text', () => {
  assert.equal(parseQuestion([]), undefined);
  assert.equal(parseQuestion([0xc0, 12, 0, 1, 0, 1]), undefined, 'compressed');
  assert.equal(parseQuestion([64, 1, 2]), undefined, 'no such label');
  assert.equal(
    parseQuestion(question(['a b\n', 'c.d\\', '\u00ff\u001b'], 1))?.name,
    'a\\032b\\010.c\\.d\\\\.\\255\\027',
  );
  let seed = 7;
  for (let round = 0; round < 10_007; round++) {
    const bytes = Array.from({ length: round % 129 }, () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed >> 23;
    });
    const found = parseQuestion(bytes, (round * 31) % 140);
    if (found) assert.match(found.name, /^[\x21-\x7e]*$/);
  }
});
