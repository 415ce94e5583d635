import { constants, monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';
import type { Histogram, MeterProvider } from '@opentelemetry/api';
import type { Clock } from '../clock.ts';
import type { Cells } from './cells.ts';

/**
 * What the process costs: uptime, CPU, memory and how long the event loop was held. Names are the Collector's where it has one, else
 * OpenTelemetry's semantic conventions for Node.js and V8.
 */

const owner = 'process';
/** Sampling period of the event loop's delay. Each sample wakes an idle process, which costs up to 0.2 ms in a guest. */
const resolutionMs = { normal: 250, detailed: 10 } as const;

/** Starts observing. @returns what stops it. */
export function observeProcess(options: {
  readonly cells: Cells;
  readonly clock: Clock;
  /** Loads the SDK: asked for only when something needs an instrument of its. */
  readonly meters: () => Promise<MeterProvider>;
  readonly detailed: boolean;
}): () => void {
  const { cells, clock } = options;
  const counter = (name: string, unit: string, description: string) =>
    cells.counter({ name, unit, description }, owner, {});
  const uptime = counter('otelcol_process_uptime', 's', 'Time since start.');
  const cpu = counter('otelcol_process_cpu_seconds', 's', 'CPU time used, user and system, all threads.');
  const beganMs = clock.monotonicMs() - process.uptime() * 1000;
  const refresh = () => {
    uptime.value = (clock.monotonicMs() - beganMs) / 1000;
    const used = process.cpuUsage();
    cpu.value = (used.user + used.system) / 1e6;
  };
  cells.refreshers.add(refresh);
  const rss = { name: 'otelcol_process_memory_rss', unit: 'By', description: 'Resident set size.' };
  cells.gauge(rss, owner, {}, () => process.memoryUsage.rss());
  const stopLoop = observeEventLoop(cells, options.detailed ? resolutionMs.detailed : resolutionMs.normal);
  const stopGc = options.detailed ? observeHeap(cells, options.meters) : () => {};
  return () => {
    cells.refreshers.delete(refresh);
    stopLoop();
    stopGc();
    cells.forget(owner);
  };
}

/** Delay since the last reading: the time the loop was late, the sampling period taken off. */
function observeEventLoop(cells: Cells, resolution: number): () => void {
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  let last = { p50: 0, p90: 0, p99: 0, max: 0 };
  let before = performance.eventLoopUtilization();
  let utilization = 0;
  const refresh = () => {
    const now = performance.eventLoopUtilization();
    ({ utilization } = performance.eventLoopUtilization(now, before));
    before = now;
    if (histogram.count > 0) last = late(histogram, resolution);
    histogram.reset();
  };
  cells.refreshers.add(refresh);
  const of = (key: keyof typeof last, words: string) => {
    const description = `${words} of the event loop's delay between the last two scrapes.`;
    cells.gauge({ name: `nodejs.eventloop.delay.${key}`, unit: 's', description }, owner, {}, () => last[key]);
  };
  of('p50', 'Median');
  of('p90', '90th percentile');
  of('p99', '99th percentile');
  of('max', 'Maximum');
  const busy = 'Share of time the event loop was busy between the last two scrapes.';
  cells.gauge({ name: 'nodejs.eventloop.utilization', unit: '1', description: busy }, owner, {}, () => utilization);
  return () => {
    cells.refreshers.delete(refresh);
    histogram.disable();
  };
}

function late(h: ReturnType<typeof monitorEventLoopDelay>, resolution: number) {
  const seconds = (ns: number) => Math.max(0, ns / 1e9 - resolution / 1000);
  return {
    p50: seconds(h.percentile(50)),
    p90: seconds(h.percentile(90)),
    p99: seconds(h.percentile(99)),
    max: seconds(h.max),
  };
}

const gcKinds: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

function observeHeap(cells: Cells, meters: () => Promise<MeterProvider>): () => void {
  let duration: Histogram | undefined;
  void meters().then((provider) => {
    duration = provider.getMeter('skoopline').createHistogram('v8js.gc.duration', {
      unit: 's',
      description: 'Garbage collection duration by kind.',
      advice: { explicitBucketBoundaries: [0.001, 0.01, 0.1, 1] },
    });
  });
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as unknown as { detail: { kind: number } }).detail;
      duration?.record(entry.duration / 1000, { 'v8js.gc.type': gcKinds[kind] ?? 'other' });
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const space = (
    name: string,
    description: string,
    pick: (s: ReturnType<typeof getHeapSpaceStatistics>[number]) => number,
  ) =>
    cells.gauge({ name, unit: 'By', description }, owner, {}, () =>
      getHeapSpaceStatistics().map((s) => [pick(s), { 'v8js.heap.space.name': s.space_name }]),
    );
  space('v8js.memory.heap.used', 'Heap in use by space.', (s) => s.space_used_size);
  space('v8js.memory.heap.limit', 'Heap reserved by space.', (s) => s.space_size);
  return () => observer.disconnect();
}
