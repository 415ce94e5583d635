/**
 * How many events a second go through the whole pipeline: `node bench/ring-events.ts [--seconds 5] [--rate 50000]`. Needs root and gcc.
 *
 * Real drops (datagrams to a closed port in a network namespace of its own) at a steady rate → probe packetloss without limit → ring → receiver →
 * netns → symbolize → queue → an exporter that counts. Then the same with no brake on the sender: what is offered must be what was
 * delivered, suppressed or lost, to the last event.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { z } from 'zod';
import { components } from '../components.ts';
import { Agent } from '../pipeline/agent.ts';
import type { Batch } from '../pipeline/batch.ts';
import { defineExporter } from '../pipeline/component.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, rate: { type: 'string', default: '50000' } },
});
const seconds = Number(values.seconds);
const work = mkdtempSync(join(tmpdir(), `skl-bench-events-${process.pid}-`));
const namespace = `sklb${process.pid}`;
const program = join(work, 'drops');
execFileSync('gcc', ['-O2', '-o', program, join(import.meta.dirname, 'c/ring-drops.c')]);
execFileSync('ip', ['netns', 'add', namespace]);
execFileSync('ip', ['netns', 'exec', namespace, 'ip', 'link', 'set', 'lo', 'up']);
const inode = statSync(`/run/netns/${namespace}`).ino;

let delivered = 0;
const account: Record<string, number> = {};
/** Takes everything and keeps what concerns our namespace: events delivered, and the probe's own account of them. */
function take(batch: Batch): void {
  if (batch.kind === 'logs') {
    for (const r of batch.records) if (r.owner?.netns === inode) delivered++;
  } else if (batch.kind === 'metrics' && batch.source === 'ebpf/packetloss') {
    for (const s of batch.snapshots.filter((x) => x.owner?.netns === inode)) {
      for (const d of s.schema.series) account[d.metric.name] = s.values[d.offset]!;
    }
  }
}
const counting = defineExporter({
  type: 'null',
  summary: 'Counts.',
  stability: 'development',
  config: z.strictObject({}),
  signals: ['logs', 'metrics'],
  create: () => ({ push: async (batch) => take(batch) }),
});

const file = join(work, 'pipeline.json');
const off = Object.fromEntries(
  (process.env['OFF'] ?? '')
    .split(',')
    .filter(Boolean)
    .map((n) => [n, { enabled: false }]),
);
writeFileSync(
  file,
  JSON.stringify({
    receivers: {
      ebpf: { collection_interval: '1s', ring_size: '8MiB', probes: { ...off, packetloss: { rate_limit: 0 } } },
    },
    processors: { netns: { wait: '0s' }, symbolize: {} },
    exporters: { null: {} },
    service: {
      telemetry: { metrics: { level: 'none' }, logs: { level: 'warn' } },
      health: { address: 'localhost:0' },
      pipelines: {
        logs: { receivers: ['ebpf'], processors: ['netns', 'symbolize'], exporters: ['null'] },
        metrics: { receivers: ['ebpf'], exporters: ['null'] },
      },
    },
  }),
);
const registry = { ...components, exporters: { null: async () => ({ default: counting }) } };
const agent = await Agent.load({ file, registry, log: pino({ level: 'warn' }), version: '0.0.0-bench' });
await agent.start();

async function run(title: string, count: number, rate: number): Promise<void> {
  const before = { delivered, ...account };
  const cpu = process.cpuUsage();
  const child = spawn('ip', ['netns', 'exec', namespace, program, String(count), String(rate)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let took = '';
  child.stdout.on('data', (d: Buffer) => {
    took += d;
  });
  await once(child, 'close');
  const used = process.cpuUsage(cpu);
  // Two more collections: the account is then complete, and the queue empty.
  await sleep(2500);
  const of = (name: string) => (account[name] ?? 0) - ((before as Record<string, number>)[name] ?? 0);
  const drops = of('skoop.packet.drops');
  const [emitted, suppressed, lost] = ['emitted', 'suppressed', 'lost'].map((n) => of(`skoop.event.${n}`));
  const got = delivered - before.delivered;
  const exact = drops === count && emitted === got && emitted! + suppressed! + lost! === count;
  console.log(
    `${title}: ${count} drops in ${Number(took).toFixed(1)} s (${Math.round(count / Number(took))}/s): delivered ${got}, lost ${lost}, counted ${drops}; ` +
      `agent ${((used.user + used.system) / 1e4 / Number(took)).toFixed(0)} % of a core; account ${exact ? 'exact' : 'WRONG'}`,
  );
  if (!exact) process.exitCode = 1;
}

try {
  // Until the probes are on: one drop that arrives.
  while (delivered === 0) {
    execFileSync('ip', ['netns', 'exec', namespace, program, '1', '0']);
    await sleep(200);
  }
  await sleep(2500);
  const rate = Number(values.rate);
  await run('warm-up', rate, rate);
  await run('steady', rate * seconds, rate);
  await run('without brake', rate * seconds * 2, 0);
} finally {
  await agent.stop();
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(work, { recursive: true });
}
setTimeout(() => process.exit(), 300).unref();
