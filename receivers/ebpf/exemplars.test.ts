import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Exemplar, makeSchema } from '../../pipeline/batch.ts';
import { type Attributes, defineEvents, defineMetrics, type MetricDefinition } from '../../pipeline/catalogue.ts';
import { durationLayout } from './collection.ts';
import { Exemplars } from './exemplars.ts';
import { ownerKey } from './reaper.ts';

const attributes = { direction: { description: 'D.' }, type: { description: 'T.' } };
const common = {
  instrument: 'histogram',
  unit: 's',
  description: 'Test.',
  source: 'test',
  histogram: durationLayout,
} as const;
const m = defineMetrics({
  'test.wait': { ...common, scope: 'netns', attributes },
  'test.disk': { ...common, scope: 'node' },
});
const { 'test.slow': event } = defineEvents({ 'test.slow': { description: 'Test.', source: 'test', attributes: {} } });
const wait = m['test.wait'];
const schema = makeSchema([
  { metric: wait, attributes: { direction: 'read' } },
  { metric: wait, attributes: { direction: 'read', type: 'ipv4' } },
  { metric: wait, attributes: { direction: 'write', type: 'ipv4' } },
]);
const secondNs = 1_000_000_000n;

function slow(
  exemplars: Exemplars,
  latencyS: number,
  own: Attributes,
  { netns = 11, measuredBy = { measuredBy: wait as MetricDefinition } as object, timeUnixNs = 5n * secondNs } = {},
): void {
  const head = { ktime: 0, cookie: netns * 100, cgroup: 0, netns, type: 0 };
  const draft = { event, severity: 13, body: '', attributes: { 'skoop.latency': latencyS, ...own } } as const;
  exemplars.observe(head, { ...draft, ...measuredBy }, timeUnixNs);
}
const of = (exemplars: Exemplars, netns = 11) => exemplars.of(ownerKey(netns * 100, netns), schema);
const values = (list: readonly Exemplar[]) => list.map((e) => [e.offset, e.value]).sort((a, b) => a[0]! - b[0]!);
const read = { direction: 'read', type: 'ipv4' };

test('the slowest of each series and owner, with what the series does not say', () => {
  const exemplars = new Exemplars();
  const tuple = { 'source.address': '10.0.0.1', 'source.port': 23, 'destination.port': 80, 'process.pid': 7 };
  slow(exemplars, 0.2, read);
  slow(exemplars, 0.7, {
    ...read,
    ...tuple,
    'process.executable.name': 'nc',
    'skoop.packet.size': 1000,
    'kubeskoop.type': 'X',
  });
  slow(exemplars, 0.3, read);
  slow(exemplars, 0.1, { direction: 'write', type: 'ipv4' });
  slow(exemplars, 0.9, read, { netns: 12 });
  assert.deepEqual(of(exemplars), [], 'an interval is told when it is over');
  exemplars.next(10n * secondNs);
  const [first, ...rest] = of(exemplars);
  assert.deepEqual(first, {
    offset: schema.series[1]!.offset,
    value: 0.7,
    timeUnixNs: 5n * secondNs,
    attributes: { ...tuple, 'process.executable.name': 'nc' },
  });
  assert.deepEqual(values(rest), [[schema.series[2]!.offset, 0.1]]);
  assert.deepEqual(values(of(exemplars, 12)), [[schema.series[1]!.offset, 0.9]]);
  assert.deepEqual(of(exemplars, 13), []);
});

test('a process that nobody saw is left out; CPU 0 is one', () => {
  const exemplars = new Exemplars();
  slow(exemplars, 0.5, { ...read, 'process.pid': 0, 'process.executable.name': '', 'cpu.logical_number': 0 });
  exemplars.next(10n * secondNs);
  assert.deepEqual(of(exemplars)[0]?.attributes, { 'cpu.logical_number': 0 });
});

test('a series that lacks an attribute has the events that lack it', () => {
  const exemplars = new Exemplars();
  slow(exemplars, 0.5, { direction: 'read' });
  exemplars.next(10n * secondNs);
  assert.deepEqual(values(of(exemplars)), [[0, 0.5]]);
});

test('events without a histogram, without a latency or of a series that is not there have none', () => {
  const exemplars = new Exemplars();
  slow(exemplars, 0.5, read, { measuredBy: {} });
  slow(exemplars, 0.5, { ...read, 'skoop.latency': 'long' });
  slow(exemplars, 0.5, { direction: 'sideways' });
  exemplars.next(10n * secondNs);
  assert.deepEqual(of(exemplars), []);
});

test('what is measured for the node belongs to the node, whoever the event was of', () => {
  const exemplars = new Exemplars();
  slow(exemplars, 0.5, { 'process.pid': 7 }, { measuredBy: { measuredBy: m['test.disk'] } });
  exemplars.next(10n * secondNs);
  const ofDisk = makeSchema([{ metric: m['test.disk'] }]);
  assert.deepEqual(values(exemplars.of(ownerKey(0, 0), ofDisk)), [[0, 0.5]]);
  assert.deepEqual(exemplars.of(ownerKey(1100, 11), ofDisk), []);
});

test('it stays for a minute, or until the next interval that has one, however fast that is', () => {
  const exemplars = new Exemplars();
  slow(exemplars, 0.7, read);
  for (const now of [15n, 30n, 65n]) {
    exemplars.next(now * secondNs);
    assert.deepEqual(values(of(exemplars)), [[schema.series[1]!.offset, 0.7]]);
  }
  slow(exemplars, 0.2, read, { timeUnixNs: 66n * secondNs });
  exemplars.next(80n * secondNs);
  assert.deepEqual(values(of(exemplars)), [[schema.series[1]!.offset, 0.2]]);
  exemplars.next(127n * secondNs);
  assert.deepEqual(of(exemplars), []);
});

test('it is bounded, and what is there stays right', () => {
  const exemplars = new Exemplars();
  for (let netns = 1; netns <= 5003; netns++) slow(exemplars, 0.5, read, { netns });
  slow(exemplars, 0.9, read, { netns: 7 });
  exemplars.next(10n * secondNs);
  let n = 0;
  for (let netns = 1; netns <= 5003; netns++) n += of(exemplars, netns).length;
  assert.equal(n, 4096);
  assert.deepEqual(values(of(exemplars, 7)), [[schema.series[1]!.offset, 0.9]]);
});
