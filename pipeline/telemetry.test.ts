import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { AgentTelemetry } from './telemetry.ts';
import { FakeClock } from './testing.ts';

function bench() {
  const clock = new FakeClock();
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level: 'debug', base: null, timestamp: false },
    { write: (line: string) => lines.push(JSON.parse(line)) },
  );
  const telemetry = new AgentTelemetry({ clock, log, version: '0', node: { name: 'n' } });
  const value = (name: string, labels: Record<string, unknown> = {}) =>
    telemetry
      .read()
      .find((r) => r.name === name)
      ?.points.find((p) => Object.entries(labels).every(([k, v]) => p.attributes[k] === v))?.value;
  return { clock, lines, telemetry, value };
}

test('counters: one series for each attribute set, whatever their order', () => {
  const { telemetry, value } = bench();
  const c = telemetry.component('exporter', 'otlp').counter('sent_log_records', '{record}', 'Sent.');
  c.add(3);
  c.add(4);
  c.add(5, { a: 'x', b: 2 });
  c.add(6, { b: 2, a: 'x' });
  assert.equal(value('otelcol_exporter_sent_log_records', { exporter: 'otlp' }), 7);
  assert.equal(value('otelcol_exporter_sent_log_records', { a: 'x' }), 11);
});

test('the same component made again counts on; a component that is gone ends', () => {
  const { telemetry, value } = bench();
  const first = telemetry.component('receiver', 'procfs');
  first.rejected('short_line', 2);
  const second = telemetry.component('receiver', 'procfs');
  second.rejected('short_line', 3);
  assert.equal(value('otelcol_receiver_rejected', { receiver: 'procfs', reason: 'short_line' }), 5);
  telemetry.forget(second);
  assert.equal(value('otelcol_receiver_rejected'), undefined);
});

test('attribute sets are bounded and sums stay true', () => {
  const { telemetry } = bench();
  const c = telemetry.component('receiver', 'r').counter('things', '{thing}', 'Things.');
  for (let i = 0; i < 701; i++) c.add(1, { peer: `p${i}` });
  const { points } = telemetry.read().find((r) => r.name === 'otelcol_receiver_things')!;
  assert.equal(points.length, 501);
  assert.equal(
    points.reduce((n, p) => n + p.value, 0),
    701,
  );
  assert.deepEqual(points.find((p) => p.attributes['otel.metric.overflow'])?.value, 201);
});

test('gauges: absent is not zero, one that throws spoils nothing, and one being built is not seen', async () => {
  const { telemetry, value } = bench();
  const t = telemetry.component('exporter', 'e');
  t.gauge('queue_size', '{item}', 'Size.', () => 5);
  assert.equal(value('otelcol_exporter_queue_size'), undefined);
  t.activate();
  assert.equal(value('otelcol_exporter_queue_size'), 5);
  let sets: [number, Record<string, string>][] = [
    [1, { a: 'x' }],
    [2, { a: 'y' }],
  ];
  t.gauge('by', '1', 'By.', () => sets);
  t.gauge('nothing', '1', 'Nothing.', () => Number.NaN);
  t.gauge('broken', '1', 'Broken.', () => {
    throw new Error('No.');
  });
  assert.equal(value('otelcol_exporter_by', { a: 'y' }), 2);
  sets = [[3, { a: 'y' }]];
  assert.equal(value('otelcol_exporter_by', { a: 'x' }), undefined, 'what is gone is not shown for ever');
  const text = await telemetry.text();
  assert.match(text, /^otelcol_exporter_by\{exporter="e",a="y"\} 3$/m);
  assert.ok(!text.includes('nothing') && !text.includes('broken'));
});

test('failures are counted each and logged once a minute, with what was left out', () => {
  const { telemetry, lines, clock, value } = bench();
  const t = telemetry.component('receiver', 'cri');
  for (let i = 0; i < 7; i++) {
    t.failed('list', new Error('Refused.'));
    clock.advance(10_000);
  }
  assert.equal(value('otelcol_receiver_failures', { what: 'list' }), 7);
  assert.deepEqual(lines, [
    { level: 40, receiver: 'cri', what: 'list', error: 'Refused.', msg: 'Failed.' },
    { level: 40, receiver: 'cri', what: 'list', error: 'Refused.', notLogged: 5, msg: 'Failed.' },
  ]);
  assert.deepEqual(t.failing, ['list']);
  t.recovered('list');
  t.recovered('list');
  assert.deepEqual(lines.at(-1), {
    level: 30,
    receiver: 'cri',
    what: 'list',
    failures: 7,
    forMs: 70_000,
    msg: 'Works again.',
  });
  assert.equal(lines.length, 3);
  assert.deepEqual(t.failing, []);
  t.failed('list', new Error('Refused.'));
  clock.advance(300_000);
  assert.deepEqual(t.failing, ['list']);
  clock.advance(1);
  assert.deepEqual(t.failing, [], 'long ago is over');
});

test('an unbounded number of failing things is counted under one name', () => {
  const { telemetry } = bench();
  const t = telemetry.component('receiver', 'procfs');
  for (let i = 0; i < 1000; i++) t.failed(`netns ${i}`, new Error('Gone.'));
  const { points } = telemetry.read().find((r) => r.name === 'otelcol_receiver_failures')!;
  assert.ok(points.length <= 201);
  assert.equal(
    points.reduce((n, p) => n + p.value, 0),
    1000,
  );
});

test('what is absent is told once', () => {
  const { telemetry, lines } = bench();
  const t = telemetry.component('receiver', 'procfs');
  t.absent('ipv6', 'No /proc/net/snmp6.');
  t.absent('ipv6', 'No /proc/net/snmp6.');
  assert.deepEqual([...t.absences], [['ipv6', 'No /proc/net/snmp6.']]);
  assert.equal(lines.length, 1);
  assert.equal(lines[0]!['level'], 20);
});
