import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ProcRoot } from '../../host/proc-root.ts';
import type { Batch, MetricsBatch, Owner } from '../../pipeline/batch.ts';
import { deepFreeze, type TestContext, testContext } from '../../pipeline/testing.ts';
import { Collection } from '../../receivers/procfs/collection.ts';
import { config } from '../../receivers/procfs/config.ts';
import { metrics } from '../../receivers/procfs/metrics.ts';
import { Slices } from '../../receivers/procfs/slices.ts';
import { matchesGolden, updating } from './golden.ts';

const hosts = join(import.meta.dirname, '../hosts');
const expected = join(import.meta.dirname, '../../receivers/procfs/testdata/expected');
const everything = { metrics: Object.fromEntries(metrics.map((m) => [m.name, { enabled: true }])) };

async function collect(host: string, options: object): Promise<{ batches: Batch[]; context: TestContext }> {
  const context = testContext({ id: 'procfs' });
  const root = new ProcRoot({
    proc: join(hosts, host, 'proc'),
    sys: join(hosts, host, 'sys'),
    run: join(hosts, host, 'run'),
  });
  const collection = new Collection(config.parse(options), context, root);
  const batches: Batch[] = [];
  await collection.round(new Slices(), (batch) => batches.push(deepFreeze(batch)));
  return { batches, context };
}

function ownerText(owner: Owner | undefined): string {
  if (owner === undefined) return 'node';
  return Object.entries(owner)
    .map(([k, v]) => `${k}=${v}`)
    .join(' ');
}

/** One line for each value that is there; absent ones are not. */
function render({ batches, context }: { batches: readonly Batch[]; context: TestContext }): string {
  const lines: string[] = [];
  for (const batch of batches) {
    if (batch.kind === 'entities') {
      for (const e of batch.entities) lines.push(`entity ${JSON.stringify({ ...e, firstSeenMs: 0 })}`);
    } else if (batch.kind === 'metrics') {
      lines.push('', `# ${batch.source}`);
      for (const s of batch.snapshots) {
        lines.push(ownerText(s.owner));
        for (const { metric, attributes, offset } of s.schema.series) {
          const value = s.values[offset] as number;
          if (Number.isNaN(value)) continue;
          const labels = Object.entries(attributes).map(([k, v]) => `${k}=${String(v)}`);
          lines.push(`  ${metric.name}${labels.length > 0 ? `{${labels.join(', ')}}` : ''} ${value} ${metric.unit}`);
        }
      }
    }
  }
  const { rejections, absences, failures } = context.telemetry;
  lines.push('', '# telemetry', `rejected ${JSON.stringify(rejections)}`, `absent ${JSON.stringify(absences)}`);
  for (const f of failures) lines.push(`failed ${f.what}: ${String(f.error)}`);
  return `${lines.join('\n')}\n`;
}

const isMetrics = (batch: Batch): batch is MetricsBatch => batch.kind === 'metrics';

describe('captured hosts', () => {
  for (const host of readdirSync(hosts).sort()) {
    it(`${host}: every metric`, async () => {
      matchesGolden(join(expected, `${host}.txt`), render(await collect(host, everything)));
    });
  }

  for (const host of ['debian12-6.18-vm', 'handwritten-6.8-cgroup2']) {
    it(`${host}: what is on by default`, async () => {
      matchesGolden(join(expected, `${host}.default.txt`), render(await collect(host, {})));
    });
  }

  it('per CPU: holes stay holes', async () => {
    const per = { scrapers: { softnet: { per_cpu: true } } };
    const { batches } = await collect('handwritten-6.1-cpuholes', per);
    const softnet = batches.filter(isMetrics).find((b) => b.source === 'procfs/softnet');
    const cpus = new Set(softnet?.snapshots[0]?.schema.series.map((s) => s.attributes['cpu.logical_number']));
    assert.equal(cpus.size, 33);
    assert.ok(cpus.has(95) && cpus.has(47) && !cpus.has(16));
  });

  it('every metric that is on by default is seen on some host, and nothing else than the catalogue', async () => {
    const seen = new Set<string>();
    const known = new Set(metrics);
    for (const host of readdirSync(hosts)) {
      for (const batch of (await collect(host, everything)).batches.filter(isMetrics)) {
        for (const snapshot of batch.snapshots) {
          for (const { metric, attributes, offset } of snapshot.schema.series) {
            assert.ok(known.has(metric), `${metric.name} is not the catalogue's`);
            for (const [key, value] of Object.entries(attributes)) {
              const declared = metric.attributes[key];
              assert.ok(declared, `${metric.name} has an attribute ${key} that is not declared`);
              if (declared.values) assert.ok(declared.values.includes(String(value)), `${metric.name} ${key}=${value}`);
            }
            if (!Number.isNaN(snapshot.values[offset])) seen.add(metric.name);
          }
        }
      }
    }
    const onlyWithSockets = /^skoop\.tcp\.accept_queue/;
    const missing = metrics.filter((m) => m.enabled && !seen.has(m.name) && !onlyWithSockets.test(m.name));
    assert.deepEqual(
      missing.map((m) => m.name),
      [],
    );
  });

  it('golden files are not written under CI', () => {
    assert.throws(() => updating({ GOLDEN: 'update', CI: 'true' }), /CI/);
    assert.equal(updating({ CI: 'true' }), false);
  });
});
