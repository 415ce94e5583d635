import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adviceFor } from './advice.ts';
import { tcpFlags } from './attributes.ts';
import { DropReasons } from './drop-reasons.ts';
import { hookFromStack, hookName, plainName } from './netfilter.ts';
import { noiseLocations, noiseReasons } from './packetloss-noise.ts';

/** A kernel that numbers its reasons in its own way. */
const reasons = new DropReasons(
  new Map([
    [1, 'SKB_CONSUMED'],
    [2, 'NOT_SPECIFIED'],
    [3, 'NO_SOCKET'],
    [7, 'NETFILTER_DROP'],
    [9, 'QUEUE_PURGE'],
    [11, 'QDISC_DROP'],
    [0x20001, 'LAST_ACTION'],
  ]),
);

test('classes follow the names, not the numbers', () => {
  const classes = reasons.classes();
  assert.deepEqual([...classes.subarray(0, 13)], [0, 3, 2, 4, 0, 0, 0, 5, 0, 1, 0, 6, 0]);
  assert.equal(reasons.name(7), 'NETFILTER_DROP');
  assert.equal(reasons.name(0x20001), 'LAST_ACTION');
  assert.equal(reasons.name(99), 'REASON_99');
  assert.equal(reasons.saysNothing(2), true);
});

test('the same packet may be noise as multicast and loss as unicast', () => {
  assert.equal(reasons.isNoise(3, true, 17), true);
  assert.equal(reasons.isNoise(3, false, 17), false);
  assert.equal(reasons.isNoise(9, false, 6), true);
  assert.equal(reasons.isNoise(11, true, 58), true);
  assert.equal(reasons.isNoise(11, true, 17), false);
  assert.equal(reasons.isNoise(11, false, 58), false);
});

test('a kernel without reasons is told by location', () => {
  const none = new DropReasons(new Map());
  assert.equal(none.classes()[0], 2);
  assert.equal(none.name(0), 'NOT_SPECIFIED');
  assert.equal(none.saysNothing(0), true);
});

test('every entry of the noise tables says why, once', () => {
  for (const table of [noiseReasons, noiseLocations]) {
    assert.equal(new Set(table.map((n) => n.name)).size, table.length);
    for (const n of table) assert.match(n.why, /^[A-Z].*\.$/, n.name);
  }
});

test('advice goes by reason before type', () => {
  const both = { 'kubeskoop.type': 'TCPRESET_NOSOCK', 'skoop.reset.reason': 'TCP_ABORT_ON_CLOSE' };
  assert.match(adviceFor(both)?.cause ?? '', /unread/);
  assert.match(adviceFor({ 'kubeskoop.type': 'TCPRESET_NOSOCK' })?.cause ?? '', /does not have/);
  assert.equal(adviceFor({ 'skoop.drop.reason': 'SOMETHING_NEW' }), undefined);
});

test('the hook from the stack: the innermost caller', () => {
  const names: Record<string, string> = {
    a: 'nf_hook_slow',
    b: 'ip_local_deliver',
    c: 'ip_rcv',
    d: '__ip_local_out.constprop.0',
  };
  assert.equal(
    hookFromStack(['a', 'b', 'c'], (x) => names[x]),
    'input',
  );
  assert.equal(
    hookFromStack(['a', 'd'], (x) => names[x]),
    'output',
  );
  assert.equal(
    hookFromStack(['a', 'z'], (x) => names[x]),
    undefined,
  );
  assert.equal(hookName(2, 1), 'input');
  assert.equal(hookName(5, 1), 'egress');
  assert.equal(hookName(2, 99), undefined);
  assert.equal(plainName('tcp_v4_rcv.part.0'), 'tcp_v4_rcv');
});

test('TCP flags by name', () => {
  assert.equal(tcpFlags(0x12), 'SYN|ACK');
  assert.equal(tcpFlags(0), undefined);
});
