import assert from 'node:assert/strict';
import { test } from 'node:test';
import { probes } from '../../receivers/ebpf/probes.ts';
import * as q from '../../view/quantities.ts';
import { metrics as testMetrics } from '../../view/testing.ts';
import { all } from './components-under-test.ts';

/** view/ may not import components: here each name it uses is held against what they declare. */

const metrics = new Map(all.flatMap(({ declaration }) => (declaration.metrics ?? []).map((m) => [m.name, m] as const)));
const events = new Set(all.flatMap(({ declaration }) => (declaration.events ?? []).map((e) => e.name)));

function hasAttributes(metric: string, names: readonly string[]): void {
  const { attributes } = metrics.get(metric)!;
  for (const name of names) assert.ok(name in attributes, `${metric} has no attribute ${name}`);
}

for (const [name, definition] of Object.entries(q.metricQuantities) as [string, q.QuantityDefinition][]) {
  test(`view quantity ${name} is made of counters that exist, with these attributes and values`, () => {
    for (const metric of definition.metrics) {
      const found = metrics.get(metric);
      assert.equal(found?.instrument, 'counter', metric);
      assert.ok(found.enabled, `${metric} is off by default`);
      const { where = {}, except = {} } = definition;
      hasAttributes(metric, [...Object.keys(where), ...Object.keys(except)]);
      for (const [key, value] of Object.entries(where)) {
        const { values } = found.attributes[key]!;
        assert.ok(!values || values.includes(String(value)), `${key}=${value}`);
      }
    }
    hasAttributes(definition.metrics[0]!, definition.by ?? []);
  });
}

test('what a probe makes names it, so that none is told from not observed', () => {
  const names = new Set(probes.map((p) => p.name));
  const made = new Map(
    all.flatMap(({ declaration }) => (declaration.metrics ?? []).map((m) => [m.name, declaration.type])),
  );
  for (const { probe, metrics: of } of Object.values(q.metricQuantities) as q.QuantityDefinition[]) {
    assert.equal(probe !== undefined, made.get(of[0]!) === 'ebpf', of[0]);
    if (probe !== undefined) assert.ok(names.has(probe), probe);
  }
});

test('every histogram in seconds is a latency of the view, and each latency is one', () => {
  const seconds = [...metrics.values()]
    .filter((m) => m.instrument === 'histogram' && m.unit === 's')
    .map((m) => m.name);
  assert.deepEqual([...new Set(Object.values(q.latencies).map((l) => l.metric))].sort(), seconds.sort());
  for (const { metric, where = {} } of Object.values(q.latencies) as q.LatencyDefinition[]) {
    hasAttributes(metric, Object.keys(where));
  }
});

test('events that the view counts by name are declared, and none that is slow is left out', () => {
  for (const { events: names } of Object.values(q.eventQuantities)) {
    for (const name of names ?? []) assert.ok(events.has(name), name);
  }
  const slow = [...events].filter((name) => name.endsWith('.slow')).sort();
  assert.deepEqual([...q.eventQuantities.slow.events].sort(), slow);
});

test('what the view looks up exists, with the attributes it reads', () => {
  const { attributes: a, gauges } = q;
  for (const metric of Object.values(gauges)) assert.ok(metrics.has(metric), metric);
  hasAttributes(gauges.tcpConnections, [a.transport, a.connectionState]);
  hasAttributes(gauges.acceptQueue, [a.localAddress, a.localPort, a.overflow]);
  hasAttributes(gauges.acceptQueueLimit, [a.localAddress, a.localPort]);
  hasAttributes(gauges.peerRtt, [a.peerAddress]);
  hasAttributes(gauges.peerRetransmitRatio, [a.peerAddress]);
  hasAttributes(q.flowBytes, [a.direction, a.sourceAddress, a.destinationAddress, a.overflow]);
});

test("the view's tests fill metrics as they are declared", () => {
  for (const m of Object.values(testMetrics)) {
    const { instrument, unit, histogram } = metrics.get(m.name)!;
    assert.deepEqual([m.instrument, m.unit, m.histogram], [instrument, unit, histogram], m.name);
  }
});
