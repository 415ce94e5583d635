import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parsePidStat } from './pid-stat.ts';

const tail = 'S 1 1 1 0 -1 4194560 8134 10 20 30 1 2 3 4 20 0 1 0 4711 226545664 1234';

test('names with spaces and parentheses are read', () => {
  for (const comm of ['init', 'a b', 'x) S 1 (y', '(sd-pam)', '']) {
    const stat = parsePidStat(Buffer.from(`17 (${comm}) ${tail}\n`));
    assert.deepEqual(stat, { comm, state: 'S', starttime: 4711, kernelThread: false });
  }
});

test('threads of the kernel are told by their flag', () => {
  // As kworker/0:0H shows itself on Linux 6.1: PF_WQ_WORKER, PF_NO_SETAFFINITY, PF_KTHREAD, PF_NOFREEZE, PF_FORKNOEXEC.
  const line = '8 (kworker/0:0H) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 0 -20 1 0 13 0 0';
  assert.equal(parsePidStat(Buffer.from(line))?.kernelThread, true);
});

test('a line cut anywhere is refused or whole, and nothing throws', () => {
  const line = Buffer.from(`17 (init) ${tail}`);
  for (let n = 0; n < line.length; n++) {
    const stat = parsePidStat(line.subarray(0, n));
    if (stat) assert.ok([4, 47, 471, 4711].includes(stat.starttime), `cut at ${n}: ${stat.starttime}`);
  }
  assert.equal(parsePidStat(undefined), undefined);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parsePidStat(Buffer.from(bytes))));
});
