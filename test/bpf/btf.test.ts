import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { layoutOf } from '../../bpf/layout.ts';
import { elfSection } from '../../host/bpf/elf.ts';
import { Btf, BtfError, btfKind } from '../../host/symbols/btf.ts';
import { KernelTypes } from '../../host/symbols/kernel-types.ts';

/** bpftool reads the same bytes: our reader must agree with it. */

interface ToolType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly members?: readonly { readonly name: string; readonly bits_offset: number; readonly type_id: number }[];
  readonly values?: readonly { readonly name: string; readonly val: number }[];
  readonly params?: readonly unknown[];
}
const dump = (file: string): readonly ToolType[] =>
  JSON.parse(execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', file], { encoding: 'utf8', maxBuffer: 1 << 30 }))
    .types;

test('structs, enums and prototypes of every object are what bpftool says', () => {
  for (const file of globSync('.output/bpf/*.bpf.o', { cwd: `${import.meta.dirname}/../..` })) {
    const path = `${import.meta.dirname}/../../${file}`;
    const btf = new Btf(elfSection(readFileSync(path), '.BTF')!);
    const types = dump(path);
    assert.equal(btf.typeCount, types.length + 1);
    for (const t of types) {
      if (t.kind === 'STRUCT' || t.kind === 'UNION') {
        assert.equal(btf.sizeOrType(t.id), t.size);
        const ours = btf.members(t.id).map((m) => [m.name, m.bitOffset, m.type]);
        assert.deepEqual(
          ours,
          t.members?.map((m) => [m.name === '(anon)' ? '' : m.name, m.bits_offset, m.type_id]),
        );
      } else if (t.kind === 'ENUM') {
        assert.deepEqual(
          btf.enumerators(t.id).map(([n]) => n),
          t.values?.map((v) => v.name),
        );
      } else if (t.kind === 'FUNC_PROTO') {
        assert.equal(btf.parameters(t.id).length, t.params?.length);
      }
    }
  }
});

test('drop reasons and tracepoints of the running kernel are what bpftool says', () => {
  const types = dump('/sys/kernel/btf/vmlinux');
  const kernel = KernelTypes.read();
  const reasons = types.find((t) => t.kind === 'ENUM' && t.name === 'skb_drop_reason');
  assert.deepEqual(
    [...(kernel.enumNames('skb_drop_reason') ?? [])].map(([v, n]) => [n, v]),
    reasons?.values?.map((v) => [v.name, v.val >>> 0]),
  );
  assert.equal(kernel.enumNamesWith('TCP_ESTABLISHED')?.get(1), 'TCP_ESTABLISHED');
  assert.equal(kernel.tracepointArguments('no_such_tracepoint'), undefined);
  assert.ok((kernel.tracepointArguments('kfree_skb') ?? 0) >= 2);
  assert.equal(kernel.hasFunction('tcp_v4_rcv'), true);
  assert.equal(kernel.hasFunction('tcp_v4_rc'), false);
});

test('cut or damaged BTF is a BtfError or less, never a crash', () => {
  const object = readFileSync(`${import.meta.dirname}/../../.output/bpf/selftest.bpf.o`);
  const whole = Buffer.from(elfSection(object, '.BTF')!);
  for (let end = 0; end < whole.length; end += 7)
    assert.throws(() => new Btf(Buffer.from(whole.subarray(0, end))), BtfError);
  let seed = 7;
  for (let i = 0; i < 500; i++) {
    const bad = Buffer.from(whole);
    seed = (seed * 48271) % 2147483647;
    bad[24 + (seed % (bad.length - 24))] = (seed >>> 9) & 0xff;
    try {
      const btf = new Btf(bad);
      for (const kind of Object.values(btfKind)) for (const id of btf.ofKind(kind)) btf.name(id);
      for (const id of btf.ofKind(btfKind.struct)) btf.members(id);
    } catch (error) {
      assert.ok(error instanceof BtfError || error instanceof RangeError, String(error));
    }
  }
});

test('every object has the layout its generated file was made from', () => {
  const root = `${import.meta.dirname}/../..`;
  for (const file of globSync('bpf/gen/*.layout.json', { cwd: root })) {
    const { hash, ...committed } = JSON.parse(readFileSync(`${root}/${file}`, 'utf8'));
    assert.equal(typeof hash, 'string');
    const name = file.replace(/^.*\//, '').replace('.layout.json', '');
    assert.deepEqual(
      JSON.parse(JSON.stringify(layoutOf(readFileSync(`${root}/.output/bpf/${name}.bpf.o`)))),
      committed,
      name,
    );
  }
});
