import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { waitFor } from '../../test/bed/command.ts';
import { returnFreedMemory } from './allocator.ts';
import { libcFunction } from './libc.ts';

const mebibyte = 1 << 20;
/** Below M_MMAP_THRESHOLD (128 KiB): larger blocks are mapped one by one and go back when they are freed. */
const blockBytes = 96 * 1024;

describe('the C allocator', () => {
  it('gives freed memory back that one living block holds', {
    skip: !libcFunction('int malloc_trim(size_t pad)'),
  }, async () => {
    const blocks = Array.from({ length: 512 }, () => Buffer.allocUnsafeSlow(blockBytes).fill(7));
    const last = blocks.at(-1);
    blocks.length = 0;
    setFlagsFromString('--expose-gc');
    const gc: () => void = runInNewContext('gc');
    await waitFor('the blocks to be freed', () => {
      gc();
      return process.memoryUsage().arrayBuffers < 8 * mebibyte;
    });
    const before = process.memoryUsage.rss();
    returnFreedMemory();
    const given = before - process.memoryUsage.rss();
    assert.ok(given > 24 * mebibyte, `gave back ${given / mebibyte} MiB of 48`);
    assert.equal(last?.[0], 7);
  });
});
