import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCapture, torture, walk } from '../../host/netlink/capture.ts';
import { netlinkRequest } from '../../host/netlink/message.ts';
import { dropReasons, flowStates, newRow, type QdiscRow, readQdisc, takeRejects } from './qdisc-codec.ts';

const capture = readCapture(new URL('testdata/qdisc.bin', import.meta.url));

/** One answer as the kernel would send it for a kind that this kernel may not have. */
function answer(kind: string, application: Buffer, packets64?: bigint): Buffer {
  const header = Buffer.alloc(20);
  header.writeInt32LE(7, 4);
  header.writeUInt32LE(0xffffffff, 12);
  const basic = Buffer.alloc(16);
  basic.writeBigUInt64LE(5_000_000_000n, 0);
  basic.writeUInt32LE(41, 8);
  const queue = Buffer.alloc(20);
  [3, 300, 11, 13, 17].forEach((v, i) => {
    queue.writeUInt32LE(v, 4 * i);
  });
  const wide = Buffer.alloc(8);
  wide.writeBigUInt64LE(packets64 ?? 0n);
  return netlinkRequest(36, 0, header, [
    [1, kind],
    [7, [[1, basic], ...(packets64 === undefined ? [] : [[8, wide] as const]), [3, queue], [4, application]]],
  ]);
}

function read(datagram: Buffer): QdiscRow {
  const row = newRow();
  walk([datagram], (m) => assert.ok(readQdisc(m, row)));
  return row;
}
const reason = (row: QdiscRow, name: (typeof dropReasons)[number]) => row.dropReasons[dropReasons.indexOf(name)];
const flows = (row: QdiscRow, name: (typeof flowStates)[number]) => row.flows[flowStates.indexOf(name)];
const words = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);

test('recorded qdiscs: htb at the root, tbf below it, ingress, noqueue', () => {
  const rows: unknown[] = [];
  const row = newRow();
  walk(capture, (m) => {
    if (m.type !== 36) return;
    assert.ok(readQdisc(m, row));
    rows.push([row.kind, row.top]);
    if (row.kind !== 'noqueue') assert.ok(row.bytes >= 0 && row.packets >= 0 && row.drops === 0);
  });
  assert.equal(takeRejects(), 0);
  assert.deepEqual(rows.map(String).sort(), ['htb,true', 'ingress,true', 'noqueue,true', 'tbf,false']);
});

test('64-bit packets are used where the kernel sends them', () => {
  assert.equal(read(answer('tbf', Buffer.alloc(0))).packets, 41);
  const row = read(answer('tbf', Buffer.alloc(0), 5_000_000_041n));
  assert.deepEqual(
    [
      row.interfaceIndex,
      row.top,
      row.bytes,
      row.packets,
      row.queueLength,
      row.backlogBytes,
      row.drops,
      row.requeues,
      row.overlimits,
    ],
    [7, true, 5e9, 5_000_000_041, 3, 300, 11, 13, 17],
  );
});

test('fq_codel: drops by reason, marks, flows', () => {
  const row = read(answer('fq_codel', words(0, 1514, 23, 29, 31, 2, 5, 37, 4096, 7)));
  assert.deepEqual(
    [reason(row, 'overlimit'), reason(row, 'overmemory'), row.ecnMarked, flows(row, 'new'), flows(row, 'old')],
    [23, 7, 29, 2, 5],
  );
  assert.ok(Number.isNaN(read(answer('fq_codel', words(1, 1, 1, 1))).ecnMarked), 'of a class: not a qdisc’s');
});

test('fq: throttled, limits, horizon; absent on kernels that send less', () => {
  const long = Buffer.alloc(144);
  const at = (offset: number, value: number) => long.writeBigUInt64LE(BigInt(value), offset);
  at(24, 101);
  at(32, 103);
  at(40, 107);
  at(48, 109);
  long.writeUInt32LE(20, 64);
  long.writeUInt32LE(15, 68);
  long.writeUInt32LE(3, 72);
  at(80, 113);
  at(88, 127);
  const row = read(answer('fq', long));
  assert.deepEqual(
    [
      row.throttled,
      reason(row, 'flow_limit'),
      reason(row, 'too_long'),
      reason(row, 'allocation'),
      reason(row, 'horizon'),
      row.ecnMarked,
    ],
    [101, 103, 107, 109, 127, 113],
  );
  assert.deepEqual([flows(row, 'active'), flows(row, 'inactive'), flows(row, 'throttled')], [5, 15, 3]);
  const old = read(answer('fq', long.subarray(0, 80)));
  assert.equal(old.throttled, 101);
  assert.ok(Number.isNaN(old.ecnMarked) && Number.isNaN(reason(old, 'horizon')));
});

test('codel and red', () => {
  const codel = read(answer('codel', words(1, 2, 3, 4, 5, 23, 29, 0, 31)));
  assert.deepEqual([reason(codel, 'overlimit'), codel.ecnMarked], [23, 29]);
  const red = read(answer('red', words(2, 3, 5, 7)));
  assert.deepEqual([reason(red, 'early'), reason(red, 'hard'), reason(red, 'other'), red.ecnMarked], [2, 3, 5, 7]);
});

test('cut or changed anywhere: no throw', () => {
  const row = newRow();
  let readable = 0;
  torture(
    [...capture, answer('fq', Buffer.alloc(144)), answer('fq_codel', words(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))],
    (m) => {
      if (readQdisc(m, row)) readable++;
    },
  );
  assert.ok(readable > 100 && takeRejects() > 0);
});
