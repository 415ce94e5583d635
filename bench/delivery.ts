/**
 * What delivery costs: `node bench/delivery.ts`. Each contender is a process of its own that sends to this one over the loopback; this one
 * reads and answers.
 *
 *  - events at 50 000/s through queue and exporter, against the stock OpenTelemetry SDK path in the same run: share of a core;
 *  - metrics data points per second of CPU into OTLP, events per second of CPU into Loki;
 *  - the queue on disk: MB/s, time until durable, longest hold of the event loop.
 */
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);
const sink = createServer((req, res) => {
  req.resume();
  req.on('end', () => res.writeHead(200).end());
});
await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(sink.address() as AddressInfo).port}`;

async function contender(name: string): Promise<Record<string, number>> {
  const program = new URL('./delivery-contender.ts', import.meta.url).pathname;
  const { stdout } = await run(process.execPath, [program, name, url]);
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

const f = (n: number | undefined, digits = 1) => (n ?? Number.NaN).toFixed(digits);
console.log('Events at 50 000/s, 250 pods, 10 attributes; share of one core, generator included:');
const cpu = new Map<string, number>();
for (const name of ['generator', 'otlp gzip', 'sdk gzip', 'otlp none', 'sdk none', 'loki json gzip']) {
  const r = await contender(name);
  cpu.set(name, r['cpuPercent']!);
  const lost = r['lost'] === undefined ? '' : `, lost ${r['lost']}`;
  console.log(
    `  ${name.padEnd(16)} ${f(r['cpuPercent'])} %, ${f(r['perSecond'], 0)}/s, longest hold ${f(r['longestHoldMs'])} ms${lost}`,
  );
}
const own = (name: string) => cpu.get(name)! - cpu.get('generator')!;
for (const how of ['gzip', 'none']) {
  console.log(
    `  delivery alone, ${how}: ${f(own(`otlp ${how}`))} % against the SDK's ${f(own(`sdk ${how}`))} %: ${f(own(`sdk ${how}`) / own(`otlp ${how}`))} times less`,
  );
}

console.log('Flat out, per second of CPU:');
for (const [name, what] of [
  ['metrics gzip', 'data points'],
  ['metrics none', 'data points'],
  ['loki flat json gzip', 'events'],
  ['loki flat protobuf', 'events'],
] as const) {
  const r = await contender(name);
  console.log(`  ${name.padEnd(20)} ${f(r['perCpuSecond'], 0)} ${what}, longest hold ${f(r['longestHoldMs'])} ms`);
}

console.log('Queue on disk, batches of 1000 events:');
for (const name of ['disk checkpoint', 'disk always']) {
  const r = (await contender(name)) as unknown as {
    mbPerSecond: number;
    recordsPerSecond: number;
    longestHoldMs: number;
  } & Record<'offerMs' | 'durableMs', { p50: number; p99: number; max: number }>;
  console.log(
    `  ${name.padEnd(16)} ${f(r.mbPerSecond)} MB/s, ${f(r.recordsPerSecond, 0)} events/s; offer ${f(r.offerMs.p50, 2)} ms (p99 ${f(r.offerMs.p99, 2)}), durable after ${f(r.durableMs.p50, 2)} ms (p99 ${f(r.durableMs.p99, 2)}); longest hold ${f(r.longestHoldMs)} ms`,
  );
}
sink.close();
