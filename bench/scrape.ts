/**
 * What a scrape of 100 000 series costs: `node bench/scrape.ts [--rounds 15] [--json FILE]`.
 *
 * Four servers with the same series, each in a process of its own, take turns in one run: this project's exporter, the serializer of
 * `@opentelemetry/exporter-prometheus`, prom-client, and Debian's prometheus-node-exporter with a textfile. The scraper is one raw socket, read as
 * fast as it comes. Times are medians over the rounds, as the scraper sees them; CPU time is the server's own.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Figures } from './scrape-contender.ts';
import { attributeSets, metricCount, owners } from './scrape-data.ts';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, json: { type: 'string' } },
});
const rounds = Number(options.rounds);
const warmups = 3;

interface Scrape {
  readonly firstByteMs: number;
  readonly totalMs: number;
  readonly bytes: number;
  readonly lines: number;
}

interface Contender {
  readonly name: string;
  readonly port: number;
  /** Figures since the last call. */
  figures(): Promise<Figures>;
  stop(): void;
}

async function scrape(port: number, headers = ''): Promise<Scrape> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const began = performance.now();
  let firstByteMs = 0;
  let bytes = 0;
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => {
    // The first byte of the answer's head leaves with the first chunk of the body.
    firstByteMs ||= performance.now() - began;
    bytes += chunk.length;
    if (headers === '') chunks.push(chunk);
  });
  socket.write(`GET /metrics HTTP/1.0\r\nHost: bench\r\n${headers}\r\n`);
  await once(socket, 'end');
  const totalMs = performance.now() - began;
  const body = Buffer.concat(chunks).toString('latin1');
  return { firstByteMs, totalMs, bytes, lines: body.match(/^skoop_bench/gm)?.length ?? 0 };
}

async function startNode(name: string, flags: readonly string[] = []): Promise<Contender> {
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, 'scrape-contender.ts'), name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  }) as unknown as ChildProcessWithoutNullStreams;
  const lines = createInterface(child.stdout);
  const { port } = await nextLine<{ port: number }>(lines);
  return {
    name,
    port,
    figures: () => {
      const answer = nextLine<Figures>(lines);
      child.stdin.write('\n');
      return answer;
    },
    stop: () => child.stdin.end(() => child.kill()),
  };
}

async function nextLine<T>(lines: Interface): Promise<T> {
  const [line] = (await once(lines, 'line')) as [string];
  return JSON.parse(line) as T;
}

/** CPU time and memory of a process that is not ours, from /proc. */
async function startNodeExporter(text: string, folder: string): Promise<Contender | undefined> {
  if (spawnSync('prometheus-node-exporter', ['--version']).error) {
    console.log('prometheus-node-exporter is not installed (apt-get install prometheus-node-exporter): left out.');
    return undefined;
  }
  writeFileSync(join(folder, 'bench.prom'), text);
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  const flags = ['--collector.disable-defaults', '--collector.textfile', `--collector.textfile.directory=${folder}`];
  const child = spawn('prometheus-node-exporter', [...flags, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: 'ignore',
  });
  for (let up = false; !up; await sleep(50)) {
    up = await new Promise<boolean>((resolve) => {
      const s = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      s.on('connect', () => s.destroy());
    });
  }
  let cpu = 0;
  return {
    name: 'node_exporter textfile',
    port,
    figures: () => {
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      // utime and stime (proc(5)), in ticks of 1/100 s.
      const now = (Number(fields[11]) + Number(fields[12])) * 10;
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      const figures: Figures = {
        cpuMs: now - cpu,
        holdMs: Number.NaN,
        allocatedBytes: Number.NaN,
        peakRssKiB: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]),
      };
      cpu = now;
      return Promise.resolve(figures);
    },
    stop: () => child.kill(),
  };
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

interface Row {
  readonly name: string;
  readonly totalMs: number;
  readonly firstByteMs: number;
  readonly cpuMs: number;
  readonly holdMs: number;
  readonly worstHoldMs: number;
  readonly allocatedMB: number;
  readonly peakRssMB: number;
  readonly megabytes: number;
}

/** Scrapes the contenders in turn, `rounds` times. */
async function race(contenders: readonly Contender[], headers: string): Promise<Row[]> {
  const scrapes = new Map(contenders.map((c) => [c.name, { scrapes: [] as Scrape[], figures: [] as Figures[] }]));
  for (let round = 0; round < warmups + rounds; round++) {
    for (const contender of contenders) {
      await contender.figures();
      const result = await scrape(contender.port, headers);
      const figures = await contender.figures();
      const expected = owners * metricCount * attributeSets;
      if (headers === '' && result.lines !== expected) {
        throw new Error(`${contender.name} gave ${result.lines} of ${expected} series.`);
      }
      if (round < warmups) continue;
      scrapes.get(contender.name)?.scrapes.push(result);
      scrapes.get(contender.name)?.figures.push(figures);
    }
  }
  return Array.from(scrapes, ([name, { scrapes: s, figures: f }]) => ({
    name,
    totalMs: median(s.map((x) => x.totalMs)),
    firstByteMs: median(s.map((x) => x.firstByteMs)),
    cpuMs: median(f.map((x) => x.cpuMs)),
    holdMs: median(f.map((x) => x.holdMs)),
    worstHoldMs: Math.max(...f.map((x) => x.holdMs)),
    allocatedMB: Number.NaN,
    peakRssMB: f.at(-1)!.peakRssKiB / 1024,
    megabytes: s[0]!.bytes / 1e6,
  }));
}

/** Bytes that one scrape allocates, from a process whose young generation is large enough that nothing is collected meanwhile. */
async function allocated(name: string): Promise<number> {
  const contender = await startNode(name, ['--expose-gc', '--max-semi-space-size=1024', '--min-semi-space-size=1024']);
  const all: number[] = [];
  for (let i = 0; i < 5; i++) {
    await contender.figures();
    await scrape(contender.port);
    all.push((await contender.figures()).allocatedBytes);
  }
  contender.stop();
  return median(all) / 1e6;
}

function print(title: string, rows: readonly Row[]): void {
  const [ours] = rows;
  console.log(`\n${title}`);
  console.log(
    '| server | total ms | first byte ms | CPU ms | loop held ms (worst) | allocated MB | peak RSS MB | MB sent | time, CPU vs ours |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|');
  const n = (v: number, digits = 1) => (Number.isNaN(v) ? '–' : v.toFixed(digits));
  for (const r of rows) {
    const ratio = `${(r.totalMs / ours!.totalMs).toFixed(1)}×, ${(r.cpuMs / ours!.cpuMs).toFixed(1)}×`;
    console.log(
      `| ${r.name} | ${n(r.totalMs)} | ${n(r.firstByteMs)} | ${n(r.cpuMs)} | ${n(r.holdMs)} (${n(r.worstHoldMs)}) | ${n(r.allocatedMB)} | ${n(r.peakRssMB, 0)} | ${n(r.megabytes)} | ${ratio} |`,
    );
  }
}

const folder = mkdtempSync(join(tmpdir(), 'skl-bench-scrape-'));
const contenders: Contender[] = [];
try {
  console.log(
    `${owners * metricCount * attributeSets} series, ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}`,
  );
  for (const name of ['ours', 'serializer', 'prom-client']) contenders.push(await startNode(name));
  const text = await fetch(`http://127.0.0.1:${contenders[0]!.port}/metrics`).then((r) => r.text());
  const textfile = await startNodeExporter(text, folder);
  if (textfile) contenders.push(textfile);
  const plain = await race(contenders, '');
  const rows: Row[] = [];
  for (const r of plain) {
    rows.push({ ...r, allocatedMB: r.name.startsWith('node_exporter') ? Number.NaN : await allocated(r.name) });
  }
  print(`Plain text, median of ${rounds} rounds`, rows);
  // The other two never compress.
  const compressing = contenders.filter((c) => c.name === 'ours' || c === textfile);
  const gzip = await race(compressing, 'Accept-Encoding: gzip\r\n');
  print(`gzip, median of ${rounds} rounds`, gzip);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ plain: rows, gzip }, null, 2)}\n`);
} finally {
  for (const c of contenders) c.stop();
  rmSync(folder, { recursive: true });
}
