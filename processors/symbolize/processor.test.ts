import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Subject } from 'rxjs';
import { ProcRoot } from '../../host/proc-root.ts';
import { KernelSymbols } from '../../host/symbols/kallsyms.ts';
import { type Batch, type LogsBatch, noResource } from '../../pipeline/batch.ts';
import { deepFreeze, record, testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { createProcessor } from './processor.ts';

const folder = mkdtempSync(join(tmpdir(), 'skl-symbolize-'));
after(() => rmSync(folder, { recursive: true }));

function symbolsOf(name: string, kallsyms: string): KernelSymbols {
  const proc = join(folder, name);
  mkdirSync(proc);
  writeFileSync(join(proc, 'kallsyms'), kallsyms);
  writeFileSync(join(proc, 'modules'), '');
  return new KernelSymbols(new ProcRoot({ proc }));
}

const table = [
  'ffffffff81000000 T _stext',
  'ffffffff81000100 t bpf_trace_run4',
  'ffffffff81000200 T __traceiter_kfree_skb',
  'ffffffff81000300 T sk_skb_reason_drop',
  'ffffffff81000400 T tcp_v4_rcv',
  'ffffffff81001000 T _etext',
  'ffffffffc0000000 t br_forward\t[bridge]',
  '',
].join('\n');

function batch(...stack: string[]): LogsBatch {
  return deepFreeze({
    kind: 'logs',
    source: 'ebpf/packetloss',
    scope: { name: 'ebpf' },
    records: [
      {
        timeUnixNs: 1n,
        observedTimeUnixNs: 1n,
        severityNumber: 13,
        eventName: 'skoop.packet.dropped',
        body: 'x',
        attributes: { 'skoop.stack': stack },
        owner: undefined,
        resource: noResource,
      },
    ],
  });
}
const stackOf = (b: Batch | undefined) => b?.kind === 'logs' && b.records[0]?.attributes['skoop.stack'];

test('names frames, cuts plumbing and the program, keeps what has no name', async () => {
  const in$ = new Subject<Batch>();
  const context = testContext();
  const out = record(createProcessor(config.parse({ module_names: true }), context, symbolsOf('a', table))(in$));
  in$.next(
    batch(
      'ffffffffc0900000',
      'ffffffff81000110',
      'ffffffff81000220',
      'ffffffff81000340',
      'ffffffff810005a2',
      'ffffffffc000001c',
      'ffffffff81001234',
    ),
  );
  in$.complete();
  await out.until((v) => v.length === 1);
  assert.deepEqual(stackOf(out.values[0]), [
    'sk_skb_reason_drop+0x40',
    'tcp_v4_rcv+0x1A2',
    'br_forward+0x1C[bridge]',
    '0xffffffff81001234',
  ]);
});

test('keeps the order of what waited, and max_frames of each', async () => {
  const in$ = new Subject<Batch>();
  const out = record(createProcessor(config.parse({ max_frames: 1 }), testContext(), symbolsOf('b', table))(in$));
  in$.next(batch('ffffffff81000340', 'ffffffff81000400'));
  in$.next(batch('ffffffff81000401'));
  await out.until((v) => v.length === 2);
  in$.next(batch('ffffffff81000402'));
  assert.deepEqual(out.values.map(stackOf), [['sk_skb_reason_drop+0x40'], ['tcp_v4_rcv+0x1'], ['tcp_v4_rcv+0x2']]);
  out.subscription.unsubscribe();
});

test('zeros in kallsyms: stacks stay addresses, said once', async () => {
  const in$ = new Subject<Batch>();
  const context = testContext();
  const hidden = table.replace(/^[0-9a-f]{16}/gm, '0000000000000000');
  const out = record(createProcessor(config.parse({}), context, symbolsOf('c', hidden))(in$));
  const given = batch('ffffffff81000340');
  in$.next(given);
  await out.until((v) => v.length === 1);
  assert.equal(out.values[0], given);
  assert.match(context.telemetry.absences['kernel symbols'] ?? '', /CAP_SYSLOG/);
  out.subscription.unsubscribe();
  assert.equal(context.clock.pending, 0);
});

test('events without a stack pass as they are', async () => {
  const in$ = new Subject<Batch>();
  const symbols = symbolsOf('d', table);
  await symbols.refresh();
  const out = record(createProcessor(config.parse({}), testContext(), symbols)(in$));
  const given = deepFreeze({ ...batch(), records: [] }) as LogsBatch;
  in$.next(given);
  assert.equal(out.values[0], given);
  out.subscription.unsubscribe();
});
