import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Accumulator } from './accumulate.ts';

describe('Accumulator', () => {
  it('keeps what one that ended has contributed', () => {
    const sums = new Accumulator(1);
    assert.deepEqual(
      sums.round([
        { key: 'a', values: [23] },
        { key: 'b', values: [7] },
      ]),
      [30],
    );
    assert.deepEqual(sums.round([{ key: 'b', values: [11] }]), [34]);
    assert.deepEqual(sums.round([]), [34]);
  });

  it('counts a reaped child once: the kernel adds its numbers to the parent’s', () => {
    const sums = new Accumulator(1);
    sums.round([
      { key: 'parent', values: [100] },
      { key: 'child', values: [23], reaper: 'parent' },
    ]);
    // The child went on to 29 and ended; the parent did 2 itself.
    assert.deepEqual(sums.round([{ key: 'parent', values: [100 + 29 + 2] }]), [100 + 29 + 2]);
  });

  it('finds the grandparent when the parent ended too, and nobody when the line leads out', () => {
    const sums = new Accumulator(1);
    sums.round([
      { key: 'a', values: [1] },
      { key: 'b', values: [10], reaper: 'a' },
      { key: 'c', values: [100], reaper: 'b' },
      { key: 'd', values: [1000], reaper: 'shim' },
    ]);
    assert.deepEqual(sums.round([{ key: 'a', values: [111] }]), [1111]);
  });

  it('takes a number that fell for another one’s with the same key', () => {
    const sums = new Accumulator(1);
    sums.round([{ key: '7', values: [50] }]);
    assert.deepEqual(sums.round([{ key: '7', values: [3] }]), [53]);
  });

  it('never falls, whoever comes and goes', () => {
    const member = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      values: fc.tuple(fc.nat(1000), fc.nat(1000)),
      reaper: fc.constantFrom('a', 'b', 'c', 'd', undefined),
    });
    const round = fc.uniqueArray(member, { selector: (m) => m.key });
    fc.assert(
      fc.property(fc.array(round, { maxLength: 12 }), (history) => {
        const sums = new Accumulator(2);
        let last = [0, 0];
        for (const members of history) {
          const now = [...sums.round(members)];
          assert.ok(now.every((v, i) => v >= (last[i] as number)));
          last = now;
        }
      }),
    );
  });
});
