/**
 * What one collection of the procfs receiver costs: `node bench/collect.ts [--namespaces 250] [--connections 5000] [--rounds 21]`. Needs root and
 * gcc.
 *
 * Makes the namespaces itself, then takes turns, in one run, between the receiver and a C program that makes the same system calls and does
 * nothing with what they give (bench/c/collect-floor.c). The floor has no memory of what it saw: it reads every file to its end with a second
 * read, limits of processes every time, and descriptors of the kernel's threads, which have none. prometheus-node-exporter is run in some of
 * the namespaces, one after the other.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { pageSize } from '../host/ffi/libc.ts';
import { NetnsInventory } from '../host/netns/inventory.ts';
import { hostRoot, ProcRoot } from '../host/proc-root.ts';
import { type Batch, itemCount } from '../pipeline/batch.ts';
import { systemClock } from '../pipeline/clock.ts';
import { testContext } from '../pipeline/testing.ts';
import { Collection } from '../receivers/procfs/collection.ts';
import { config } from '../receivers/procfs/config.ts';
import { NetnsFiles } from '../receivers/procfs/netns-files.ts';
import { OwnerState } from '../receivers/procfs/owners.ts';
import type { ScrapeContext } from '../receivers/procfs/scrape.ts';
import { Slices } from '../receivers/procfs/slices.ts';
import { TcpsummaryScraper } from '../receivers/procfs/tcpsummary.ts';

const { values: options } = parseArgs({
  options: {
    namespaces: { type: 'string', default: '250' },
    connections: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '21' },
    exporters: { type: 'string', default: '5' },
  },
});
const count = Number(options.namespaces);
const connections = Number(options.connections);
const rounds = Number(options.rounds);

const work = mkdtempSync(join(tmpdir(), `skl-bench-collect-${process.pid}-`));
const children: ChildProcessWithoutNullStreams[] = [];

function compile(name: string): string {
  const out = join(work, name);
  execFileSync('gcc', ['-O2', '-o', out, join(import.meta.dirname, 'c', `${name}.c`)]);
  return out;
}

/** Starts a maker of namespaces. @returns the pids that live in them. */
async function makeWorld(program: string, ...args: string[]): Promise<string[]> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  child.stderr.pipe(process.stderr);
  const pids: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    if (line === 'ready') return pids;
    pids.push(line);
  }
  throw new Error(`${program} ended before it was ready.`);
}

/** The C program, told to make one round at a time. */
class Floor {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.push(this.#child);
    this.#child.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }
  async round(): Promise<Cost> {
    this.#child.stdin.write('\n');
    const { value } = await this.#lines.next();
    const [wall, cpu] = String(value).split(' ');
    return { wall: Number(wall) / 1e6, cpu: Number(cpu) / 1e6 };
  }
}

/** Milliseconds: on the wall, and of CPU (all threads). */
interface Cost {
  readonly wall: number;
  readonly cpu: number;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
};
const ms = (v: number) => `${v.toFixed(1)} ms`;
const report = (what: string, [ours, floor]: readonly [Cost, Cost], aim: number) =>
  console.log(
    `${what.padEnd(36)} ${ms(ours.wall).padStart(9)}, C floor ${ms(floor.wall).padStart(8)}: ratio ${(ours.wall / floor.wall).toFixed(2)}; ` +
      `CPU ${ms(ours.cpu).padStart(8)}, floor ${ms(floor.cpu).padStart(8)}: ratio ${(ours.cpu / floor.cpu).toFixed(2)} (aim ≤ ${aim})`,
  );

const medians = (costs: readonly Cost[]): Cost => ({
  wall: median(costs.map((c) => c.wall)),
  cpu: median(costs.map((c) => c.cpu)),
});

/** Takes turns between the two, and gives the medians. */
async function compare(ours: () => Promise<Cost>, floor: Floor): Promise<readonly [ours: Cost, floor: Cost]> {
  const a: Cost[] = [];
  const b: Cost[] = [];
  for (let i = 0; i < rounds + 3; i++) {
    const floorFirst = i % 2 === 1 ? await floor.round() : undefined;
    const x = await ours();
    const y = floorFirst ?? (await floor.round());
    // The first rounds warm both up.
    if (i >= 3) {
      a.push(x);
      b.push(y);
    }
  }
  return [medians(a), medians(b)];
}

async function timed(run: () => unknown): Promise<Cost> {
  const before = process.cpuUsage();
  const started = performance.now();
  await run();
  const wall = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1000 };
}

function scrapeContext(): ScrapeContext {
  return {
    root: hostRoot,
    enabled: (m) => m.enabled,
    reject: (reason) => console.error(`rejected ${reason}`),
    permitted: (_what, read) => read(),
    bootTimeMs: Number.NaN,
  };
}

/** The work of the namespace scrapers alone, as `Collection` does it: the same reads as the floor's. */
function benchNamespaces(pids: readonly string[]): () => Promise<Cost> {
  const inventory = new NetnsInventory(hostRoot, systemClock).scan();
  const mine = inventory.filter((n) => n.pid !== undefined && pids.includes(String(n.pid)));
  if (mine.length !== pids.length) throw new Error(`Found ${mine.length} of ${pids.length} namespaces.`);
  const files = new NetnsFiles(scrapeContext(), config.parse({ scrapers: { netdev: { exclude: [] } } }), pageSize());
  const states = mine.map((n) => new OwnerState({ netns: n.netns }, 0));
  return () =>
    timed(() => {
      let snapshots = 0;
      mine.forEach((info, i) => {
        files.read(info, states[i] as OwnerState, undefined, Date.now(), () => snapshots++);
      });
      for (const s of states) s.endRound(Date.now());
      if (snapshots < mine.length * 7) throw new Error(`Only ${snapshots} snapshots.`);
    });
}

/** This thread's CPU time, ms: unlike time on the wall it leaves out what other processes took of the machine meanwhile. */
function threadCpuMs(): number {
  // Node.js 22 has only that of the whole process.
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)();
  return (user + system) / 1000;
}

/** Whole collections through the receiver's own code, with the longest hold of the event loop. */
function benchCollection() {
  // An inventory of the last two seconds would be taken over from another receiver: this is to be the whole cost.
  let elapsedMs = 0;
  // And processes older than half a minute, as most are: young ones are looked at more closely.
  const later = 60_000;
  const clock = {
    ...systemClock,
    monotonicMs: () => (elapsedMs += 3000),
    nowMs: () => Date.now() + (points > 0 ? later : 0),
  };
  let points = 0;
  const context = { ...testContext({ id: 'procfs' }), clock };
  const root = new ProcRoot();
  // What goes by the cgroups and sockets of pods is left out: this bench makes none (but for tcpsummary's own figure), and those of others on
  // the machine would count for one side only.
  const off = { enabled: false };
  const scrapers = { netdev: { exclude: [] }, psi: off, sched: off, tcpsummary: off };
  const collection = new Collection(config.parse({ scrapers }), context, root);
  const holds: number[] = [];
  const cpuHolds: number[] = [];
  const run = async (): Promise<Cost> => {
    let last = performance.now();
    let lastCpu = threadCpuMs();
    let [longest, longestCpu] = [0, 0];
    let on = true;
    const watch = () => {
      const [now, nowCpu] = [performance.now(), threadCpuMs()];
      longest = Math.max(longest, now - last);
      longestCpu = Math.max(longestCpu, nowCpu - lastCpu);
      [last, lastCpu] = [now, nowCpu];
      if (on) setImmediate(watch);
    };
    setImmediate(watch);
    const batches: Batch[] = [];
    const took = await timed(() => collection.round(new Slices(), (batch) => batches.push(batch)));
    on = false;
    points = batches.reduce((n, b) => n + (b.kind === 'metrics' ? itemCount(b) : 0), 0);
    holds.push(longest);
    cpuHolds.push(longestCpu);
    return took;
  };
  return { run, holds, cpuHolds, points: () => points };
}

function benchSockets(pid: string): () => Promise<Cost> {
  const scraper = new TcpsummaryScraper(scrapeContext(), 32);
  return () =>
    timed(async () => {
      await scraper.read(`/proc/${pid}/ns/net`);
      const established = scraper.counts.byState[1];
      if (established !== 2 * connections) throw new Error(`Counted ${established} sockets.`);
    });
}

/** Starts node_exporter in the namespace, scrapes it once, ends it. Undefined where it is not installed. */
function benchNodeExporter(pids: readonly string[]): { start: number; scrape: number } | undefined {
  if (spawnSync('prometheus-node-exporter', ['--version']).error) return undefined;
  const script = `
    prometheus-node-exporter --collector.disable-defaults --collector.netdev --collector.netstat --collector.sockstat \\
      --web.listen-address=127.0.0.1:9100 --log.level=error & p=$!
    until curl -s -o /dev/null http://127.0.0.1:9100/metrics; do :; done
    s=$(date +%s%N)
    for i in 1 2 3 4 5; do curl -s -o /dev/null http://127.0.0.1:9100/metrics; done
    echo $(( ($(date +%s%N) - s) / 5 ))
    kill $p; wait $p 2> /dev/null || true`;
  const starts: number[] = [];
  const scrapes: number[] = [];
  for (const pid of pids) {
    const started = performance.now();
    const out = execFileSync('nsenter', ['-t', pid, '-n', 'sh', '-c', script], { encoding: 'utf8' });
    const scrape = Number(out.trim()) / 1e6;
    scrapes.push(scrape);
    starts.push(performance.now() - started - 5 * scrape);
  }
  return { start: median(starts), scrape: median(scrapes) };
}

try {
  const world = compile('collect-world');
  const floor = compile('collect-floor');
  const pids = await makeWorld(world, 'namespaces', String(count));

  const namespaces = await compare(benchNamespaces(pids), new Floor(floor, ['net', ...pids]));
  report(`${count} namespaces, files of net/`, namespaces, 2);
  const ours = namespaces[0].wall;

  const collection = benchCollection();
  report('one whole collection of the rest', await compare(collection.run, new Floor(floor, ['all', ...pids])), 2);
  const longest = (holds: readonly number[]) =>
    `${ms(median(holds))} (median), ${ms(Math.max(...holds.slice(3)))} (most)`;
  console.log(`  ${collection.points()} data points`);
  console.log(
    `  event loop held for at most ${longest(collection.holds)}; in CPU time ${longest(collection.cpuHolds)}`,
  );

  const exporter = benchNodeExporter(pids.slice(0, Number(options.exporters)));
  if (exporter) {
    const each = `${ms(exporter.start)} to start, ${ms(exporter.scrape)} a scrape`;
    console.log(
      `node_exporter (netdev, netstat, sockstat), measured in ${options.exporters} namespaces one by one: ${each}; ×${count}: ${ms(count * exporter.scrape)} of scrapes, ratio to ours ${((count * exporter.scrape) / ours).toFixed(1)}; started for each: ${ms(count * (exporter.start + exporter.scrape))}, ratio ${((count * (exporter.start + exporter.scrape)) / ours).toFixed(1)}`,
    );
  } else console.log('node_exporter: not installed, not compared');

  const [pid] = (await makeWorld(world, 'sockets', String(connections))) as [string];
  const sockets = await compare(benchSockets(pid), new Floor(floor, ['diag', pid]));
  report(`tcpsummary, ${2 * connections} sockets`, sockets, 1.2);
} finally {
  for (const child of children) {
    child.stdin.end();
    if (child.exitCode === null) await Promise.race([once(child, 'exit'), new Promise((r) => setTimeout(r, 5000))]);
  }
  rmSync(work, { recursive: true, force: true });
}
