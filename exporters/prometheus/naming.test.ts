import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Instrument } from '../../pipeline/catalogue.ts';
import { labelsOf, prometheusFamily, unitWord } from './naming.ts';

function nameOf(name: string, unit: string, instrument: Instrument): string {
  return prometheusFamily({ name, unit, instrument, description: '' }).name;
}

describe('metric names', () => {
  const cases: [name: string, unit: string, instrument: Instrument, expected: string][] = [
    ['system.network.io', 'By', 'counter', 'system_network_io_bytes_total'],
    ['system.network.packets', '{packet}', 'counter', 'system_network_packets_total'],
    ['skoop.tcp.connect.duration', 's', 'histogram', 'skoop_tcp_connect_duration_seconds'],
    ['skoop.node.uptime_seconds', 's', 'gauge', 'skoop_node_uptime_seconds'],
    ['seconds.before.birthday', 's', 'gauge', 'seconds_before_birthday_seconds'],
    ['skoop.fd.utilization', '1', 'gauge', 'skoop_fd_utilization_ratio'],
    ['skoop.things', '1', 'counter', 'skoop_things_total'],
    ['skoop.things', '1', 'updowncounter', 'skoop_things'],
    ['skoop.delivery.rate', 'By/s', 'gauge', 'skoop_delivery_rate_bytes_per_second'],
    ['skoop.packet.rate', '{packet}/s', 'gauge', 'skoop_packet_rate_per_second'],
    ['skoop.sent_total', '{x}', 'counter', 'skoop_sent_total'],
    ['skoop.sent.bytes_total', 'By', 'counter', 'skoop_sent_bytes_total'],
    ['skoop.cpu', '%', 'gauge', 'skoop_cpu_percent'],
    ['skoop..double--dash/slash', '', 'gauge', 'skoop_double_dash_slash'],
    ['skoop.trailing.', '{x}', 'counter', 'skoop_trailing_total'],
    ['1st.metric', '', 'gauge', '_1st_metric'],
    ['skoop.odd', 'furlong', 'gauge', 'skoop_odd_furlong'],
  ];
  for (const [name, unit, instrument, expected] of cases) {
    it(`${name} (${unit || 'no unit'}, ${instrument}) is ${expected}`, () => {
      assert.equal(nameOf(name, unit, instrument), expected);
    });
  }

  it('is valid for every name and unit', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.string(),
        fc.constantFrom<Instrument>('counter', 'updowncounter', 'gauge', 'histogram'),
        (name, unit, instrument) => {
          assert.match(nameOf(name, unit, instrument), /^[a-zA-Z_:][a-zA-Z0-9_:]*$/);
        },
      ),
    );
  });

  it('drops what stands in brackets of a unit', () => {
    assert.equal(unitWord('{packet}'), '');
    assert.equal(unitWord('By{total}'), 'bytes');
    assert.equal(unitWord('m/s'), 'meters_per_second');
    assert.equal(unitWord('1/s'), 'per_second');
  });
});

describe('labels', () => {
  it('joins values of keys that become one name, in the order of the original keys', () => {
    const labels = labelsOf({ 'a.b': 'second', 'a-b': 'first', c: true, d: 80, e: ['x', 'y'] });
    assert.deepEqual(labels, [
      { name: 'a_b', value: 'first;second' },
      { name: 'c', value: 'true' },
      { name: 'd', value: '80' },
      { name: 'e', value: '["x","y"]' },
    ]);
  });

  it('keeps le for the buckets of histograms', () => {
    assert.deepEqual(labelsOf({ le: '5' }, 'histogram'), [{ name: 'exported_le', value: '5' }]);
    assert.deepEqual(labelsOf({ le: '5' }), [{ name: 'le', value: '5' }]);
  });

  it('are valid and distinct for every set of attributes', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string()), (attributes) => {
        const names = labelsOf(attributes).map((l) => l.name);
        for (const name of names) assert.match(name, /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/);
        assert.equal(new Set(names).size, names.length);
      }),
    );
  });
});
