import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressText, ipv6, kaddr, kaddrs, s64, text, tuple, u64, viewOf } from './record.ts';

const memory = (size: number) => Buffer.alloc(size + 8);

test('numbers of 64 bits', () => {
  const b = memory(16);
  b.writeBigUInt64LE(2n ** 53n - 1n, 0);
  b.writeBigInt64LE(-110n, 8);
  assert.equal(u64(viewOf(b), 0), 2 ** 53 - 1);
  assert.equal(s64(viewOf(b), 8), -110);
});

test('kernel addresses keep all their bits; a list ends at zero', () => {
  const b = memory(32);
  b.writeBigUInt64LE(0xffffffff81000123n, 0);
  b.writeBigUInt64LE(0xffff800008000001n, 8);
  assert.equal(kaddr(viewOf(b), 0), 'ffffffff81000123');
  assert.equal(kaddr(viewOf(b), 16), '');
  assert.deepEqual(kaddrs(viewOf(b), 0, 4), ['ffffffff81000123', 'ffff800008000001']);
});

test('text ends at NUL or at the end of its field, and holds no control characters', () => {
  const b = memory(16);
  b.write('eth0\0garbage');
  assert.equal(text(viewOf(b), 0, 16), 'eth0');
  b.write('0123456789abcdef');
  assert.equal(text(viewOf(b), 0, 16), '0123456789abcdef');
  assert.equal(text(viewOf(b), 0, 4), '0123');
  b.write('a\nb\x1b[\0');
  assert.equal(text(viewOf(b), 0, 16), 'a?b?[');
});

test('IPv6 addresses as RFC 5952 writes them', () => {
  const cases: readonly [string, string][] = [
    ['20010db8000000000000000000000001', '2001:db8::1'],
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['20010000000000010000000000000001', '2001:0:0:1::1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ];
  for (const [hex, expected] of cases)
    assert.equal(ipv6(viewOf(Buffer.from(new Uint8Array(Buffer.from(hex, 'hex')).buffer)), 0), expected);
});

test('every IPv6 address reads back as itself', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const written = addressText([...bytes], 6);
      assert.ok(isIPv6(written), written);
      const canonical = new URL(`http://[${written}]/`).hostname.slice(1, -1);
      assert.equal(written, canonical);
    }),
  );
});

test('a tuple of each family', () => {
  const b = memory(40);
  b.set([10, 0, 0, 1], 0);
  b.set([10, 0, 0, 2], 16);
  b.writeUInt16LE(443, 32);
  b.writeUInt16LE(33488, 34);
  b[36] = 4;
  b[37] = 6;
  assert.deepEqual(tuple(viewOf(b), 0), {
    family: 4,
    protocol: 6,
    sourceAddress: '10.0.0.1',
    sourcePort: 443,
    destinationAddress: '10.0.0.2',
    destinationPort: 33488,
  });
  b[36] = 0;
  assert.equal(tuple(viewOf(b), 0).sourceAddress, '');
  b[36] = 99;
  assert.equal(tuple(viewOf(b), 0).family, 0);
});
