import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ProcRoot } from '../proc-root.ts';
import { KernelSymbols, parseKallsyms, SymbolTableBuilder } from './kallsyms.ts';

const text = Buffer.from(
  [
    '0000000000000000 A fixed_percpu_data',
    'ffffffff81000000 T _stext',
    'ffffffff81000400 T tcp_v4_rcv',
    'ffffffff81000300 t helper.isra.0',
    'ffffffff81000380 D some_data',
    'ffffffff81000800 W weak_one',
    'ffffffff81001000 T _etext',
    'ffffffffc0000100 t br_forward\t[bridge]',
    'ffffffffc0000000 t br_first\t[bridge]',
    '',
  ].join('\n'),
);

test('finds the function an address lies in, whatever the order of the file', () => {
  const table = parseKallsyms(text);
  assert.equal(table.size, 6);
  assert.equal(table.readable, true);
  const at = (low: number, high = 0xffffffff) => table.lookup(high, low);
  assert.deepEqual(at(0x81000400), { name: 'tcp_v4_rcv', offset: 0, module: undefined });
  assert.deepEqual(at(0x810003ff), { name: 'helper.isra.0', offset: 0xff, module: undefined });
  assert.deepEqual(at(0xc0000110), { name: 'br_forward', offset: 0x10, module: 'bridge' });
  assert.equal(at(0x80ffffff), undefined);
  assert.equal(at(0, 0), undefined);
});

test('nothing between the end of the kernel and its modules has a name', () => {
  const table = parseKallsyms(text);
  assert.equal(table.lookup(0xffffffff, 0x81001000), undefined);
  assert.equal(table.lookup(0xffffffff, 0x81001234), undefined);
  assert.equal(table.lookup(0xffffffff, 0xbfffffff), undefined);
  assert.equal(table.lookup(0xffffffff, 0xc0900000), undefined);
});

test('knows functions by whole name only', () => {
  const table = parseKallsyms(text);
  assert.equal(table.has('tcp_v4_rcv'), true);
  assert.equal(table.has('br_forward'), true);
  assert.equal(table.has('tcp_v4'), false);
  assert.equal(table.has('v4_rcv'), false);
  assert.equal(table.has('some_data'), false);
});

test('zeros: not readable, no address has a name', () => {
  const hidden = parseKallsyms(Buffer.from(text.toString().replace(/^[0-9a-f]{16}/gm, '0'.repeat(16))));
  assert.equal(hidden.readable, false);
  assert.equal(hidden.lookup(0xffffffff, 0x81000400), undefined);
  assert.equal(hidden.lookup(0, 0), undefined);
});

test('cut anywhere and read in pieces of any size it gives the same or less, never an error', () => {
  const whole = parseKallsyms(text);
  for (let size = 1; size < 60; size++) {
    const builder = new SymbolTableBuilder();
    for (let i = 0; i < text.length; i += size) builder.push(text.subarray(i, i + size));
    const table = builder.finish();
    assert.equal(table.size, whole.size);
    assert.deepEqual(table.lookup(0xffffffff, 0xc0000110), whole.lookup(0xffffffff, 0xc0000110));
  }
  for (let end = 0; end < text.length; end++) assert.ok(parseKallsyms(text.subarray(0, end)).size <= whole.size);
});

test('lines that are none are passed over', () => {
  const table = parseKallsyms(
    Buffer.from('garbage\nxyz T a\nffffffff8100000000 T long\n T\n\nffffffff81000000 T ok\n'),
  );
  assert.equal(table.size, 1);
  assert.equal(table.lookup(0xffffffff, 0x81000001)?.name, 'ok');
});

test('reads again only when modules changed', async () => {
  const proc = mkdtempSync(join(tmpdir(), 'skl-kallsyms-'));
  after(() => rmSync(proc, { recursive: true }));
  mkdirSync(proc, { recursive: true });
  writeFileSync(join(proc, 'kallsyms'), text);
  writeFileSync(join(proc, 'modules'), 'bridge 1 0 - Live 0x0\n');
  const symbols = new KernelSymbols(new ProcRoot({ proc }));
  const [first, second] = await Promise.all([symbols.refresh(), symbols.refresh()]);
  assert.equal(first, second);
  assert.equal(symbols.describe('0xffffffff81000500'), 'tcp_v4_rcv+0x100');
  assert.equal(symbols.describe('nonsense'), undefined);
  // A use count that moves is no change.
  writeFileSync(join(proc, 'modules'), 'bridge 1 3 - Live 0x0\n');
  assert.equal(await symbols.refresh(), first);
  writeFileSync(join(proc, 'modules'), 'bridge 1 3 - Live 0x0\nstp 1 1 bridge, Live 0x0\n');
  assert.notEqual(await symbols.refresh(), first);
});
