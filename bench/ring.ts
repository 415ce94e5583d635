/**
 * What reading a record costs: `node bench/ring.ts [--rounds 40]`. Needs root, gcc and libbpf's headers.
 *
 * A BPF program fills the ring, then only the reading is timed: the reader of host/bpf/ringbuf.ts and libbpf's own ring_buffer__consume with a C
 * callback, in turns, in this process, from rings of the same size. Both read the same words of each record.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { RingReader } from '../host/bpf/ringbuf.ts';
import { loadLibrary } from '../host/ffi/libc.ts';
import { SelfTest } from '../test/bpf/selftest.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '40' }, size: { type: 'string' } } });
const rounds = Number(values.rounds);
const work = mkdtempSync(join(tmpdir(), `skl-bench-ring-${process.pid}-`));
process.once('exit', () => rmSync(work, { recursive: true }));

const library = join(work, 'consumer.so');
execFileSync('gcc', [
  '-O2',
  '-shared',
  '-fPIC',
  '-o',
  library,
  join(import.meta.dirname, 'c/ring-consumer.c'),
  '-lbpf',
]);
const c = loadLibrary(library)!;
const open = c.func('void *consumer_open(int fd)');
const read = c.func('int consumer_read(void *ring)');
const close = c.func('void consumer_close(void *ring)');

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

/** One ring for each side, since a ring has one reader. */
async function compare(size: 64 | 128 | 256): Promise<void> {
  using forC = await SelfTest.load();
  using forJs = await SelfTest.load();
  const ring = new RingReader(forJs.loaded.map('skl_gen_ring').fd, forJs.loaded.map('skl_gen_ring').maxEntries);
  const handle: bigint = open(forC.loaded.map('skl_gen_ring').fd);
  const { data } = ring.view;
  const sums = new Float64Array(4);
  const take = (at: number): void => {
    sums[0]! += data.getUint32(at, true) + data.getUint32(at + 4, true) * 4294967296;
    sums[1]! += data.getUint32(at + 8, true) + data.getUint32(at + 12, true);
    sums[2]! += data.getUint32(at + 24, true);
    sums[3]! += (data.getInt32(at + 40, true) ^ data.getInt32(at + 44, true)) >>> 0;
  };
  const sides = {
    c: { fill: () => forC.generate(0, 1e6, size, true), read: (): number => read(handle), ns: [] as number[] },
    js: { fill: () => forJs.generate(0, 1e6, size, true), read: () => ring.consume(take, 1e9), ns: [] as number[] },
  };
  for (let round = 0; round < rounds + 4; round++) {
    const order = round % 2 === 0 ? [sides.c, sides.js] : [sides.js, sides.c];
    for (const side of order) {
      const n = side.fill();
      const began = process.hrtime.bigint();
      const got = side.read();
      const took = Number(process.hrtime.bigint() - began);
      if (got !== n) throw new Error(`${got} records read of ${n}.`);
      // The first rounds warm the compiler up.
      if (round >= 4) side.ns.push(took / n);
    }
  }
  close(handle);
  ring.close();
  const [ours, theirs] = [median(sides.js.ns), median(sides.c.ns)];
  const figures = `${ours.toFixed(1)} ns/record (${Math.min(...sides.js.ns).toFixed(1)} at best), C ${theirs.toFixed(1)} (${Math.min(...sides.c.ns).toFixed(1)})`;
  console.log(`${String(size).padStart(3)} B  TypeScript ${figures}, ${(ours / theirs).toFixed(2)}x`);
}

// A process for each size: the agent has one callback that the compiler can inline, and so has each of these.
const only = [64, 128, 256].find((size) => String(size) === values.size) as 64 | 128 | 256 | undefined;
if (only !== undefined) await compare(only);
else {
  for (const size of [64, 128, 256]) {
    execFileSync(process.execPath, [import.meta.filename, '--size', String(size), '--rounds', values.rounds], {
      stdio: 'inherit',
    });
  }
}
