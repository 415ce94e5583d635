import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastMeaningful } from './object.ts';

test('of a verifier log, the line that says what is wrong', () => {
  const log = `libbpf: prog 'bad': BPF program load failed: Permission denied
libbpf: prog 'bad': -- BEGIN PROG LOAD LOG --
0: R1=ctx(off=0,imm=0) R10=fp0
; return *v;
11: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 12 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'bad': failed to load: -13
libbpf: failed to load object 'demo'
`;
  assert.equal(lastMeaningful(log), "R0 invalid mem access 'map_value_or_null'");
});

test('without a word from the verifier, what libbpf said of the load', () => {
  const log = `libbpf: prog 'x': BPF program load failed: Operation not permitted
libbpf: permission error while running as root; try raising 'ulimit -l'? current value: 8.0 MiB
libbpf: prog 'x': failed to load: -1
libbpf: failed to load object 'packetloss'
`;
  assert.equal(lastMeaningful(log), 'BPF program load failed: Operation not permitted');
  assert.equal(lastMeaningful(''), undefined);
});
