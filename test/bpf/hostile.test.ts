import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as layout from '../../bpf/gen/selftest.gen.ts';
import { Kernel } from '../../bpf/kernel.ts';
import { layoutHash, layoutOf } from '../../bpf/layout.ts';
import { type HookChoice, loadProbe, readObject } from '../../bpf/loader.ts';
import { BpfError, BpfObject } from '../../host/bpf/object.ts';
import { AbsentError, type AgentError } from '../../pipeline/errors.ts';

/** Input nobody should have, and kernels that refuse: errors in one sentence, no crash, nothing left behind. */

const folder = mkdtempSync(join(tmpdir(), 'skl-objects-'));
after(() => {
  delete process.env['SKOOPLINE_BPF_DIR'];
  rmSync(folder, { recursive: true });
});
const good = readObject('selftest');

const load = async (object: string, hash: string, ...choices: HookChoice[]) =>
  loadProbe(
    { object, layoutHash: hash, hooks: [{ name: 'all', purpose: 'test', required: true, choices }] },
    await Kernel.probe(),
  );
const emit: HookChoice = { programs: ['skl_emit'], manual: true };

test('an object cut at any length is an error, never a crash', () => {
  for (let length = 0; length < good.length; length += 1 + Math.floor(good.length / 331)) {
    const cut = Buffer.from(good.subarray(0, length));
    assert.throws(() => layoutOf(cut), Error);
    assert.throws(() => BpfObject.open(cut, 'cut').close(), BpfError);
  }
});

test('an object with damaged bytes is an error or still the same layout', () => {
  const hash = layoutHash(layoutOf(good));
  assert.equal(hash, layout.layoutHash);
  let seed = 1;
  for (let i = 0; i < 200; i++) {
    const bad = Buffer.from(good);
    seed = (seed * 48271) % 2147483647;
    bad[seed % bad.length] = (seed >>> 8) & 0xff;
    try {
      layoutHash(layoutOf(bad));
    } catch (error) {
      assert.ok(error instanceof Error && /LayoutError|BtfError|RangeError/.test(error.name), String(error));
    }
  }
});

test('another layout than the program was made for is refused before loading', async () => {
  await assert.rejects(load('selftest', '0123456789abcdef', emit), (e: AgentError) => {
    assert.equal(e.code, 'E_BPF_LAYOUT');
    assert.match(e.message, /selftest\.bpf\.o has another layout/);
    return true;
  });
});

test('an object that is not there is absent, with where it was looked for', async () => {
  process.env['SKOOPLINE_BPF_DIR'] = folder;
  try {
    await assert.rejects(
      load('selftest', layout.layoutHash, emit),
      (e: Error) => e instanceof AbsentError && e.message.includes(folder),
    );
    writeFileSync(join(folder, 'selftest.bpf.o'), good.subarray(0, 1000));
    await assert.rejects(load('selftest', layout.layoutHash, emit), /cut short/);
    cpSync(join(import.meta.dirname, '../../.output/bpf/selftest.bpf.o'), join(folder, 'selftest.bpf.o'));
    (await load('selftest', layout.layoutHash, emit)).close();
  } finally {
    delete process.env['SKOOPLINE_BPF_DIR'];
  }
});

test('a choice that cannot be is passed over with the reason; none left is one sentence', async () => {
  const missing: HookChoice = { programs: ['skl_nowhere'] };
  const refused: HookChoice = { programs: ['skl_emit'], unmet: () => 'the test says no' };
  const loaded = await load('selftest', layout.layoutHash, missing, refused, emit);
  assert.deepEqual(loaded.hooks[0]?.programs, ['skl_emit']);
  const { passedOver } = loaded.hooks[0]!;
  assert.deepEqual(
    passedOver.map((p) => p.reason),
    ['the object has no program skl_nowhere', 'the test says no'],
  );
  loaded.close();
  loaded.close();
  assert.throws(() => loaded.program('skl_emit').fd, /closed/);
  await assert.rejects(
    load('selftest', layout.layoutHash, missing),
    (e: Error) => e instanceof AbsentError && /no hook for selftest/.test(e.message),
  );
});

test('opening and closing 50 times leaves no descriptor behind', async () => {
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 50; i++) (await load('selftest', layout.layoutHash, emit)).close();
  assert.equal(readdirSync('/proc/self/fd').length, before);
});
