import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Denials, denialText } from './denials.ts';
import { ProcRoot } from './proc-root.ts';

const folder = mkdtempSync(join(tmpdir(), 'skl-denials-'));
after(() => rmSync(folder, { recursive: true }));

/** @param bits capabilities in effect */
function rootWith(...bits: readonly number[]): ProcRoot {
  const proc = mkdtempSync(join(folder, 'proc-'));
  mkdirSync(join(proc, 'self'));
  const mask = bits.reduce((m, b) => m | (1n << BigInt(b)), 0n);
  writeFileSync(join(proc, 'self/status'), `Name:\tnode\nCapEff:\t${mask.toString(16).padStart(16, '0')}\n`);
  return new ProcRoot({ proc });
}

test('the sentence names the capabilities that are missing and no other', () => {
  assert.match(denialText('processes', rootWith(21)), /^Some processes .*; the agent lacks CAP_SYS_PTRACE\.$/);
  assert.match(denialText('descriptors', rootWith(19)), /; the agent lacks CAP_DAC_READ_SEARCH\.$/);
  assert.match(denialText('descriptors', rootWith()), /; the agent lacks CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH\.$/);
  assert.match(denialText('namespaces', rootWith(2, 12, 19, 34, 38, 39)), /; the agent lacks CAP_SYS_ADMIN\.$/);
  assert.match(denialText('conntrack', rootWith(12)), /; the agent has CAP_NET_ADMIN, so a security module /);
});

test('each refusal is counted, each kind is said once', () => {
  const counted: [number, object | undefined][] = [];
  const absences: string[] = [];
  const warnings: [object, string][] = [];
  const denials = new Denials(rootWith(), {
    log: { warn: (details, message) => warnings.push([details, message]) },
    telemetry: {
      absent: (what) => absences.push(what),
      counter: () => ({ add: (n, attributes) => counted.push([n, attributes]) }),
    },
  });
  denials.add('processes', 0);
  denials.add('processes', 7);
  denials.add('namespaces');
  denials.add('processes', 5);
  assert.deepEqual(counted, [
    [7, { what: 'processes' }],
    [1, { what: 'namespaces' }],
    [5, { what: 'processes' }],
  ]);
  assert.deepEqual(absences, ['processes', 'namespaces']);
  assert.deepEqual(
    warnings.map(([details]) => details),
    [
      { what: 'processes', count: 7 },
      { what: 'namespaces', count: 1 },
    ],
  );
});
