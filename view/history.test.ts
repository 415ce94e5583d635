import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { History, spread } from './history.ts';

test('a spread count is all there, and in the steps it came about in', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e6 }),
      fc.integer({ min: 0, max: 1e5 }),
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 1e9 }),
      (from, length, stepMs, n) => {
        let sum = 0;
        spread(from, from + length, stepMs, n, (step, part) => {
          assert.ok(part > -1e-6 * n);
          assert.ok(step >= Math.floor(from / stepMs) && step <= Math.floor((from + length) / stepMs));
          sum += part;
        });
        assert.ok(Math.abs(sum - n) <= 1e-6 * n);
      },
    ),
  );
});

test('a grid holds its newest steps, whatever is skipped or comes late', () => {
  const grid = new History(4, 2);
  grid.add(10, 0, 7);
  grid.add(11, 1, 3);
  grid.add(9, 0, 1);
  assert.deepEqual(
    [9, 10, 11].map((s) => grid.at(s, 0)),
    [1, 7, 0],
  );
  assert.equal(grid.sum(0, 100, 0), 8);
  grid.add(13, 0, 2);
  assert.equal(grid.at(9, 0), 0, 'out of the grid');
  grid.add(9, 0, 5);
  assert.equal(grid.sum(0, 100, 0), 9, 'too late');
  grid.add(1000, 0, 1);
  assert.equal(grid.sum(0, 1000, 0), 1);
});
