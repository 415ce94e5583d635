/**
 * One server of the scrape bench, in a process of its own: `node bench/scrape-contender.ts ours|serializer|prom-client`. Prints its port as a line of
 * JSON; answers each line on standard input with a line of figures since the line before.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { valueAt } from './scrape-data.ts';

/** What a contender tells after a scrape. */
export interface Figures {
  /** CPU time of the process, user and system, ms. */
  readonly cpuMs: number;
  /** Longest CPU time that the event loop's thread took between two turns, ms: how long the loop was held, other programs' turns left out. */
  readonly holdMs: number;
  /** Growth of the JavaScript heap and its buffers, bytes; meaningful when no collection ran in between (`--alloc`). */
  readonly allocatedBytes: number;
  /** Peak of the resident set since start, KiB (VmHWM). */
  readonly peakRssKiB: number;
}

const starters: Readonly<Record<string, () => Promise<number>>> = {
  ours: startOurs,
  serializer: startSerializer,
  'prom-client': startPromClient,
};

async function startOurs(): Promise<number> {
  const { config } = await import('../exporters/prometheus/config.ts');
  const { PrometheusExporter } = await import('../exporters/prometheus/exporter.ts');
  const { systemClock } = await import('../pipeline/clock.ts');
  const { testContext } = await import('../pipeline/testing.ts');
  const { benchBatch } = await import('./scrape-data.ts');
  const parsed = config.parse({ endpoint: '127.0.0.1:0', target_info: false });
  const exporter = new PrometheusExporter(parsed, { ...testContext(), clock: systemClock });
  await exporter.start();
  await exporter.push(benchBatch());
  // A new collection between any two scrapes, as in life: nothing may be kept from one to the next but names and labels.
  beforeScrape = () => void exporter.push(benchBatch());
  return exporter.port!;
}

/**
 * `@opentelemetry/exporter-prometheus`' serializer over data points that are there already, which is kind to it: with its own
 * aggregation in front it takes several times as long.
 */
async function startSerializer(): Promise<number> {
  const { PrometheusSerializer } = await import('@opentelemetry/exporter-prometheus');
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const { AggregationTemporality, DataPointType } = await import('@opentelemetry/sdk-metrics');
  const { benchBatch } = await import('./scrape-data.ts');
  const { prometheusFamily } = await import('../exporters/prometheus/naming.ts');
  const { snapshots } = benchBatch();
  const { schema } = snapshots[0]!;
  const zero: [number, number] = [0, 0];
  const metrics = [...new Set(schema.series.map((s) => s.metric))].map((metric) => ({
    descriptor: {
      name: prometheusFamily(metric).name.replace(/_total$/, ''),
      description: metric.description,
      unit: '',
      valueType: 1,
    },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    ...(metric.instrument === 'counter'
      ? { dataPointType: DataPointType.SUM, isMonotonic: true }
      : { dataPointType: DataPointType.GAUGE }),
    dataPoints: schema.series
      .filter((s) => s.metric === metric)
      .flatMap((s) =>
        snapshots.map(({ resource, values }) => ({
          startTime: zero,
          endTime: zero,
          attributes: { ...s.attributes, ...resource.attributes },
          value: values[s.offset]!,
        })),
      ),
  }));
  const data = { resource: resourceFromAttributes({}), scopeMetrics: [{ scope: { name: 'bench' }, metrics }] };
  const serializer = new PrometheusSerializer('', false, undefined, true, true);
  return serve(() => serializer.serialize(data as unknown as ResourceMetrics));
}

/** prom-client with gauges and counters that are set already; only its `metrics()` is counted. */
async function startPromClient(): Promise<number> {
  const { default: client } = await import('prom-client');
  const { benchBatch } = await import('./scrape-data.ts');
  const { labelsOf, prometheusFamily } = await import('../exporters/prometheus/naming.ts');
  const registry = new client.Registry();
  const { snapshots } = benchBatch();
  const { schema } = snapshots[0]!;
  const objects = new Map<string, InstanceType<typeof client.Gauge> | InstanceType<typeof client.Counter>>();
  for (const [i, { metric, attributes }] of schema.series.entries()) {
    const family = prometheusFamily(metric);
    for (const [p, { resource }] of snapshots.entries()) {
      const labels = Object.fromEntries(
        labelsOf({ ...attributes, ...resource.attributes }).map((l) => [l.name, l.value]),
      );
      let object = objects.get(family.name);
      if (!object) {
        const options = {
          name: family.name,
          help: family.help,
          labelNames: Object.keys(labels),
          registers: [registry],
        };
        object = family.type === 'counter' ? new client.Counter(options) : new client.Gauge(options);
        objects.set(family.name, object);
      }
      object.inc(labels, valueAt(p, i));
    }
  }
  return serve(() => registry.metrics());
}

async function serve(body: () => string | Promise<string>): Promise<number> {
  const server = createServer(async (_, response) => {
    const text = await body();
    response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

let beforeScrape: (() => void) | undefined;

/** Looks at the thread's CPU time every millisecond; a turn that holds the loop makes the next look late. */
class LoopWatch {
  longestHoldMs = 0;
  #last = threadCpuMs();

  constructor() {
    setInterval(() => {
      const now = threadCpuMs();
      this.longestHoldMs = Math.max(this.longestHoldMs, now - this.#last);
      this.#last = now;
    }, 1);
  }

  reset(): void {
    this.longestHoldMs = 0;
    this.#last = threadCpuMs();
  }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

if (import.meta.main) {
  const port = await starters[process.argv[2] ?? '']?.();
  if (port === undefined) throw new Error(`usage: scrape-contender ${Object.keys(starters).join('|')}`);
  console.log(JSON.stringify({ port }));
  const loop = new LoopWatch();
  const collect = globalThis.gc ?? (() => {});
  let cpu = process.cpuUsage();
  let held = heap();
  for await (const _ of createInterface(process.stdin)) {
    const { user, system } = process.cpuUsage(cpu);
    const figures: Figures = {
      cpuMs: (user + system) / 1000,
      holdMs: loop.longestHoldMs,
      allocatedBytes: heap() - held,
      peakRssKiB: Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]),
    };
    beforeScrape?.();
    collect();
    console.log(JSON.stringify(figures));
    loop.reset();
    cpu = process.cpuUsage();
    held = heap();
  }
}

function heap(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
