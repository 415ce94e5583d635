/**
 * One contender of bench/delivery.ts, in a process of its own so that its CPU time is its own: `node bench/delivery-contender.ts CASE URL`.
 * Prints one line of JSON.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import loki from '../exporters/loki/index.ts';
import otlp from '../exporters/otlp/index.ts';
import {
  type Batch,
  type LogRecord,
  type LogsBatch,
  type MetricsBatch,
  makeSchema,
  type Resource,
} from '../pipeline/batch.ts';
import { type Attributes, defineMetrics } from '../pipeline/catalogue.ts';
import { systemClock } from '../pipeline/clock.ts';
import type { Exporter, ExporterDeclaration } from '../pipeline/component.ts';
import { createQueue } from '../pipeline/queue/index.ts';
import { testContext } from '../pipeline/testing.ts';

const [name = '', url = ''] = process.argv.slice(2);

const podCount = 250;
const podAttributes = (i: number): Attributes => ({
  'service.name': `web-${i}`,
  'k8s.namespace.name': `team-${i % 20}`,
  'k8s.pod.name': `web-${i}-5775dfdc77-fj767`,
  'k8s.pod.uid': `3f0d1f6e-0000-4000-8000-${String(i).padStart(12, '0')}`,
  'k8s.node.name': 'node-1',
});
const pods: Resource[] = Array.from({ length: podCount }, (_, i) => ({ attributes: podAttributes(i) }));
const scope = { name: 'skoopline/receivers/ebpf', version: '0.1.0' };

/** Ten attributes, as a dropped packet has. */
const attributesOf = (n: number): Attributes => ({
  'kubeskoop.type': 'PACKETLOSS',
  'network.transport': 'tcp',
  'network.type': 'ipv4',
  'source.address': `10.0.${n & 255}.${(n >> 8) & 255}`,
  'source.port': 443,
  'destination.address': `10.1.${(n >> 4) & 255}.7`,
  'destination.port': 32768 + (n % 28000),
  'skoop.drop.reason': 'NO_SOCKET',
  'skoop.drop.location': 'tcp_v4_rcv+0x6e',
  'network.interface.name': 'eth0',
});
const bodyOf = (n: number) => `Packet dropped: NO_SOCKET, port ${32768 + (n % 28000)}.`;

function records(from: number, count: number): LogRecord[] {
  const now = BigInt(Date.now()) * 1_000_000n;
  return Array.from({ length: count }, (_, i) => ({
    timeUnixNs: now + BigInt(i),
    observedTimeUnixNs: now,
    severityNumber: 13,
    eventName: 'skoop.packet.dropped',
    body: bodyOf(from + i),
    attributes: attributesOf(from + i),
    owner: undefined,
    resource: pods[(from + i) % podCount]!,
  }));
}
const logsBatch = (from: number, count: number): LogsBatch => ({
  kind: 'logs',
  source: 'ebpf',
  scope,
  records: records(from, count),
});

/** 250 pods × 400 counters with four labels' worth of attributes. */
function metricsBatch(): MetricsBatch {
  const names = Object.fromEntries(
    Array.from({ length: 200 }, (_, i) => [
      `skoop.tcp.metric_${i}`,
      {
        instrument: 'counter',
        unit: '{packet}',
        description: `Number ${i} of the kernel's counters.`,
        source: 'bench',
        scope: 'netns',
      } as const,
    ]),
  );
  const directions = ['receive', 'transmit'];
  const schema = makeSchema(
    Object.values(defineMetrics(names)).flatMap((metric) =>
      directions.map((d) => ({ metric, attributes: { 'network.io.direction': d, 'network.type': 'ipv4' } })),
    ),
  );
  const timeMs = Date.now();
  const snapshots = pods.map((resource, p) => ({
    owner: undefined,
    resource,
    startTimeMs: timeMs - 3_600_000,
    timeMs,
    schema,
    values: Float64Array.from({ length: schema.slots }, (_, i) => p * 1000 + i * 17),
  }));
  return { kind: 'metrics', source: 'procfs/all', scope, snapshots };
}

async function pushing(declaration: ExporterDeclaration, input: object) {
  const context = { ...testContext({ id: declaration.type }), clock: systemClock };
  const config = declaration.config.parse({ endpoint: url, ...input });
  const exporter = declaration.create(config, context);
  await exporter.start?.();
  const queue = createQueue({ exporter, config: declaration.queue!(config), context });
  await queue.start();
  return { exporter, queue };
}

const rate = 50_000;
const seconds = 6;

/** Calls `emit` with what is due every 40 ms; returns CPU seconds spent and the longest hold of the event loop, ms. */
async function atRate(emit: (from: number, count: number) => void, finish: () => Promise<void>) {
  for (let warm = 0; warm < 10; warm++) {
    emit(0, 2000);
    await sleep(40);
  }
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const begin = performance.now();
  const before = process.cpuUsage();
  let n = 0;
  while (n < rate * seconds) {
    const due = Math.min(Math.floor(((performance.now() - begin) / 1000) * rate), rate * seconds);
    if (due > n) emit(n, due - n);
    n = Math.max(n, due);
    await sleep(40);
  }
  await finish();
  const { user, system } = process.cpuUsage(before);
  const elapsed = (performance.now() - begin) / 1000;
  return { cpuPercent: (user + system) / 1e4 / elapsed, perSecond: n / elapsed, longestHoldMs: delay.max / 1e6 };
}

async function ourLogs(declaration: ExporterDeclaration, input: object) {
  const { queue, exporter } = await pushing(declaration, input);
  const result = await atRate(
    (from, count) => queue.offer(logsBatch(from, count)),
    () => queue.stop(AbortSignal.timeout(10_000)),
  );
  await exporter.stop?.(AbortSignal.timeout(1000));
  return { ...result, lost: Object.values(queue.accounts().dropped).reduce((a, b) => a + b, 0) };
}

/** What a user of the SDK writes: a LoggerProvider for each pod, one batch processor, the HTTP exporter. */
async function sdkLogs(compression: string, maxExportBatchSize: number) {
  const exporter = new OTLPLogExporter({ url: `${url}/v1/logs`, compression: compression as never });
  const processor = new BatchLogRecordProcessor({
    exporter,
    maxExportBatchSize,
    maxQueueSize: 200_000,
    scheduledDelayMillis: 40,
  });
  const loggers = pods.map(({ attributes }) => {
    const resource = resourceFromAttributes(attributes as Record<string, string>);
    return new LoggerProvider({ resource, processors: [processor] }).getLogger(scope.name, scope.version);
  });
  return atRate(
    (from, count) => {
      for (let n = from; n < from + count; n++) {
        loggers[n % podCount]!.emit({
          timestamp: Date.now(),
          severityNumber: 13,
          severityText: 'WARN',
          eventName: 'skoop.packet.dropped',
          body: bodyOf(n),
          attributes: attributesOf(n) as Record<string, string>,
        });
      }
    },
    () => processor.forceFlush(),
  );
}

/** The generator alone: what of the CPU above is not delivery. */
const generator = () =>
  atRate(
    (from, count) => void records(from, count),
    async () => {},
  );

/** Pushes the same batch again and again; items per second of CPU. */
async function flatOut(exporter: Exporter, batch: Batch, items: number, rounds: number) {
  const never = new AbortController().signal;
  for (let i = 0; i < 5; i++) await exporter.push(batch, never);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const begin = performance.now();
  const before = process.cpuUsage();
  for (let i = 0; i < rounds; i++) await exporter.push(batch, never);
  const { user, system } = process.cpuUsage(before);
  return {
    perCpuSecond: (items * rounds) / ((user + system) / 1e6),
    perSecond: (items * rounds) / ((performance.now() - begin) / 1000),
    longestHoldMs: delay.max / 1e6,
  };
}

async function metrics(input: object) {
  const { exporter } = await pushing(otlp, input);
  return flatOut(exporter, metricsBatch(), 100_000, 60);
}

async function lokiFlatOut(input: object) {
  const { exporter } = await pushing(loki, input);
  return flatOut(exporter, logsBatch(0, 4096), 4096, 60);
}

/** Batches through the queue's file and nothing else: MB/s written, and how much later a batch is durable or sent than without. */
async function disk(fsync: string) {
  const directory = mkdtempSync(join(tmpdir(), `skl-bench-queue-${process.pid}-`));
  try {
    const context = { ...testContext({ id: 'bench' }), clock: systemClock };
    const config = otlp.config.parse({
      sending_queue: { storage: 'disk', directory, fsync, queue_bytes: '2GiB', queue_size: 10_000_000 },
    });
    const down = { push: () => new Promise<void>(() => {}) };
    const queue = createQueue({ exporter: down, config: otlp.queue!(config), context });
    await queue.start();
    const batch = logsBatch(0, 1000);
    for (let i = 0; i < 100; i++) queue.offer(batch);
    await queue.flush();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const before = queue.stats().bytes;
    const begin = performance.now();
    const held: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const t = performance.now();
      queue.offer(batch);
      held.push(performance.now() - t);
      if (i % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await queue.flush();
    const elapsed = (performance.now() - begin) / 1000;
    const bytes = queue.stats().bytes - before;
    const durable: number[] = [];
    for (let i = 0; i < 200; i++) {
      const t = performance.now();
      queue.offer(batch);
      await queue.flush();
      durable.push(performance.now() - t);
    }
    await queue.stop(AbortSignal.abort());
    const at = (list: number[], share: number) => list.sort((a, b) => a - b)[Math.floor(list.length * share)]!;
    return {
      mbPerSecond: bytes / 1e6 / elapsed,
      recordsPerSecond: 2_000_000 / elapsed,
      offerMs: { p50: at(held, 0.5), p99: at(held, 0.99), max: at(held, 0.9999) },
      durableMs: { p50: at(durable, 0.5), p99: at(durable, 0.99) },
      longestHoldMs: delay.max / 1e6,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const cases: Record<string, () => Promise<object>> = {
  generator,
  'otlp gzip': () => ourLogs(otlp, {}),
  'otlp none': () => ourLogs(otlp, { compression: 'none' }),
  'sdk gzip': () => sdkLogs('gzip', 8192),
  'sdk none': () => sdkLogs('none', 8192),
  'loki json gzip': () => ourLogs(loki, {}),
  'metrics gzip': () => metrics({}),
  'metrics none': () => metrics({ compression: 'none' }),
  'loki flat json gzip': () => lokiFlatOut({}),
  'loki flat protobuf': () => lokiFlatOut({ format: 'protobuf' }),
  'disk checkpoint': () => disk('checkpoint'),
  'disk always': () => disk('always'),
};

const run = cases[name];
if (!run) throw new Error(`No case named ${name}; there are ${Object.keys(cases).join(', ')}.`);
console.log(JSON.stringify(await run()));
process.exit(0);
