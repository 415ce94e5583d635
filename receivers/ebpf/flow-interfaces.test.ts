import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultRoutes4, defaultRoutes6, encodePattern, parsePatterns, patternProblem } from './flow-interfaces.ts';

test('default routes of both tables; refusing, down and narrower ones are not default', () => {
  const route = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
    'eth1\t00000000\t0101A8C0\t0002\t0\t0\t100\t00000000\t0\t0\t0',
    'eth2\t00000000\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0',
    '',
  ].join('\n');
  assert.deepEqual(defaultRoutes4(route), ['eth0']);
  assert.deepEqual(defaultRoutes4(''), []);
  assert.deepEqual(defaultRoutes4('Iface\nrubbish\n\t\t\t\t'), []);
  const zero = '0'.repeat(32);
  const line = (length: string, flags: string, device: string) =>
    `${zero} ${length} ${zero} 00 fe800000000000000000000000000001 00000400 00000000 00000000 ${flags} ${device}`;
  const route6 = [line('00', '00000003', 'eth5'), line('00', '00200200', 'lo'), line('40', '00000001', 'eth6')];
  assert.deepEqual(defaultRoutes6(`${route6.join('\n')}\n`), ['eth5']);
  assert.deepEqual(defaultRoutes6('rubbish'), []);
});

test('patterns are names, or starts of names', () => {
  assert.deepEqual(parsePatterns(' eth0, cali*,,'), ['eth0', 'cali*']);
  assert.equal(patternProblem('eth0,cali*,*'), undefined);
  assert.equal(patternProblem(''), undefined);
  assert.match(patternProblem('a name')!, /no interface name/);
  assert.match(patternProblem('e*h0')!, /no interface name/);
  assert.match(patternProblem('sixteen-bytes-xx')!, /no interface name/);
  assert.match(patternProblem(Array(17).fill('a').join(','))!, /at most 16/);
});

test('a whole name ends with its 0, a prefix does not; bytes after it do not matter', () => {
  const matches = (pattern: string, name: string, after = 0) => {
    const p = encodePattern(pattern);
    const n = Buffer.alloc(16, after);
    n.write(`${name}\0`);
    return n.every((byte, i) => ((byte ^ p[i]!) & p[16 + i]!) === 0);
  };
  assert.ok(matches('eth0', 'eth0'));
  assert.ok(matches('eth0', 'eth0', 0x61));
  assert.ok(!matches('eth0', 'eth01'));
  assert.ok(!matches('eth0', 'eth'));
  assert.ok(matches('eth*', 'eth01', 0x61));
  assert.ok(!matches('eth*', 'et'));
  assert.ok(matches('*', 'anything'));
  assert.ok(matches('exactly15bytes1', 'exactly15bytes1'));
  assert.equal(encodePattern('eth0').readUInt32LE(32), 1);
});
