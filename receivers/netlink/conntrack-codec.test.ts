import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCapture, torture, walk } from '../../host/netlink/capture.ts';
import { classOf } from './conntrack.ts';
import {
  addCpuCounters,
  cpuCounters,
  natName,
  newEntry,
  protocolName,
  readEntry,
  readEntryClass,
  readTableUsage,
  stateName,
  takeRejects,
} from './conntrack-codec.ts';
import { changeOf, conntrackRecord } from './conntrack-events.ts';

const capture = (name: string) => readCapture(new URL(`testdata/${name}.bin`, import.meta.url));

test('recorded entries: NAT, TCP state, counters, both tuples', () => {
  const entry = newEntry();
  const rows: unknown[] = [];
  const malformed = walk(capture('conntrack-entries'), (m) => {
    if (m.type !== 0x100) return;
    assert.ok(readEntry(m, entry));
    const { original: o, reply: r } = entry;
    const state = stateName(o.protocol, entry.tcpState, entry.status);
    rows.push([
      protocolName(o.protocol),
      o.source,
      o.destination,
      o.destinationPort,
      r.source,
      r.sourcePort,
      state,
      natName(entry.status),
      entry.originalBytes,
    ]);
    assert.equal(o.sourcePort, r.destinationPort);
    assert.ok(entry.startNs !== undefined && entry.startNs > 1_600_000_000_000_000_000n);
  });
  assert.equal(malformed + takeRejects(), 0);
  assert.deepEqual(rows.map(String).sort(), [
    'tcp,10.0.0.0,192.0.2.1,53,192.0.2.1,53,time_wait,,0',
    'tcp,10.0.0.0,192.0.2.1,53,192.0.2.1,53,time_wait,,0',
    'tcp,10.0.0.0,192.0.2.1,53,192.0.2.1,53,time_wait,,0',
    'udp,10.90.1.1,192.0.2.7,53,10.90.1.2,5353,unreplied,destination,100',
  ]);
});

test('recorded events: new, update, destroy', () => {
  const entry = newEntry();
  const seen: string[] = [];
  walk(capture('conntrack-events'), (m) => {
    const change = changeOf(m);
    assert.ok(change);
    assert.ok(readEntry(m, entry));
    const record = conntrackRecord({ netns: 4711 }, change, entry, 5n);
    assert.equal(record.eventName, `skoop.conntrack.${change}`);
    assert.equal(
      record.timeUnixNs,
      change === 'update' ? 5n : ((change === 'new' ? entry.startNs : entry.stopNs) ?? 5n),
    );
    seen.push(
      `${change} ${record.attributes['network.transport']} ${record.attributes['skoop.conntrack.state'] ?? '-'}`,
    );
  });
  const count = (text: string) => seen.filter((s) => s === text).length;
  assert.equal(count('new udp unreplied'), 2);
  assert.equal(count('new tcp established'), 3);
  assert.equal(count('update tcp time_wait'), 3);
  assert.equal(seen.filter((s) => s.startsWith('destroy udp')).length, 1);
  assert.equal(seen.length, 9);
});

test('recorded statistics', () => {
  const totals = new Float64Array(cpuCounters.length).fill(Number.NaN);
  const usage = { entries: Number.NaN, limit: Number.NaN };
  let cpus = 0;
  walk(capture('conntrack-cpu'), (m) => {
    if (m.type !== 0x104) return;
    cpus++;
    assert.equal(addCpuCounters(m, totals), 0);
  });
  walk(capture('conntrack-usage'), (m) => {
    if (m.type === 0x105) assert.equal(readTableUsage(m, usage), 0);
  });
  assert.ok(cpus >= 1);
  assert.equal(totals[1], 0, 'invalid');
  assert.ok(totals.every((v) => v >= 0 || Number.isNaN(v)));
  assert.equal(usage.entries, 4);
  assert.ok(usage.limit > 1000);
});

test('cut or changed anywhere: no throw', () => {
  const entry = newEntry();
  const short = { protocol: 0, tcpState: 0, status: 0 };
  const totals = new Float64Array(cpuCounters.length);
  torture([...capture('conntrack-events'), ...capture('conntrack-entries')], (m) => {
    const change = changeOf(m) ?? 'new';
    if (readEntry(m, entry)) conntrackRecord({ netns: 1 }, change, entry, 1n);
    if (readEntryClass(m, short)) classOf(short);
  });
  torture([...capture('conntrack-cpu'), ...capture('conntrack-usage')], (m) => {
    addCpuCounters(m, totals);
    readTableUsage(m, { entries: 0, limit: 0 });
  });
  assert.ok(takeRejects() > 0, 'rejects are counted');
});

test('every protocol, state and status has a class or is refused, the same each time', () => {
  fc.assert(
    fc.property(fc.nat(255), fc.option(fc.nat(300)), fc.option(fc.nat(0xffff)), (protocol, tcp, status) => {
      const entry = { protocol, tcpState: tcp ?? Number.NaN, status: status ?? Number.NaN };
      const index = classOf(entry);
      assert.equal(classOf(entry), index);
      assert.ok(index >= -1 && index < 31, String(index));
      if (status !== null && protocol !== 6 && tcp === null) assert.ok(index >= 0);
    }),
  );
});
