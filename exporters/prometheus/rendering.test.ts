import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { BufferPool, type Render, Rendering } from './rendering.ts';

const size = 256 * 1024;

/** A body of `n` chunks, each filled with its number; every third turn has nothing to send. */
const body = (n: number): Render =>
  function* (allocate) {
    for (let i = 0; i < n; i++) {
      if (i % 3 === 2) yield null;
      const chunk = allocate(size);
      chunk.fill(i % 251);
      yield chunk;
    }
  };
const expected = (n: number) => Buffer.concat(Array.from({ length: n }, (_, i) => Buffer.alloc(size, i % 251)));

/** Reads a rendering as a scrape does: a chunk is being sent for `pace()` turns of the event loop, and is looked at only then. */
async function read(rendering: Rendering, pace: () => number): Promise<Buffer> {
  const reader = rendering.reader();
  const out: Buffer[] = [];
  for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
    for (let i = pace(); i > 0; i--) await turn();
    out.push(Buffer.from(chunk));
  }
  reader.close();
  return Buffer.concat(out);
}

describe('rendering', () => {
  it('gives every reader the whole body at its own pace, though buffers go round', async () => {
    const chunks = 24;
    const pool = new BufferPool();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.nat({ max: 4 }), { minLength: 5, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
        async (paces) => {
          const rendering = new Rendering(body(chunks), 'identity', pool);
          const bodies = await Promise.all(
            paces.map((p) => {
              let i = 0;
              return read(rendering, () => p[i++ % p.length]!);
            }),
          );
          for (const b of bodies) assert.ok(b.equals(expected(chunks)));
        },
      ),
      { numRuns: 12 },
    );
  });

  it('is open to new readers at its beginning only', async () => {
    const rendering = new Rendering(body(24), 'identity', new BufferPool());
    const reader = rendering.reader();
    await reader.next();
    assert.equal(rendering.open, true);
    for (let i = 0; i < 12; i++) await reader.next();
    assert.equal(rendering.open, false);
    reader.close();
  });

  it('makes nothing before somebody reads, and nothing more than is read', async () => {
    let made = 0;
    const rendering = new Rendering(
      function* (allocate) {
        for (let i = 0; i < 10; i++) {
          made++;
          yield allocate(size);
        }
      },
      'identity',
      new BufferPool(),
    );
    const reader = rendering.reader();
    assert.equal(made, 0);
    await reader.next();
    await reader.next();
    await turn();
    assert.equal(made, 2);
    reader.close();
  });

  it('compresses the same body', async () => {
    const rendering = new Rendering(body(20), 'gzip', new BufferPool());
    const [a, b] = await Promise.all([read(rendering, () => 0), read(rendering, () => 2)]);
    assert.ok(gunzipSync(a).equals(expected(20)));
    assert.ok(a.equals(b));
  });

  it('tells every reader when the body cannot be made', async () => {
    const rendering = new Rendering(
      function* (allocate) {
        yield allocate(size);
        throw new Error('broken');
      },
      'identity',
      new BufferPool(),
    );
    const results = await Promise.allSettled([read(rendering, () => 0), read(rendering, () => 3)]);
    assert.deepEqual(
      results.map((r) => r.status),
      ['rejected', 'rejected'],
    );
  });

  it('ends when its last reader leaves, while a chunk is being made', async () => {
    let ended = false;
    const rendering = new Rendering(
      function* (allocate) {
        try {
          for (;;) yield allocate(size);
        } finally {
          ended = true;
        }
      },
      'gzip',
      new BufferPool(),
    );
    const reader = rendering.reader();
    await reader.next();
    const pending = reader.next();
    reader.close();
    await pending.catch(() => {});
    while (!ended) await turn();
  });
});
