import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteRate, bytes, count, exact, happened, percent, seconds, span } from './format.ts';

test('numbers for people', () => {
  assert.deepEqual([0, 7, 23, 999, 1000, 10_000, 1_234_567, 0.5, 0.042, 2.345].map(count), [
    '0',
    '7',
    '23',
    '999',
    '1k',
    '10k',
    '1.23M',
    '0.5',
    '0.042',
    '2.35',
  ]);
  assert.deepEqual([0, 1, 100, 999.9, 2360, 1.31e6].map(byteRate), [
    '0',
    '1 B/s',
    '100 B/s',
    '1 kB/s',
    '2.36 kB/s',
    '1.31 MB/s',
  ]);
  assert.deepEqual([0, 1e-9, 61e-6, 0.00195, 0.25, 1, 120].map(seconds), [
    '0',
    '1 ns',
    '61 µs',
    '1.95 ms',
    '250 ms',
    '1 s',
    '120 s',
  ]);
  assert.deepEqual([0, 0.00004, 0.5, 1].map(percent), ['0\u202f%', '0.004\u202f%', '50\u202f%', '100\u202f%']);
  assert.deepEqual([12, 2048, 64 * 2 ** 20].map(bytes), ['12 B', '2 KiB', '64 MiB']);
  assert.deepEqual([exact(1_234_567), exact(999)], ['1\u202f234\u202f567', '999']);
  assert.deepEqual([span(300_000), span(45_000)], ['5 min', '45 s']);
  assert.deepEqual(
    [happened(23, 'packets dropped'), happened(1, 'packets dropped'), happened(1, 'DNS failures')],
    ['23 packets dropped', '1 packet dropped', '1 DNS failure'],
  );
});
