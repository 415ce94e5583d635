import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { bytes, duration } from '../../pipeline/fields.ts';
import { metricSection, metricsTable } from './catalogue-tables.ts';
import { configKeys, configTable } from './config-table.ts';
import { code, fill, hasMarker, table } from './markers.ts';

test('a generated part replaces what stood between its markers and nothing else', () => {
  const before = 'a\n<!-- generated:x -->\nold\n<!-- /generated:x -->\nb\n';
  const after = 'a\n<!-- generated:x -->\n\nnew\n\n<!-- /generated:x -->\nb\n';
  assert.equal(fill(before, 'x', 'new\n'), after);
  assert.equal(fill(after, 'x', 'new'), after, 'filling twice changes nothing');
  assert.equal(fill(before, 'y', 'new'), before);
  assert.ok(hasMarker(before, 'x') && !hasMarker(before, 'y'));
});

test('cells of a table cannot break it', () => {
  assert.equal(table(['a'], [['x|y\nz']]), '| a |\n| --- |\n| x\\|y z |');
  assert.equal(code('a`b'), '`` a`b ``');
});

const schema = z.strictObject({
  interval: duration('15s').describe('How often.'),
  limit: bytes('64MiB').describe('How much.'),
  mode: z.enum(['a', 'b']).default('a').describe('Which.'),
  needed: z.string().describe('A name.'),
  count: z.number().int().min(1).max(9).default(3).describe('How many.'),
  free: z.number().int().optional().describe('Any.'),
  labels: z.record(z.string(), z.string()).default({}).describe('Fixed labels.'),
  targets: z
    .array(z.strictObject({ host: z.string().describe('Where.') }))
    .default([])
    .describe('Whom.'),
  tls: z
    .strictObject({ on: z.boolean().default(false).describe('Whether.') })
    .prefault({})
    .describe('Encryption.'),
});

test('every key of a schema is listed with type, default and description, as users write it', () => {
  assert.deepEqual(
    configKeys(schema).map((k) => [k.path, k.type, k.default, k.required, k.description]),
    [
      ['interval', 'duration', '15s', false, 'How often.'],
      ['limit', 'size', '64MiB', false, 'How much.'],
      ['mode', '`a`, `b`', 'a', false, 'Which.'],
      ['needed', 'string', undefined, true, 'A name.'],
      ['count', 'integer ≥ 1, ≤ 9', '3', false, 'How many.'],
      ['free', 'integer', undefined, false, 'Any.'],
      ['labels', 'map', '{}', false, 'Fixed labels.'],
      ['targets', 'list of section', '[]', false, 'Whom.'],
      ['targets[].host', 'string', undefined, true, 'Where.'],
      ['tls', 'section', '{}', false, 'Encryption.'],
      ['tls.on', 'boolean', 'false', false, 'Whether.'],
    ],
  );
  assert.match(configTable(schema), /^\| `needed` \| string \| \*\*required\*\* \| A name\. \|$/m);
  assert.equal(configTable(z.strictObject({})), 'It has no keys.');
});

const metrics = defineMetrics({
  'skoop.tcp.retransmits': {
    instrument: 'counter',
    unit: '{segment}',
    description: 'Segments sent again.',
    source: '/proc/<pid>/net/snmp Tcp RetransSegs',
    scope: 'netns',
    attributes: { 'network.type': { description: 'IP version.', values: ['ipv4', 'ipv6'] } },
    kubeskoop: [{ name: 'kubeskoop_tcp_retranssegs', where: { 'network.type': 'ipv4' } }],
  },
});

test('a metric is shown with its names in all three worlds', () => {
  const row = '| `skoop.tcp.retransmits` | counter | `{segment}` | `network.type` | Segments sent again. |';
  assert.ok(metricsTable(Object.values(metrics)).endsWith(row));
  const section = metricSection(metrics['skoop.tcp.retransmits']);
  assert.match(section, /Prometheus: `skoop_tcp_retransmits_total`/);
  assert.match(section, /KubeSkoop: `kubeskoop_tcp_retranssegs` \(network\.type = ipv4\)/);
  assert.match(section, /`network\.type`: IP version\. One of `ipv4`, `ipv6`\./);
});
