import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RingPump } from '../../host/bpf/ring-pump.ts';
import { RingReader } from '../../host/bpf/ringbuf.ts';
import { until } from './harness.ts';
import { SelfTest } from './selftest.ts';

/** Records in the lane; `SKOOPLINE_SOAK=1` makes it the 25 million of the soak. */
const total = process.env['SKOOPLINE_SOAK'] === '1' ? 25_000_000 : 2_000_000;

/** Checks every word of every record against its sequence number. */
class Checker {
  readonly #ring: RingReader;
  next = 0;
  bad = 0;

  constructor(ring: RingReader) {
    this.#ring = ring;
  }

  take = (at: number, length: number): void => {
    const { u32 } = this.#ring.view;
    const w = at >>> 2;
    const low = u32[w]!;
    if (low + u32[w + 1]! * 4294967296 !== this.next) this.bad++;
    this.next++;
    // (seq ^ constant) + i, as two halves
    const a = (low ^ 0x7f4a7c15) >>> 0;
    const high = (u32[w + 1]! ^ 0x9e3779b9) >>> 0;
    for (let i = 1; i < length >>> 3; i++) {
      const sum = a + i;
      if (u32[w + 2 * i]! !== sum >>> 0 || u32[w + 2 * i + 1]! !== (high + (sum > 0xffffffff ? 1 : 0)) >>> 0) {
        this.bad++;
        return;
      }
    }
  };
}

test(`${total} numbered records of mixed sizes: none lost, none twice, none torn`, async () => {
  using self = await SelfTest.load();
  const map = self.loaded.map('skl_gen_ring');
  const ring = new RingReader(map.fd, map.maxEntries);
  const checker = new Checker(ring);
  let slices = 0;
  const pump = new RingPump({
    ring,
    fd: map.fd,
    onRecord: checker.take,
    onSlice: () => slices++,
    onError: (error) => assert.fail(String(error)),
  });
  try {
    let sent = 0;
    while (sent < total) {
      sent += self.generate(sent, Math.min(20_000, total - sent), 0);
      // A turn of the loop: what the pump may use. Then the rest by hand, so that the test is as fast as the reader.
      await new Promise((resolve) => setImmediate(resolve));
      pump.drain();
    }
    await until(() => checker.next === total);
    assert.equal(checker.bad, 0);
    assert.ok(slices > 0);
    assert.ok(ring.discarded > 0);
    assert.equal(ring.backlog, 0);
  } finally {
    pump.close();
    ring.close();
  }
});

test('positions beyond 2^32 bytes: none lost, none twice', async (t) => {
  // 4.3 GiB take two seconds here and minutes where each instruction is emulated.
  if (process.env['SKOOPLINE_GUEST']) return t.skip('an emulated guest is too slow for 4.3 GiB');
  using self = await SelfTest.load();
  const map = self.loaded.map('skl_gen_ring');
  const ring = new RingReader(map.fd, map.maxEntries);
  try {
    const { u32 } = ring.view;
    let next = 0;
    let bad = 0;
    const take = (at: number) => {
      if (u32[at >>> 2] !== next++) bad++;
    };
    const records = Math.ceil(2 ** 32 / (256 + 8)) + 10_007;
    for (let sent = 0; sent < records; ) {
      sent += self.generate(sent, Math.min(30_000, records - sent), 256, true);
      while (ring.consume(take, 4096) > 0);
    }
    assert.equal(next, records);
    assert.equal(bad, 0);
    assert.equal(ring.backlog, 0);
  } finally {
    ring.close();
  }
  return undefined;
});

test('a ring that is full takes what fits, and goes on after it was read', async () => {
  using self = await SelfTest.load({ mapEntries: { skl_gen_ring: 4096 } });
  const map = self.loaded.map('skl_gen_ring');
  const ring = new RingReader(map.fd, map.maxEntries);
  const checker = new Checker(ring);
  try {
    // 4096 bytes / (64 + 8), less one: the kernel never fills the ring to the last byte.
    const first = self.generate(0, 1000, 64);
    assert.ok(first === 56, `${first} records`);
    assert.equal(self.generate(first, 1000, 64), 0);
    assert.equal(ring.consume(checker.take, 10), 10);
    assert.equal(self.generate(first, 1000, 64), 10);
    assert.equal(ring.consume(checker.take, 1000), 56);
    assert.equal(checker.next, 66);
    assert.equal(checker.bad, 0);
  } finally {
    ring.close();
  }
  assert.equal(ring.consume(checker.take, 1), 0);
  ring.close();
});

test('the pump sleeps while paused and reads on when resumed', async () => {
  using self = await SelfTest.load();
  const map = self.loaded.map('skl_gen_ring');
  const ring = new RingReader(map.fd, map.maxEntries);
  const checker = new Checker(ring);
  const pump = new RingPump({
    ring,
    fd: map.fd,
    onRecord: checker.take,
    onSlice: () => {},
    onError: (error) => assert.fail(String(error)),
  });
  try {
    self.generate(0, 3, 64);
    await until(() => checker.next === 3);
    pump.pause();
    self.generate(3, 5, 64);
    // A paused pump has neither a timer nor a watch: if it had, this turn would read.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(checker.next, 3);
    pump.resume();
    await until(() => checker.next === 8);
    // Asleep in poll again, and woken by the next record.
    self.generate(8, 2, 64);
    await until(() => checker.next === 10);
    assert.equal(checker.bad, 0);
  } finally {
    pump.close();
    ring.close();
  }
});
