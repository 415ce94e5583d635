import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeProc } from '../../host/netns/fake-proc.ts';
import { ConnectionTable, remembered } from './connection-table.ts';
import { observe } from './histogram.ts';
import { mayHaveConnections } from './tcp-info.ts';

const layout = { scale: 0, offset: -2, buckets: 4 };
const histogram = (...values: number[]) => {
  const out = new Float64Array(8);
  for (const v of values) observe(out, 1, layout, v);
  return [...out.subarray(1)];
};

test('a bucket holds its upper bound, not its lower', () => {
  // (1/4,1/2] (1/2,1] (1,2] (2,4]
  assert.deepEqual(
    histogram(0.5, 0.50001, 1, 1.00001, 2, 4),
    [6, 9.00002, 0, 1, 2, 2, 1].map((v, i) => (i === 1 ? 0.5 + 0.50001 + 1 + 1.00001 + 2 + 4 : v)),
  );
});

test('what is outside goes to the ends, zero to the zero bucket, NaN nowhere', () => {
  assert.deepEqual(histogram(0.001, 1000, 0, -1, Number.NaN), [4, 1000.001, 2, 1, 0, 0, 1]);
});

test('count is the sum of the buckets', () => {
  fc.assert(
    fc.property(fc.array(fc.double()), (values) => {
      const h = histogram(...values);
      assert.equal(
        h[0],
        h.slice(2).reduce((a, b) => a + b, 0),
      );
    }),
  );
});

test('the connection table agrees with a map, over rounds', () => {
  const connection = fc.record({
    low: fc.integer({ min: 1, max: 40 }),
    high: fc.constantFrom(0, 1),
    value: fc.nat(100),
  });
  fc.assert(
    fc.property(
      fc.array(fc.uniqueArray(connection, { selector: (c) => `${c.low}/${c.high}`, maxLength: 60 }), { maxLength: 6 }),
      (rounds) => {
        const table = new ConnectionTable();
        let last = new Map<string, number>();
        for (const round of rounds) {
          table.turn();
          const now = new Map<string, number>();
          for (const { low, high, value } of round) {
            const key = `${low}/${high}`;
            const values = new Float64Array(remembered).fill(value);
            const known = table.difference(low, high, values);
            assert.equal(known, last.has(key));
            assert.equal(values[0], known ? Math.max(0, value - (last.get(key) ?? 0)) : value);
            now.set(key, value);
          }
          assert.equal(table.size, round.length);
          last = now;
        }
      },
    ),
  );
});

test('a namespace is only asked for its sockets when it has connections, or when that cannot be told', () => {
  const machine = new FakeProc();
  machine.start(7, { netns: 300 });
  mkdirSync(machine.root.proc(7, 'net'));
  const say = (text: string) => {
    writeFileSync(machine.root.proc(7, 'net/snmp'), text);
    return mayHaveConnections(machine.root, 7);
  };
  const tcp = (established: number) =>
    `Ip: Forwarding\nIp: 1\nTcp: RtoMin CurrEstab InSegs\nTcp: 200 ${established} 9\nUdp: X\nUdp: 0\n`;
  assert.equal(mayHaveConnections(machine.root, 7), true);
  assert.equal(mayHaveConnections(machine.root, undefined), true);
  assert.equal(say(tcp(0)), false);
  assert.equal(say(tcp(3)), true);
  assert.equal(say(tcp(10)), true);
  assert.equal(say('Tcp: RtoMin\nTcp: 1\n'), true);
  assert.equal(say('Tcp: CurrEstab'), true);
  machine.remove();
});
