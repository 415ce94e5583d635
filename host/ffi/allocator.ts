import { libcFunction } from './libc.ts';

/** malloc_trim(3): glibc has it, musl does not keep what would have to be given back. */
const mallocTrim = libcFunction<(pad: number) => number>('int malloc_trim(size_t pad)');

/**
 * Gives the pages back that the C allocator keeps for later. glibc keeps nearly all that was ever freed, since one living block at the end of an arena
 * holds the rest: after a burst of native memory that does not come again, as the loading of BPF programs is (8 MiB), that is memory for nothing.
 * Takes about a millisecond for each 10 MiB.
 */
export function returnFreedMemory(): void {
  mallocTrim?.(0);
}
