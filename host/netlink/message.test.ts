import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AttributeCursor } from './attributes.ts';
import { NetlinkMessage, netlinkRequest } from './message.ts';

function load(bytes: Uint8Array): NetlinkMessage {
  return new NetlinkMessage(Buffer.from(bytes)).reset(bytes.length);
}

test('a request is read back as it was built', () => {
  const request = netlinkRequest(38, 0x300, Buffer.from([1, 2, 3]), [
    [1, 'eth0'],
    [2, 0xfffffffe],
    [3, Buffer.from([9])],
    [
      4,
      [
        [5, 7],
        [6, []],
      ],
    ],
  ]);
  assert.equal(request.length % 4, 0);
  const m = load(request);
  assert.ok(m.next());
  assert.deepEqual([m.type, m.flags, m.sequence], [38, 0x301, 0]);
  const a = new AttributeCursor().reset(m.view, m.start + 4, m.end);
  assert.deepEqual([a.next(), a.type as number], [true, 1]);
  assert.equal(a.text(), 'eth0');
  assert.deepEqual([a.next(), a.type as number], [true, 2]);
  assert.equal(a.u32(), 0xfffffffe);
  assert.deepEqual([a.next(), a.type as number], [true, 3]);
  assert.deepEqual([a.length, a.u8(), a.bytes()], [1, 9, Buffer.from([9])]);
  assert.deepEqual([a.next(), a.type as number], [true, 4]);
  const inner = new AttributeCursor().enter(a);
  assert.ok(inner.next());
  assert.deepEqual([inner.type, inner.u32()], [5, 7]);
  assert.ok(inner.next());
  assert.deepEqual([inner.type, inner.length], [6, 0]);
  assert.ok(!inner.next() && !a.next() && !m.next());
  assert.equal(a.rejects + inner.rejects, 0);
  assert.ok(!m.malformed);
});

test('numbers are read in both byte orders', () => {
  const value = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]);
  const m = load(netlinkRequest(1, 0, Buffer.alloc(0), [[1, value]]));
  m.next();
  const a = new AttributeCursor().reset(m.view, m.start, m.end);
  a.next();
  assert.equal(a.u16(), 0x0201);
  assert.equal(a.be16(2), 0x0304);
  assert.equal(a.u32(4), 0x08070605);
  assert.equal(a.i32(), 0x04030201);
  assert.equal(a.be32(), 0x01020304);
  assert.equal(a.u64(), Number(0x0807060504030201n));
  assert.equal(a.be64(), Number(0x0102030405060708n));
  assert.equal(a.rejects, 0);
});

test('short values are NaN and counted', () => {
  const m = load(netlinkRequest(1, 0, Buffer.alloc(0), [[1, Buffer.from([1])]]));
  m.next();
  const a = new AttributeCursor().reset(m.view, m.start, m.end);
  a.next();
  for (const read of [a.u16, a.u32, a.i32, a.u64, a.be16, a.be32, a.be64]) assert.ok(Number.isNaN(read.call(a)));
  assert.ok(Number.isNaN(a.u8(1)));
  assert.equal(a.takeRejects(), 8);
  assert.equal(a.takeRejects(), 0);
});

test('lengths that lie end the walk and are counted', () => {
  for (const length of [0, 15, 17 + 4, 0xffffffff]) {
    const bytes = Buffer.alloc(20);
    bytes.writeUInt32LE(length, 0);
    const m = load(bytes);
    assert.equal(m.next(), false, `length ${length}`);
    assert.ok(m.malformed);
  }
  for (const length of [0, 3, 9, 0xffff]) {
    const view = new DataView(new ArrayBuffer(8));
    view.setUint16(0, length, true);
    const a = new AttributeCursor().reset(view, 0, 8);
    assert.equal(a.next(), false, `attribute length ${length}`);
    assert.equal(a.rejects, 1);
  }
});

test('random bytes: no throw, no endless walk, never outside', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const m = load(bytes);
      let messages = 0;
      while (m.next()) {
        assert.ok(m.start >= 16 && m.end >= m.start && m.end <= bytes.length);
        const a = new AttributeCursor().reset(m.view, m.start, m.end);
        while (a.next()) assert.ok(a.start >= m.start + 4 && a.end <= m.end);
        assert.ok(++messages <= 20);
      }
    }),
  );
});
