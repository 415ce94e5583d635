/**
 * How many events a second go through the whole pipeline: `node bench/ring-events.ts [--seconds 5] [--rate 50000]`. Needs root and Linux 5.18.
 *
 * Real drops (received packets with a wrong checksum, made in the kernel by test/bpf/flood.ts in a network namespace of its own) → probe packetloss → ring →
 * receiver → netns → symbolize → queue → an exporter that counts. At a steady rate and without limit all must arrive. Then at ten times that rate, without and with
 * the limit of events in the kernel: what is offered must be what was delivered, suppressed or lost, to the last event.
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
const generator = join(import.meta.dirname, '../test/bpf/flood.ts');
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
const registry = { ...components, exporters: { null: async () => ({ default: counting }) } };

/** @param limit events a second; 0 = none */
async function startAgent(limit: number): Promise<Agent> {
  const packetloss = { rate_limit: limit, burst: Math.max(1000, Math.round(limit / 10)) };
  const config = {
    receivers: { ebpf: { collection_interval: '1s', ring_size: '8MiB', probes: { ...off, packetloss } } },
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
  };
  writeFileSync(file, JSON.stringify(config));
  const agent = await Agent.load({ file, registry, log: pino({ level: 'warn' }), version: '0.0.0-bench' });
  delivered = 0;
  for (const name of Object.keys(account)) delete account[name];
  await agent.start();
  // Until the probe is on: one drop that arrives, and is in the account.
  while (delivered === 0) {
    await flood(1, 0);
    await sleep(200);
  }
  await sleep(2500);
  return agent;
}

/** @returns the seconds it took */
async function flood(count: number, rate: number): Promise<number> {
  const argv = ['netns', 'exec', namespace, process.execPath, generator, String(count), String(rate)];
  const child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  let took = '';
  child.stdout.on('data', (d: Buffer) => {
    took += d;
  });
  await once(child, 'close');
  return Number(took);
}

async function run(title: string, count: number, rate: number): Promise<void> {
  const before: Record<string, number> = { delivered, ...account };
  const cpu = process.cpuUsage();
  const took = await flood(count, rate);
  const used = process.cpuUsage(cpu);
  const now = () => {
    const of = (name: string) => (account[name] ?? 0) - (before[name] ?? 0);
    const [emitted = 0, suppressed = 0, lost = 0] = ['emitted', 'suppressed', 'lost'].map((n) =>
      of(`skoop.event.${n}`),
    );
    const got = delivered - before['delivered']!;
    const drops = of('skoop.packet.drops');
    return {
      got,
      suppressed,
      lost,
      drops,
      exact: drops === count && emitted === got && got + suppressed + lost === count,
    };
  };
  // Until the last collection has come and the queue is empty; an account that is wrong stays so.
  const end = performance.now() + 20_000;
  while (!now().exact && performance.now() < end) await sleep(100);
  const { got, suppressed, lost, drops, exact } = now();
  console.log(
    `${title}: ${count} drops in ${took.toFixed(1)} s (${Math.round(count / took)}/s): delivered ${got}, suppressed ${suppressed}, lost ${lost}, counted ${drops}; ` +
      `agent ${((used.user + used.system) / 1e4 / took).toFixed(0)} % of a core; account ${exact ? 'exact' : 'WRONG'}`,
  );
  if (!exact) process.exitCode = 1;
}

try {
  const rate = Number(values.rate);
  const plain = await startAgent(0);
  await run('warm-up', rate, rate);
  await run('steady', rate * seconds, rate);
  await run('ten times that', rate * 10 * seconds, rate * 10);
  await run('without brake', rate * 10 * seconds, 0);
  await plain.stop();
  const limited = await startAgent(rate);
  await run('ten times the limit', rate * 10 * seconds, rate * 10);
  await limited.stop();
} finally {
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(work, { recursive: true });
}
setTimeout(() => process.exit(), 300).unref();
